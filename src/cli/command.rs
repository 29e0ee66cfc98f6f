//! One command as a workflow: what `csync run` and `csync submit -- COMMAND` say of it, and the text that comes of it.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;

use crate::cli::errors::{Failure, Source};
use crate::model::units::{Bytes, Walltime};

/// What a command asks for.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
#[command(next_help_heading = "What it asks for")]
pub(super) struct Asks {
    /// Call the run so; the command's name when not given
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// Cores
    #[arg(short, long, value_name = "N")]
    pub(super) cpus: Option<u32>,
    /// Memory, at which the command is ended: 512M, 8G
    #[arg(short, long, value_name = "MEMORY")]
    pub(super) mem: Option<Bytes>,
    /// Walltime, at which the command is ended: 90s, 1h30m, 01:30:00
    #[arg(short, long, value_name = "TIME")]
    pub(super) time: Option<Walltime>,
    /// GPUs
    #[arg(long, value_name = "N")]
    pub(super) gpus: Option<u32>,
    /// Nodes
    #[arg(long, value_name = "N")]
    pub(super) nodes: Option<u32>,
    /// Processes (ranks of MPI); cores are for each
    #[arg(long, value_name = "N")]
    pub(super) processes: Option<u32>,
    /// Partition (queue) of the batch system
    #[arg(long, value_name = "PARTITION")]
    pub(super) partition: Option<String>,
    /// Account that pays
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) account: Option<String>,
    /// Quality of service
    #[arg(long, value_name = "QOS")]
    pub(super) qos: Option<String>,
    /// Run again so many times after it ran out of memory or time, with more of it
    #[arg(long, value_name = "N")]
    pub(super) retries: Option<u32>,
}

impl Asks {
    /// Returns the keys of a task that say this, beside its resources.
    fn keys(&self) -> String {
        let mut keys = String::new();
        let batch = [("partition", &self.partition), ("account", &self.account), ("qos", &self.qos)];
        for (key, value) in batch {
            if let Some(value) = value {
                let _infallible = writeln!(keys, "{key} = {}", toml_string(&literal(value)));
            }
        }
        if let Some(retries) = self.retries {
            let _infallible = writeln!(keys, "retries = {retries}");
        }
        keys
    }

    fn resources(&self) -> String {
        let mut resources = Vec::new();
        let numbers = [("cpus", self.cpus), ("gpus", self.gpus), ("nodes", self.nodes), ("processes", self.processes)];
        resources.extend(numbers.into_iter().filter_map(|(key, number)| Some(format!("{key} = {}", number?))));
        resources.extend(self.mem.map(|mem| format!("mem = \"{}B\"", mem.0)));
        resources.extend(self.time.map(|time| format!("time = \"{}s\"", time.0)));
        resources.join(", ")
    }
}

/// Writes the workflow of one command.
pub(super) fn workflow(command: &[OsString], asks: &Asks, on: &[String]) -> Result<Source, Failure> {
    let mut words = Vec::new();
    for word in command {
        let Some(word) = word.to_str() else {
            return Err(Failure::usage(format!("the argument `{}` is not UTF-8", word.display()))
                .hint("a run's record is text: put the name into a script, and run that"));
        };
        words.push(toml_string(&literal(word)));
    }
    let program = command.first().map(Path::new).and_then(Path::file_name);
    let task = task_name(&program.unwrap_or_default().to_string_lossy());
    let name = asks.name.as_deref().unwrap_or(&task);
    let on: Vec<String> = on.iter().map(|host| toml_string(&literal(host))).collect();
    let on = if on.is_empty() { String::new() } else { format!("on = [{}]\n", on.join(", ")) };
    let text = format!(
        "name = {}\n\n[tasks.{task}]\nrun = [{}]\ncache = false\n{on}{}resources = {{ {} }}\n",
        toml_string(name),
        words.join(", "),
        asks.keys(),
        asks.resources()
    );
    Ok(Source { name: "<the command>".to_owned(), text })
}

/// Escapes what would be read as a placeholder.
pub(super) fn literal(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

/// Makes a task's name from a program's.
pub(super) fn task_name(program: &str) -> String {
    let name: String =
        program.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '-' }).collect();
    let name = name.trim_matches('-');
    match name.chars().next() {
        None => "command".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("run-{name}"),
        Some(_) => name.to_owned(),
    }
}

/// Quotes text for TOML, whose basic strings are those of JSON but for one character.
pub(super) fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(command: &[&str]) -> Vec<OsString> {
        command.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_command_becomes_a_workflow() {
        let asks = Asks {
            cpus: Some(2),
            mem: Some(Bytes::gib(1)),
            time: Some(Walltime(90)),
            retries: Some(1),
            partition: Some("short".to_owned()),
            ..Asks::default()
        };
        let on = ["hpc".to_owned(), "local".to_owned()];
        let source = workflow(&words(&["/usr/bin/awk", "{print $1}", "a \"b\"\n"]), &asks, &on).unwrap();
        insta::assert_snapshot!(source.text, @r#"
        name = "awk"

        [tasks.awk]
        run = ["/usr/bin/awk", "{{print $1}}", "a \"b\"\n"]
        cache = false
        on = ["hpc", "local"]
        partition = "short"
        retries = 1
        resources = { cpus = 2, mem = "1073741824B", time = "90s" }
        "#);
    }

    #[test]
    fn tasks_are_named_after_programs() {
        for (program, name) in
            [("bwa", "bwa"), ("g++", "g"), ("7z", "run-7z"), ("", "command"), ("é", "command"), ("a.sh", "a-sh")]
        {
            assert_eq!(task_name(program), name);
        }
    }

    proptest! {
        #[test]
        fn every_argument_survives_toml(arg in "[^\\x00]*") {
            let parsed: toml::Table = toml::from_str(&format!("a = {}", toml_string(&arg))).unwrap();
            prop_assert_eq!(parsed["a"].as_str().unwrap(), arg);
        }
    }
}
