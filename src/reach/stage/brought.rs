//! What was brought to a directory of a host, written down there beside it: what is no longer here goes there too, before anybody
//! reads there again, and nothing else does.
//!
//! A file goes that is not here any more and still is, by its size and time, what was brought, wherever it is: a command may take all
//! that it finds (`cat */x.txt`), and what that is nobody tells us. One that a job wrote over, or made, is never in the way of that: it
//! stays, and so does what whoever brings wants spared. Of directories those go that were brought and have nothing in them.
//!
//! Another job may run there meanwhile that reads the same directory. It is not waited for, which may take days, and is not given a
//! wrong answer either: whoever has a file open reads on in it, as with one that changed here and is replaced there; who has not
//! opened it yet finds what it would find here, where a person took it away under the job; one that names the file itself as its
//! input, be it of another workflow, does not start without it, and says so. A single command that is sent works in a copy of the
//! directory, which is made by a list.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

use crate::language::quote::sh;
use crate::reach::stage::look::{SAID, ask, here, list, look, with_those_above};
use crate::reach::stage::pack::send;
use crate::reach::stage::{StageError, words};
use crate::reach::transport::{Exec, Meter, Transport};

/// From so many pieces on it is written anew as one.
const PIECES: usize = 32;

/// How often it is asked for: pieces are written as one by others too, and are gone then.
const TRIES: u32 = 3;

/// What a host does not do whose notes cannot be read.
pub(super) const UNTOLD: &str = "cannot tell what was brought to it";

/// Returns where it is kept what was brought to a directory: beside it, where no job that works in it meets it.
pub(super) fn place(to: &str) -> String {
    let to = to.trim_end_matches('/');
    let (dir, name) = to.rsplit_once('/').unwrap_or((".", to));
    format!("{dir}/.{name}.brought")
}

/// What was brought: files with their size and time, and directories, each with a zero byte behind it.
#[derive(Clone, Debug, Default)]
pub(super) struct Note {
    text: Vec<u8>,
    dirs: BTreeSet<String>,
}

impl Note {
    /// Takes in a file, and the directories that it is in.
    pub(super) fn file(&mut self, name: &str, size: u64, mtime: i64) {
        if let Some((dir, _)) = name.rsplit_once('/') {
            self.dir(dir);
        }
        self.text.extend_from_slice(format!("{size} {mtime} {name}\0").as_bytes());
    }

    /// Takes in a directory, and those that it is in.
    pub(super) fn dir(&mut self, dir: &str) {
        if self.dirs.contains(dir) {
            return;
        }
        for dir in with_those_above(dir) {
            if self.dirs.insert(dir.to_owned()) {
                self.text.extend_from_slice(format!("d 0 {dir}\0").as_bytes());
            }
        }
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }
}

/// What a host says was brought to a directory.
#[derive(Debug, Default)]
pub(super) struct Brought {
    /// By size and time: a name may have been brought more than once.
    files: HashMap<String, Vec<(u64, i64)>>,
    dirs: BTreeSet<String>,
    /// The files in which that is written.
    pieces: Vec<String>,
}

impl Brought {
    /// Asks a host. Nothing is known of what was not written down.
    ///
    /// # Errors
    /// When the host cannot be asked, or cannot read all of it: what it does not tell would never go.
    pub(super) async fn read(host: &dyn Transport, to: &str) -> Result<Self, StageError> {
        // No list of all pieces, which may be longer than a command line.
        let script = format!(
            "p={}; [ -e \"$p\" ] || [ -h \"$p\" ] || exit 0; cd -- \"$p\" || exit 73\n\
             find . -type f -print && echo && find . -type f -exec cat {{}} +",
            sh(&place(to))
        );
        let mut tries = 1;
        let text = loop {
            match ask(host, script.clone(), Vec::new()).await {
                Err(StageError::There { .. }) if tries < TRIES => tries += 1,
                Err(StageError::There { host, words, .. }) => {
                    let words = format!("{words}; `csync clean --on {host} --inputs` has it brought anew");
                    return Err(StageError::There { host, action: UNTOLD, words });
                }
                text => break text?,
            }
        };
        Ok(Self::of(&text))
    }

    fn of(text: &str) -> Self {
        // Without a piece there is but the line between.
        let (pieces, entries) = text.split_once("\n\n").unwrap_or_default();
        let mut brought = Self { pieces: pieces.lines().map(str::to_owned).collect(), ..Self::default() };
        for entry in entries.split('\0') {
            let mut parts = entry.splitn(3, ' ');
            let (Some(size), Some(mtime), Some(name)) = (parts.next(), parts.next(), parts.next()) else { continue };
            match (size.parse(), mtime.parse()) {
                (Ok(size), Ok(mtime)) => {
                    let of = brought.files.entry(name.to_owned()).or_default();
                    if !of.contains(&(size, mtime)) {
                        of.push((size, mtime));
                    }
                }
                _ if size == "d" => drop(brought.dirs.insert(name.to_owned())),
                _ => {}
            }
        }
        brought
    }

    /// Returns whether a file was brought.
    pub(super) fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// Returns the files that were brought.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Returns the directories that were brought.
    pub(super) fn dirs(&self) -> impl Iterator<Item = &str> {
        self.dirs.iter().map(String::as_str)
    }

    /// Returns in how many pieces that is written down.
    pub(super) const fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Removes from a host what was brought and is not here any more. Returns what that was.
    pub(super) async fn tidy(
        &mut self,
        host: &dyn Transport,
        (from, to): (&Path, &str),
        spares: &(dyn Fn(&str) -> bool + Send + Sync),
    ) -> Result<Gone, StageError> {
        let (files, dirs) = self.gone(from).await?;
        let (mut staying, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|name| spares(name));
        let there = look(host, to, files.iter().map(String::as_str)).await?;
        let is_ours = |name: &&String| {
            let seen = there.get(*name).filter(|seen| !seen.is_dir);
            seen.is_some_and(|seen| self.files.get(*name).is_some_and(|of| of.contains(&(seen.size, seen.mtime))))
        };
        let stale: Vec<&str> = files.iter().filter(is_ours).map(String::as_str).collect();
        // Those of what is spared go when that does.
        let kept: HashSet<String> = staying.iter().flat_map(|name| with_those_above(name)).map(str::to_owned).collect();
        let (staying_dirs, mut dirs): (Vec<_>, Vec<_>) = dirs.into_iter().partition(|dir| spares(dir));
        // The inner ones first.
        dirs.sort_by_key(|dir| std::cmp::Reverse(dir.len()));
        if !stale.is_empty() || !dirs.is_empty() {
            tracing::debug!(host = host.host(), to, files = stale.len(), dirs = dirs.len(), "what is gone here goes");
            remove(host, to, list(stale.iter().copied().chain(dirs.iter().map(String::as_str)))?).await?;
        }
        // What a job wrote in the place of one is its own from now on.
        for name in &files {
            self.files.remove(name);
        }
        for dir in dirs.iter().filter(|dir| !kept.contains(*dir)) {
            self.dirs.remove(dir);
        }
        if self.pieces.len() >= PIECES {
            self.gather(host, to).await?;
        }
        staying.extend(staying_dirs);
        Ok(Gone { removed: files.into_iter().chain(dirs).collect(), spared: staying })
    }

    /// Returns the files and directories that were brought and are not here any more as what they were.
    async fn gone(&self, from: &Path) -> Result<(Vec<String>, Vec<String>), StageError> {
        let files: Vec<String> = self.files.keys().cloned().collect();
        let dirs: Vec<String> = self.dirs.iter().cloned().collect();
        let from: PathBuf = from.to_owned();
        let looking = spawn_blocking(move || {
            let is_dir = |name: &String| fs::metadata(from.join(name)).ok().map(|meta| meta.is_dir());
            let files = files.into_iter().filter(|name| is_dir(name) != Some(false)).collect();
            let dirs = dirs.into_iter().filter(|name| is_dir(name) != Some(true)).collect();
            (files, dirs)
        });
        looking.await.map_err(|error| here(Path::new("."), std::io::Error::other(error)))
    }

    /// Writes all pieces as one.
    async fn gather(&mut self, host: &dyn Transport, to: &str) -> Result<(), StageError> {
        let mut note = Note::default();
        for dir in &self.dirs {
            note.dir(dir);
        }
        let files: BTreeMap<&String, &Vec<(u64, i64)>> = self.files.iter().collect();
        for (name, of) in files {
            for (size, mtime) in of {
                note.file(name, *size, *mtime);
            }
        }
        write(host, to, note, Vec::new()).await?;
        let pieces: String = std::mem::take(&mut self.pieces).iter().flat_map(|name| [name.as_str(), "\0"]).collect();
        run(host, format!("cd -- {} && xargs -0 rm -f --", sh(&place(to))), pieces.into()).await
    }
}

/// What was brought and is no longer here.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// What went there too, or is a job's own by now.
    pub(super) removed: Vec<String>,
    /// What stays.
    pub(super) spared: Vec<String>,
}

/// Writes down what is about to be brought, and makes directories.
pub(super) async fn write(host: &dyn Transport, to: &str, note: Note, dirs: Vec<String>) -> Result<(), StageError> {
    send(host, to, &Meter::default(), move |packer| packer.note(&note, &dirs)).await
}

/// Removes files, and directories in which nothing is.
async fn remove(host: &dyn Transport, to: &str, names: Vec<u8>) -> Result<(), StageError> {
    let each = sh(
        r#"for f; do if [ -d "$f" ] && [ ! -h "$f" ]; then rmdir -- "$f" 2>/dev/null; else rm -f -- "$f" || exit 255; fi; done; exit 0"#,
    );
    run(host, format!("cd -- {} && xargs -0 sh -c {each} sh", sh(to)), names).await
}

async fn run(host: &dyn Transport, script: String, input: Vec<u8>) -> Result<(), StageError> {
    let reply = host.exec(Exec::new(script).reading(input).printing(SAID).reading_files()).await?;
    if reply.status.is_success() {
        return Ok(());
    }
    let host = host.host().to_owned();
    Err(StageError::There { host, action: "does not remove what is no longer here", words: words(&reply.stderr) })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::reach::stage::ledger::{Ledger, MANY, Tidy};
    use crate::reach::stage::{Moved, bring};
    use crate::reach::transport::{Local, Remote};

    struct World {
        _dir: tempfile::TempDir,
        here: PathBuf,
        there: PathBuf,
        host: Remote,
    }

    impl World {
        fn new(files: &[&str]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (here, there) = (dir.path().join("here"), dir.path().join("it's there"));
            let world = Self { here, there, host: Local::transport(), _dir: dir };
            for name in files {
                world.write(name, "1");
            }
            world
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.here.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        /// As a process does that knows nothing of before.
        async fn bring(&self, names: &[&str], spares: &(dyn Fn(&str) -> bool + Send + Sync)) {
            let ledger = Ledger::default();
            self.try_bring(names, Tidy { ledger: &ledger, spares }).await.unwrap();
        }

        async fn try_bring(&self, names: &[&str], tidy: Tidy<'_>) -> Result<Moved, StageError> {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            bring(&self.host, &self.here, self.to(), &names, tidy, &Meter::default()).await
        }

        fn to(&self) -> &str {
            self.there.to_str().unwrap()
        }

        fn there(&self) -> Vec<String> {
            let all = walkdir::WalkDir::new(&self.there).min_depth(1).sort_by_file_name().into_iter();
            all.map(|entry| entry.unwrap().path().strip_prefix(&self.there).unwrap().to_str().unwrap().to_owned())
                .collect()
        }

        fn pieces(&self) -> usize {
            fs::read_dir(place(self.to())).unwrap().count()
        }
    }

    #[tokio::test]
    async fn what_is_gone_here_goes_there_and_nothing_else() {
        let world = World::new(&["d/stays", "d/it's gone", "d/sub/gone", "d/made", "d/over", "d/left/a", "other/gone"]);
        fs::create_dir_all(world.here.join("d/none/deep")).unwrap();
        world.bring(&["d", "other"], &|_| false).await;
        let writes = |name: &str, text: &str| fs::write(world.there.join(name), text).unwrap();
        writes("d/left/of a job", "");
        writes("d/alike", "1");
        // A job's own file that is the same as one here was not brought, whatever time it gets.
        world.write("d/alike", "1");
        world.bring(&["d"], &|_| false).await;
        writes("d/over", "of a job");
        for name in ["d/it's gone", "d/sub", "d/made", "d/over", "d/left", "d/alike", "d/none", "other/gone"] {
            let path = world.here.join(name);
            fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)).unwrap();
        }
        world.bring(&["./d/"], &|name| name == "d/made").await;
        let left = ["d", "d/alike", "d/left", "d/left/of a job", "d/made", "d/over", "d/stays", "other"];
        assert_eq!(world.there(), left);
        world.bring(&["d"], &|_| false).await;
        assert_eq!(
            world.there(),
            left.map(str::to_owned).into_iter().filter(|name| name != "d/made").collect::<Vec<_>>()
        );
    }

    #[tokio::test]
    async fn what_is_gone_elsewhere_than_what_is_brought_goes_too() {
        let world = World::new(&["d/a", "d/gone", "d/deep/gone", "away/x", "top", "top gone"]);
        world.bring(&["d/a", "d/gone", "d/deep/gone", "away/x", "top", "top gone"], &|_| false).await;
        fs::write(world.there.join("d/of a job"), "").unwrap();
        for name in ["d/gone", "d/deep/gone", "top gone"] {
            fs::remove_file(world.here.join(name)).unwrap();
        }
        fs::remove_dir_all(world.here.join("away")).unwrap();
        world.bring(&["top"], &|name| name == "top gone").await;
        assert_eq!(world.there(), ["d", "d/a", "d/deep", "d/of a job", "top", "top gone"]);
    }

    #[tokio::test]
    async fn a_host_is_asked_when_something_is_gone_and_else_never_again() {
        let world = World::new(&["d/a", "d/b", "e/x", "e/y"]);
        let ledger = Ledger::default();
        let tidy = Tidy::all(&ledger);
        world.try_bring(&["d/a", "d/b", "e"], tidy).await.unwrap();
        let (note, aside) = (place(world.to()), world.here.with_file_name("aside"));
        fs::rename(&note, &aside).unwrap();
        fs::write(&note, "spoilt").unwrap();
        assert_eq!(world.try_bring(&["d/a", "e"], tidy).await.unwrap().moved, 0);
        for (gone, rest) in [("d/b", "d/a"), ("e/x", "e")] {
            fs::remove_file(world.here.join(gone)).unwrap();
            // What cannot be read is not taken for empty, nor written over.
            for ledger in [&ledger, &Ledger::default()] {
                let said = world.try_bring(&[rest], Tidy::all(ledger)).await.unwrap_err().to_string();
                assert!(said.contains("cannot tell what was brought") && said.contains("clean --on"), "{said}");
            }
            assert_eq!(fs::read(&note).unwrap(), b"spoilt");
            fs::remove_file(&note).unwrap();
            fs::rename(&aside, &note).unwrap();
            world.try_bring(&[rest], tidy).await.unwrap();
            assert!(!world.there.join(gone).exists(), "{gone}");
            fs::rename(&note, &aside).unwrap();
            fs::write(&note, "spoilt").unwrap();
        }
        world.try_bring(&["d/a", "e"], tidy).await.unwrap();
        assert_eq!(world.there(), ["d", "d/a", "e", "e/y"]);
    }

    #[tokio::test]
    async fn what_is_in_a_directory_that_is_named_too_comes_once() {
        let world = World::new(&["d/sub/x", "d/sub/y", "d/z", "d.z"]);
        let names = ["d/z", "d", "d/sub/", "./d/sub/x", "d.z"];
        world.bring(&names, &|_| false).await;
        for name in ["d/sub/x", "d/z", "d.z"] {
            world.write(name, "changed");
        }
        let ledger = Ledger::default();
        assert_eq!(world.try_bring(&names, Tidy::all(&ledger)).await.unwrap().moved, 3);
        assert_eq!(fs::read(world.there.join("d/sub/x")).unwrap(), b"changed");
        world.write("d/sub/x", "again");
        assert_eq!(world.try_bring(&["d/sub/x", "."], Tidy::all(&ledger)).await.unwrap().moved, 1);
    }

    #[tokio::test]
    async fn what_gives_way_to_another_kind_is_no_obstacle() {
        let world = World::new(&["d/file", "d/dir/file", "top"]);
        world.bring(&["d", "top"], &|_| false).await;
        for name in ["d/file", "top"] {
            fs::remove_file(world.here.join(name)).unwrap();
            world.write(&format!("{name}/in"), "1");
        }
        fs::remove_dir_all(world.here.join("d/dir")).unwrap();
        world.write("d/dir", "1");
        world.bring(&["d", "top"], &|_| false).await;
        assert_eq!(world.there(), ["d", "d/dir", "d/file", "d/file/in", "top", "top/in"]);
    }

    #[tokio::test]
    async fn what_is_written_down_is_kept_in_few_pieces() {
        let world = World::new(&["d/first", "d/second"]);
        for n in 0..2 * PIECES {
            world.write("d/changes", &"1".repeat(n));
            world.bring(&["d"], &|_| false).await;
        }
        assert!(world.pieces() <= PIECES, "{}", world.pieces());
        let known = Brought::read(&world.host, world.to()).await.unwrap();
        let names: HashSet<&str> = known.files.keys().map(String::as_str).collect();
        assert_eq!((names, known.dirs.len()), (["d/first", "d/second", "d/changes"].into(), 1));
        fs::remove_file(world.here.join("d/first")).unwrap();
        world.bring(&["d"], &|_| false).await;
        assert_eq!(world.there(), ["d", "d/changes", "d/second"]);
    }

    #[tokio::test]
    async fn a_directory_in_which_nothing_is_is_written_down_once() {
        let world = World::new(&["d/file"]);
        fs::create_dir_all(world.here.join("d/none/deep")).unwrap();
        fs::create_dir_all(world.here.join("none")).unwrap();
        let ledger = Ledger::default();
        world.try_bring(&["d", "none"], Tidy::all(&ledger)).await.unwrap();
        let before = world.pieces();
        for _ in 0..3 {
            world.try_bring(&["d", "none"], Tidy::all(&ledger)).await.unwrap();
            // As another process does.
            world.bring(&["none", "d"], &|_| false).await;
        }
        assert_eq!(world.pieces(), before);
        // What a job took away is made again, and goes when it is gone here.
        for name in ["d/none/deep", "none"] {
            fs::remove_dir(world.there.join(name)).unwrap();
        }
        world.try_bring(&["d", "none"], Tidy::all(&ledger)).await.unwrap();
        assert_eq!(world.there(), ["d", "d/file", "d/none", "d/none/deep", "none"]);
        fs::remove_dir(world.here.join("d/none/deep")).unwrap();
        fs::remove_dir(world.here.join("none")).unwrap();
        world.try_bring(&["d"], Tidy::all(&ledger)).await.unwrap();
        assert_eq!(world.there(), ["d", "d/file", "d/none"]);
    }

    #[tokio::test]
    async fn who_never_looks_keeps_it_in_few_pieces_too() {
        let world = World::new(&[]);
        let ledger = Ledger::default();
        for n in 0..=MANY {
            let name = format!("f{n}");
            world.write(&name, "1");
            world.try_bring(&[&name], Tidy::all(&ledger)).await.unwrap();
        }
        assert!(world.pieces() < PIECES, "{}", world.pieces());
        assert_eq!(Brought::read(&world.host, world.to()).await.unwrap().files.len(), MANY + 1);
    }

    #[tokio::test]
    async fn more_pieces_than_a_command_line_takes_are_read() {
        const TOO_MANY: usize = 11_000;
        let world = World::new(&["d/first"]);
        world.bring(&["d"], &|_| false).await;
        for n in 0..TOO_MANY {
            let piece = Path::new(&place(world.to())).join(format!("{n:0200}"));
            fs::write(piece, format!("{n} 1 of/{}\0", n % 100)).unwrap();
        }
        fs::remove_file(world.here.join("d/first")).unwrap();
        fs::create_dir(world.here.join("of")).unwrap();
        for n in 0..100 {
            fs::write(world.here.join(format!("of/{n}")), "").unwrap();
        }
        world.bring(&["d"], &|_| false).await;
        // All of these as one; that there is the directory stands in it.
        assert_eq!((world.there(), world.pieces()), (vec!["d".to_owned()], 1));
        assert_eq!(Brought::read(&world.host, world.to()).await.unwrap().files.len(), 100);
    }
}
