use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::language::quote::sh;
use crate::reach::files::look::fingerprint;
use crate::reach::stage::gather::Goal;
use crate::reach::stage::unpack::{Arrived, Asked, part_of, unpack};
use crate::reach::transport::{Local, Meter, Remote, Sum};

mod limits;
mod odd;

/// Two directories: one plays this machine's, the other the host's.
struct World {
    dir: tempfile::TempDir,
    here: PathBuf,
    there: PathBuf,
    host: Remote,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (here, there) = (dir.path().join("here"), dir.path().join("there dir"));
        fs::create_dir(&here).unwrap();
        Self { here, there, host: Local::transport(), dir }
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.here.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    async fn bring(&self, names: &[&str]) -> Result<Moved, StageError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        bring(
            &self.host,
            &self.here,
            self.there.to_str().unwrap(),
            &names,
            Tidy::all(&Ledger::default()),
            &Meter::default(),
        )
        .await
    }

    async fn take(&self, names: &[String], take: Take) -> Result<Fetched, StageError> {
        fetch(&self.host, self.there.to_str().unwrap(), &self.here, names, take, &Meter::default()).await
    }

    async fn fetch(&self, names: &[&str], limit: u64) -> Result<(Moved, Vec<String>), StageError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.take(&names, Take::up_to(limit)).await.map(|fetched| (fetched.moved, fetched.missing))
    }
}

/// Returns the files below a directory; none where nothing was ever brought to it.
fn tree(dir: &Path) -> HashMap<String, Vec<u8>> {
    if !dir.exists() {
        return HashMap::new();
    }
    let files = walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    let name = |path: &Path| path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
    files.map(|entry| (name(entry.path()), fs::read(entry.path()).unwrap())).collect()
}

const ODD: [&str; 6] = ["a b", "-rf", "it's \"odd\"", "$(touch x)", "new\nline", "\u{1F9EC}/\u{e4}"];

#[tokio::test]
async fn what_is_there_already_does_not_move() {
    let world = World::new();
    for (n, name) in ODD.iter().enumerate() {
        world.write(name, &vec![n as u8; n * 1000]);
    }
    world.write(&format!("{}/long", "d".repeat(200)), b"x");
    world.write("dir/one", b"1");
    world.write("dir/deep/two", b"22");
    let long = format!("{}/long", "d".repeat(200));
    let names: Vec<&str> = ODD.into_iter().chain([long.as_str(), "dir"]).collect();
    let moved = world.bring(&names).await.unwrap();
    assert_eq!((moved.files, moved.moved), (9, 9));
    assert_eq!(tree(&world.there), tree(&world.here));
    let again = world.bring(&names).await.unwrap();
    // A name with a line end cannot be looked for.
    assert_eq!((again.moved, again.bytes), (1, 4000));
    fs::write(world.here.join("a b"), "changed").unwrap();
    let again = world.bring(&["a b", "-rf"]).await.unwrap();
    assert_eq!((again.moved, again.bytes), (1, 7));
    assert_eq!(tree(&world.there), tree(&world.here));
}

#[tokio::test]
async fn large_files_move_on_their_own() {
    let world = World::new();
    let content: Vec<u8> = (0..LARGE + 12_345).map(|n| ((n * 31) >> 3) as u8).collect();
    world.write("sub/large", &content);
    assert_eq!(world.bring(&["sub/large"]).await.unwrap().bytes, content.len() as u64);
    assert_eq!(world.bring(&["sub/large"]).await.unwrap().moved, 0);
    assert!(fs::read(world.there.join("sub/large")).unwrap() == content);
    let before = fs::metadata(world.here.join("sub/large")).unwrap();
    fs::remove_file(world.here.join("sub/large")).unwrap();
    let (moved, missing) = world.fetch(&["sub/large"], u64::MAX).await.unwrap();
    assert_eq!((moved.moved, missing.len()), (1, 0));
    assert!(fs::read(world.here.join("sub/large")).unwrap() == content);
    assert_eq!(fs::metadata(world.here.join("sub/large")).unwrap().mtime(), before.mtime());
}

#[tokio::test]
async fn of_a_large_file_that_changed_only_the_difference_moves() {
    let world = World::new();
    let mut content: Vec<u8> =
        (0..LARGE as u32 + 99_999).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    world.write("it's a dir/large", &content);
    world.bring(&["it's a dir"]).await.unwrap();
    // In front, so that all of the rest lies elsewhere.
    content.splice(0..0, *b"what is new");
    world.write("it's a dir/large", &content);
    let has_rsync = std::process::Command::new("rsync").arg("--version").output().is_ok();
    let is_small = |moved: u64| if has_rsync { moved < LARGE / 10 } else { moved == content.len() as u64 };
    let meter = Meter::default();
    let to = world.there.to_str().unwrap();
    let moved = bring(&world.host, &world.here, to, &["it's a dir".to_owned()], Tidy::all(&Ledger::default()), &meter)
        .await
        .unwrap();
    assert!(is_small(moved.bytes), "{moved:?}");
    assert_eq!((moved.moved, meter.total()), (1, meter.done()));
    assert!(tree(&world.there) == tree(&world.here), "with nothing besides");
    assert_eq!(world.bring(&["it's a dir"]).await.unwrap().moved, 0);

    let former = &content[..content.len() - 12_345];
    world.write("it's a dir/large", former);
    let (moved, _) = world.fetch(&["it's a dir"], u64::MAX).await.unwrap();
    assert!(is_small(moved.bytes), "{moved:?}");
    assert!(tree(&world.there) == tree(&world.here), "with nothing besides");
}

#[tokio::test]
async fn what_is_fetched_is_what_was_asked_for() {
    let world = World::new();
    for name in ODD.into_iter().chain(["dir/one", "dir/deep/two", "other"]) {
        world.write(name, name.as_bytes());
    }
    world.bring(&["dir", "other"].into_iter().chain(ODD).collect::<Vec<_>>()).await.unwrap();
    let before = tree(&world.here);
    fs::remove_dir_all(&world.here).unwrap();
    fs::create_dir(&world.here).unwrap();
    let names: Vec<&str> = ODD.into_iter().chain(["dir", "gone"]).collect();
    let (moved, missing) = world.fetch(&names, 1 << 20).await.unwrap();
    assert_eq!((moved.moved, missing), (8, vec!["gone".to_owned()]));
    let mut wanted = before;
    wanted.remove("other");
    assert_eq!(tree(&world.here), wanted);
}

#[tokio::test]
async fn too_much_is_not_fetched() {
    let world = World::new();
    world.write("file", &[0; 5000]);
    world.write("dir/a", &[0; 3000]);
    world.write("dir/b", &[0; 3000]);
    world.bring(&["file", "dir"]).await.unwrap();
    fs::remove_dir_all(world.here.join("dir")).unwrap();
    let error = world.fetch(&["file"], 4999).await.unwrap_err();
    assert_eq!(error.to_string(), "`file` has 5000 bytes, more than the 4999 that are fetched");
    let error = world.fetch(&["dir"], 5999).await.unwrap_err();
    assert!(matches!(error, StageError::TooLarge { size: 6000, .. }), "{error}");
}

#[tokio::test]
async fn what_is_large_stays_where_it_is() {
    let world = World::new();
    world.write("small", b"12");
    world.write("large", b"123");
    world.bring(&["small", "large"]).await.unwrap();
    fs::remove_dir_all(&world.here).unwrap();
    let names = ["small".to_owned(), "large".to_owned(), "gone".to_owned()];
    let fetched = world.take(&names, Take { limit: 2, leave: 2 }).await.unwrap();
    assert_eq!((fetched.moved.moved, fetched.missing), (1, vec!["gone".to_owned()]));
    assert_eq!(fetched.left.iter().map(|(name, seen)| (name.as_str(), seen.size)).collect::<Vec<_>>(), [("large", 3)]);
    assert_eq!(tree(&world.here).len(), 1);
}

#[tokio::test]
async fn a_directory_is_as_large_as_what_is_in_it() {
    let world = World::new();
    for (name, content) in [("out/a", "123"), ("out/deep/b", "45"), ("outer/c", "6"), ("small/d", "7"), ("d", "89")] {
        world.write(name, content.as_bytes());
    }
    world.bring(&["out", "outer", "small", "d"]).await.unwrap();
    fs::create_dir(world.there.join("small/none")).unwrap();
    let touch = format!(
        "cd {} && touch -d @100 out/a && touch -d @200 out/deep/b && touch -d @300 out/deep && touch -d @250 out && \
         ln -s ../../outer/c out/deep/link && ln -s nowhere out/lost && ln -s ../a out/deep/again && touch -d @150 outer/c && touch -d @300 out/deep && \
         touch -d @250 out",
        sh(world.there.to_str().unwrap())
    );
    assert!(std::process::Command::new("sh").args(["-c", &touch]).status().unwrap().success());
    let from = world.there.to_str().unwrap();
    let seen = look_into(&world.host, from, ["out", "d", "gone", "out/deep"]).await.unwrap();
    let of = |name: &str| seen.get(name).map(|seen| (seen.size, seen.mtime, seen.is_dir));
    // With what a link in it leads to, as it would come; a link to nothing is nothing.
    assert_eq!((of("out"), of("out/deep")), (Some((9, 300, true)), Some((6, 300, true))));
    assert_eq!((of("d").map(|it| (it.0, it.2)), of("gone")), (Some((2, false)), None));

    // The larger one stays, and nothing of it comes; what is not larger does.
    fs::remove_dir_all(&world.here).unwrap();
    let names = ["out", "small", "outer", "d"].map(str::to_owned);
    let fetched = world.take(&names, Take { limit: 4, leave: 5 }).await.unwrap();
    assert_eq!(
        fetched.left.iter().map(|(name, seen)| (&**name, seen.size, seen.mtime)).collect::<Vec<_>>(),
        [("out", 9, 300)]
    );
    let mut came: Vec<String> = tree(&world.here).into_keys().collect();
    came.sort();
    assert_eq!(came, ["d", "outer/c", "small/d"]);
    assert!(world.here.join("small/none").is_dir() && !world.here.join("out").exists());

    // Once it comes, it is what it was seen as there.
    let all = world.take(&names, Take::all()).await.unwrap();
    assert!(all.left.is_empty());
    let print = fingerprint(&world.here.join("out"), false).unwrap().unwrap();
    assert_eq!((print.size, print.mtime), (9, 300_000_000));
    let left: Vec<_> = fs::read_dir(&world.here).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "{left:?}");

    // One that is here is brought up to date: what else is in it is not ours. An empty one is as good as none.
    fs::write(world.here.join("out/mine"), "").unwrap();
    fs::remove_file(world.here.join("out/a")).unwrap();
    fs::remove_dir_all(world.here.join("small")).unwrap();
    fs::create_dir(world.here.join("small")).unwrap();
    let again = world.take(&names, Take { limit: 100, leave: 0 }).await.unwrap();
    let mut left: Vec<&str> = again.left.iter().map(|(name, _)| name.as_str()).collect();
    left.sort_unstable();
    assert_eq!(left, ["d", "small"]);
    assert!(world.here.join("out/mine").exists() && world.here.join("out/a").exists());
}

#[tokio::test]
async fn a_directory_appears_when_all_of_it_has_come() {
    let world = World::new();
    let large: Vec<u8> = (0..LARGE + 777).map(|n| ((n * 17) >> 2) as u8).collect();
    world.write("sub/out/large", &large);
    for n in 0..5 {
        world.write(&format!("sub/out/deep/{n}"), &[n; 100]);
    }
    world.bring(&["sub/out"]).await.unwrap();
    let all = tree(&world.here.join("sub/out"));
    fs::remove_dir_all(&world.here).unwrap();
    // The large one comes last, and something is in its way: the others have come by then.
    let gathering = Goal::new(&world.here, ["sub/out"].into_iter()).at("sub/out");
    let in_the_way = gathering.join("large/.csync-odd");
    fs::create_dir_all(&in_the_way).unwrap();
    fs::write(in_the_way.join(".csync-odd"), "").unwrap();
    let failed = world.fetch(&["sub/out"], u64::MAX).await;
    assert!(matches!(failed, Err(StageError::Here { .. })), "{failed:?}");
    assert_eq!(tree(&gathering.join("deep")).len(), 5);
    assert!(!world.here.join("sub/out").exists(), "a part of it would pass for the whole");
    // What is left of that try is gone on with, and what is wanted no more goes.
    fs::remove_dir_all(gathering.join("large")).unwrap();
    fs::remove_file(world.there.join("sub/out/deep/4")).unwrap();
    fs::create_dir_all(gathering.join("none")).unwrap();
    for odd in ["old", ".csync-1.part"] {
        fs::write(gathering.join(odd), "").unwrap();
    }
    let (moved, _) = world.fetch(&["sub/out"], u64::MAX).await.unwrap();
    assert_eq!(moved.moved, 1, "the others were there");
    let mut wanted = all;
    wanted.remove("deep/4");
    assert!(tree(&world.here.join("sub/out")) == wanted);
    assert!(!gathering.exists() && !world.here.join("sub/out/none").exists());
}

#[tokio::test]
async fn a_directory_that_is_passed_on_is_there_what_it_was() {
    let world = World::new();
    for name in ["out/a", "out/deep/b", "out/deep/it's c", "other/d"] {
        world.write(name, name.as_bytes());
    }
    world.bring(&["out", "other"]).await.unwrap();
    fs::create_dir(world.there.join("out/none")).unwrap();
    std::os::unix::fs::symlink("a", world.there.join("out/again")).unwrap();
    let second = Local::transport();
    let other = world.dir.path().join("other host");
    let (from, to) = (world.there.to_str().unwrap(), other.to_str().unwrap());
    let asked = ["out".to_owned(), "other".to_owned()];
    let pass =
        async || relay((&world.host, from), (&second, to), &asked, 1 << 30, None, &Meter::default()).await.unwrap().0;
    let whole = async |host: &Remote, dir: &str| {
        let seen = look_into(host, dir, ["out", "other"]).await.unwrap();
        ["out", "other"].map(|name| (seen[name].size, seen[name].mtime))
    };
    // What an earlier one left there, and a link through which another's would change.
    fs::create_dir_all(other.join("out/deep")).unwrap();
    fs::write(other.join("out/deep/old"), "old").unwrap();
    fs::write(other.join("beside"), "").unwrap();
    let mine = world.dir.path().join("mine");
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("kept"), "").unwrap();
    std::os::unix::fs::symlink(&mine, other.join("other")).unwrap();
    assert_eq!(pass().await.moved, 5);
    let mut wanted = tree(&world.there.join("out"));
    wanted.insert("again".to_owned(), b"out/a".to_vec());
    assert_eq!(tree(&other.join("out")), wanted);
    assert_eq!((tree(&mine).len(), other.join("beside").exists()), (1, true));
    assert!(other.join("out/none").is_dir());
    assert_eq!(whole(&second, to).await, whole(&world.host, from).await);
    assert_eq!(pass().await.moved, 0);
    fs::remove_file(other.join("out/a")).unwrap();
    assert_ne!(whole(&second, to).await, whole(&world.host, from).await);
    assert_eq!(pass().await.moved, 1);
}

#[tokio::test]
async fn names_that_lead_out_are_refused() {
    let world = World::new();
    world.write("file", b"x");
    for name in ["/etc/passwd", "../x", "a/../../x", ""] {
        assert!(matches!(world.bring(&[name]).await.unwrap_err(), StageError::Name { .. }), "{name}");
        assert!(matches!(world.fetch(&[name], 9).await.unwrap_err(), StageError::Name { .. }), "{name}");
    }
    let error = world.bring(&["gone"]).await.unwrap_err();
    assert!(matches!(error, StageError::Here { .. }), "{error}");
}

/// Packs entries as no honest host would.
fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, link) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        let content = if kind.is_file() { b"evil".as_slice() } else { b"" };
        header.set_size(content.len() as u64);
        header.set_mode(0o4777);
        header.set_mtime(1);
        // Past the checks of the library.
        let field = &mut header.as_old_mut().name;
        field[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn take(world: &World, bytes: &[u8], limit: u64) -> Result<Arrived, StageError> {
    let names = ["out".to_owned(), "dir/in".to_owned()].into();
    let asked = Asked { host: "far".to_owned(), names, limit };
    unpack(&asked, bytes, &world.here, &Meter::default())
}

#[test]
fn what_a_host_sends_besides_is_refused() {
    use tar::EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};
    let world = World::new();
    for (entries, what) in [
        (vec![("../out", Regular, "")], "leads out"),
        (vec![("/out", Regular, "")], "leads out"),
        (vec![("dir/../../out", Regular, "")], "leads out"),
        (vec![("other", Regular, "")], "nobody asked for"),
        (vec![("director", Regular, "")], "nobody asked for"),
        (vec![("dir", Regular, "")], "nobody asked for"),
        (vec![("out/in", Regular, "")], "nobody asked for"),
        (vec![("out", Symlink, "/etc/passwd")], "no file"),
        (vec![("dir", Symlink, "/etc"), ("dir/in", Regular, "")], "nobody asked for"),
        (vec![("out", Link, "/etc/passwd")], "no file"),
        (vec![("out", Fifo, "")], "no file"),
        (vec![("out", Block, "")], "no file"),
        (vec![("out", Char, "")], "no file"),
        (vec![("out", Directory, "")], "no file"),
        (vec![("out", Regular, ""), ("./out", Regular, "")], "twice"),
    ] {
        let error = take(&world, &archive(&entries), 1 << 20).unwrap_err();
        assert!(error.to_string().contains(what), "{entries:?}: {error}");
    }
    let two = archive(&[("out", Regular, ""), ("dir/in", Regular, "")]);
    assert!(matches!(take(&world, &two, 7).unwrap_err(), StageError::TooLarge { size: 8, .. }));
    assert_eq!(tree(&world.here).len(), 0, "nothing is left of what was refused");
    take(&world, &archive(&[("./out", Regular, "")]), 4).unwrap().let_in().unwrap();
    let meta = fs::metadata(world.here.join("out")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o777, 1), "no set-user-id");
    let cut = archive(&[("out", Regular, "")]);
    assert!(take(&world, &cut[..514], 4).is_err());
    assert!(take(&world, b"no archive", 4).is_err());
}

#[test]
fn what_arrived_is_compared_before_it_gets_its_name() {
    let world = World::new();
    let arrived = take(&world, &archive(&[("out", tar::EntryType::Regular, "")]), 4).unwrap();
    let evil = Sum::of(b"evil");
    assert_eq!(arrived.sum(["out"]), Sum::of(format!("{evil} ./out\n").as_bytes()), "as `cksum` prints it");
    let names = ["dir/in".to_owned(), "out".to_owned()];
    arrived.compare(&names, &[Sum::of(b""), evil]).unwrap();
    let error = arrived.compare(&names, &[evil, Sum::of(b"EVIL")]).unwrap_err();
    assert!(matches!(&error, StageError::Changed { path } if path.ends_with("out")), "{error}");
    assert!(!world.here.join("out").exists());
    drop(arrived);
    assert_eq!(fs::read_dir(&world.here).unwrap().count(), 0, "and leaves nothing behind");
}

#[test]
fn directories_that_are_here_stay_and_what_others_left_goes_when_nobody_holds_it() {
    let world = World::new();
    let [dead, live, old, new] =
        [".csync-in-dead", ".csync-in-live", ".csync-new-old", ".csync-new-new"].map(|name| world.here.join(name));
    for dir in [&dead, &live, &old, &new, &world.here.join("dir")] {
        fs::create_dir(dir).unwrap();
    }
    // Another transfer fills one of them; of one that has not got its name yet only the age tells.
    let held = fs::File::open(&live).unwrap();
    held.try_lock().unwrap();
    fs::write(dead.join("file"), "x").unwrap();
    let long_ago = fs::metadata(&new).unwrap().modified().unwrap() - std::time::Duration::from_hours(25);
    fs::File::open(&old).unwrap().set_modified(long_ago).unwrap();
    let before = fs::metadata(world.here.join("dir")).unwrap().ino();
    let both = archive(&[("out", tar::EntryType::Regular, ""), ("dir/in", tar::EntryType::Regular, "")]);
    take(&world, &both, 8).unwrap().let_in().unwrap();
    assert_eq!(fs::metadata(world.here.join("dir")).unwrap().ino(), before);
    assert_eq!(tree(&world.here).len(), 2);
    let mut left: Vec<_> = fs::read_dir(&world.here).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".csync-in-live", ".csync-new-new", "dir", "out"]);
    // A file is in the way of a directory, and the other way round.
    fs::write(world.here.join("file"), "x").unwrap();
    for (dir, file) in [("out", "in"), ("dir", "")] {
        let name = if file.is_empty() { dir.to_owned() } else { format!("{dir}/{file}") };
        let asked = Asked { host: "far".to_owned(), names: [name.clone()].into(), limit: 4 };
        let bytes = archive(&[(name.as_str(), tar::EntryType::Regular, "")]);
        let arrived = unpack(&asked, bytes.as_slice(), &world.here, &Meter::default()).unwrap();
        assert!(matches!(arrived.let_in().unwrap_err(), StageError::Here { .. }), "{name}");
    }
    assert_eq!(tree(&world.here).len(), 3);
}

#[tokio::test]
async fn a_directory_here_may_be_a_link_to_another_filesystem() {
    let world = World::new();
    let other = tempfile::tempdir_in("/dev/shm").unwrap();
    world.write("far/deep/a", b"content");
    world.write("far/b", b"more");
    world.bring(&["far"]).await.unwrap();
    let time = fs::metadata(world.there.join("far/b")).unwrap().mtime();
    fs::remove_dir_all(world.here.join("far")).unwrap();
    std::os::unix::fs::symlink(other.path(), world.here.join("far")).unwrap();
    // A link that waits under the temporary name is not written through.
    fs::write(world.here.join("victim"), "dear").unwrap();
    std::os::unix::fs::symlink(world.here.join("victim"), part_of(&other.path().join("b"))).unwrap();
    assert_eq!(world.fetch(&["far"], 1 << 20).await.unwrap().0.moved, 2);
    assert_eq!(fs::read(world.here.join("victim")).unwrap(), b"dear");
    assert_eq!(tree(other.path()), tree(&world.there.join("far")));
    assert_eq!(fs::metadata(other.path().join("b")).unwrap().mtime(), time);
    assert_eq!(fs::read_dir(&world.here).unwrap().count(), 2, "nothing temporary is left");
}

#[tokio::test]
async fn what_takes_several_streams_arrives_whole() {
    let world = World::new();
    for number in 0..STREAM.1 + 10 {
        world.write(&format!("many/{}/{number}", number % 3), number.to_string().as_bytes());
    }
    let count = (STREAM.1 + 10) as u64;
    let meter = Meter::default();
    let moved = bring(
        &world.host,
        &world.here,
        world.there.to_str().unwrap(),
        &["many".to_owned()],
        Tidy::all(&Ledger::default()),
        &meter,
    )
    .await;
    let bytes = tree(&world.here).values().map(|content| content.len() as u64).sum();
    assert_eq!(moved.unwrap(), Moved { files: count, moved: count, bytes });
    assert_eq!((meter.total(), meter.done()), (bytes, bytes));
    assert_eq!(tree(&world.there), tree(&world.here));
    assert_eq!(world.bring(&["many"]).await.unwrap().moved, 0);
    fs::remove_dir_all(world.here.join("many")).unwrap();
    assert_eq!(world.fetch(&["many"], 1 << 30).await.unwrap().0.moved, count);
    assert_eq!(tree(&world.there), tree(&world.here));
    for dir in [&world.here, &world.there] {
        assert_eq!(fs::read_dir(dir).unwrap().count(), 1, "nothing temporary is left");
    }
}

#[test]
fn a_host_names_nothing_outside_the_directories_that_were_asked_for() {
    let dirs = ["out".to_owned(), "deep/er".to_owned()].into();
    let read = |names: &[&str]| {
        let lines: Vec<String> = names.iter().map(|name| format!("5 1.000000000 644 regular file|./{name}")).collect();
        let text = lines.join("\n");
        look::read_walk(&text, &dirs).map(|found| found.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
    };
    assert_eq!(read(&["out", "out/a", "deep/er/./b"]).unwrap(), ["out", "out/a", "deep/er/b"]);
    for bad in ["workflow.toml", "outer/a", "deep/other", "deep", ".git/hooks/x", "out/../x", "../out", "/etc/passwd"] {
        assert!(read(&["out/a", bad]).is_err(), "{bad}");
    }
    assert!(look::read_walk("nonsense", &dirs).is_err());
    assert_eq!(look::read_walk("5 1 644 regular file|./any", &[String::new()].into()).unwrap().len(), 1);
}

/// A tree of files: names of few parts, so that files and directories meet under one name now and then, and odd ones.
fn trees() -> impl proptest::strategy::Strategy<Value = HashMap<String, Vec<u8>>> {
    use proptest::prelude::*;
    let part = prop_oneof!["[abc]", Just("-n".to_owned()), Just("it's $x".to_owned()), Just("back\\slash".to_owned())];
    let name = proptest::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
    let content = proptest::collection::vec(any::<u8>(), 0..40);
    proptest::collection::hash_map(name, content, 0..12).prop_map(|mut tree| {
        let names: Vec<String> = tree.keys().cloned().collect();
        tree.retain(|name, _| !names.iter().any(|other| other.starts_with(&format!("{name}/"))));
        tree
    })
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(12))]

    /// What is brought is what is here, whatever was there of it before, and comes back the same.
    #[test]
    fn a_tree_arrives_as_it_is(first in trees(), second in trees()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let world = World::new();
        // What is in the way, as a file or a directory, is for a person to take away: the second is laid beside the first.
        let (one, two) = (world.here.join("one"), world.here.join("two"));
        for (root, tree) in [(&one, &first), (&two, &second)] {
            fs::create_dir_all(root).unwrap();
            for (name, content) in tree {
                let path = root.join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
        }
        for names in [&["one"][..], &["one", "two"]] {
            runtime.block_on(world.bring(names)).unwrap();
        }
        proptest::prop_assert_eq!(tree(&world.there), tree(&world.here));
        for (name, content) in &first {
            fs::write(one.join(name), [content.as_slice(), b"more"].concat()).unwrap();
        }
        let moved = runtime.block_on(world.bring(&["one", "two"])).unwrap();
        proptest::prop_assert_eq!(moved.moved, first.len() as u64);
        let whole = tree(&world.here);
        proptest::prop_assert_eq!(&tree(&world.there), &whole);
        fs::remove_dir_all(&world.here).unwrap();
        let (moved, missing) = runtime.block_on(world.fetch(&["one", "two"], 1 << 20)).unwrap();
        proptest::prop_assert_eq!((moved.moved, missing.len()), (whole.len() as u64, 0), "empty ones came too");
        proptest::prop_assert_eq!(tree(&world.here), whole);
    }

    /// Whatever comes, whole or spoilt: nothing but what was asked for appears, and nothing outside.
    #[test]
    fn no_stream_writes_anything_else(
        entries in proptest::collection::vec(
            (proptest::sample::select(vec!["out", "dir/in", "./out", "../out", "dir", "/out", "dir/../out", "x"]), 0..8u8),
            0..5,
        ),
        spoilt in proptest::collection::vec((proptest::num::usize::ANY, proptest::num::u8::ANY), 0..6),
        keep in 0..8192usize,
    ) {
        let world = World::new();
        let kind = |byte| [
            tar::EntryType::Regular, tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Directory,
            tar::EntryType::Fifo, tar::EntryType::Char, tar::EntryType::GNULongName, tar::EntryType::XHeader,
        ][usize::from(byte)];
        let entries: Vec<_> = entries.into_iter().map(|(name, byte)| (name, kind(byte), "/etc/passwd")).collect();
        let mut bytes = archive(&entries);
        for (at, byte) in spoilt {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(keep);
        if let Ok(arrived) = take(&world, &bytes, 1000) {
            drop(arrived.let_in());
        }
        for entry in walkdir::WalkDir::new(world.dir.path()) {
            let entry = entry.unwrap();
            let name = entry.path().strip_prefix(world.dir.path()).unwrap().to_str().unwrap();
            proptest::prop_assert!(["", "here", "here/out", "here/dir", "here/dir/in"].contains(&name), "{}", name);
            proptest::prop_assert!(!entry.path_is_symlink());
        }
    }
}

#[tokio::test]
async fn the_same_content_with_another_time_does_not_move() {
    let world = World::new();
    world.write("a", b"same");
    world.write("dir/b", b"also");
    world.bring(&["a", "dir"]).await.unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    for name in ["a", "dir/b"] {
        fs::File::options().append(true).open(world.here.join(name)).unwrap().set_modified(old).unwrap();
    }
    assert_eq!(world.bring(&["a", "dir"]).await.unwrap().moved, 0);
    assert_eq!(fs::metadata(world.there.join("dir/b")).unwrap().mtime(), 1_000_000_000);
    // Another content of the same size and time does move, however soon it came.
    let time = fs::metadata(world.here.join("a")).unwrap().modified().unwrap();
    fs::write(world.here.join("a"), "SAME").unwrap();
    assert_eq!(world.bring(&["a"]).await.unwrap().moved, 1);
    fs::write(world.here.join("a"), "sAME").unwrap();
    assert_eq!(world.bring(&["a"]).await.unwrap().moved, 1, "within the same second");
    // Back, what is here with that content does not move either, and gets its time.
    fs::File::options().append(true).open(world.here.join("a")).unwrap().set_modified(time).unwrap();
    let (moved, _) = world.fetch(&["a", "dir"], 1 << 20).await.unwrap();
    assert_eq!((moved.files, moved.moved), (2, 0));
}

#[tokio::test]
async fn nobody_sees_half_a_file_and_who_has_the_old_one_keeps_it() {
    use std::io::Read;
    let world = World::new();
    world.write("dir/a", b"first");
    world.write("dir/deep/er/b", b"first");
    world.bring(&["dir"]).await.unwrap();
    let mut reader = fs::File::open(world.there.join("dir/a")).unwrap();
    world.write("dir/a", b"second, which is longer");
    world.write("dir/deep/new/c", b"c");
    world.write("dir/deep/er/b", b"second");
    assert_eq!(world.bring(&["dir"]).await.unwrap().moved, 3);
    assert_eq!(tree(&world.there), tree(&world.here));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "first");
    let left: Vec<_> = fs::read_dir(&world.there).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["dir"], "nothing temporary is left");
    // Where a file is in the way of a directory, and the other way round, the host says so.
    world.write("x/y", b"1");
    fs::write(world.there.join("x"), "in the way").unwrap();
    let error = world.bring(&["x"]).await.unwrap_err();
    assert!(matches!(error, StageError::There { .. }), "{error}");
    world.write("z", b"1");
    fs::create_dir(world.there.join("z")).unwrap();
    let error = world.bring(&["z"]).await.unwrap_err();
    assert!(matches!(error, StageError::There { .. }), "{error}");
}

#[tokio::test]
async fn what_one_host_made_reaches_another_and_touches_nothing_here() {
    let world = World::new();
    let other = world.dir.path().join("other");
    for name in ODD.into_iter().chain(["dir/one", "dir/deep/two"]) {
        world.write(name, name.as_bytes());
    }
    let large: Vec<u8> = (0..LARGE + 999).map(|n| ((n * 13) >> 4) as u8).collect();
    world.write("large", &large);
    let names: Vec<String> = ODD.into_iter().chain(["dir", "large"]).map(str::to_owned).collect();
    world.bring(&names.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
    let all = tree(&world.here);
    fs::remove_dir_all(&world.here).unwrap();
    let second = Local::transport();
    let (from, to) = (world.there.to_str().unwrap(), other.to_str().unwrap());
    let pass = async |names: &[String]| {
        relay((&world.host, from), (&second, to), names, 1 << 30, None, &Meter::default()).await
    };
    let asked: Vec<String> = names.iter().cloned().chain(["gone".to_owned()]).collect();
    let (moved, missing) = pass(&asked).await.unwrap();
    assert_eq!((moved.files, moved.moved, missing), (9, 9, vec!["gone".to_owned()]));
    assert_eq!(tree(&other), all);
    // The name with a line end cannot be looked for.
    assert_eq!(pass(&asked).await.unwrap().0.moved, 1);
    fs::remove_file(other.join("large")).unwrap();
    assert_eq!(pass(&["large".to_owned()]).await.unwrap().0.bytes, large.len() as u64);
    assert_eq!(tree(&other), all);
    assert!(!world.here.exists());
    let error = relay((&world.host, from), (&second, to), &names, 99, None, &Meter::default()).await.unwrap_err();
    assert!(matches!(error, StageError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_host_that_reaches_another_sends_to_it_itself() {
    let world = World::new();
    let names = ["dir/one", "dir/deep/two", "it's \"a\" $file", "-x"].map(str::to_owned);
    for name in &names {
        world.write(name, name.as_bytes());
    }
    world.bring(&names.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
    let all = tree(&world.here);
    let second = Local::transport();
    let from = world.there.to_str().unwrap();
    // What stands for `ssh` there: one that gets there, one that does not, one that spoils what it brings.
    let gets_there = "sh -c".to_owned();
    let spoils = format!("sh -c {} sh", sh("sh -c \"$1\"; echo more >>\"${1#*-C }/-x\""));
    for (ssh, arrives) in [(gets_there, true), ("false".to_owned(), false), (spoils, false)] {
        let other = world.dir.path().join("other");
        let to = other.to_str().unwrap();
        let how = Direct::Own(ssh.clone());
        let sent = direct::direct((&world.host, from), (&second, to), &names, &how).await;
        assert_eq!(sent.is_ok(), arrives, "{ssh}: {sent:?}");
        assert_eq!(fs::read_dir(&other).unwrap().count(), if arrives { 3 } else { 0 }, "{ssh}");
        // Then through here.
        let passed = relay((&world.host, from), (&second, to), &names, 1 << 30, Some(&how), &Meter::default()).await;
        assert_eq!(passed.unwrap().0.moved, if arrives { 0 } else { 4 }, "{ssh}");
        assert_eq!(tree(&other), all, "{ssh}");
        fs::remove_dir_all(&other).unwrap();
    }
}
