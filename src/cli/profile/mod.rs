//! `csync profile`: what was learned of commands, and what becomes of it.

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::view::words::{many, shell_word};
use crate::language::command::{Signature, Token, TokenKey, commands, signature};
use crate::model::api::ErrorKind;
use crate::reach::clock;
use crate::reach::learned::{Entry, Learned, LearnedError, Place, take_in};

mod classes;
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

/// Says in one line that what was learned cannot be used, where that is so: work goes on without. Nothing is said of a passphrase that is
/// not here: an engine may have it.
pub(super) fn say_if_of_no_use(context: &Context) {
    let Ok(state) = context.state_dir() else { return };
    let looked = context.block_on(async { Ok(look(&Place::of(&state), Depth::Index).await) });
    if let Ok(Err(error)) = looked
        && !matches!(error, LearnedError::Passphrase { .. })
    {
        context.say(&format!("What was learned is of no use here: {error}. `csync doctor` says what helps."));
    }
}

/// Which records a person means by words: a command as it is typed, or as it is listed; a program alone means all that was learned of it.
pub(super) struct Meant {
    text: String,
    wanted: Option<Signature>,
    likes: Option<Token>,
    key: TokenKey,
}

impl Meant {
    pub(super) fn of(text: &str, key: &TokenKey) -> Self {
        let wanted = signature(&commands(text), &[], key);
        let likes = wanted.as_ref().map(|wanted| wanted.likes(key));
        Self { text: text.to_owned(), wanted, likes, key: key.clone() }
    }

    /// Returns it as a command; none where it is none.
    pub(super) fn wanted(&self) -> Option<&Signature> {
        self.wanted.as_ref()
    }

    /// Returns what is meant among all that is known: what is so called or alike, else what begins with that program.
    pub(super) fn among<'e>(&self, all: &'e [Entry]) -> Vec<&'e Entry> {
        let is_it = |entry: &&Entry| {
            Some(entry.signature.likes(&self.key)) == self.likes || entry.signature.to_string() == self.text
        };
        let exact: Vec<&Entry> = all.iter().filter(is_it).collect();
        let alone = self.wanted.as_ref().and_then(|wanted| match wanted.parts.as_slice() {
            [only] if only.subcommand.is_none() => Some(&only.program),
            _ => None,
        });
        let begins = |entry: &&Entry| entry.signature.parts.first().map(|part| &part.program) == alone;
        if exact.is_empty() && alone.is_some() { all.iter().filter(begins).collect() } else { exact }
    }
}

/// Says that records cannot be opened.
pub(super) fn told_damaged(records: u32) -> String {
    let are = if records == 1 { "is" } else { "are" };
    format!("{} {are} damaged and left out.", many(records, "record"))
}

/// How much of what was learned is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Whether it opens, and its index.
    Index,
    /// Every record.
    Records,
}

/// What there is of what was learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    pub(super) records: u32,
    /// Records that do not open.
    pub(super) damaged: u32,
}

/// Looks whether what was learned can be used; none where nothing was learned. Nothing is made.
pub(super) async fn look(place: &Place, depth: Depth) -> Result<Option<Looked>, LearnedError> {
    if std::fs::metadata(&place.path).map_or(0, |meta| meta.len()) == 0 {
        return Ok(None);
    }
    let mut learned = Learned::open(place, passphrase().as_deref(), clock::now()).await?;
    let read = match depth {
        Depth::Index => learned.count().await,
        Depth::Records => learned.all().await.map(|all| all.len() as u64),
    };
    let damaged = learned.unreadable();
    learned.close().await;
    Ok(Some(Looked { records: u32::try_from(read?).unwrap_or(u32::MAX), damaged }))
}

/// Returns what helps against it.
pub(super) fn mends(error: &LearnedError) -> String {
    let word = |path: &std::path::Path| shell_word(&path.display().to_string());
    match error {
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
    }
}

impl From<LearnedError> for Failure {
    fn from(error: LearnedError) -> Self {
        Self::new(ErrorKind::Storage, error.to_string()).because_of_source(&error).hint(mends(&error))
    }
}
