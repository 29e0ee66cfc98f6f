//! What a submission carries from here: the text, the directory, the environment as it is now.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::ProgressBar;
use rustix::fs::Mode;

use crate::cli::context::Context;
use crate::cli::errors::{Failure, Source};
use crate::cli::follow::interrupts;
use crate::cli::view;
use crate::cli::view::words::shell_word;
use crate::language::hook::{AGENT_MARK, agent_of};
use crate::language::manifest;
use crate::model::api::{ErrorKind, Rerun, Submission, Submitted};
use crate::model::choice::Policy;
use crate::reach::client::Client;
use crate::reach::config::{Secrets, StateDir};
use crate::reach::machine::processes::{environments_above, variable};

/// A workflow file that was read.
#[derive(Clone, Debug)]
pub(super) struct WorkflowFile {
    /// Its text, with the name under which people know it.
    pub(super) source: Source,
    /// Its path as given; none for standard input.
    pub(super) path: Option<String>,
    /// Its directory, absolute and without symbolic links, so that a directory has one name.
    pub(super) root: String,
}

impl WorkflowFile {
    /// Reads a workflow file, or standard input for `-`, whose directory is the present one.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            let mut bytes = Vec::new();
            std::io::stdin()
                .read_to_end(&mut bytes)
                .map_err(|error| Failure::usage("standard input cannot be read").because(&error))?;
            let source = Source { name: "<stdin>".to_owned(), text: text(bytes, "<stdin>")? };
            return Ok(Self { source, path: None, root: directory(Path::new("."))? });
        }
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
        let source = Source { text: text(bytes, &name)?, name: name.clone() };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(Self { source, path: Some(name), root: directory(parent)? })
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let name = path.display();
    if error.kind() == std::io::ErrorKind::NotFound {
        let failure = Failure::new(ErrorKind::NotFound, format!("there is no file `{name}`"));
        return failure.hint(if path == Path::new("workflow.toml") {
            "name the file, as in `csync submit my.toml`; `csync new` writes one to start from"
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            "`csync new` writes a workflow to start from"
        } else {
            "a command stands behind `--`, as in `csync submit -- python train.py`; `csync new` writes a workflow to start from"
        });
    }
    let failure = Failure::usage(format!("`{name}` cannot be read")).because(error);
    if error.kind() == std::io::ErrorKind::IsADirectory {
        return failure
            .hint(format!("name the file in it: `csync submit {}`", shell_word(&format!("{name}/workflow.toml"))));
    }
    failure.hint(format!("`ls -l {}` shows who may read it", shell_word(&name.to_string())))
}

fn text(bytes: Vec<u8>, name: &str) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(at).filter(|&&byte| byte == b'\n').count() + 1;
        Failure::usage(format!("{name} is not text in UTF-8: byte {at}, in line {line}, is not a part of a character"))
            .hint(format!("a workflow is a TOML file; `file {}` says what this one is", shell_word(name)))
    })
}

/// Returns a directory's absolute path.
pub(super) fn directory(path: &Path) -> Result<String, Failure> {
    let absolute = std::fs::canonicalize(path).map_err(|error| {
        Failure::usage(format!("the directory `{}` cannot be entered", path.display())).because(&error)
    })?;
    absolute.into_os_string().into_string().map_err(|path| {
        Failure::usage(format!("the directory `{}` has a name that is not UTF-8", PathBuf::from(path).display()))
            .hint("rename it, or run from another directory: names of files go into commands as text")
    })
}

/// Reads `KEY=VALUE`, for options.
pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, as in `-p ref=hg38`".to_owned()),
    }
}

/// What the command line says about a submission.
#[derive(Clone, Debug, Default)]
pub(super) struct Wishes {
    /// `-p k=v`.
    pub(super) params: BTreeMap<String, String>,
    /// `--only`.
    pub(super) only: Vec<String>,
    /// `--rerun`.
    pub(super) rerun: Rerun,
    /// `--ahead`.
    pub(super) ahead: bool,
    /// `--policy`.
    pub(super) policy: Option<Policy>,
}

/// Returns the names of the secrets that a workflow asks for. Only a text that has the word is read for them: reading a large
/// one twice, here and in the engine, is not for nothing.
fn secrets_of(text: &str) -> BTreeSet<String> {
    if !text.contains("secrets") {
        return BTreeSet::new();
    }
    let (workflow, _) = manifest::read(text);
    workflow.secrets().map(str::to_owned).collect()
}

/// Returns the secrets that the environment does not hold and `csync secret` keeps.
fn kept_secrets(wanted: &BTreeSet<String>, held: &[(String, String)]) -> Result<Vec<(String, String)>, Failure> {
    let missing: Vec<&String> = wanted.iter().filter(|name| !held.iter().any(|(set, _)| set == *name)).collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let kept = Secrets::load(&StateDir::locate(|name| std::env::var_os(name))?)?;
    let value = |name: &&String| {
        let value = kept.get(name).map(|value| ((*name).clone(), value.to_owned()));
        value.ok_or_else(|| {
            let message = format!(
                "the workflow needs the secret `{name}`, which neither the environment nor `csync secret` holds"
            );
            let hint =
                format!("`csync secret set {name}` keeps it; for this shell alone: `read -rs {name}; export {name}`");
            Failure::usage(message).hint(hint)
        })
    };
    missing.iter().map(value).collect()
}

/// Puts a submission together from a workflow, the command line, and this process' surroundings.
pub(super) fn submission(file: &WorkflowFile, wishes: Wishes) -> Result<Submission, Failure> {
    let wanted = secrets_of(&file.source.text);
    // Variables that are not UTF-8 stay behind: a run's record is text.
    let text =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let (mut secrets, mut env): (Vec<_>, Vec<_>) = text.partition(|(name, _)| wanted.contains(name));
    secrets.extend(kept_secrets(&wanted, &secrets)?);
    env.extend(agent_above());
    Ok(Submission {
        text: file.source.text.clone(),
        path: file.path.clone(),
        root: file.root.clone(),
        params: wishes.params,
        only: wishes.only,
        rerun: wishes.rerun,
        ahead: wishes.ahead,
        policy: wishes.policy,
        env,
        umask: umask(),
        secrets,
        command: Some(command_line()),
        tree: None,
    })
}

/// Marks what a coding agent asks for that does not say so itself: `env -i csync submit` is still the agent's.
fn agent_above() -> Option<(String, String)> {
    let is_agent =
        |environment: &[u8]| agent_of(|name| variable(environment, name).and_then(std::ffi::OsStr::to_str)).is_some();
    let says_so = agent_of_this().is_some();
    (!says_so && environments_above().any(|environment| is_agent(&environment)))
        .then(|| (AGENT_MARK.to_owned(), "1".to_owned()))
}

/// Returns the coding agent in whose environment this process runs.
fn agent_of_this() -> Option<&'static str> {
    let own: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    agent_of(|name| own.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()))
}

/// Hands a submission in. Ctrl-C leaves; whether the run was taken by then is not known.
pub(super) async fn hand_in(
    context: &Context,
    client: &Client,
    submission: &Submission,
    source: &Source,
) -> Result<Submitted, Failure> {
    let mut interrupts = interrupts()?;
    let mut planning = std::pin::pin!(client.submit(submission));
    let mut spinner = Spinner::new(context);
    let submitted = loop {
        tokio::select! {
            submitted = &mut planning => break submitted,
            () = spinner.turn() => {}
            _ = interrupts.recv() => {
                return Err(Failure::interrupted("interrupted while the engine was planning the run")
                    .hint("`csync runs` says whether it was taken, `csync cancel` ends it"));
            }
        }
    };
    drop(spinner);
    let submitted = submitted.map_err(|error| Failure::from(error).with_source(|| source.clone()))?;
    if !submitted.warnings.is_empty() && !context.quiet() && !context.json() {
        context.warn(&view::failure::diagnostics(&submitted.warnings, source, context.paint_err()));
    }
    Ok(submitted)
}

/// Says that something takes its time, once it does, to a person who watches.
struct Spinner {
    ticker: tokio::time::Interval,
    watched: bool,
    bar: Option<ProgressBar>,
}

impl Spinner {
    fn new(context: &Context) -> Self {
        let start = tokio::time::Instant::now() + Duration::from_millis(400);
        let ticker = tokio::time::interval_at(start, Duration::from_millis(120));
        Self { ticker, watched: context.is_watched(), bar: None }
    }

    /// Turns once, when it is time to.
    async fn turn(&mut self) {
        self.ticker.tick().await;
        if self.watched {
            let bar = self.bar.get_or_insert_with(|| ProgressBar::new_spinner().with_message("Planning the run"));
            bar.tick();
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Reads the umask; the system only tells it by changing it.
fn umask() -> u32 {
    let mask = rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::umask(mask);
    mask.as_raw_mode()
}

/// Returns this process' command line as a person would type it.
fn command_line() -> String {
    let args = std::env::args_os().skip(1);
    let words = args.map(|arg| shell_word(&arg.to_string_lossy()));
    std::iter::once("csync".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_keys_with_values() {
        assert_eq!(key_value("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(key_value(" a = b"), Ok(("a".to_owned(), " b".to_owned())));
        assert!(key_value("a").is_err());
        assert!(key_value("=a").is_err());
    }

    #[test]
    fn files_that_are_no_workflows_are_refused_with_words() {
        let dir = tempfile::tempdir().unwrap();
        let bad = dir.path().join("latin.toml");
        std::fs::write(&bad, b"name = \"a\"\n# caf\xe9\n").unwrap();
        let failure = WorkflowFile::read(&bad).unwrap_err().to_string();
        assert!(failure.contains("byte 16, in line 2"), "{failure}");
        let failure = WorkflowFile::read(&dir.path().join("none.toml")).unwrap_err();
        assert_eq!(failure.exit().number(), 3);
        assert_eq!(WorkflowFile::read(dir.path()).unwrap_err().exit().number(), 2);
    }

    #[test]
    fn a_directory_has_one_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
        for name in ["real", "link"] {
            std::fs::write(dir.path().join(name).join("w.toml"), "name = \"w\"").unwrap();
            let file = WorkflowFile::read(&dir.path().join(name).join("w.toml")).unwrap();
            assert!(file.root.ends_with("/real"), "{}", file.root);
        }
    }

    #[test]
    fn secrets_are_found_in_the_text() {
        let text = "name = \"w\"\n[tasks.a]\nrun = \"true\"\nsecrets = [\"TOKEN\", \"KEY\"]\n[tasks.b]\nrun = \"true\"\nsecrets = [\"TOKEN\"]\n";
        assert_eq!(secrets_of(text).into_iter().collect::<Vec<_>>(), ["KEY", "TOKEN"]);
        assert!(secrets_of("name = \"w\"").is_empty());
    }

    #[test]
    fn the_umask_is_left_as_it_was() {
        assert_eq!(umask(), umask());
    }
}
