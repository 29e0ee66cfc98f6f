//! Looking at a host over a transport: one connection, nothing changed there.

mod resolve;

use std::time::{Duration, Instant};

use crate::language::probe::{CLOCK, parse, script, skew};
use crate::model::facts::{Facts, Skew};
use crate::model::host::Policy;
use crate::model::units::Timestamp;
use crate::reach::clock;
use crate::reach::transport::{Exec, Transport, TransportError};

pub use resolve::{ResolveError, resolve};

/// How long a host may take for all of it: a batch system whose master hangs keeps each question waiting for half a minute.
const PATIENCE: Duration = Duration::from_mins(4);

/// How much a host may say: partitions and nodes of a large site are a few megabytes.
const LONGEST: usize = 64 << 20;

/// How long a host may take to say what time it is.
const PROMPT: Duration = Duration::from_mins(1);

/// Looks at a host, as far as its policy lets us.
///
/// # Errors
/// When it cannot be reached or does not answer.
pub async fn probe(transport: &dyn Transport, policy: Policy) -> Result<Facts, TransportError> {
    let (trip, skew) = clock_of(transport).await?;
    let mark = mark();
    let exec = Exec::new(script(&mark, policy)).within(PATIENCE).printing(LONGEST);
    let reply = transport.exec(exec).await?;
    let mut facts = parse(&mark, &String::from_utf8_lossy(&reply.stdout));
    facts.skew = skew;
    facts.trip = Some(trip.as_secs_f64());
    facts.at = Some(clock::now());
    Ok(facts)
}

/// Asks a host for the time: how long the answer took, and how far the clocks are apart.
///
/// # Errors
/// When it cannot be reached or does not answer.
pub async fn clock_of(transport: &dyn Transport) -> Result<(Duration, Option<Skew>), TransportError> {
    // Connecting takes its time, and would be taken for a slow clock.
    transport.connect().await?;
    let seconds = |time: Timestamp| time.0 as f64 / 1e6;
    let (before, started) = (seconds(clock::now()), Instant::now());
    let reply = transport.exec(Exec::new(CLOCK).within(PROMPT)).await?;
    let took = started.elapsed();
    let printed = String::from_utf8_lossy(&reply.stdout);
    Ok((took, skew(&printed, before, before + took.as_secs_f64())))
}

/// Makes up a mark that no host can have in what it prints.
pub fn mark() -> String {
    let mut bytes = [0u8; 16];
    // Where the system gives no randomness, the time is as good: nobody attacks with their own answer.
    if rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).is_err() {
        bytes = i128::from(clock::now().0).to_le_bytes();
    }
    format!("csync-{}", blake3::hash(&bytes).to_hex().get(..32).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reach::transport::Local;

    #[tokio::test]
    async fn this_machine_is_seen_as_it_is() {
        let transport = Local::transport();
        let facts = probe(&transport, Policy::default()).await.unwrap();
        let here = rustix::system::uname();
        assert_eq!(facts.machine.hostname, here.nodename().to_string_lossy());
        assert!(facts.machine.cores.is_some_and(|cores| cores > 0), "{facts:?}");
        assert!(facts.machine.memory.is_some_and(|memory| memory.0 > 1 << 20), "{facts:?}");
        assert!(facts.account.umask.is_some() && !facts.filesystems.is_empty(), "{facts:?}");
        let skew = facts.skew.unwrap();
        assert!(skew.seconds.abs() <= skew.error + 0.01, "its own clock: {skew:?}");
        assert!(facts.at.is_some() && facts.load.is_some_and(|load| load < 1e6), "{facts:?}");
        assert!(facts.trip.is_some_and(|seconds| seconds > 0.0 && seconds < 60.0), "{facts:?}");
        assert!(!facts.notes.iter().any(|note| note.contains("stopped answering")), "{facts:?}");
    }
}
