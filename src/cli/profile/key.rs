//! `csync profile key`.

use console::Term;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::profile::{PASSPHRASE, open, passphrase, place};
use crate::reach::learned::protect;

/// Protect the key with a passphrase, or take it out again
///
/// With a passphrase, whoever uses what was learned (the engine too) needs it in `CSYNC_LEARNED_PASSPHRASE`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Take the passphrase out again
    #[arg(long)]
    open: bool,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let place = place(context)?;
    context.block_on(async {
        open(&place).await?.close().await;
        Ok(())
    })?;
    let old = passphrase();
    if args.open {
        protect(&place.key, old.as_deref(), None)?;
        context.say("The key needs no passphrase now.");
        return Ok(Exit::Success);
    }
    let term = Term::stderr();
    let asked = term.write_str("New passphrase: ").and_then(|()| term.read_secure_line());
    let new = asked.map_err(|error| Failure::usage("the passphrase cannot be read").because(&error))?;
    if new.trim().is_empty() {
        return Err(Failure::usage("a passphrase is not empty").hint("`csync profile key --open` takes it out"));
    }
    protect(&place.key, old.as_deref(), Some(new.trim()))?;
    context.say(&format!("The key is protected: put the passphrase into {PASSPHRASE}."));
    Ok(Exit::Success)
}
