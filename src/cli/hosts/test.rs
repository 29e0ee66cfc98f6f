//! `csync hosts test`: connects, and says how that went.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hosts::Known;
use crate::cli::hosts::show::clock_words;
use crate::cli::hosts::way::{Answers, address, connections, unreached, way};
use crate::cli::view::words::duration;
use crate::model::facts::Skew;
use crate::model::host::Host;
use crate::reach::probe::clock_of;
use crate::reach::transport::{Member, Transport};

/// Connect to a host and say how that went
///
/// Says where `ssh` goes, what makes the connection and why, how long connecting takes and how long a command does. Where
/// something is in the way, it says what helps.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The host
    #[arg(value_name = "HOST")]
    host: String,
}

/// Commands whose round trips are measured.
const COMMANDS: usize = 5;

/// What was measured.
struct Measured {
    /// Where `ssh` goes; none for this machine.
    address: Option<String>,
    /// What made the connection.
    via: Member,
    /// Why that.
    why: String,
    connect: Duration,
    trips: Vec<Duration>,
    skew: Option<Skew>,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let known = Known::load(context)?;
    let host = known.host(&args.host)?;
    let measured = context.block_on(measure(context, host))?;
    if context.json() {
        let trips: Vec<f64> = measured.trips.iter().map(Duration::as_secs_f64).collect();
        context.print_json(&json!({
            "name": host.name,
            "address": measured.address,
            "via": measured.via,
            "why": measured.why,
            "connect": measured.connect.as_secs_f64(),
            "round_trips": trips,
            "skew": measured.skew,
        }))?;
    } else {
        context.print(&page(host, &measured))?;
    }
    Ok(Exit::Success)
}

async fn measure(context: &Context, host: &Host) -> Result<Measured, Failure> {
    let connections = connections(context, Answers::Here)?;
    let (address, via, why) = match &host.ssh {
        Some(alias) => {
            let choice = connections.choose(alias.as_str()).await.map_err(|error| unreached(&error, host))?;
            let address = choice.way.last().map(|step| address(&step.options));
            (address, choice.member, choice.reason)
        }
        None if host.simulated.is_some() => (None, Member::Simulated, "it is made up on this machine".to_owned()),
        None => (None, Member::Local, "it is this machine".to_owned()),
    };
    if let Some(address) = &address {
        context.say(&format!("Connecting to {address} ({via}: {why}) ..."));
    }
    let transport = way(&connections, host).await.map_err(|error| unreached(&error, host))?;
    let started = Instant::now();
    transport.connect().await.map_err(|error| unreached(&error, host))?;
    let connect = started.elapsed();
    let mut trips = Vec::new();
    let mut skew: Option<Skew> = None;
    for _ in 0..COMMANDS {
        let (took, seen) = clock_of(&transport).await.map_err(|error| unreached(&error, host))?;
        trips.push(took);
        // The quickest answer says best what time it is there.
        skew = [skew, seen].into_iter().flatten().min_by(|a, b| a.error.total_cmp(&b.error));
    }
    Ok(Measured { address, via, why, connect, trips, skew })
}

fn page(host: &Host, measured: &Measured) -> String {
    let mut out = String::new();
    let to = measured.address.as_ref().map_or_else(String::new, |address| format!(" at {address}"));
    let _ = writeln!(out, "{}{to} answers.", host.name);
    let seconds = |time: &Duration| duration(time.as_secs_f64());
    let _ = writeln!(out, "  transport   {}: {}", measured.via, measured.why);
    let _ = writeln!(out, "  connected   in {}", seconds(&measured.connect));
    let (first, rest) = measured.trips.split_first().unwrap_or((&measured.connect, &[]));
    if let Some(best) = rest.iter().min() {
        let _ = writeln!(out, "  round trip  {} (the first command {})", seconds(best), seconds(first));
    }
    if let Some(skew) = measured.skew {
        let _ = writeln!(out, "  clock       {}", clock_words(skew.seconds, skew.error));
    }
    out
}
