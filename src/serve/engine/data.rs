//! Files that lie on hosts, at a person's word: listed, fetched, moved, removed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::language::quote::sh;
use crate::model::api::{ApiError, DataAsk, DataDone, ErrorKind};
use crate::model::data::{DataFact, IMAGES, ImagesSeen, Replica, has_image};
use crate::model::host::{Host, HostName};
use crate::reach::clock;
use crate::reach::files::look::fingerprint;
use crate::reach::stage::{StageError, look, relay};
use crate::reach::transport::{Exec, Remote, Transport, TransportError};
use crate::serve::engine::admit::facts_of;
use crate::serve::engine::copies::{going_along, links};
use crate::serve::engine::handle::Handle;
use crate::serve::engine::refusal::{chain, refuse, storage};
use crate::serve::engine::sites::connection_settings;
use crate::serve::prepare::places;
use crate::serve::site::home::{NotHome, alone, bring_home};
use crate::serve::site::stock::{Stock, absent};
use crate::serve::site::{ground_of, is_one};

/// Most that is moved from host to host at a time.
const MOST: u64 = 1 << 50;

/// How long removing may take: large directories on a filesystem that many share.
const REMOVING: Duration = Duration::from_mins(30);

/// Removes what it is given. A directory gets another name first, since one of which a part is gone would pass for the whole, however
/// this ends; the next try finds it by that name. A name that is too long for it goes as it is.
const REMOVE: &str = r#"s=0
for p; do
    g=${p%/*}/.csync-rm.${p##*/}
    [ -d "$p" ] && [ ! -h "$p" ] || [ -e "$g" ] || continue
    mv -f -- "$p" "$g" 2>/dev/null
    [ ! -e "$g" ] || rm -rf -- "$g" || s=1
done
rm -rf -- "$@" || s=1
exit $s"#;

/// Copies in one directory of one host: the host, the directory, what it stands for.
type Heap = (HostName, String, String);

impl Handle {
    /// Returns every file of a workflow that lies on a host. Those of datasets are their owners', and images are no files.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn data(&self) -> Result<Vec<Replica>, ApiError> {
        let mut all = self.reader.replicas(None).await.map_err(|error| storage(&error))?;
        all.retain(|replica| !replica.is_of_dataset() && !replica.is_image());
        Ok(all)
    }

    /// Fetches files that lie on hosts to where they belong here; of what is in a directory that lies there, the directory.
    ///
    /// # Errors
    /// When no host has one of them, or a host cannot be asked.
    pub async fn get_data(&self, ask: DataAsk) -> Result<DataDone, ApiError> {
        let (stock, _) = self.stock(&ask).await?;
        let mut roots: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for copy in self.chosen(&ask, Some(&stock)).await? {
            roots.entry(copy.root).or_default().insert(copy.path);
        }
        let mut done = DataDone::default();
        for (root, names) in roots {
            let names: Vec<String> = names.into_iter().collect();
            let _mine = alone(&stock, &root, &names).await;
            // What a run brought back meanwhile is here, and lies nowhere else.
            let is_here = |name: &String| {
                stock.copies(&root, name).is_empty() && Path::new(&root).join(name).symlink_metadata().is_ok()
            };
            let lacking = names.iter().filter(|name| !is_here(name)).cloned().collect();
            let mut facts = Vec::new();
            let brought = bring_home(&stock, &root, lacking, &[], &mut facts).await;
            self.learn(facts).await?;
            done.bytes.0 += brought.map_err(not_home)?;
            done.paths.extend(names.iter().map(|name| format!("{}/{name}", root.trim_end_matches('/'))));
        }
        Ok(done)
    }

    /// Moves files from the hosts that have them to another.
    ///
    /// # Errors
    /// As [`Handle::get_data`].
    pub async fn move_data(&self, ask: DataAsk) -> Result<DataDone, ApiError> {
        let (stock, hosts) = self.stock(&ask).await?;
        let target = ask.to.clone().ok_or_else(|| refuse(ErrorKind::Invalid, "nobody said where to"))?;
        if target.is_local() {
            return Err(ApiError {
                hint: Some(format!("`csync data get {}` brings it here", ask.paths.join(" "))),
                ..refuse(ErrorKind::Invalid, "files are moved from host to host, and `local` is this machine")
            });
        }
        let host = hosts.iter().find(|host| host.name == target).ok_or_else(|| ApiError {
            hint: Some("`csync hosts list` shows them; `csync data get` brings files here".to_owned()),
            ..refuse(ErrorKind::NotFound, format!("hosts.toml names no host `{target}`"))
        })?;
        let to = stock.way(&target).await.map_err(|error| unreached(&error))?;
        let ground = ground_of(host, &to).await.map_err(|error| unreached(&error))?;
        let mut done = DataDone::default();
        let chosen = self.chosen(&ask, None).await?;
        let there: BTreeSet<(String, String)> = chosen
            .iter()
            .filter(|copy| copy.host == target)
            .map(|copy| (copy.root.clone(), copy.path.clone()))
            .collect();
        let lacking = |copy: &Replica| !there.contains(&(copy.root.clone(), copy.path.clone()));
        let (mut moved, mut lost) = (BTreeSet::new(), Vec::new());
        for ((source, place, root), copies) in heaps(chosen.into_iter().filter(lacking).collect()) {
            let from = stock.way(&source).await.map_err(|error| unreached(&error))?;
            let goal = ground.root(&self.state, &root);
            let is_there = is_same((&from, &place), (&to, &goal)).await?;
            // Of what another host gave, this is one copy more; it may be a link to that, which leads nowhere now.
            let (more, copies): (Vec<_>, Vec<_>) = copies.into_iter().partition(|copy| moved.contains(&copy.here()));
            let (names, absent) = split(&copies, absent(&from, &place, &copies).await.map_err(|error| failed(&error))?);
            let moving = stock.begin(&source, &target, Vec::new());
            let how = stock.direct(&source, &target).await;
            let passed = if is_there {
                Ok(Default::default())
            } else {
                relay((&from, &place), (&to, &goal), &names, MOST, how.as_ref(), moving.meter()).await
            };
            self.learn(moving.finish().into_iter().collect()).await?;
            let (bytes, missing) = passed.map_err(|error| failed(&error))?;
            let missing = [absent, missing].concat();
            self.forget(&root, &missing, &source).await?;
            let (gone, copies): (Vec<_>, Vec<_>) = copies.into_iter().partition(|copy| missing.contains(&copy.path));
            lost.extend(gone);
            let lies = |copy: &Replica| {
                let (host, place) = (target.clone(), goal.clone());
                DataFact::Lies(Replica { host, place, at: clock::now(), ..copy.clone() })
            };
            // Recorded before the other copy goes: nothing is lost, whatever happens in between.
            self.learn(copies.iter().map(lies).collect()).await?;
            moved.extend(copies.iter().map(Replica::here));
            done.bytes.0 += bytes.bytes;
            done.paths.extend(copies.iter().map(Replica::here));
            let leaving = [copies, more].concat();
            if !is_there {
                remove(&from, &leaving, REMOVING).await?;
            }
            let names: Vec<String> = leaving.into_iter().map(|copy| copy.path).collect();
            self.forget(&root, &names, &source).await?;
        }
        // What one host did not have any more, another may have given.
        match lost.into_iter().find(|copy| !moved.contains(&copy.here())) {
            Some(copy) => Err(gone(&copy.path, &copy.host)),
            None => Ok(done),
        }
    }

    /// Takes in that what was brought to a host for jobs is there no more.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn cleaned(&self, host: HostName) -> Result<(), ApiError> {
        self.learn(vec![DataFact::Cleaned { host }]).await
    }

    /// Removes copies of files from hosts.
    ///
    /// # Errors
    /// As [`Handle::get_data`]; and when it would be the last copy, unless that is asked for.
    pub async fn remove_data(&self, ask: DataAsk) -> Result<DataDone, ApiError> {
        let (stock, _) = self.stock(&ask).await?;
        let chosen = self.chosen(&ask, None).await?;
        let all = self.data().await?;
        let mut done = DataDone::default();
        let is_of = |copy: &Replica, other: &Replica| (&other.root, &other.path) == (&copy.root, &copy.path);
        let meant: HashSet<(&String, &String)> = chosen.iter().map(|copy| (&copy.root, &copy.path)).collect();
        let others =
            || all.iter().filter(|other| meant.contains(&(&other.root, &other.path)) && !chosen.contains(other));
        // What is linked goes with what it is linked to, and what is the same file on another host with that.
        let mut along = BTreeSet::new();
        if !ask.last {
            along.extend(links(&stock, others()).await);
            along.extend(going_along(&stock, &chosen, others()).await);
        }
        let stays = |copy: &Replica| {
            let here = || fingerprint(Path::new(&copy.here()), false).ok().flatten();
            let is_here = || here().is_some_and(|print| print.size == copy.size.0);
            let elsewhere = all
                .iter()
                .filter(|other| is_of(copy, other) && !chosen.contains(other))
                .any(|other| !along.contains(&(other.host.clone(), other.there())));
            elsewhere || is_here()
        };
        if !ask.last
            && let Some(last) = chosen.iter().find(|copy| !stays(copy))
        {
            return Err(ApiError {
                hint: Some(format!(
                    "`csync data get {0}` brings it here first; `csync data rm --last {0}` removes it all the same",
                    last.here()
                )),
                ..refuse(
                    ErrorKind::Conflict,
                    format!("`{}` has no other copy than that on `{}`", last.here(), last.host),
                )
            });
        }
        for ((host, _, root), copies) in heaps(chosen) {
            let way = stock.way(&host).await.map_err(|error| unreached(&error))?;
            remove(&way, &copies, REMOVING).await?;
            let names: Vec<String> = copies.iter().map(|copy| copy.path.clone()).collect();
            self.forget(&root, &names, &host).await?;
            done.bytes.0 += copies.iter().map(|copy| copy.size.0).sum::<u64>();
            done.paths.extend(copies.iter().map(Replica::here));
        }
        Ok(done)
    }

    /// Returns the stock, which knows the hosts of the person who asks, and those hosts.
    pub(super) async fn stock(&self, ask: &DataAsk) -> Result<(Arc<Stock>, Vec<Host>), ApiError> {
        let facts = facts_of(&self.reader).await.map_err(|error| storage(&error))?;
        let var = |name: &str| ask.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.into());
        let hosts = places::hosts(var, &facts)?;
        let stock = self.look(|runner| Arc::clone(&runner.sites.stock)).await?;
        stock.connections(|| connection_settings(&self.state));
        stock.know(&hosts);
        Ok((stock, hosts.iter().cloned().collect()))
    }

    /// Returns the copies that are meant: of these files, or of all below these directories; with a way to look, of the directory that
    /// lies on a host and has the file in it.
    async fn chosen(&self, ask: &DataAsk, look: Option<&Stock>) -> Result<Vec<Replica>, ApiError> {
        let all = self.data().await?;
        let mut chosen = Vec::new();
        for path in &ask.paths {
            let path = path.trim_end_matches('/');
            let is_on = |copy: &&Replica| ask.on.as_ref().is_none_or(|on| copy.host == *on);
            let before = chosen.len();
            chosen.extend(all.iter().filter(is_on).filter(|copy| is_below(&copy.here(), path)).cloned());
            if chosen.len() > before {
                continue;
            }
            let around: Vec<Replica> =
                all.iter().filter(is_on).filter(|copy| is_below(path, &copy.here())).cloned().collect();
            match (around.first(), look) {
                (Some(_), Some(stock)) => chosen.extend(around_it(stock, path, around).await?),
                (Some(dir), None) => {
                    return Err(ApiError {
                        hint: Some(format!("name that one, `{}`", dir.here())),
                        ..refuse(
                            ErrorKind::NotFound,
                            format!("`{path}` is in a directory that lies on `{}` as a whole", dir.host),
                        )
                    });
                }
                (None, _) => {
                    let on = ask.on.as_ref().map_or("no host is".to_owned(), |on| format!("`{on}` is not"));
                    return Err(ApiError {
                        hint: Some("`csync data list` shows what lies on hosts".to_owned()),
                        ..refuse(ErrorKind::NotFound, format!("{on} known to have `{path}`"))
                    });
                }
            }
        }
        Ok(chosen)
    }

    pub(super) async fn learn(&self, facts: Vec<DataFact>) -> Result<(), ApiError> {
        if facts.is_empty() {
            return Ok(());
        }
        self.look(move |runner| runner.learn(facts)).await
    }

    /// Takes in which images somebody saw on a host.
    ///
    /// # Errors
    /// When the engine is leaving, or the store cannot be read.
    pub async fn keep_images(&self, seen: ImagesSeen) -> Result<(), ApiError> {
        let ImagesSeen { host, images, all } = seen;
        let mut facts = Vec::new();
        if all {
            let known = self.reader.replicas(Some(IMAGES)).await.map_err(|error| storage(&error))?;
            let gone = known.into_iter().filter(|copy| copy.host == host);
            let gone = gone.filter(|copy| images.iter().all(|(name, ..)| *name != copy.path));
            let fact = |copy: Replica| DataFact::Gone { root: copy.root, path: copy.path, host: Some(host.clone()) };
            facts.extend(gone.map(fact));
        }
        let now = clock::now();
        facts.extend(images.into_iter().map(|(name, digest, size)| has_image(&host, &name, (digest, size), now)));
        self.learn(facts).await
    }

    async fn forget(&self, root: &str, names: &[String], host: &HostName) -> Result<(), ApiError> {
        let gone =
            |name: &String| DataFact::Gone { root: root.to_owned(), path: name.clone(), host: Some(host.clone()) };
        self.learn(names.iter().map(gone).collect()).await
    }
}

/// Returns whether a path is this one, or below it.
fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns the copies of the directory that a file is in, when a host has that in it.
async fn around_it(stock: &Stock, path: &str, around: Vec<Replica>) -> Result<Vec<Replica>, ApiError> {
    let mut trouble = None;
    for dir in &around {
        let name = path.strip_prefix(dir.root.trim_end_matches('/')).unwrap_or(path).trim_start_matches('/');
        let asked = async {
            let way = stock.way(&dir.host).await?;
            look(&way, &dir.place, [name]).await
        };
        match asked.await {
            Ok(seen) if seen.contains_key(name) => return Ok(around),
            Ok(_) => {}
            Err(error) => trouble = Some(error),
        }
    }
    let dir = around.first().map(Replica::here).unwrap_or_default();
    Err(match trouble {
        Some(error) => failed(&error),
        None => ApiError {
            hint: Some(format!("`csync data where {dir}` says where to look")),
            ..refuse(ErrorKind::NotFound, format!("nothing like `{path}` is in `{dir}`, as it lies on hosts"))
        },
    })
}

pub(super) fn heaps(copies: Vec<Replica>) -> BTreeMap<Heap, Vec<Replica>> {
    let mut heaps: BTreeMap<Heap, Vec<Replica>> = BTreeMap::new();
    for copy in copies {
        heaps.entry((copy.host.clone(), copy.place.clone(), copy.root.clone())).or_default().push(copy);
    }
    heaps
}

/// Returns whether a host has one and the same directory as another, whatever it is called there: what lies there need not move, and
/// must not go. It is tried where files go to: the other one may be full.
async fn is_same((from, place): (&Remote, &str), (to, goal): (&Remote, &str)) -> Result<bool, ApiError> {
    is_one((to, goal), (from, place)).await.map_err(|error| failed(&error))?.ok_or_else(|| ApiError {
        hint: Some("`csync doctor` tells what is wrong with its scratch".to_owned()),
        ..refuse(ErrorKind::Conflict, format!("nothing can be written to `{goal}` on `{}`", to.host()))
    })
}

/// Splits the names of copies into those that are there and those that are absent.
fn split(copies: &[Replica], absent: HashSet<String>) -> (Vec<String>, Vec<String>) {
    let names = copies.iter().map(|copy| copy.path.clone());
    (names.filter(|name| !absent.contains(name)).collect(), absent.into_iter().collect())
}

/// Removes copies from their host, directories with all that is in them; one that is gone already is as good.
async fn remove(way: &Remote, copies: &[Replica], within: Duration) -> Result<(), ApiError> {
    let list: Vec<u8> = copies.iter().flat_map(|copy| [copy.there().as_bytes(), b"\0"].concat()).collect();
    let exec = Exec::new(format!("xargs -0 sh -c {} sh", sh(REMOVE))).reading(list).within(within);
    let reply = way.exec(exec).await.map_err(|error| unreached(&error))?;
    if reply.status.is_success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&reply.stderr).trim().to_owned();
    Err(failed(&StageError::There { host: way.host().to_owned(), action: "does not remove files", words }))
}

fn gone(name: &str, host: &HostName) -> ApiError {
    ApiError {
        hint: Some("`csync submit` makes it anew".to_owned()),
        ..refuse(ErrorKind::NotFound, format!("`{name}` is gone from `{host}`, or changed there"))
    }
}

fn not_home(error: NotHome) -> ApiError {
    match error {
        NotHome::Gone(copy) => gone(&copy.path, &copy.host),
        NotHome::Unknown(name) => ApiError {
            hint: Some("`csync submit` makes it anew".to_owned()),
            ..refuse(ErrorKind::NotFound, format!("no host is known to have `{name}` any more"))
        },
        NotHome::Stage(StageError::Transport(error)) => unreached(&error),
        NotHome::Stage(error) => failed(&error),
    }
}

fn failed(error: &StageError) -> ApiError {
    refuse(ErrorKind::Conflict, chain(error))
}

fn unreached(error: &TransportError) -> ApiError {
    ApiError { hint: error.hint(), ..refuse(ErrorKind::Conflict, chain(error)) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::Command;

    use super::*;
    use crate::model::units::{Bytes, Timestamp};
    use crate::reach::transport::Local;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn copies_are_removed_whatever_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let long = "d".repeat(250);
        for name in ["dir/deep/file", "it's a dir/file", &format!("{long}/file"), "stays/file", "stays too/file"] {
            fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            fs::write(dir.path().join(name), "x").unwrap();
        }
        fs::write(dir.path().join("-file\n"), "x").unwrap();
        symlink("stays", dir.path().join("link")).unwrap();
        let copy = |name: &str| Replica {
            root: "/w".to_owned(),
            path: name.to_owned(),
            host: HostName::local(),
            place: dir.path().to_str().unwrap().to_owned(),
            size: Bytes(1),
            mtime: 1,
            at: Timestamp(0),
        };
        let going = ["dir", "it's a dir", &long, "-file\n", "link", "was never there"].map(copy);
        remove(&Local::transport(), &going, REMOVING).await.unwrap();
        assert_eq!(names(dir.path()), ["stays", "stays too"]);
        assert_eq!(names(&dir.path().join("stays")), ["file"]);
    }

    #[test]
    fn a_directory_that_is_removed_in_part_has_its_name_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let going = dir.path().join("going");
        fs::create_dir_all(going.join("deep")).unwrap();
        for name in ["one", "deep/other"] {
            fs::write(going.join(name), "x").unwrap();
        }
        // It is cut after the first file.
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        fs::write(bin.join("rm"), "#!/bin/sh\n/bin/rm -f \"$3/one\"\nexit 1\n").unwrap();
        fs::set_permissions(bin.join("rm"), fs::Permissions::from_mode(0o700)).unwrap();
        let path = std::env::var("PATH").unwrap();
        let run = |path: &str| {
            let done = Command::new("/bin/sh").args(["-c", REMOVE, "sh"]).arg(&going).env("PATH", path).status();
            done.unwrap().success()
        };
        assert!(!run(&format!("{}:{path}", bin.display())));
        assert_eq!(names(dir.path()), [".csync-rm.going", "bin"]);
        assert!(run(&path));
        assert_eq!(names(dir.path()), ["bin"]);
    }
}
