//! What is known of files on hosts, shared by the runner and all sites: which lie where, who sees whose directories, what is on
//! its way now, and how fast that goes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::language::hosts::Hosts;
use crate::language::quote::sh;
use crate::model::api::{HeldView, MovingView};
use crate::model::data::{DATA, DataFact, Elsewhere, Rate, Replica, above, within};
use crate::model::host::{Host, HostName, Links};
use crate::model::id::{JobKey, RunId};
use crate::model::units::Bytes;
use crate::reach::clock;
use crate::reach::stage::{Direct, Ledger, Seen, StageError, look_into};
use crate::reach::transport::{ConnectionSettings, Connections, Limits, Meter, Remote, TransportError};

/// Transfers below this say nothing of a link: what it costs to begin one shows.
const TELLING: (u64, f64) = (4 << 20, 0.1);

/// See the room.
#[derive(Debug, Default)]
pub struct Stock {
    connections: OnceLock<Arc<Connections>>,
    inner: Mutex<Inner>,
    /// Rung when a claim ends.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    hosts: HashMap<HostName, Host>,
    links: Links,
    /// By directory and path.
    replicas: HashMap<String, BTreeMap<String, Vec<Replica>>>,
    /// Whether a host sees a directory of this machine, and whether this process has looked.
    shared: HashMap<(HostName, String), (bool, bool)>,
    rates: HashMap<(HostName, HostName), f64>,
    /// What is known of what was brought: host, directory there.
    ledgers: HashMap<(HostName, String), Arc<Ledger>>,
    /// What this process noted to have brought: host, directory, name.
    brought: HashSet<(HostName, String, String)>,
    /// What is being brought, by host and directory.
    claims: HashMap<(HostName, String), BTreeSet<String>>,
    moves: BTreeMap<u64, Arc<Move>>,
    next: u64,
}

/// Files on their way.
#[derive(Debug)]
struct Move {
    source: HostName,
    target: HostName,
    keys: Vec<JobKey>,
    meter: Meter,
    since: Instant,
}

/// Files on their way, until it is dropped.
#[derive(Debug)]
pub struct Moving {
    stock: Arc<Stock>,
    number: u64,
    it: Arc<Move>,
}

/// Names that are being brought, until it is dropped: nobody else brings them meanwhile, nor what is in them or around them.
#[derive(Debug)]
pub struct Claim {
    stock: Arc<Stock>,
    place: (HostName, String),
    held: Vec<String>,
}

impl Stock {
    /// Makes one that knows what earlier engines found.
    pub fn knowing(replicas: Vec<Replica>, rates: Vec<Rate>, shared: &[DataFact]) -> Self {
        let stock = Self::default();
        stock.take_in(&replicas.into_iter().map(DataFact::Lies).collect::<Vec<_>>());
        stock.take_in(&rates.into_iter().map(DataFact::Rate).collect::<Vec<_>>());
        stock.take_in(shared);
        for known in stock.inner().shared.values_mut() {
            known.1 = false;
        }
        stock
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connections of all hosts, made with the first call.
    pub fn connections(&self, settings: impl FnOnce() -> ConnectionSettings) -> Arc<Connections> {
        Arc::clone(self.connections.get_or_init(|| Arc::new(Connections::new(settings()))))
    }

    /// Offers a person's agent to the connections, where they are made: see [`Connections::offer_agent`].
    pub fn offer_agent(&self, socket: &str) -> bool {
        self.connections.get().is_some_and(|connections| connections.offer_agent(socket))
    }

    /// Learns how hosts are reached.
    pub fn know(&self, hosts: &Hosts) {
        let mut inner = self.inner();
        inner.hosts = hosts.iter().map(|host| (host.name.clone(), host.clone())).collect();
        inner.links = hosts.links().clone();
    }

    /// Returns a host as it is configured.
    pub fn host(&self, name: &HostName) -> Option<Host> {
        self.inner().hosts.get(name).cloned()
    }

    /// Returns whether anything lies on hosts.
    pub fn needs_hosts(&self) -> bool {
        !self.inner().replicas.is_empty()
    }

    /// Returns the way to a host; nothing is connected by that.
    ///
    /// # Errors
    /// When nobody knows the host, or what its configuration says is wrong.
    pub async fn way(&self, name: &HostName) -> Result<Remote, TransportError> {
        let host = self.inner().hosts.get(name).cloned();
        let unknown =
            |detail: &str| TransportError::Configuration { host: name.to_string(), detail: detail.to_owned() };
        let host = host.ok_or_else(|| unknown("hosts.toml does not name it"))?;
        let connections = self.connections.get().cloned().ok_or_else(|| unknown("nothing connects to hosts here"))?;
        way(&connections, &host).await
    }

    /// Returns how a host reaches another one itself, where a person said that it does: at the address that is configured here,
    /// with that host's own keys or with those that are lent to it.
    pub async fn direct(&self, from: &HostName, to: &HostName) -> Option<Direct> {
        let (link, near, alias) = {
            let inner = self.inner();
            let link = inner.links.get(&(from.clone(), to.clone())).copied().filter(|link| link.direct)?;
            (link, inner.hosts.get(from)?.clone(), inner.hosts.get(to)?.ssh.clone()?)
        };
        let connections = self.connections.get()?;
        if link.agent {
            let limits = Limits { per_minute: near.policy.connections_per_minute, ..Limits::default() };
            let holder = near.ssh.as_ref()?;
            let lender = connections.lender(from, holder.as_str(), limits, alias.as_str()).await;
            let lender = lender.inspect_err(|error| tracing::warn!(%from, %to, %error, "no key is lent"));
            return lender.ok().map(Box::new).map(Direct::Lent);
        }
        let choice = connections.choose(alias.as_str()).await;
        let step = choice.inspect_err(|error| tracing::warn!(%error, "its address is not known")).ok()?.way.pop()?;
        let user = step.options.get("user").map(|user| format!("-l {} ", sh(user))).unwrap_or_default();
        let host = sh(step.options.host_name().unwrap_or(alias.as_str())).into_owned();
        let port = step.options.port();
        Some(Direct::Own(format!("ssh -o BatchMode=yes -o ConnectTimeout=20 -p {port} {user}-- {host}")))
    }

    /// Takes in what was learned. The rates in `facts` are those of single transfers.
    pub fn take_in(&self, facts: &[DataFact]) {
        let mut inner = self.inner();
        for fact in facts {
            match fact {
                DataFact::Lies(replica) => {
                    let of = inner.replicas.entry(replica.root.clone()).or_default();
                    let copies = of.entry(replica.path.clone()).or_default();
                    // Copies of an earlier content are of no use to anybody.
                    // Of an image every runtime keeps another form.
                    copies.retain(|copy| {
                        let same = replica.is_image() || copy.fingerprint() == replica.fingerprint();
                        copy.host != replica.host && same
                    });
                    copies.push(replica.clone());
                }
                DataFact::Gone { root, path, host } => {
                    let Some(of) = inner.replicas.get_mut(root) else { continue };
                    if let Some(copies) = of.get_mut(path) {
                        copies.retain(|copy| host.as_ref().is_some_and(|host| copy.host != *host));
                        if copies.is_empty() {
                            of.remove(path);
                        }
                    }
                    if of.is_empty() {
                        inner.replicas.remove(root);
                    }
                }
                DataFact::Brought(brought) => {
                    inner.brought.insert((brought.host.clone(), brought.root.clone(), brought.path.clone()));
                }
                DataFact::Cleaned { host } => {
                    inner.brought.retain(|(of, ..)| of != host);
                    inner.ledgers.retain(|(of, _), _| of != host);
                }
                DataFact::Holds(_) | DataFact::Dropped { .. } => {}
                DataFact::Rate(rate) => {
                    inner.rates.insert((rate.source.clone(), rate.target.clone()), rate.rate);
                }
                DataFact::Shared { host, directory, seen, .. } => {
                    inner.shared.insert((host.clone(), directory.clone()), (*seen, true));
                }
            }
        }
    }

    /// Returns what lies elsewhere of a directory.
    pub fn elsewhere(&self, root: &str) -> Elsewhere {
        let inner = self.inner();
        inner.replicas.get(root).into_iter().flat_map(BTreeMap::values).flatten().collect()
    }

    /// Returns whether anything of a directory lies elsewhere.
    pub fn has_any(&self, root: &str) -> bool {
        self.inner().replicas.contains_key(root)
    }

    /// Returns how much of what tasks made in a directory lies on which host.
    pub fn held(&self, root: &str) -> Vec<HeldView> {
        let inner = self.inner();
        let mut held: BTreeMap<&HostName, (u32, u64)> = BTreeMap::new();
        let copies = inner.replicas.get(root).into_iter().flat_map(BTreeMap::values).flatten();
        for copy in copies.filter(|copy| !copy.is_of_dataset()) {
            let of = held.entry(&copy.host).or_default();
            *of = (of.0 + 1, of.1.saturating_add(copy.size.0));
        }
        let view = |(host, (files, bytes)): (&HostName, _)| HeldView { host: host.clone(), files, bytes: Bytes(bytes) };
        held.into_iter().map(view).collect()
    }

    /// Returns the copies of a file.
    pub fn copies(&self, root: &str, path: &str) -> Vec<Replica> {
        self.inner().replicas.get(root).and_then(|of| of.get(path)).cloned().unwrap_or_default()
    }

    /// Returns what lies on hosts alone of what is in a directory.
    fn lacking(&self, root: &str, dir: &str) -> Vec<String> {
        let below = format!("{}/", dir.trim_end_matches('/'));
        let inner = self.inner();
        let of = inner.replicas.get(root).into_iter().flat_map(|of| of.range(below.clone()..));
        let of = of.map(|(path, _)| path).take_while(|path| path.starts_with(&below));
        of.filter(|path| Path::new(root).join(path).symlink_metadata().is_err()).cloned().collect()
    }

    /// Returns the files of datasets that lie on hosts below a path.
    pub fn below(&self, root: &str, path: &str) -> Vec<String> {
        if !path.starts_with(DATA) {
            return Vec::new();
        }
        let dir = format!("{}/", path.trim_end_matches('/'));
        let inner = self.inner();
        let of = inner.replicas.get(root).into_iter().flat_map(|of| of.range(dir.clone()..));
        of.map(|(path, _)| path).take_while(|path| path.starts_with(&dir)).cloned().collect()
    }

    /// Puts the files of datasets in the place of their directories, and a directory that a task left on a host in the place of what is
    /// in it: that lies there, or comes, as a whole. What tasks left on hosts of what is in a directory is put beside that.
    pub fn spread(&self, root: &str, names: Vec<String>) -> Vec<String> {
        if !self.has_any(root) {
            return names;
        }
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            let below = self.below(root, &name);
            if below.is_empty() {
                let name = self.around(root, &name).unwrap_or(name);
                let lacking = self.lacking(root, &name);
                // Nothing of it is here where all of it lies on hosts.
                if lacking.is_empty() || Path::new(root).join(&name).symlink_metadata().is_ok() {
                    all.push(name);
                }
                all.extend(lacking);
            } else {
                all.extend(below);
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Returns the directory that lies on a host and in which something is that is not here.
    fn around(&self, root: &str, name: &str) -> Option<String> {
        let inner = self.inner();
        let of = inner.replicas.get(root)?;
        let dir = above(name).find(|dir| of.contains_key(*dir) && !of.contains_key(name))?;
        Path::new(root).join(name).symlink_metadata().is_err().then(|| dir.to_owned())
    }

    /// Returns whether this process noted that it brought that to a host.
    pub(super) fn has_brought(&self, host: &HostName, root: &str, name: &str) -> bool {
        self.inner().brought.contains(&(host.clone(), root.to_owned(), name.to_owned()))
    }

    /// Returns what is known of what was brought to a directory of a host.
    pub(super) fn ledger(&self, host: &HostName, place: &str) -> Arc<Ledger> {
        Arc::clone(self.inner().ledgers.entry((host.clone(), place.to_owned())).or_default())
    }

    /// Returns whether a host sees a directory of this machine, as far as anybody looked.
    pub fn shared(&self, host: &HostName, directory: &str) -> bool {
        self.inner().shared.get(&(host.clone(), directory.to_owned())).is_some_and(|known| known.0)
    }

    /// Returns whether this process looked at that.
    pub(super) fn has_looked(&self, host: &HostName, directory: &str) -> bool {
        self.inner().shared.get(&(host.clone(), directory.to_owned())).is_some_and(|known| known.1)
    }

    /// Returns how fast files move from one host to another, in bytes per second, as far as any have.
    pub fn rate(&self, source: &HostName, target: &HostName) -> Option<f64> {
        self.inner().rates.get(&(source.clone(), target.clone())).copied()
    }

    /// Claims those of some names that nobody else is bringing to a directory of a host, nor a directory that they are in, nor anything
    /// that is in them: two that write the same file would write into one another's half. Returns the others too.
    pub fn claim(
        self: &Arc<Self>,
        host: &HostName,
        directory: &str,
        names: Vec<String>,
    ) -> (Claim, Vec<String>, Vec<String>) {
        let mut inner = self.inner();
        let place = (host.clone(), directory.to_owned());
        let claimed = inner.claims.entry(place.clone()).or_default();
        // What is around one another among these is no obstacle: it is brought by one.
        let (mine, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| !meets(claimed, name));
        claimed.extend(mine.iter().cloned());
        drop(inner);
        (Claim { stock: Arc::clone(self), place, held: mine.clone() }, mine, others)
    }

    /// Waits until somebody has brought what they claimed.
    pub async fn wait(&self, host: &HostName, directory: &str, names: &[String]) {
        let place = (host.clone(), directory.to_owned());
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Before looking, so that nothing is missed in between.
            freed.as_mut().enable();
            let is_free = {
                let inner = self.inner();
                let claimed = inner.claims.get(&place);
                claimed.is_none_or(|claimed| !names.iter().any(|name| meets(claimed, name)))
            };
            if is_free {
                return;
            }
            freed.await;
        }
    }

    /// Begins to move files, for these attempts.
    pub fn begin(self: &Arc<Self>, source: &HostName, target: &HostName, keys: Vec<JobKey>) -> Moving {
        let it = Arc::new(Move {
            source: source.clone(),
            target: target.clone(),
            keys,
            meter: Meter::default(),
            since: Instant::now(),
        });
        let mut inner = self.inner();
        let number = inner.next;
        inner.next += 1;
        inner.moves.insert(number, Arc::clone(&it));
        drop(inner);
        Moving { stock: Arc::clone(self), number, it }
    }

    /// Returns what is on its way for a run.
    pub fn moving(&self, run: RunId) -> Vec<MovingView> {
        let moves: Vec<Arc<Move>> = self.inner().moves.values().cloned().collect();
        moves.iter().filter(|it| it.keys.iter().any(|key| key.run == run)).filter_map(|it| it.view()).collect()
    }

    /// Returns what is on its way for an attempt.
    pub fn moving_for(&self, key: JobKey) -> Option<MovingView> {
        let moves: Vec<Arc<Move>> = self.inner().moves.values().cloned().collect();
        moves.iter().filter(|it| it.keys.contains(&key)).find_map(|it| it.view())
    }
}

impl Move {
    /// None while it is not known that anything is to move.
    fn view(&self) -> Option<MovingView> {
        let (total, done) = (self.meter.total(), self.meter.done());
        let seconds = self.since.elapsed().as_secs_f64();
        let rate = if seconds > 0.0 { done as f64 / seconds } else { 0.0 };
        let left = (rate > 0.0 && seconds > 1.0).then(|| total.saturating_sub(done) as f64 / rate);
        (total > 0 && done < total).then(|| MovingView {
            source: self.source.clone(),
            target: self.target.clone(),
            done: Bytes(done),
            total: Bytes(total),
            rate,
            left,
        })
    }
}

impl Moving {
    /// Returns what counts the bytes.
    pub fn meter(&self) -> &Meter {
        &self.it.meter
    }

    /// Returns the runs that it is for.
    pub(super) fn runs(&self) -> Vec<RunId> {
        self.it.keys.iter().map(|key| key.run).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Ends it; returns what it says of the link, when it says anything.
    pub fn finish(self) -> Option<DataFact> {
        let Move { source, target, meter, since, .. } = &*self.it;
        let (bytes, seconds) = (meter.done(), since.elapsed().as_secs_f64());
        if bytes < TELLING.0 || seconds < TELLING.1 {
            return None;
        }
        let now = bytes as f64 / seconds;
        let rate = self.stock.rate(source, target).map_or(now, |before| f64::midpoint(before, now));
        let fact = DataFact::Rate(Rate {
            source: source.clone(),
            target: target.clone(),
            rate,
            bytes: Bytes(bytes),
            at: clock::now(),
        });
        self.stock.take_in(std::slice::from_ref(&fact));
        Some(fact)
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        self.stock.inner().moves.remove(&self.number);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut inner = self.stock.inner();
        if let Some(claimed) = inner.claims.get_mut(&self.place) {
            for name in &self.held {
                claimed.remove(name);
            }
            if claimed.is_empty() {
                inner.claims.remove(&self.place);
            }
        }
        drop(inner);
        self.stock.freed.notify_waiters();
    }
}

/// Returns whether one of these names is this one, or one is in the other.
fn meets(claimed: &BTreeSet<String>, name: &str) -> bool {
    if claimed.is_empty() {
        return false;
    }
    // All of a directory.
    if name == "." || claimed.contains(".") {
        return true;
    }
    let below = format!("{name}/");
    claimed.contains(name)
        || above(name).any(|dir| claimed.contains(dir))
        || claimed.range(below.clone()..).next().is_some_and(|first| first.starts_with(&below))
}

/// Returns which copies a host does not have as they were seen: they are gone, or changed, or a part of a directory is. Two commands,
/// whatever their number.
///
/// # Errors
/// When the host cannot be asked.
pub async fn absent(way: &Remote, from: &str, copies: &[Replica]) -> Result<HashSet<String>, StageError> {
    let there = look_into(way, from, copies.iter().map(|copy| within(&copy.path).1)).await?;
    let lacks = |copy: &&Replica| {
        let name = within(&copy.path).1;
        // Such a name cannot be looked for.
        !name.contains('\n') && !there.get(name).is_some_and(|seen| is(seen, copy))
    };
    Ok(copies.iter().filter(lacks).map(|copy| within(&copy.path).1.to_owned()).collect())
}

/// Returns whether what a host has is the copy that was recorded.
pub(super) fn is(seen: &Seen, copy: &Replica) -> bool {
    (seen.size, seen.mtime) == (copy.size.0, copy.mtime)
}

/// Returns the way to a host; nothing is connected by that.
pub(super) async fn way(connections: &Connections, host: &Host) -> Result<Remote, TransportError> {
    connections.to(host).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::InstanceId;
    use crate::model::units::Timestamp;

    fn host(name: &str) -> HostName {
        name.parse().unwrap()
    }

    fn lies(path: &str, on: &str, mtime: i64) -> DataFact {
        DataFact::Lies(Replica {
            root: "/w".to_owned(),
            path: path.to_owned(),
            host: host(on),
            place: "/s".to_owned(),
            size: Bytes(3),
            mtime,
            at: Timestamp(0),
        })
    }

    #[test]
    fn a_new_content_puts_the_copies_of_the_old_one_out_of_use() {
        let stock = Stock::default();
        stock.take_in(&[lies("a", "hpc", 1), lies("a", "lab", 1), lies("b", "hpc", 1)]);
        assert_eq!(stock.copies("/w", "a").len(), 2);
        let held: Vec<_> = stock.held("/w").into_iter().map(|it| (it.host.to_string(), it.files, it.bytes.0)).collect();
        assert_eq!(held, [("hpc".to_owned(), 2, 6), ("lab".to_owned(), 1, 3)]);
        stock.take_in(&[lies("a", "grid", 2)]);
        assert_eq!(stock.copies("/w", "a").iter().map(|it| it.host.as_str()).collect::<Vec<_>>(), ["grid"]);
        assert_eq!(stock.elsewhere("/w").get("a").map(|it| it.mtime), Some(2_000_000));
        let gone = |path: &str, on: Option<&str>| DataFact::Gone {
            root: "/w".to_owned(),
            path: path.to_owned(),
            host: on.map(host),
        };
        stock.take_in(&[gone("a", Some("hpc")), gone("b", None)]);
        assert!(stock.copies("/w", "b").is_empty() && stock.has_any("/w"));
        stock.take_in(&[gone("a", Some("grid"))]);
        assert!(!stock.has_any("/w") && stock.elsewhere("/w").is_empty());
    }

    #[test]
    fn what_is_in_a_directory_that_lies_elsewhere_comes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        let stock = Stock::default();
        let copy = |path: &str| match lies(path, "hpc", 1) {
            DataFact::Lies(copy) => DataFact::Lies(Replica { root: root.to_owned(), ..copy }),
            fact => fact,
        };
        stock.take_in(&[copy("out/deep"), copy("b"), copy("in/one"), copy("in/sub/two"), copy("into")]);
        let spread = |names: &[&str]| stock.spread(root, names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(
            spread(&["out/deep/x/y", "out/deep/z", "out/deeper", "a", "b"]),
            ["a", "b", "out/deep", "out/deeper"]
        );
        assert_eq!(spread(&["in"]), ["in/one", "in/sub/two"]);
        std::fs::create_dir_all(dir.path().join("in/sub")).unwrap();
        std::fs::write(dir.path().join("in/one"), "").unwrap();
        assert_eq!(spread(&["in"]), ["in", "in/sub/two"], "the one is here");
        std::fs::create_dir_all(dir.path().join("out/deep")).unwrap();
        std::fs::write(dir.path().join("out/deep/z"), "").unwrap();
        assert_eq!(spread(&["out/deep/z"]), ["out/deep/z"], "it is here");
        let elsewhere = stock.elsewhere(root);
        assert_eq!(elsewhere.get("out/deep/x/y"), elsewhere.get("out/deep"));
        assert!(elsewhere.get("out/deep").is_some() && elsewhere.get("out").is_none());
    }

    #[tokio::test]
    async fn what_somebody_brings_nobody_else_brings() {
        let stock = Arc::new(Stock::default());
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (first, mine, others) = stock.claim(&host("hpc"), "/t", names(&["a", "b"]));
        assert_eq!((mine, others), (names(&["a", "b"]), names(&[])));
        let (second, mine, others) = stock.claim(&host("hpc"), "/t", names(&["b", "c"]));
        assert_eq!((mine, &others), (names(&["c"]), &names(&["b"])));
        let (_, mine, _) = stock.claim(&host("lab"), "/t", names(&["b"]));
        assert_eq!(mine, names(&["b"]), "of another host");
        let (_, mine, _) = stock.claim(&host("hpc"), "/u", names(&["b"]));
        assert_eq!(mine, names(&["b"]), "of another directory");
        let waiting = {
            let stock = Arc::clone(&stock);
            tokio::spawn(async move { stock.wait(&host("hpc"), "/t", &others).await })
        };
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(second);
        drop(first);
        waiting.await.unwrap();
        assert!(stock.inner().claims.is_empty());
    }

    #[tokio::test]
    async fn what_is_in_a_directory_that_somebody_brings_nobody_else_brings() {
        let stock = Arc::new(Stock::default());
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let claim = |wanted: &[&str]| stock.claim(&host("hpc"), "/t", names(wanted));
        // Those that are asked for together are brought together.
        let (first, mine, others) = claim(&["dir", "dir/deep/x", "one/deep/y"]);
        assert_eq!((mine, others), (names(&["dir", "dir/deep/x", "one/deep/y"]), names(&[])));
        let (second, mine, others) = claim(&["dir/z", "dir-not", "one", "one/deep", "one/deep.y", "one/deep/yz"]);
        assert_eq!(
            (mine, &others),
            (names(&["dir-not", "one/deep.y", "one/deep/yz"]), &names(&["dir/z", "one", "one/deep"]))
        );
        assert_eq!(claim(&["."]).2, names(&["."]), "all of it");
        drop(second);
        let waiting = {
            let stock = Arc::clone(&stock);
            tokio::spawn(async move { stock.wait(&host("hpc"), "/t", &others).await })
        };
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        waiting.await.unwrap();
        let (all, mine, _) = claim(&["."]);
        assert_eq!(mine, names(&["."]));
        assert_eq!(claim(&["dir/z"]).2, names(&["dir/z"]));
        drop(all);
    }

    #[test]
    fn what_moves_is_seen_and_says_how_fast() {
        let stock = Arc::new(Stock::default());
        let key = JobKey { run: RunId(1), instance: InstanceId(2), attempt: 1 };
        let moving = stock.begin(&HostName::local(), &host("hpc"), vec![key]);
        assert!(stock.moving(RunId(1)).is_empty(), "nothing is known to move yet");
        moving.meter().expect(100 << 20);
        moving.meter().count(50 << 20);
        assert_eq!(stock.moving(RunId(1)).len(), 1);
        assert!(stock.moving(RunId(2)).is_empty());
        assert_eq!(stock.moving_for(key).map(|it| it.done), Some(Bytes(50 << 20)));
        drop(moving);
        assert!(stock.moving_for(key).is_none());
        let small = stock.begin(&HostName::local(), &host("hpc"), vec![key]);
        small.meter().count(1000);
        assert_eq!(small.finish(), None, "too little to tell");
    }
}
