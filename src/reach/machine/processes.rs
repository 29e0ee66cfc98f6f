//! Processes of this machine, from `/proc`.
//!
//! What is read here may be gone or another's a moment later: who signals by it makes sure first (a child that was not reaped, or
//! a pidfd that was opened before the look).

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;

use rustix::process::Pid;

use crate::model::resources::{Flow, Io};
use crate::model::units::Bytes;

/// Most ancestors that are looked at.
const MOST_ABOVE: usize = 64;

/// What `/proc/PID/stat` says, as far as it is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// One letter: `R` running, `S` sleeping, `Z` ended and not reaped, ...
    pub state: u8,
    /// Its parent.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// When it started, in clock ticks since boot: with the pid, what identifies a process.
    pub start: u64,
}

/// Reads what a process is; none when it is gone.
pub fn stat(pid: Pid) -> Option<Stat> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The name in parentheses may hold anything, parentheses too: what follows begins after the last one.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let after = text.iter().rposition(|byte| *byte == b')')? + 2;
    let rest = std::str::from_utf8(text.get(after..)?).ok()?;
    let mut fields = rest.split(' ');
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    // Fields are counted from 1 in proc(5); the parent is the 4th, the start the 22nd.
    let start = fields.nth(16)?.parse().ok()?;
    Some(Stat { state, parent, group, start })
}

/// Returns the ids of all processes.
pub fn all() -> io::Result<Vec<Pid>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        pids.extend(pid);
    }
    Ok(pids)
}

/// Reads the environment that a process was started with, as `NAME=value` strings that end with zeros.
///
/// # Errors
/// When the process is gone, or another user's. Empty for one that has ended.
pub fn environment(pid: Pid) -> io::Result<Vec<u8>> {
    fs::read(format!("/proc/{pid}/environ"))
}

/// Returns a variable of an environment as [`environment`] returns it.
pub fn variable<'a>(environment: &'a [u8], name: &str) -> Option<&'a OsStr> {
    let mut strings = environment.split(|byte| *byte == 0);
    strings.find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")).map(OsStr::from_bytes)
}

/// Returns the environments of this process' parent, of its parent, and so on, as far as they can be read.
pub fn environments_above() -> impl Iterator<Item = Vec<u8>> {
    above().filter_map(|pid| environment(pid).ok())
}

/// Returns the arguments that they were started with, each ended by a zero.
pub fn arguments_above() -> impl Iterator<Item = Vec<u8>> {
    above().filter_map(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok())
}

/// Returns this process' parent, its parent, and so on.
fn above() -> impl Iterator<Item = Pid> {
    let parent = |pid: Pid| stat(pid).and_then(|stat| Pid::from_raw(stat.parent));
    std::iter::successors(rustix::process::getppid(), move |pid| parent(*pid)).take(MOST_ABOVE)
}

/// Returns processes and all that descends from them, each once. What forks during the look may be missed.
pub fn tree(roots: impl IntoIterator<Item = Pid>) -> Vec<Pid> {
    let mut found: Vec<Pid> = Vec::new();
    let mut seen = HashSet::new();
    found.extend(roots.into_iter().filter(|pid| seen.insert(*pid)));
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next += 1;
        match children(pid) {
            Some(children) => found.extend(children.into_iter().filter(|child| seen.insert(*child))),
            None if stat(pid).is_some() => return tree_by_parents(found),
            // Gone.
            None => {}
        }
    }
    found
}

/// Lists the children of a process, of all of its threads; none when it is gone, or the kernel does not list them.
fn children(pid: Pid) -> Option<Vec<Pid>> {
    let mut found = Vec::new();
    let mut listed = false;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        if let Ok(text) = fs::read(thread.path().join("children")) {
            listed = true;
            found.extend(parse_pids(&text));
        }
    }
    listed.then_some(found)
}

/// The same, from what every process says of its parent.
fn tree_by_parents(roots: Vec<Pid>) -> Vec<Pid> {
    let mut families: HashMap<i32, Vec<Pid>> = HashMap::new();
    for pid in all().unwrap_or_default() {
        if let Some(stat) = stat(pid) {
            families.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut seen: HashSet<Pid> = roots.iter().copied().collect();
    let mut found = roots;
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let children = families.remove(&pid.as_raw_pid()).unwrap_or_default();
        found.extend(children.into_iter().filter(|child| seen.insert(*child)));
        next += 1;
    }
    found
}

/// Returns the memory of a process that lies in RAM; pages that it shares with others count in full.
pub fn resident(pid: Pid) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Returns the memory of a process that lies in RAM, with its share of pages that it shares. Takes the kernel a walk through
/// all of its pages: milliseconds per GiB.
pub fn proportional(pid: Pid) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Returns the bytes that a process and the children that it waited for have read and written by calls; also of one that has ended
/// and was not reaped. None where the kernel does not count them, or it is another user's.
pub fn io(pid: Pid) -> Option<Io> {
    parse_io(&fs::read_to_string(format!("/proc/{pid}/io")).ok()?)
}

fn parse_io(text: &str) -> Option<Io> {
    let bytes = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok().map(Bytes));
    Some(Io { read: bytes("rchar:")?, written: bytes("wchar:")?, flow: Flow::Calls })
}

/// Returns how many processes the kernel has ended for want of memory, since this machine started.
pub fn killed_for_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/vmstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
}

/// The children of one thread, read again and again.
#[derive(Debug)]
pub struct Children {
    /// `/proc/self/task/TID/children`; none on kernels built without it.
    file: Option<File>,
}

impl Children {
    /// Watches the children of the calling thread, which has to be the main one: processes that lose their parent become
    /// its children when this process is a subreaper.
    pub fn of_main_thread() -> Self {
        let pid = rustix::process::getpid();
        Self { file: File::open(format!("/proc/{pid}/task/{pid}/children")).ok() }
    }

    /// Returns whether there is none, at the price of one system call where the kernel lists them.
    pub fn is_empty(&self) -> bool {
        match &self.file {
            Some(file) => rustix::io::pread(file, &mut [0; 1], 0) == Ok(0),
            None => self.list().is_empty(),
        }
    }

    /// Lists them.
    pub fn list(&self) -> Vec<Pid> {
        match &self.file {
            Some(file) => parse_pids(&read_again(file)),
            None => search_children(),
        }
    }
}

/// Looks through all processes: a millisecond or more. Children of other threads are among them and cannot be told apart; those
/// that have ended are left out, since it is for those threads to reap theirs.
fn search_children() -> Vec<Pid> {
    let own = rustix::process::getpid().as_raw_pid();
    let is_meant = |pid: &Pid| stat(*pid).is_some_and(|stat| stat.parent == own && stat.state != b'Z');
    all().unwrap_or_default().into_iter().filter(is_meant).collect()
}

fn read_again(file: &File) -> Vec<u8> {
    let mut text = vec![0; 4096];
    let mut length = 0;
    while let Some(free) = text.get_mut(length..) {
        match rustix::io::pread(file, free, length as u64) {
            Ok(0) | Err(_) => break,
            Ok(count) => length += count,
        }
        if length == text.len() {
            text.resize(length * 2, 0);
        }
    }
    text.truncate(length);
    text
}

fn parse_pids(text: &[u8]) -> Vec<Pid> {
    let words = text.split(|byte| *byte == b' ' || *byte == b'\n');
    words.filter_map(|word| std::str::from_utf8(word).ok()?.parse().ok().and_then(Pid::from_raw)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_survives_any_name() {
        let line = b"12 (a) b) (c) S 3 4 5 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 1 2 3";
        let stat = parse_stat(line).unwrap();
        assert_eq!(stat, Stat { state: b'S', parent: 3, group: 4, start: 4242 });
        assert_eq!(parse_stat(b""), None);
        assert_eq!(parse_stat(b"1 (x"), None);
        assert_eq!(parse_stat(b"1 (x) S 1"), None);
    }

    #[test]
    fn what_an_ended_child_and_its_children_read_and_wrote_is_told_until_it_is_reaped() {
        let script = "head -c 3000000 /dev/zero | tail -c 1000000 >/dev/null; exit 0";
        let mut child = std::process::Command::new("sh").args(["-c", script]).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let ended = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), ended).unwrap();
        let told = io(pid);
        child.wait().unwrap();
        let Some(told) = told else {
            assert!(io(rustix::process::getpid()).is_none(), "this kernel counts, but not for what has ended");
            return;
        };
        // Through a pipe: what one wrote the other read.
        assert!((6_000_000..6_200_000).contains(&told.read.0), "{told:?}");
        assert!((4_000_000..4_100_000).contains(&told.written.0), "{told:?}");
        assert_eq!((told.flow, io(pid)), (Flow::Calls, None));
    }

    #[test]
    fn io_is_read_whole_or_not_at_all() {
        let text = "rchar: 70\nwchar: 18446744073709551615\nsyscr: 1\nread_bytes: 4096\n";
        assert_eq!(parse_io(text), Some(Io { read: Bytes(70), written: Bytes(u64::MAX), flow: Flow::Calls }));
        assert_eq!(parse_io(text).unwrap().total(), u64::MAX);
        assert_eq!((parse_io("rchar: 70\n"), parse_io(""), parse_io("rchar: -1\nwchar: 2\n")), (None, None, None));
    }

    #[test]
    fn this_process_is_among_all() {
        let own = rustix::process::getpid();
        assert!(all().unwrap().contains(&own));
        assert_eq!(stat(own).unwrap().parent, rustix::process::getppid().unwrap().as_raw_pid());
    }

    #[test]
    fn trees_are_found_either_way() {
        // A child that has a child.
        let mut child = std::process::Command::new("sh")
            .args(["-c", "sleep 1000 & echo $!; read -r line; kill $!"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        let root = Pid::from_child(&child);
        let expected = vec![root, Pid::from_raw(line.trim().parse().unwrap()).unwrap()];
        let (tree, by_parents) = (tree([root, root]), tree_by_parents(vec![root]));
        let (resident, proportional) = (resident(root).unwrap(), proportional(root).unwrap());
        let found = search_children();
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(tree, expected);
        assert_eq!(by_parents, expected);
        assert!(resident >= proportional && proportional > 0, "{resident} {proportional}");
        assert_eq!(super::tree([root]), [root], "one that is gone has no children");
        assert!(found.contains(&root) && !search_children().contains(&root), "{found:?}");
    }

    #[test]
    fn variables_are_found_whole() {
        let block = b"A=1\0CSYNC_JOB=1.2.3\0CSYNC_JOBS=4\0EMPTY=\0";
        assert_eq!(variable(block, "CSYNC_JOB"), Some(OsStr::new("1.2.3")));
        assert_eq!(variable(block, "EMPTY"), Some(OsStr::new("")));
        assert_eq!(variable(block, "CSYNC"), None);
    }

    #[test]
    fn pids_are_read() {
        let raw: Vec<_> = parse_pids(b"12 345 \n").into_iter().map(Pid::as_raw_pid).collect();
        assert_eq!(raw, [12, 345]);
        assert!(parse_pids(b"").is_empty());
    }
}
