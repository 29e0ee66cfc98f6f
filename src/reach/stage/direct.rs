//! From one host to another without passing here, where a person said that the first reaches the second itself: the first packs
//! and calls `ssh`, with its own keys or those that are lent to it; we make room before, compare afterwards, and give the names.

use std::time::Duration;

use crate::language::quote::sh;
use crate::reach::stage::look::{list, sums};
use crate::reach::stage::pack::{closing, inbox};
use crate::reach::stage::relay::Place;
use crate::reach::stage::words;
use crate::reach::stage::{StageError, WHOLE};
use crate::reach::transport::{Exec, Lender, Transport};

/// How long a transfer may take: nobody here sees whether it moves.
const LONGEST: Duration = Duration::from_hours(24);

/// How one host reaches another itself.
#[derive(Clone, Debug)]
pub enum Direct {
    /// With keys of its own, by this command (`ssh ... HOST`), which takes a command line of the other as one word.
    Own(String),
    /// With keys of this machine, which are lent to it while it sends.
    Lent(Box<Lender>),
}

/// Has one host send files to another.
pub(super) async fn direct(from: Place<'_>, to: Place<'_>, names: &[String], how: &Direct) -> Result<(), StageError> {
    let inbox = inbox();
    let place = exec(to, "cannot take files", &room(to.1, &inbox), Vec::new()).await?;
    let place = place.trim_end_matches('\n');
    let sent = match how {
        Direct::Own(ssh) => send(from, place, names, "", ssh).await,
        Direct::Lent(lender) => send_with(lender, from.1, place, names).await,
    };
    let done = match sent {
        Ok(()) => let_in(from, to, names, &inbox).await,
        Err(error) => Err(error),
    };
    if done.is_err() {
        let script = format!("cd -- {} && rm -rf ./{inbox}", sh(to.1));
        // What stays is removed by a later transfer.
        drop(to.0.exec(Exec::new(script)).await);
    }
    done
}

/// Returns the script that makes a directory for what comes, and says where it is.
fn room(to: &str, inbox: &str) -> String {
    format!(
        "umask 077; mkdir -p -- {to} && cd -- {to} && mkdir ./{inbox} ./{inbox}/tree && cd ./{inbox}/tree && pwd -P",
        to = sh(to)
    )
}

/// Has a host send over a connection that ends with it, and the agent that it shows there too.
async fn send_with(lender: &Lender, dir: &str, place: &str, names: &[String]) -> Result<(), StageError> {
    let lent = lender.lend().await?;
    let (before, ssh) = lender.call();
    let sent = send((lent.remote() as &dyn Transport, dir), place, names, &before, &ssh).await;
    lent.end().await;
    sent
}

async fn send(
    (host, dir): Place<'_>,
    place: &str,
    names: &[String],
    before: &str,
    ssh: &str,
) -> Result<(), StageError> {
    // Any login shell understands it.
    let far = format!("exec tar -xopf - -C {}", sh(place));
    let script = format!("{before}{WHOLE}cd -- {} && tar $whole -chf - --null -T - | {ssh} {}", sh(dir), sh(&far));
    let list = list(names.iter().map(String::as_str))?;
    exec((host, dir), "does not reach the other host", &script, list).await.map(drop)
}

/// Compares what arrived with what is there, and gives the names.
async fn let_in(from: Place<'_>, to: Place<'_>, names: &[String], inbox: &str) -> Result<(), StageError> {
    let theirs = sums(from.0, from.1, names.iter().map(String::as_str)).await?;
    let none = || StageError::There {
        host: from.0.host().to_owned(),
        action: "does not say what it sent",
        words: "`cksum` told of fewer files".to_owned(),
    };
    let archive =
        closing(names, &theirs.ok_or_else(none)?).map_err(|source| StageError::Here { path: ".".into(), source })?;
    let script = format!(
        "umask 077; cd -- {} && in=./{inbox} && trap 'rm -rf \"$in\"' EXIT && tar -xopf - -C \"$in\" && . \"$in/done\"",
        sh(to.1)
    );
    exec(to, "does not take files", &script, archive).await.map(drop)
}

async fn exec((host, _): Place<'_>, action: &'static str, script: &str, input: Vec<u8>) -> Result<String, StageError> {
    let reply = host.exec(Exec::new(script).reading(input).within(LONGEST)).await?;
    if !reply.status.is_success() {
        return Err(StageError::There { host: host.host().to_owned(), action, words: words(&reply.stderr) });
    }
    Ok(String::from_utf8_lossy(&reply.stdout).into_owned())
}
