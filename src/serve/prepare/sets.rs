//! The datasets that a submission may read: which it names, what their places have now, and the files here that stand for them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::decide::graph::datasets::Catalog;
use crate::language::manifest::{datasets_in, read_knowing};
use crate::model::data::{DATA, DataFact, Holding, Listed, Replica, Trouble, within};
use crate::model::host::HostName;
use crate::model::plan::Plan;
use crate::model::units::Bytes;
use crate::reach::clock;
use crate::reach::stage::{Seen, StageError, list_all};
use crate::reach::transport::{Remote, TransportError};

/// How long a place may take to show what it has before a submission goes on with what is known of it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A dataset with more files than this is looked at again only where somebody says so.
const MANY: usize = 100_000;

/// Returns the places of datasets as a workflow would name them.
pub fn places_of(catalog: &Catalog) -> BTreeMap<String, Vec<String>> {
    let named = |places: &[Holding]| places.iter().map(|place| format!("{}:{}", place.host, place.path)).collect();
    catalog.iter().map(|(name, places)| (name.to_owned(), named(places))).collect()
}

/// Returns the datasets that a workflow speaks of: those that it says the places of itself, and those of `known` that it names.
pub fn named(text: &str, params: &BTreeMap<String, String>, known: Vec<Holding>) -> Catalog {
    let mut names: BTreeSet<&str> = datasets_in(text);
    names.extend(params.values().flat_map(|value| datasets_in(value)));
    if names.is_empty() {
        return Catalog::default();
    }
    let mut catalog = Catalog::new(known.into_iter().filter(|place| names.contains(place.dataset.as_str())));
    let (workflow, _) = read_knowing(text, places_of(&catalog));
    for name in names {
        let holding = |place: &String| {
            let (host, path) = place.split_once(':')?;
            let host = host.parse::<HostName>().ok()?;
            let path = path.trim_end_matches('/');
            let is_it = |known: &&Holding| known.host == host && known.path == path;
            let known = catalog.places(name).iter().find(is_it).cloned();
            Some(known.unwrap_or_else(|| Holding::new(name, host, path)))
        };
        let places: Vec<Holding> = workflow.places_of(name).iter().filter_map(holding).collect();
        if !places.is_empty() {
            catalog.set(name, places);
        }
    }
    catalog
}

/// Looks at the places of datasets, all at once; `way` leads to their hosts. What is not reached stays as it was known, and says so.
pub async fn look_at<W>(places: Vec<Holding>, patience: Option<Duration>, way: impl Fn(HostName) -> W) -> Vec<Holding>
where
    W: Future<Output = Result<Remote, TransportError>>,
{
    let looks = places.into_iter().map(|place| {
        let way = way(place.host.clone());
        async move {
            let looking = async {
                let way = way.await?;
                list_all(&way, &place.path).await
            };
            let found = match patience {
                None => Ok(looking.await),
                Some(patience) => timeout(patience, looking).await.map_err(|_| patience),
            };
            let found: Result<_, StageError> = match found {
                Ok(found) => found,
                Err(patience) => {
                    let words = format!("it did not answer within {} s", patience.as_secs());
                    return Holding { trouble: Some(Trouble::Unreached(words)), ..place };
                }
            };
            match found {
                Ok(Some(files)) => {
                    let listed =
                        |(path, seen): (String, Seen)| Listed { path, size: Bytes(seen.size), mtime: seen.mtime };
                    let files = files.into_iter().map(listed).collect();
                    Holding { looked: Some(clock::now()), trouble: None, files, ..place }
                }
                Ok(None) => Holding { trouble: Some(Trouble::Gone), ..place },
                Err(error) => Holding { trouble: Some(Trouble::Unreached(error.to_string())), ..place },
            }
        }
    });
    join_all(looks).await
}

/// Returns whether a place is to be looked at before a submission uses it.
pub fn is_due(place: &Holding) -> bool {
    place.looked.is_none() || place.trouble.is_some() || place.files.len() <= MANY
}

/// Says what keeps copies of datasets from being used.
pub fn troubles(catalog: &Catalog) -> Vec<String> {
    let told = catalog.iter().flat_map(|(name, places)| {
        places.iter().filter_map(move |place| {
            let at = format!("{}:{}", place.host, place.path);
            match place.trouble.as_ref()? {
                Trouble::Gone => Some(format!("dataset `{name}`: its copy {at} is gone and is not used")),
                Trouble::Unreached(why) if place.looked.is_some() => Some(format!(
                    "dataset `{name}`: {at} is taken for what it was, since {} was not asked: {why}",
                    place.host
                )),
                Trouble::Unreached(why) => Some(format!("dataset `{name}`: nobody has seen {at}: {why}")),
            }
        })
    });
    told.collect()
}

/// Returns whether a copy that was recorded earlier is one of what a dataset has now, beside its places.
pub fn holds_still(replica: &Replica, catalog: &Catalog) -> bool {
    let places = catalog.places(replica.dataset());
    !replica.is_of_dataset()
        || catalog.print(&replica.path) == Some(replica.fingerprint())
            && !places.iter().any(|place| place.host == replica.host)
}

/// Makes what is here of datasets fit what they are: a dataset of this machine is a link to it, and copies of earlier contents go.
/// Returns where the files lie that a plan reads.
pub fn lay_out(catalog: &Catalog, plan: &Plan) -> std::io::Result<Vec<DataFact>> {
    let root = Path::new(&plan.root);
    for (name, places) in catalog.iter() {
        let link = root.join(DATA).join(name);
        let here = places.iter().find(|place| place.host.is_local() && place.is_there());
        let linked = fs::read_link(&link).ok();
        match here {
            Some(place) if linked.as_deref() == Some(Path::new(&place.path)) => {}
            Some(place) => {
                if linked.is_some() {
                    fs::remove_file(&link)?;
                }
                if !link.exists() {
                    fs::create_dir_all(root.join(DATA))?;
                    std::os::unix::fs::symlink(&place.path, &link)?;
                }
            }
            None if linked.is_some() => fs::remove_file(&link)?,
            None => {}
        }
    }
    let mut facts = Vec::new();
    for path in plan.paths.iter().filter(|path| path.starts_with(DATA)) {
        for replica in catalog.replicas(&plan.root, path).into_iter().filter(|replica| !replica.host.is_local()) {
            let file = root.join(&replica.path);
            let differs = |meta: fs::Metadata| {
                use std::os::unix::fs::MetadataExt;
                (meta.len(), meta.mtime()) != (replica.size.0, replica.mtime)
            };
            let dataset = catalog_link(root, &replica.path);
            if !dataset && file.metadata().is_ok_and(differs) {
                fs::remove_file(&file)?;
            }
            facts.push(DataFact::Lies(replica));
        }
    }
    Ok(facts)
}

/// Returns whether what stands for a file's dataset is a link to somebody's files.
fn catalog_link(root: &Path, path: &str) -> bool {
    root.join(within(path).0).is_symlink()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::units::Timestamp;

    fn listed(path: &str, size: u64, mtime: i64) -> Listed {
        Listed { path: path.to_owned(), size: Bytes(size), mtime }
    }

    #[test]
    fn a_workflow_names_its_datasets() {
        let known = [("reads", "nas"), ("other", "nas"), ("ref", "nas")];
        let known = || known.map(|(name, host)| Holding::new(name, host.parse().unwrap(), "/vol")).to_vec();
        let text = "name = \"w\"\n[data.ref]\nat = [\"hpc:/ref/\", \"nas:/vol\"]\n[tasks.a]\nrun = \"x\"\n\
                    inputs = [\"data:reads/a\", \"data:ref/b\"]\n";
        let catalog = named(text, &BTreeMap::new(), known());
        let places: Vec<String> =
            places_of(&catalog).into_iter().map(|(name, at)| format!("{name}={}", at.join(","))).collect();
        assert_eq!(places, ["reads=nas:/vol", "ref=hpc:/ref,nas:/vol"], "what the file says goes before what is known");
        assert!(named("name = \"w\"\n", &BTreeMap::new(), known()).is_empty());
        let params = BTreeMap::from([("x".to_owned(), "data:other/y".to_owned())]);
        assert_eq!(named("name = \"w\"\n", &params, known()).places("other").len(), 1);
    }

    #[test]
    fn what_is_here_of_a_dataset_fits_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("work");
        let own = dir.path().join("own");
        fs::create_dir_all(root.join(".csync/data/reads")).unwrap();
        fs::create_dir_all(&own).unwrap();
        fs::write(root.join(".csync/data/reads/a"), "old").unwrap();
        fs::write(own.join("x"), "x").unwrap();
        let mut plan = Plan { root: root.display().to_string(), ..Plan::default() };
        for path in [".csync/data/reads/a", ".csync/data/mine/x", "c"] {
            plan.paths.push(path);
        }
        let seen = |name: &str, host: &str, path: &str, files| Holding {
            looked: Some(Timestamp(1)),
            files,
            ..Holding::new(name, host.parse().unwrap(), path)
        };
        let place = own.display().to_string();
        let mut catalog = Catalog::new([
            seen("reads", "nas", "/vol", vec![listed("a", 3, 1), listed("b", 1, 1)]),
            seen("mine", "local", &place, vec![listed("x", 1, 1)]),
        ]);
        let facts = lay_out(&catalog, &plan).unwrap();
        assert_eq!(facts.len(), 1, "{facts:?}");
        assert!(!root.join(".csync/data/reads/a").exists(), "it was not what the dataset has");
        assert_eq!(fs::read_to_string(root.join(".csync/data/mine/x")).unwrap(), "x");
        // A second time nothing changes, and a place that is gone leaves no link.
        lay_out(&catalog, &plan).unwrap();
        catalog.set(
            "mine",
            vec![Holding { trouble: Some(Trouble::Gone), ..Holding::new("mine", HostName::local(), &place) }],
        );
        lay_out(&catalog, &plan).unwrap();
        assert!(!root.join(".csync/data/mine").is_symlink() && own.join("x").exists());
    }
}
