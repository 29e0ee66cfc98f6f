//! `csync profile`: what was learned of commands, and what becomes of it.

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::view::words::shell_word;
use crate::model::api::ErrorKind;
use crate::reach::clock;
use crate::reach::learned::{Learned, LearnedError, Place, take_in};

mod export;
mod forget;
mod import;
mod key;
mod list;
mod plot;
mod replay;
mod show;
mod waited;

/// Show and manage what csync has learned of commands
///
/// For every kind of command (program, subcommand, options, kinds of inputs) and class of hosts: peak memory, run time and CPU
/// as functions of input size. It holds no host name, path, user, argument or value, and is sealed on disk with the key
/// `learned.key` in the state directory. Only names of programs that everybody has are readable.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Command {
    List(list::Args),
    Show(show::Args),
    Import(import::Args),
    Export(export::Args),
    Forget(forget::Args),
    Replay(replay::Args),
    Key(key::Args),
}

impl Args {
    /// Returns whether it may change what was learned, or who can read it.
    pub(super) fn may_change(&self) -> bool {
        matches!(self.command, Some(Command::Import(_) | Command::Forget(_) | Command::Key(_)))
    }
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    match &args.command {
        None => list::run(context, &list::Args::default()),
        Some(Command::List(args)) => list::run(context, args),
        Some(Command::Show(args)) => show::run(context, args),
        Some(Command::Import(args)) => import::run(context, args),
        Some(Command::Export(args)) => export::run(context, args),
        Some(Command::Forget(args)) => forget::run(context, args),
        Some(Command::Replay(args)) => replay::run(context, args),
        Some(Command::Key(args)) => key::run(context, args),
    }
}

/// The variable with the passphrase of the key, for those who protected it.
const PASSPHRASE: &str = "CSYNC_LEARNED_PASSPHRASE";

fn passphrase() -> Option<String> {
    std::env::var(PASSPHRASE).ok().filter(|passphrase| !passphrase.is_empty())
}

fn place(context: &Context) -> Result<Place, Failure> {
    let dir = context.state_dir()?;
    dir.create()?;
    Ok(Place::of(&dir))
}

async fn open(place: &Place) -> Result<Learned, Failure> {
    let now = clock::now();
    let mut learned = Learned::open(place, passphrase().as_deref(), now).await?;
    take_in(&mut learned, place, now).await?;
    Ok(learned)
}

/// Opens what was learned, where anything was.
pub(super) async fn learned_if_there(context: &Context) -> Result<Option<Learned>, Failure> {
    let place = Place::of(&context.state_dir()?);
    if std::fs::metadata(&place.path).map_or(0, |meta| meta.len()) == 0 {
        return Ok(None);
    }
    open(&place).await.map(Some)
}

impl From<LearnedError> for Failure {
    fn from(error: LearnedError) -> Self {
        let word = |path: &std::path::Path| shell_word(&path.display().to_string());
        let hint = match &error {
            LearnedError::WrongKey { path, .. } | LearnedError::KeyLost { path, .. } => {
                format!("bring the key that belongs to it, or begin anew: `mv {0} {0}.old`", word(path))
            }
            LearnedError::Passphrase { .. } => format!("put it into {PASSPHRASE}"),
            LearnedError::Key { key, .. } => format!("`chmod 600 {}`, or bring the right one", word(key)),
            LearnedError::Foreign { path } | LearnedError::Unusable { path, .. } => {
                format!("begin anew: `mv {0} {0}.old`", word(path))
            }
            LearnedError::OtherKey { key, .. } => {
                format!(
                    "machines that exchange what they learned share one key, from before the first learned anything: copy \
                     theirs to {}",
                    word(key)
                )
            }
            LearnedError::Damaged { path } => format!("export it again, and compare `sha256sum {}`", word(path)),
            LearnedError::File { path, .. } => format!("`ls -l {}` shows whose it is", word(path)),
        };
        Self::new(ErrorKind::Storage, error.to_string()).because_of_source(&error).hint(hint)
    }
}
