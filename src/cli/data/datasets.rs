//! Named datasets on the command line.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cli::catalog;
use crate::cli::context::Context;
use crate::cli::data::variables;
use crate::cli::errors::{Exit, Failure};
use crate::cli::view::words::{clock, many};
use crate::decide::graph::datasets::{Catalog, Worth};
use crate::language::manifest::localized;
use crate::model::api::ErrorKind;
use crate::model::data::{DatasetAsk, Holding, Trouble};
use crate::model::host::HostName;
use crate::model::units::{Bytes, Timestamp};

/// Reads a place: `HOST:/DIRECTORY`, or a directory here.
pub(super) fn place(text: &str) -> Result<(HostName, String), Failure> {
    if let Some((host, path)) = text.split_once(':').filter(|(_, path)| path.starts_with('/')) {
        let host = host.parse().map_err(|error| Failure::usage(format!("`{host}` is no name of a host: {error}")))?;
        return Ok((host, path.to_owned()));
    }
    let here = std::path::absolute(text).ok().and_then(|path| path.into_os_string().into_string().ok());
    let unknown = || {
        let failure = Failure::usage(format!("`{}` is no place of a dataset", text.escape_debug()));
        failure.hint("write HOST:/DIRECTORY, or a directory here")
    };
    let is_dir = |path: &String| std::path::Path::new(path).is_dir();
    Ok((HostName::local(), here.filter(is_dir).ok_or_else(unknown)?))
}

pub(super) fn ask(names: Vec<String>, places: Vec<(HostName, String)>) -> DatasetAsk {
    DatasetAsk { names, places, env: variables() }
}

/// A dataset, for programs.
#[derive(Serialize)]
pub(super) struct View<'a> {
    name: &'a str,
    places: Vec<PlaceView<'a>>,
}

#[derive(Serialize)]
struct PlaceView<'a> {
    host: &'a HostName,
    path: &'a str,
    files: usize,
    bytes: Bytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    looked: Option<Timestamp>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lacks: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<&'a str>,
}

/// Returns all datasets, for programs.
pub(super) fn views(catalog: &Catalog) -> Vec<View<'_>> {
    let of = catalog.iter();
    of.map(|(name, places)| View { name, places: places.iter().map(|place| view(catalog, place)).collect() }).collect()
}

fn view<'a>(catalog: &Catalog, place: &'a Holding) -> PlaceView<'a> {
    let Holding { host, path, looked, files, trouble, .. } = place;
    let (state, lacks) = match catalog.worth(place) {
        Worth::Unseen => ("unseen", None),
        Worth::Origin => ("origin", None),
        Worth::Whole => ("whole", None),
        Worth::Lacks(count) => ("partial", Some(count)),
        Worth::Gone => ("gone", None),
    };
    let trouble = match trouble {
        Some(Trouble::Unreached(why)) => Some(why.as_str()),
        _ => None,
    };
    PlaceView { host, path, files: files.len(), bytes: place.bytes(), looked: *looked, state, lacks, trouble }
}

/// Returns a line for each place of each dataset.
pub(super) fn table(catalog: &Catalog) -> String {
    let at = |place: &Holding| format!("{}:{}", place.host, place.path);
    let all = || catalog.iter().flat_map(|(_, places)| places);
    let names = catalog.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let places = all().map(|place| at(place).chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, of) in catalog.iter() {
        for (nth, place) in of.iter().enumerate() {
            let name = if nth == 0 { name } else { "" };
            let _infallible = writeln!(text, "{name:names$}  {:places$}  {}", at(place), words(catalog, place));
        }
    }
    text
}

/// Says what is known of a place.
fn words(catalog: &Catalog, place: &Holding) -> String {
    let has = || format!("{}, {}", many(u32::try_from(place.files.len()).unwrap_or(u32::MAX), "file"), place.bytes());
    let mut words = match catalog.worth(place) {
        Worth::Unseen => "nobody has seen it".to_owned(),
        Worth::Origin => has(),
        Worth::Whole => format!("{}: a whole copy", has()),
        Worth::Lacks(count) => {
            let count = many(u32::try_from(count).unwrap_or(u32::MAX), "file");
            format!("{}: {count} of the dataset not there, or otherwise", has())
        }
        Worth::Gone => "gone".to_owned(),
    };
    if let Some(looked) = place.looked {
        let _infallible = write!(words, " ({})", clock(looked));
    }
    if let Some(Trouble::Unreached(why)) = &place.trouble {
        let _infallible = write!(words, "; not asked: {why}");
    }
    words
}

/// Says which places are kept although nobody has seen them.
pub(super) fn warn_of_unseen(context: &Context, name: &str, places: &[Holding]) {
    for place in places.iter().filter(|place| place.looked.is_none()) {
        context.say(&format!(
            "Nobody could ask {0} whether {1} is there: it is kept as it was written, and `csync data scan {name}` asks again; \
             `csync data forget {name} --at {0}:{1}` drops it.",
            place.host, place.path
        ));
    }
}

/// Tells what was seen of datasets; a place that was not seen makes the command fail.
pub(super) fn tell(context: &Context, places: Vec<Holding>) -> Result<Exit, Failure> {
    let whole = places.iter().all(|place| place.trouble.is_none());
    let catalog = Catalog::new(places);
    if context.json() {
        context.print_json(&views(&catalog))?;
    } else if catalog.is_empty() {
        context.say("No dataset is named; `csync data add NAME HOST:/DIRECTORY` names one.");
    } else {
        context.print(table(&catalog).trim_end())?;
    }
    Ok(if whole { Exit::Success } else { Exit::RunFailed })
}

/// Tells what was forgotten.
pub(super) fn forgotten(context: &Context, name: &str, gone: &[Holding]) -> Result<(), Failure> {
    if context.json() {
        let places: Vec<String> = gone.iter().map(|place| format!("{}:{}", place.host, place.path)).collect();
        return context.print_json(&places);
    }
    let places = many(u32::try_from(gone.len()).unwrap_or(u32::MAX), "place");
    context.print(&format!("Forgot {places} of `{name}`; the files stay."))
}

/// Says where datasets, or files of them, lie.
pub(super) fn whereabouts(context: &Context, names: &[String]) -> Result<(), Failure> {
    let catalog = Catalog::new(catalog::datasets(context)?);
    let mut copies = Vec::new();
    for name in names {
        let full = if name.starts_with("data:") { name.clone() } else { format!("data:{name}") };
        let found = catalog.replicas("", &localized(full.trim_end_matches('/')));
        if found.is_empty() {
            let failure = Failure::new(ErrorKind::NotFound, format!("no dataset has `{full}`"));
            return Err(
                failure.hint("`csync data list` shows the datasets, `csync data scan` looks again what they have")
            );
        }
        copies.extend(found);
    }
    if context.json() {
        return context.print_json(&copies);
    }
    let mut text = String::new();
    for copy in &copies {
        let written = clock(Timestamp(copy.mtime.saturating_mul(1_000_000)));
        let _infallible = writeln!(text, "{}:{}  {}  {written}", copy.host, copy.there(), copy.size);
    }
    context.print(text.trim_end())
}
