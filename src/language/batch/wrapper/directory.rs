//! The files of a submission's directory and of its members' directories.

use crate::language::batch::wrapper::{WRAPPER, escape};
use crate::language::quote::sh;
use crate::model::job::Invocation;
use crate::model::units::{Bytes, Walltime};

/// A file to be written on the host. Directories are 0700.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path, relative to the submission's directory.
    pub path: String,
    /// Its mode: 0700 for programs, else 0600.
    pub mode: u32,
    /// What it holds.
    pub content: String,
}

impl File {
    fn private(path: String, content: String) -> Self {
        Self { path, mode: 0o600, content }
    }
}

/// What one member does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The name of its directory: plain characters, not starting with a dot.
    pub name: String,
    /// What people call it; the script's `$0`.
    pub label: String,
    /// What runs; modules, conda and setup lines are in it.
    pub invocation: Invocation,
    /// Where, absolute on the host. Made when it is missing.
    pub workdir: String,
    /// Variables on top of the batch system's environment.
    pub env: Vec<(String, String)>,
    /// Its umask.
    pub umask: u32,
    /// Standard input, absolute on the host.
    pub stdin: Option<String>,
    /// Files that must be there before it starts; relative to `workdir`, or absolute.
    pub inputs: Vec<String>,
    /// Files that must be there after it ended; likewise. Their directories are made, old files removed.
    pub outputs: Vec<String>,
    /// Walltime that the wrapper itself keeps; none where a batch system does.
    pub time: Option<Walltime>,
    /// Seconds between TERM and KILL at the walltime and at a cancel.
    pub grace: u64,
    /// Signal, without `SIG`, and seconds before the walltime's end at which the wrapper sends it; with `time` alone.
    pub checkpoint: Option<(String, u64)>,
    /// Most that is kept of each of stdout and stderr; the rest is counted.
    pub output_cap: Option<Bytes>,
}

/// A member that no file can say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMember {
    /// A zero byte.
    #[error("there is a zero byte in its {0}")]
    Zero(&'static str),
    /// A name of a directory that is not plain.
    #[error("`{0}` cannot be the name of a job directory")]
    Name(String),
    /// A variable's name that no shell takes.
    #[error("`{0}` cannot be the name of an environment variable")]
    Variable(String),
    /// An argument list without a program.
    #[error("the command is empty")]
    Empty,
}

impl Member {
    /// Returns the files of its directory.
    pub fn files(&self) -> Result<Vec<File>, BadMember> {
        check_name(&self.name)?;
        let mut files = vec![
            File::private(format!("{}/spec", self.name), self.spec()?),
            File::private(format!("{}/env", self.name), self.environment()?),
        ];
        if let Invocation::Script(script) = &self.invocation {
            no_zero(script, "command")?;
            files.push(File::private(format!("{}/job.sh", self.name), format!("{}\n", script.trim_end_matches('\n'))));
        }
        Ok(files)
    }

    fn spec(&self) -> Result<String, BadMember> {
        let mut spec = Lines::default();
        // First: what comes after it may be relative to it.
        spec.line("workdir", &self.workdir)?;
        spec.line("label", &self.label)?;
        spec.line("umask", &format!("{:03o}", self.umask & 0o777))?;
        spec.line("grace", &self.grace.to_string())?;
        spec.optional("stdin", self.stdin.as_deref())?;
        spec.optional("time", self.time.map(|time| time.0.to_string()).as_deref())?;
        spec.optional("cap", self.output_cap.map(|cap| cap.0.to_string()).as_deref())?;
        let checkpoint = self.checkpoint.as_ref().map(|(signal, before)| format!("{signal} {before}"));
        spec.optional("checkpoint", checkpoint.as_deref())?;
        if let Invocation::Argv(words) = &self.invocation {
            if words.first().is_none_or(String::is_empty) {
                return Err(BadMember::Empty);
            }
            words.iter().try_for_each(|word| spec.line("arg", word))?;
        }
        self.inputs.iter().try_for_each(|input| spec.line("input", input))?;
        self.outputs.iter().try_for_each(|output| spec.line("output", output))?;
        Ok(spec.text)
    }

    fn environment(&self) -> Result<String, BadMember> {
        let mut env = Lines::default();
        for (name, value) in &self.env {
            let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !plain || name.bytes().next().is_none_or(|byte| byte.is_ascii_digit()) {
                return Err(BadMember::Variable(name.clone()));
            }
            no_zero(value, "environment")?;
            env.push(name, value);
        }
        Ok(env.text)
    }
}

/// Lines `KEY=VALUE`.
#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn line(&mut self, key: &'static str, value: &str) -> Result<(), BadMember> {
        no_zero(value, key)?;
        self.push(key, value);
        Ok(())
    }

    fn optional(&mut self, key: &'static str, value: Option<&str>) -> Result<(), BadMember> {
        value.map_or(Ok(()), |value| self.line(key, value))
    }

    fn push(&mut self, key: &str, value: &str) {
        self.text.push_str(key);
        self.text.push('=');
        escape(value, &mut self.text);
        self.text.push('\n');
    }
}

fn no_zero(text: &str, what: &'static str) -> Result<(), BadMember> {
    if text.contains('\0') { Err(BadMember::Zero(what)) } else { Ok(()) }
}

fn check_name(name: &str) -> Result<(), BadMember> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    // `news` and `crew` are the wrapper's own.
    if plain && first && name.len() < 100 && !matches!(name, "news" | "crew" | "members" | "cancel" | "wrapper.sh") {
        Ok(())
    } else {
        Err(BadMember::Name(name.to_owned()))
    }
}

/// Returns the files of a submission's own directory; the members in the order of their indices, from 1.
pub fn submission_files(members: &[&str]) -> Result<Vec<File>, BadMember> {
    let mut list = String::new();
    for member in members {
        check_name(member)?;
        list.push_str(member);
        list.push('\n');
    }
    Ok(vec![
        File { path: "wrapper.sh".to_owned(), mode: 0o700, content: WRAPPER.to_owned() },
        File::private("members".to_owned(), list),
    ])
}

/// Returns the batch script of a submission: it runs the member that the batch system names.
pub fn batch_script(directory: &str) -> String {
    format!("#!/bin/sh\nexec {}\n", command(directory, "run"))
}

/// Returns the same for one that has a script beside it (`look.sh`), which no task waits for. It is no child of the wrapper, which is
/// this very process and would have its time among that of the task: the shell between them is gone at once.
pub fn looking_script(directory: &str) -> String {
    let path = format!("{directory}/look.sh");
    let look = sh(&path);
    format!(
        "#!/bin/sh\n(nice -n 19 /bin/sh {look} $$ >/dev/null 2>&1 </dev/null &)\nexec {}\n",
        command(directory, "run")
    )
}

/// Returns the command that starts the members without a batch system; it prints `PID BIRTH BOOT` of the process that starts
/// them, which is the same one however often it is asked.
pub fn detach_command(directory: &str, limit: u32) -> String {
    format!("{} {limit}", command(directory, "detach"))
}

/// Returns the command that ends members started by [`detach_command`]; all of them, when no index is given.
pub fn cancel_command(directory: &str, indices: &[u32]) -> String {
    let mut text = command(directory, "cancel");
    for index in indices {
        text.push(' ');
        text.push_str(&index.to_string());
    }
    text
}

/// Returns the command that answers a [`NewsRequest`](super::NewsRequest) on its standard input; any submission's wrapper will
/// do.
pub fn news_command(directory: &str) -> String {
    format!("/bin/sh {} news", sh(&format!("{directory}/wrapper.sh")))
}

/// Returns the same command, by the wrapper of the first of these submissions that is there: somebody may have removed one.
pub fn news_command_of_any(directories: &[String]) -> String {
    let words: Vec<_> = directories.iter().map(|directory| sh(directory)).collect();
    format!(
        "for csync_any in {}; do [ ! -r \"$csync_any/wrapper.sh\" ] || {{ /bin/sh \"$csync_any/wrapper.sh\" news; break; }}; done",
        words.join(" ")
    )
}

fn command(directory: &str, word: &str) -> String {
    format!("/bin/sh {} {word} {}", sh(&format!("{directory}/wrapper.sh")), sh(directory))
}
