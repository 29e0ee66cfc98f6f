//! `csync secret`: values that workflows ask for by name.

use std::io::{self, IsTerminal, Read};

use console::Term;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::view::words::shell_word;
use crate::model::api::ErrorKind;
use crate::reach::config::{Secrets, SecretsError};

/// Keep secrets that workflows ask for
///
/// A task with `secrets = ["TOKEN"]` gets the variable TOKEN. It is taken from the environment of `csync submit`, or else from
/// here: a file in the state directory that its owner alone can read. Values are never printed.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

/// What to do with them.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Keep a value, asked for on the terminal or read from standard input (`csync secret set TOKEN < file`)
    Set {
        /// Its name, which is the variable's
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// List the names
    List,
    /// Forget values
    Rm {
        /// Their names
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    match &args.command {
        Command::Set { name } => set(context, name),
        Command::List => list(context),
        Command::Rm { names } => remove(context, names),
    }
}

fn set(context: &Context, name: &str) -> Result<Exit, Failure> {
    let dir = context.state_dir()?;
    dir.create()?;
    let value = value(name)?;
    let replaced = Secrets::set(&dir, name, value)?;
    if context.json() {
        context.print_json(&json!({ "name": name, "replaced": replaced }))?;
    } else {
        context.say(&format!("{name} is {}.", if replaced { "kept in the place of the one before" } else { "kept" }));
    }
    Ok(Exit::Success)
}

/// Asks for a value without showing it, or reads it; one line end at its end is not of it.
fn value(name: &str) -> Result<String, Failure> {
    let unreadable = |error: &io::Error| Failure::usage("the value cannot be read").because(error);
    if io::stdin().is_terminal() {
        let term = Term::stderr();
        let asked = term.write_str(&format!("{name}: ")).and_then(|()| term.read_secure_line());
        return asked.map_err(|error| unreadable(&error));
    }
    let mut text = String::new();
    io::stdin().lock().take(1 << 20).read_to_string(&mut text).map_err(|error| unreadable(&error))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

fn list(context: &Context) -> Result<Exit, Failure> {
    let secrets = Secrets::load(&context.state_dir()?)?;
    let names: Vec<&str> = secrets.names().collect();
    if context.json() {
        context.print_json(&json!({ "secrets": names }))?;
    } else if names.is_empty() {
        context.say("No secret is kept. `csync secret set NAME` keeps one.");
    } else {
        context.print(&names.join("\n"))?;
    }
    Ok(Exit::Success)
}

fn remove(context: &Context, names: &[String]) -> Result<Exit, Failure> {
    let dir = context.state_dir()?;
    let secrets = Secrets::load(&dir)?;
    if let Some(unknown) = names.iter().find(|name| secrets.get(name).is_none()) {
        let failure = Failure::new(ErrorKind::NotFound, format!("no secret `{}` is kept", unknown.escape_debug()));
        return Err(failure.hint("`csync secret list` names those that are"));
    }
    for name in names {
        Secrets::remove(&dir, name)?;
    }
    if context.json() {
        context.print_json(&json!({ "removed": names }))?;
    } else {
        context.say(&format!("Forgotten: {}.", names.join(", ")));
    }
    Ok(Exit::Success)
}

impl From<SecretsError> for Failure {
    fn from(error: SecretsError) -> Self {
        let word = |path: &std::path::Path| shell_word(&path.display().to_string());
        let (kind, hint) = match &error {
            SecretsError::BadName(_) => {
                (ErrorKind::Invalid, "write it as `secrets = [\"NAME\"]` in the workflow".to_owned())
            }
            SecretsError::BadValue => {
                (ErrorKind::Invalid, "`csync secret set NAME < file` reads it from a file".to_owned())
            }
            SecretsError::Open { path } => {
                (ErrorKind::Storage, format!("`chmod 600 {}`, and think of new values", word(path)))
            }
            SecretsError::Damaged { path } => (ErrorKind::Storage, format!("`rm {}`, and set them again", word(path))),
            SecretsError::Unusable { path, .. } => {
                (ErrorKind::Storage, format!("`ls -l {}` shows whose it is", word(path)))
            }
        };
        Self::new(kind, error.to_string()).because_of_source(&error).hint(hint)
    }
}
