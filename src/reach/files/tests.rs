use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use tempfile::TempDir;

use super::FilesError;
use super::aside::{aside, remove, set_aside};
use super::gather::{gather, glob};
use super::lock::{DirLock, Owner};
use super::look::{Root, fingerprint};
use crate::language::manifest::Wants;
use crate::model::id::RunId;

fn dir_with(files: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        write(dir.path(), file, "");
    }
    dir
}

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn globs_match_as_shells_do() {
    let dir =
        dir_with(&["a.txt", "b.txt", ".hidden.txt", "sub/c.txt", "sub/deep/d.txt", "sub/.git/e.txt", "s p/f\nx.txt"]);
    let outside = dir_with(&["o.txt"]);
    let above = format!("../{}/*.txt", outside.path().file_name().unwrap().to_str().unwrap());
    let absolute = format!("{}/*.txt", outside.path().display());
    for (pattern, expected) in [
        ("*.txt", vec!["a.txt", "b.txt"]),
        ("./*.txt", vec!["./a.txt", "./b.txt"]),
        (".*.txt", vec![".hidden.txt"]),
        ("[!x]hidden.txt", vec![]),
        ("{a,.hidden}.txt", vec![".hidden.txt", "a.txt"]),
        ("?.txt", vec!["a.txt", "b.txt"]),
        ("[b-z].txt", vec!["b.txt"]),
        ("*/*.txt", vec!["s p/f\nx.txt", "sub/c.txt"]),
        ("**/*.txt", vec!["a.txt", "b.txt", "s p/f\nx.txt", "sub/c.txt", "sub/deep/d.txt"]),
        ("sub/**/*.txt", vec!["sub/c.txt", "sub/deep/d.txt"]),
        ("sub/**", vec!["sub/c.txt", "sub/deep", "sub/deep/d.txt"]),
        ("**/.git/*", vec!["sub/.git/e.txt"]),
        ("sub/*", vec!["sub/c.txt", "sub/deep"]),
        ("{sub/c,a}.txt", vec!["a.txt", "sub/c.txt"]),
        ("nowhere/*.txt", vec![]),
        ("a.txt/*", vec![]),
        ("\\a.txt", vec!["a.txt"]),
        (&above, vec![&*above.replace('*', "o")]),
        (&absolute, vec![&*absolute.replace('*', "o")]),
    ] {
        assert_eq!(glob(dir.path(), pattern).unwrap(), expected, "{pattern}");
    }
}

#[test]
fn links_are_followed_but_not_in_circles() {
    let dir = dir_with(&["data/a.txt"]);
    symlink(dir.path().join("data"), dir.path().join("link")).unwrap();
    symlink(dir.path(), dir.path().join("data/up")).unwrap();
    symlink("nowhere", dir.path().join("data/broken.txt")).unwrap();
    symlink("self.txt", dir.path().join("data/self.txt")).unwrap();
    assert_eq!(glob(dir.path(), "**/a.txt").unwrap(), ["data/a.txt", "link/a.txt"]);
    assert_eq!(glob(dir.path(), "link/*.txt").unwrap(), ["link/a.txt"]);
}

#[test]
fn names_that_are_not_text_are_said() {
    let dir = tempfile::tempdir().unwrap();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.txt");
    fs::write(dir.path().join(name), "").unwrap();
    let error = glob(dir.path(), "*.txt").unwrap_err();
    assert!(matches!(error, FilesError::NotUtf8 { .. }), "{error}");
    // It does not match, so it is nobody's business.
    assert!(glob(dir.path(), "*.csv").unwrap().is_empty());
}

#[test]
fn texts_are_read_or_it_is_said_why_not() {
    let dir = dir_with(&["dir/x"]);
    write(dir.path(), "rows.csv", "a,b\n");
    fs::write(dir.path().join("bytes.csv"), b"ok\xff").unwrap();
    let files = ["rows.csv", "none.csv", "dir", "bytes.csv"].map(str::to_owned).to_vec();
    let facts = gather(dir.path(), &Wants { globs: vec!["*.csv".to_owned()], files }).unwrap();
    assert_eq!(facts.globs["*.csv"], ["bytes.csv", "rows.csv"]);
    assert_eq!(facts.files["rows.csv"], Ok("a,b\n".to_owned()));
    assert_eq!(facts.files["none.csv"], Err("it does not exist".to_owned()));
    assert_eq!(facts.files["dir"], Err("it is a directory".to_owned()));
    assert_eq!(facts.files["bytes.csv"], Err("it is not UTF-8 (byte 2)".to_owned()));
    let error = gather(dir.path(), &Wants { globs: vec!["a[".to_owned()], files: vec![] }).unwrap_err();
    assert!(error.to_string().starts_with("`a[` is not a pattern: "), "{error}");
}

#[test]
fn fingerprints_change_with_what_they_are_of() {
    let dir = dir_with(&[]);
    write(dir.path(), "file", "four");
    write(dir.path(), "tree/a", "1");
    write(dir.path(), "tree/sub/b", "23");
    let root = Root::open(dir.path()).unwrap();
    let file = root.look("file").unwrap().unwrap();
    assert_eq!((file.size, file.hash), (4, None));
    assert_eq!(root.hash("file").unwrap(), blake3::hash(b"four").as_bytes().first_chunk::<16>().copied());
    let tree = root.look("tree").unwrap().unwrap();
    assert_eq!((tree.size, root.hash("tree").unwrap()), (3, None));
    write(dir.path(), "tree/sub/c", "x");
    let after = root.look("tree").unwrap().unwrap();
    assert!(after.size == 4 && after.mtime >= tree.mtime);
    for nothing in ["none", "file/below", ""] {
        assert_eq!(root.look(nothing).unwrap(), None, "{nothing:?}");
        assert_eq!(root.hash(nothing).unwrap(), None, "{nothing:?}");
    }
    symlink("circle", dir.path().join("circle")).unwrap();
    assert_eq!(root.look("circle").unwrap(), None);
}

#[test]
fn both_ways_to_look_see_the_same() {
    let dir = dir_with(&["tree/a/b", "tree/c"]);
    write(dir.path(), "file", "text");
    symlink("file", dir.path().join("link")).unwrap();
    symlink("nowhere", dir.path().join("broken")).unwrap();
    let root = Root::open(dir.path()).unwrap();
    for path in ["file", "link", "broken", "tree", "none", "file/x", "/dev/null"] {
        let mut seen = root.look(path).unwrap();
        let absolute = dir.path().join(path);
        assert_eq!(seen, fingerprint(&absolute, false).unwrap(), "{path}");
        if let Some(print) = &mut seen {
            print.hash = root.hash(path).unwrap();
        }
        assert_eq!(seen, fingerprint(&absolute, true).unwrap(), "{path}, hashed");
    }
}

#[test]
fn a_refusal_names_the_file() {
    if rustix::process::geteuid().is_root() {
        // Nothing is refused to root; the message is what is looked at.
        let error = Root::open(Path::new("/nonexistent/dir")).unwrap_err();
        assert_eq!(error.to_string(), "cannot enter /nonexistent/dir");
        return;
    }
    let dir = dir_with(&["locked/file"]);
    let locked = dir.path().join("locked");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    let root = Root::open(dir.path()).unwrap();
    let look = root.look("locked/file").unwrap_err().to_string();
    let walk = glob(dir.path(), "locked/*").unwrap_err().to_string();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(look, format!("cannot look at {}", dir.path().join("locked/file").display()));
    assert_eq!(walk, format!("cannot look into {}", locked.display()));
}

#[test]
fn half_written_outputs_are_set_aside() {
    let dir = dir_with(&[]);
    let out = dir.path().join("out.bam");
    let hidden = dir.path().join(".out.bam.failed");
    assert_eq!(aside(&out), Some(hidden.clone()));
    assert!(!set_aside(&out).unwrap(), "there is nothing");
    // A file takes a file's place, a directory a file's, a directory a full directory's, a file a directory's.
    for (step, is_dir) in [false, false, true, true, false].into_iter().enumerate() {
        let text = step.to_string();
        write(dir.path(), if is_dir { "out.bam/part" } else { "out.bam" }, &text);
        assert!(set_aside(&out).unwrap());
        assert!(!out.exists());
        let there = if is_dir { hidden.join("part") } else { hidden.clone() };
        assert_eq!(fs::read_to_string(there).unwrap(), text);
    }
    assert!(remove(&hidden).unwrap() && !remove(&hidden).unwrap());
}

#[test]
fn removing_takes_links_and_trees_and_not_what_links_name() {
    let dir = dir_with(&["tree/a/b", "kept/file"]);
    symlink(dir.path().join("kept"), dir.path().join("link")).unwrap();
    assert!(remove(&dir.path().join("tree")).unwrap());
    assert!(remove(&dir.path().join("link")).unwrap());
    assert!(dir.path().join("kept/file").exists());
    assert!(!remove(&dir.path().join("kept/file/below")).unwrap());
}

fn owner(pid: u32) -> Owner {
    Owner { run: None, pid, host: "here".to_owned(), state_dir: "/state".to_owned() }
}

#[test]
fn a_directory_is_held_by_one_run_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut lock = DirLock::take(dir.path(), owner(7)).unwrap();
    lock.name(RunId(12)).unwrap();
    let Err(FilesError::Locked { owner: other, .. }) = DirLock::take(dir.path(), owner(8)) else {
        panic!("it is held");
    };
    assert_eq!(other, Owner { run: Some(RunId(12)), ..owner(7) });
    assert_eq!(other.to_string(), "run 12 of the engine with process id 7 on here");
    drop(lock);
    drop(DirLock::take(dir.path(), owner(8)).unwrap());
    assert_eq!(fs::read_to_string(dir.path().join(".csync/.gitignore")).unwrap(), "*\n");
}
