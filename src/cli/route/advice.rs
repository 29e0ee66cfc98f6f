//! What runs a command in its best place: the line to type, or the task to write, with all that was asked for here. No partition is
//! named: which of those that it fits it goes to is chosen when it is handed over, by how long each makes it wait then.

use std::fmt::Write as _;
use std::path::{Component, Path};

use serde_json::{Value, json};

use crate::cli::command::{literal, toml_string};
use crate::cli::route::Args;
use crate::cli::route::elsewhere::Elsewhere;
use crate::cli::route::gather::Line;
use crate::cli::view::words::shell_word;
use crate::decide::route::need::Need;
use crate::decide::route::sheet::Sheet;
use crate::model::units::{Bytes, Walltime};

/// What runs a command in a place.
pub(super) struct Advice {
    form: Form,
    here: bool,
}

enum Form {
    /// A line to type.
    Line(String),
    /// The keys of a task, one a line: no line says in which image a job runs, or brings files of datasets and of other hosts.
    Task {
        keys: Vec<String>,
        /// What names the datasets first that there are not yet.
        first: Vec<String>,
    },
}

impl Advice {
    /// Makes it of what was asked for; `root` is this directory.
    pub(super) fn new(
        best: &Sheet<'_>,
        (args, need): (&Args, &Need),
        (given, elsewhere): (&Line, &Elsewhere),
        root: &Path,
    ) -> Self {
        let here = best.host.is_local();
        // A sandbox is made of a line alone.
        let form = if args.sandbox || (args.image.is_none() && elsewhere.is_empty()) {
            Form::Line(line(best, (args, need), &given.typed(), root))
        } else {
            let keys = task(best, (args, need), (given, elsewhere), root);
            Form::Task { keys, first: elsewhere.first.clone() }
        };
        Self { form, here }
    }

    /// Says it.
    pub(super) fn sentence(&self) -> String {
        let place = if self.here { "here" } else { "there" };
        match &self.form {
            Form::Line(line) => format!("`{line}` runs it {place}."),
            Form::Task { keys, first } => {
                let [keys, first] = [keys, first].map(|all| {
                    let all: Vec<String> = all.iter().map(|one| format!("`{one}`")).collect();
                    all.join(", ")
                });
                let task = if first.is_empty() { "A task".to_owned() } else { format!("After {first}, a task") };
                format!("{task} with {keys} runs it {place}.")
            }
        }
    }

    /// The same for programs.
    pub(super) fn value(&self) -> Value {
        match &self.form {
            Form::Line(line) => json!({ "line": line }),
            Form::Task { keys, first } if first.is_empty() => json!({ "task": keys.join("\n") }),
            Form::Task { keys, first } => json!({ "first": first, "task": keys.join("\n") }),
        }
    }
}

fn line(best: &Sheet<'_>, (args, need): (&Args, &Need), command: &str, root: &Path) -> String {
    let sandbox = args.image.as_deref();
    let here = best.host.is_local();
    // A sandbox is seen through by the csync that makes it: nothing is left behind that could be submitted.
    let mut line = String::from(if here || sandbox.is_some() { "csync run" } else { "csync submit" });
    let mut add = |option: &str, value: &str| {
        // Writing to a string cannot fail.
        let _infallible = write!(line, " --{option} {}", shell_word(value));
    };
    if !here {
        add("on", best.host.as_str());
    }
    if let Some(image) = sandbox {
        add("image", image);
    }
    for Asked { key, value, .. } in asked(best, (args, need)) {
        add(key, &value);
    }
    let goes = match sandbox {
        Some(_) => "files",
        None if here => "",
        None => "with",
    };
    for input in args.inputs.iter().filter(|input| !goes.is_empty() && lies_in(root, input)) {
        let _infallible = write!(line, " --{goes}={}", shell_word(input));
    }
    line + " -- " + command
}

fn task(
    best: &Sheet<'_>,
    (args, need): (&Args, &Need),
    (given, elsewhere): (&Line, &Elsewhere),
    root: &Path,
) -> Vec<String> {
    let text = |text: &str| toml_string(&literal(text));
    let container = args.image.iter().map(|image| format!("container = {}", text(image)));
    let mut keys: Vec<String> = container.chain([format!("on = {}", text(best.host.as_str()))]).collect();
    let asked = asked(best, (args, need));
    let value = |it: &Asked| if it.is_number { it.value.clone() } else { toml_string(&it.value) };
    let resources: Vec<String> = asked.iter().map(|it| format!("{} = {}", it.key, value(it))).collect();
    if !resources.is_empty() {
        keys.push(format!("resources = {{ {} }}", resources.join(", ")));
    }
    let (inputs, run) = elsewhere.task(given, (&args.inputs, need), |input| lies_in(root, input));
    let inputs: Vec<String> = inputs.iter().map(|input| text(input)).collect();
    if !inputs.is_empty() {
        keys.push(format!("inputs = [{}]", inputs.join(", ")));
    }
    keys.push(format!("run = {}", toml_string(&run)));
    keys
}

/// Something that was asked for, as options and tasks call it.
struct Asked {
    key: &'static str,
    value: String,
    is_number: bool,
}

/// Returns what was asked for; what was learned csync looks up again when it is handed over.
fn asked(best: &Sheet<'_>, (args, need): (&Args, &Need)) -> Vec<Asked> {
    let number = |key, number: u32| Asked { key, value: number.to_string(), is_number: true };
    let text = |key, value| Asked { key, value, is_number: false };
    // What its options for threads say is what the place was chosen for; where there are fewer cores, more are not to be had.
    let cpus = args.cpus.or_else(|| Some(best.shared.unwrap_or(need.cpus)).filter(|cpus| *cpus > 1));
    // How long it runs was said of this machine, and where it is ended is a matter of that one.
    let time = args.time.and(best.run).map(|run| Walltime(run.high.ceil().max(1.0) as u64));
    let all = [
        cpus.map(|cpus| number("cpus", cpus)),
        args.mem.map(|mem| text("mem", Bytes::exactly(mem))),
        time.map(|time| text("time", time.to_string())),
        (args.gpus > 0).then(|| number("gpus", args.gpus)),
    ];
    all.into_iter().flatten().collect()
}

/// Returns whether an input is a file or directory of this one, which may go along.
fn lies_in(root: &Path, input: &str) -> bool {
    let path = Path::new(input);
    let path = path.strip_prefix(root).unwrap_or(path);
    let stays = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    path.components().all(stays) && root.join(path).exists()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args;
    use crate::decide::graph::estimate::Estimate;
    use crate::model::host::HostName;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        args: Args,
    }

    const COMMAND: &str = "sort -o 'a b' in.txt";

    fn best(host: &HostName, run: Option<Estimate>) -> Sheet<'_> {
        Sheet {
            host,
            partition: (!host.is_local()).then_some("short"),
            wait: Estimate::ZERO,
            transfer: Estimate::ZERO,
            run,
            penalty: 0.0,
            total: Estimate::ZERO,
            moved: 0.0,
            ways: Vec::new(),
            core_hours: None,
            cost: None,
            apart: Vec::new(),
            shared: None,
            load: None,
        }
    }

    /// What is said where a host is the best that runs things so many times faster than this machine.
    fn advice(host: &str, speed: f64, root: &Path, options: &[&str]) -> Advice {
        let words = ["route"].iter().chain(options).chain(&["--", COMMAND]);
        let args = Alone::try_parse_from(words).unwrap().args;
        let host: HostName = host.parse().unwrap();
        let best = best(&host, args.time.map(|time| Estimate::known(time.0 as f64 / speed)));
        let need = Need { cpus: args.cpus.unwrap_or(1), gpus: args.gpus, ..Need::default() };
        let line = Line::read(&args).unwrap();
        Advice::new(&best, (&args, &need), (&line, &Elsewhere::default()), root)
    }

    fn said(host: &str, options: &[&str]) -> String {
        advice(host, 1.0, Path::new("/nowhere"), options).sentence()
    }

    #[test]
    fn all_that_was_asked_for_stands_in_the_line_and_no_partition() {
        let all = ["--cpus", "8", "--mem", "1536M", "--time", "90m", "--gpus", "2"];
        let asked = "--cpus 8 --mem 1536M --time 1h30m --gpus 2";
        assert_eq!(said("hpc", &all), format!("`csync submit --on hpc {asked} -- {COMMAND}` runs it there."));
        assert_eq!(said("local", &all), format!("`csync run {asked} -- {COMMAND}` runs it here."));
        assert_eq!(said("hpc", &["-c", "1"]), format!("`csync submit --on hpc --cpus 1 -- {COMMAND}` runs it there."));
        assert_eq!(said("hpc", &["--internet", "--policy", "locality"]), said("hpc", &[]));
        assert_eq!(said("hpc", &[]), format!("`csync submit --on hpc -- {COMMAND}` runs it there."));
    }

    #[test]
    fn what_its_options_for_threads_say_is_asked_for() {
        let args = Alone::try_parse_from(["route", "--", "sort --threads 8"]).unwrap().args;
        let here = HostName::local();
        let best = best(&here, Some(Estimate::known(60.0)));
        let need = Need { cpus: 8, ..Need::default() };
        let line = Line::read(&args).unwrap();
        let advice = Advice::new(&best, (&args, &need), (&line, &Elsewhere::default()), Path::new("/"));
        assert_eq!(
            advice.sentence(),
            "`csync run --cpus 8 -- sort --threads 8` runs it here.",
            "and no time: what was learned is looked up again"
        );
    }

    #[test]
    fn the_walltime_is_that_of_the_host() {
        for (speed, wanted) in [(1.0, "1h"), (2.0, "30m"), (0.5, "2h"), (0.7, "1h25m43s")] {
            let line = advice("hpc", speed, Path::new("/"), &["--time", "1h"]).sentence();
            assert!(line.contains(&format!(" --time {wanted} -- ")), "{line}");
        }
    }

    #[test]
    fn what_it_reads_goes_along_where_it_lies_here() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["panel.bed", "it's"] {
            std::fs::write(dir.path().join(name), "1").unwrap();
        }
        let own = dir.path().join("panel.bed").display().to_string();
        let inputs = [
            "-i",
            "panel.bed",
            "-i",
            "it's",
            "-i",
            "none",
            "-i",
            "../up",
            "-i",
            "/etc",
            "-i",
            "nas:/x",
            "-i",
            "data:a",
        ];
        let with = |host: &str, more: &[&str]| advice(host, 1.0, dir.path(), &[&inputs, more].concat()).value();
        let wanted = format!(r"csync submit --on hpc --with=panel.bed --with='it'\''s' -- {COMMAND}");
        assert_eq!(with("hpc", &[]), json!({ "line": wanted }));
        assert_eq!(with("local", &[]), json!({ "line": format!("csync run -- {COMMAND}") }), "it is here");
        let boxed = with("local", &["--sandbox", "--image", "box:1"]);
        let wanted = format!(r"csync run --image box:1 --files=panel.bed --files='it'\''s' -- {COMMAND}");
        assert_eq!(boxed, json!({ "line": wanted }));
        let line = advice("hpc", 1.0, dir.path(), &["-i", &own]).sentence();
        assert!(line.contains(&format!(" --with={} -- ", shell_word(&own))), "{line}");
    }

    #[test]
    fn an_image_is_a_matter_of_tasks_and_of_sandboxes() {
        let asks = ["--image", "box:1", "--cpus", "2", "--mem", "2G"];
        assert_eq!(
            said("hpc", &[&asks[..], &["--sandbox"]].concat()),
            format!("`csync run --on hpc --image box:1 --cpus 2 --mem 2G -- {COMMAND}` runs it there.")
        );
        let advice = advice("hpc", 1.0, Path::new("/"), &[&asks[..], &["-i", "data:x/{a}", "-i", "nas:/x"]].concat());
        assert_eq!(
            advice.sentence(),
            "A task with `container = \"box:1\"`, `on = \"hpc\"`, `resources = { cpus = 2, mem = \"2G\" }`, \
             `inputs = [\"data:x/{{a}}\"]`, `run = \"sort -o 'a b' in.txt\"` runs it there."
        );
        let value = advice.value();
        let text =
            format!("name = \"w\"\n[data.x]\nat = [\"nas:/x\"]\n[tasks.t]\n{}\n", value["task"].as_str().unwrap());
        let (_, mistakes) = crate::language::manifest::read(&text);
        assert!(mistakes.is_empty(), "{text}: {mistakes:?}");
    }

    #[test]
    fn what_is_printed_means_to_csync_what_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a b"), "1").unwrap();
        for (host, wanted) in [("hpc", "submit"), ("local", "run")] {
            for mem in [Bytes(1), Bytes(1025), Bytes::mib(1152), Bytes::gib(3), Bytes::gib(2048)] {
                let text = mem.0.to_string();
                let asks = ["-c", "8", "-m", &text, "-t", "01:00:07", "--gpus", "3", "-i", "a b"];
                let value = advice(host, 1.0, dir.path(), &asks).value();
                let line = value["line"].as_str().unwrap();
                let read = crate::language::shell::words(line).unwrap();
                let read = args::command().try_get_matches_from(read.iter().map(|word| word.fixed().unwrap())).unwrap();
                let (name, read) = read.subcommand().unwrap();
                let number = |key: &str| read.get_one::<u32>(key).copied();
                assert_eq!((name, number("cpus"), number("gpus")), (wanted, Some(8), Some(3)), "{line}");
                assert_eq!(read.get_one::<Bytes>("mem"), Some(&mem), "{line}");
                assert_eq!(read.get_one::<Walltime>("time"), Some(&Walltime(3607)), "{line}");
                let texts = |key: &str| read.get_many::<String>(key).map(|all| all.cloned().collect::<Vec<_>>());
                let there = |text: &str| (host == "hpc").then(|| vec![text.to_owned()]);
                assert_eq!(
                    (texts("on"), texts("with"), texts("partition")),
                    (there("hpc"), there("a b"), None),
                    "{line}"
                );
                let command: Vec<_> = read.get_many::<std::ffi::OsString>("command").unwrap().collect();
                assert_eq!(command, ["sort", "-o", "a b", "in.txt"]);
            }
        }
    }
}
