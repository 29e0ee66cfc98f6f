use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::*;
use crate::reach::transport::{Local, Remote};

/// Two directories: one plays this machine's, the other the host's.
struct World {
    _dir: tempfile::TempDir,
    here: PathBuf,
    there: PathBuf,
    host: Remote,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (here, there) = (dir.path().join("here"), dir.path().join("there dir"));
        fs::create_dir(&here).unwrap();
        Self { here, there, host: Local::transport(), _dir: dir }
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.here.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    async fn bring(&self, names: &[&str]) -> Result<Moved, StageError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        bring(&self.host, &self.here, self.there.to_str().unwrap(), &names).await
    }

    async fn fetch(&self, names: &[&str], limit: u64) -> Result<(Moved, Vec<String>), StageError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        fetch(&self.host, self.there.to_str().unwrap(), &self.here, &names, limit).await
    }
}

fn tree(dir: &Path) -> HashMap<String, Vec<u8>> {
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

#[test]
fn what_a_host_sends_besides_is_refused() {
    use tar::EntryType::{Block, Fifo, Link, Regular, Symlink};
    let world = World::new();
    let asked = ["out".to_owned(), "dir".to_owned()].into();
    for (entries, what) in [
        (vec![("../out", Regular, "")], "leads out"),
        (vec![("/out", Regular, "")], "leads out"),
        (vec![("dir/../../out", Regular, "")], "leads out"),
        (vec![("other", Regular, "")], "nobody asked for"),
        (vec![("director", Regular, "")], "nobody asked for"),
        (vec![("out", Symlink, "/etc/passwd")], "no file"),
        (vec![("dir", Symlink, "/etc"), ("dir/passwd", Regular, "")], "no file"),
        (vec![("out", Link, "/etc/passwd")], "no file"),
        (vec![("out", Fifo, "")], "no file"),
        (vec![("out", Block, "")], "no file"),
    ] {
        let bytes = archive(&entries);
        let error = fetch::unpack("far", bytes.as_slice(), &world.here, &asked, 1 << 20).unwrap_err();
        assert!(error.to_string().contains(what), "{entries:?}: {error}");
    }
    assert_eq!(tree(&world.here).len(), 0);
    fetch::unpack("far", archive(&[("./out", Regular, "")]).as_slice(), &world.here, &asked, 4).unwrap();
    let meta = fs::metadata(world.here.join("out")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.mtime()), (0o777, 1), "no set-user-id");
    // A link that waits under the temporary name is not written through.
    fs::write(world.here.join("victim"), "dear").unwrap();
    std::os::unix::fs::symlink("victim", world.here.join(".out.csync-part")).unwrap();
    fetch::unpack("far", archive(&[("out", Regular, "")]).as_slice(), &world.here, &asked, 4).unwrap();
    assert_eq!(fs::read(world.here.join("victim")).unwrap(), b"dear");
    let cut = archive(&[("out", Regular, "")]);
    assert!(fetch::unpack("far", &cut[..514], &world.here, &asked, 4).is_err());
    assert!(fetch::unpack("far", b"no archive".as_slice(), &world.here, &asked, 4).is_err());
}
