//! Files that lie on hosts come to where they belong here: one at a time brings a file, from the next copy where one is gone.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use crate::model::data::{DataFact, Replica, above, joined, within};
use crate::model::host::HostName;
use crate::model::id::JobKey;
use crate::reach::stage::{StageError, Take, fetch};
use crate::serve::site::stock::{Claim, Stock, absent};

/// Why a file did not come.
#[derive(Debug)]
pub enum NotHome {
    /// Its last copy is not where it was seen, or is another one now.
    Gone(Box<Replica>),
    /// Nobody knows of a copy any more.
    Unknown(String),
    /// No host that may have it gives it.
    Stage(StageError),
}

impl From<StageError> for NotHome {
    fn from(error: StageError) -> Self {
        Self::Stage(error)
    }
}

/// Waits until nobody else brings any of these to a directory here, and keeps others from it for as long as what it returns lives.
pub async fn alone(stock: &Arc<Stock>, root: &str, names: &[String]) -> Claim {
    let here = HostName::local();
    // What is in a directory that lies on a host comes with it.
    let whole = |name: &String| {
        let around = above(name).find(|dir| !stock.copies(root, dir).is_empty());
        around.map_or_else(|| name.clone(), str::to_owned)
    };
    let mut names: Vec<String> = names.iter().map(whole).collect();
    names.sort_unstable();
    names.dedup();
    loop {
        let (claim, _, others) = stock.claim(&here, root, names.clone());
        if others.is_empty() {
            return claim;
        }
        // Whoever waits holds nothing: two that want the same in another order would wait for each other.
        drop(claim);
        stock.wait(&here, root, &others).await;
    }
}

/// Fetches files of one workflow's directory, each from a host that has it; a copy that is gone is forgotten, and the next one
/// tried. Returns how many bytes moved. Whoever calls has claimed them.
///
/// # Errors
/// When no copy of one can be had.
pub async fn bring_home(
    stock: &Arc<Stock>,
    root: &str,
    names: Vec<String>,
    keys: &[JobKey],
    facts: &mut Vec<DataFact>,
) -> Result<u64, NotHome> {
    let mut bytes = 0;
    let (mut pending, mut closed) = (names, HashSet::new());
    let mut last: BTreeMap<String, NotHome> = BTreeMap::new();
    while !pending.is_empty() {
        let mut sources: BTreeMap<(HostName, String, String), Vec<Replica>> = BTreeMap::new();
        for name in std::mem::take(&mut pending) {
            let copy = stock.copies(root, &name).into_iter().find(|copy| !closed.contains(&copy.host));
            let Some(copy) = copy else { return Err(last.remove(&name).unwrap_or(NotHome::Unknown(name))) };
            let prefix = within(&copy.path).0.to_owned();
            sources.entry((copy.host.clone(), copy.place.clone(), prefix)).or_default().push(copy);
        }
        for ((host, place, prefix), copies) in sources {
            match from_one(stock, &host, (&place, &joined(root, &prefix)), &copies, keys, facts).await {
                Ok((moved, missing)) => {
                    bytes += moved;
                    let gone: Vec<Replica> =
                        copies.into_iter().filter(|copy| missing.contains(within(&copy.path).1)).collect();
                    let fact = |copy: &Replica| DataFact::Gone {
                        root: root.to_owned(),
                        path: copy.path.clone(),
                        host: Some(host.clone()),
                    };
                    let forgotten: Vec<DataFact> = gone.iter().map(fact).collect();
                    stock.take_in(&forgotten);
                    facts.extend(forgotten);
                    pending.extend(gone.iter().map(|copy| copy.path.clone()));
                    for copy in gone {
                        // That a host was not reached says more: it may have it still.
                        last.entry(copy.path.clone()).or_insert_with(|| NotHome::Gone(Box::new(copy)));
                    }
                }
                Err(error @ StageError::Here { .. }) => return Err(error.into()),
                Err(error) => {
                    let has_other = |copy: &Replica| {
                        let mut others = stock.copies(root, &copy.path).into_iter();
                        others.any(|other| other.host != host && !closed.contains(&other.host))
                    };
                    if !copies.iter().all(has_other) {
                        return Err(error.into());
                    }
                    tracing::warn!(%host, error = %error, "gives no files; other hosts have them too");
                    let words = error.to_string();
                    for copy in &copies {
                        let told = StageError::There {
                            host: host.to_string(),
                            action: "cannot give it",
                            words: words.clone(),
                        };
                        last.insert(copy.path.clone(), told.into());
                    }
                    pending.extend(copies.into_iter().map(|copy| copy.path));
                    closed.insert(host);
                }
            }
        }
    }
    Ok(bytes)
}

/// Fetches copies from one host to the directory that they belong in here; returns how much moved, and what was not there.
async fn from_one(
    stock: &Arc<Stock>,
    host: &HostName,
    (place, to): (&str, &str),
    copies: &[Replica],
    keys: &[JobKey],
    facts: &mut Vec<DataFact>,
) -> Result<(u64, HashSet<String>), StageError> {
    let is_of_dataset = copies.first().is_some_and(Replica::is_of_dataset);
    if is_of_dataset {
        let made = std::fs::create_dir_all(to);
        made.map_err(|source| StageError::Here { path: Path::new(to).to_owned(), source })?;
    }
    let way = stock.way(host).await?;
    // What is left of a directory would pass for the whole.
    let mut missing = if is_of_dataset { HashSet::new() } else { absent(&way, place, copies).await? };
    let names = copies.iter().map(|copy| within(&copy.path).1.to_owned());
    let names: Vec<String> = names.filter(|name| !missing.contains(name)).collect();
    if names.is_empty() {
        return Ok((0, missing));
    }
    let moving = stock.begin(host, &HostName::local(), keys.to_vec());
    let fetched = fetch(&way, place, Path::new(to), &names, Take::all(), moving.meter()).await;
    facts.extend(moving.finish());
    let fetched = fetched?;
    missing.extend(fetched.missing);
    Ok((fetched.moved.bytes, missing))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::model::units::{Bytes, Timestamp};

    #[tokio::test]
    async fn who_fetches_is_alone_with_all_that_comes_with_it() {
        let stock = Arc::new(Stock::default());
        stock.take_in(&[DataFact::Lies(Replica {
            root: "/w".to_owned(),
            path: "dir".to_owned(),
            host: "hpc".parse().unwrap(),
            place: "/s".to_owned(),
            size: Bytes(3),
            mtime: 1,
            at: Timestamp(0),
        })]);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let first = alone(&stock, "/w", &names(&["a", "dir"])).await;
        // In another order, what is in it, and with what nobody has: all wait, and hold nothing while they do.
        let (all, inside) = (names(&["b", "dir", "a"]), names(&["dir/deep/x"]));
        let mut second = std::pin::pin!(alone(&stock, "/w", &all));
        let mut third = std::pin::pin!(alone(&stock, "/w", &inside));
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        assert!(alone(&stock, "/w", &names(&["b"])).now_or_never().is_some(), "who waits holds nothing");
        assert!(alone(&stock, "/other", &names(&["a"])).now_or_never().is_some(), "another directory's");
        drop(first);
        drop(second.await);
        drop(third.await);
    }
}
