//! When clusters would start a job, by their own word, where nobody knows how long jobs wait there: asked before a run is taken in
//! that may go there, at most once in a while, and without waiting long for an answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use crate::language::batch;
use crate::model::api::DataAsk;
use crate::model::batch::Flavour;
use crate::model::host::HostName;
use crate::model::units::Walltime;
use crate::reach::transport::{Exec, Transport};
use crate::serve::engine::handle::Handle;
use crate::serve::site::stock::Stock;

/// How long an answer is waited for, the connection included.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long an answer holds.
const HOLDS: Duration = Duration::from_mins(5);
/// Clusters that are asked at once.
const MOST: usize = 8;
/// Most that an answer says.
const SAID: usize = 16 << 10;

/// What is asked of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StartAsk {
    /// The host.
    pub(super) host: HostName,
    /// Its batch system.
    pub(super) flavour: Flavour,
    /// What makes its commands known.
    pub(super) prelude: String,
    /// Cores of a job.
    pub(super) cpus: u32,
    /// Its walltime.
    pub(super) time: Option<Walltime>,
    /// What it is charged to.
    pub(super) account: Option<String>,
}

/// What clusters said lately: seconds until a job would start, none where they did not say.
#[derive(Debug, Default)]
pub(super) struct Starts(HashMap<HostName, (Instant, Option<f64>)>);

impl Starts {
    /// Parts what is to be asked now from what is known.
    fn due(&mut self, asks: Vec<StartAsk>) -> (Vec<StartAsk>, Vec<(HostName, f64)>) {
        let now = Instant::now();
        let (mut due, mut known) = (Vec::new(), Vec::new());
        for ask in asks {
            match self.0.get(&ask.host) {
                Some((at, said)) if now.duration_since(*at) < HOLDS => known.extend(said.map(|said| (ask.host, said))),
                _ if due.len() < MOST => {
                    // Whoever comes meanwhile does not ask again.
                    self.0.insert(ask.host.clone(), (now, None));
                    due.push(ask);
                }
                _ => {}
            }
        }
        (due, known)
    }
}

impl Handle {
    /// Asks clusters when they would start a job; returns in how many seconds, of those that said so.
    pub(super) async fn starts(
        &self,
        submission_env: &[(String, String)],
        asks: Vec<StartAsk>,
    ) -> Vec<(HostName, f64)> {
        if asks.is_empty() {
            return Vec::new();
        }
        let Ok((due, mut known)) = self.look(move |runner| runner.sites.starts.due(asks)).await else {
            return Vec::new();
        };
        if due.is_empty() {
            return known;
        }
        let ask = DataAsk { env: submission_env.to_vec(), ..DataAsk::default() };
        let Ok((stock, _)) = self.stock(&ask).await else { return known };
        let answers = due.into_iter().map(|ask| {
            let stock = Arc::clone(&stock);
            async move {
                let said = timeout(PATIENCE, said(&stock, &ask)).await.ok().flatten();
                (ask.host, said)
            }
        });
        let answers = join_all(answers).await;
        let told = answers.clone();
        let kept = self.look(move |runner| {
            let now = Instant::now();
            runner.sites.starts.0.extend(told.into_iter().map(|(host, said)| (host, (now, said))));
        });
        // An engine that leaves takes no run in.
        kept.await.ok();
        known.extend(answers.into_iter().filter_map(|(host, said)| Some((host, said?))));
        known
    }
}

async fn said(stock: &Stock, ask: &StartAsk) -> Option<f64> {
    let command = batch::start(ask.flavour, ask.cpus, ask.time, ask.account.as_deref())?;
    let way = stock.way(&ask.host).await.ok()?;
    let script = format!("{}{command}", ask.prelude);
    let reply = way.exec(Exec::new(script).within(PATIENCE).printing(SAID)).await.ok()?;
    batch::parse_start(ask.flavour, &String::from_utf8_lossy(&reply.stdout))
}
