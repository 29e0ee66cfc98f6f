//! What a host has of some files.

use std::collections::{HashMap, HashSet};
use std::io;

use crate::language::quote::sh;
use crate::reach::stage::{MOST_FILES, StageError, checked, plain, words};
use crate::reach::transport::{Checksum, Exec, Transport, WhenBusy};

/// Most that a host may say of its files.
pub(super) const SAID: usize = 1 << 30;

/// What a host has under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Size in bytes.
    pub size: u64,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
    /// What of the modification time is less than a second, in nanoseconds; 0 where the host does not say.
    pub nanos: u32,
    /// Its permissions.
    pub mode: u32,
    /// Whether it is a directory.
    pub is_dir: bool,
}

impl Seen {
    /// Returns whether it is the same as a file with this size and time. Parts of a second count where both know them.
    pub fn is(&self, size: u64, (mtime, nanos): (i64, u32)) -> bool {
        let same_part = self.nanos == nanos || self.nanos == 0 || nanos == 0;
        (self.size, self.mtime) == (size, mtime) && same_part
    }
}

/// Looks for files below a directory of a host; those that are not there are left out. One command, whatever their number.
///
/// # Errors
/// When the host cannot be asked.
pub async fn look(
    host: &dyn Transport,
    root: &str,
    names: impl IntoIterator<Item = &str>,
) -> Result<HashMap<String, Seen>, StageError> {
    let list = list(names)?;
    if list.is_empty() {
        return Ok(HashMap::new());
    }
    // The status of xargs says no more than that some are not there.
    let script =
        format!("cd -- {} 2>/dev/null || exit 0; {FORMAT}xargs -0 stat -L -c \"$f\" -- 2>/dev/null; exit 0", sh(root));
    let text = ask(host, script, list).await?;
    Ok(text.lines().filter_map(line).collect())
}

/// Looks as [`look`] does, and into directories: such a one is as large as all files in it, and as young as the latest change of
/// anything in it, as one that is here is seen (`Root::look`). One more command, whatever their number.
///
/// # Errors
/// When the host cannot be asked, or has more than is taken.
pub async fn look_into(
    host: &dyn Transport,
    root: &str,
    names: impl IntoIterator<Item = &str>,
) -> Result<HashMap<String, Seen>, StageError> {
    let mut seen = look(host, root, names).await?;
    let dirs: Vec<String> = seen.iter().filter(|(_, seen)| seen.is_dir).map(|(name, _)| name.clone()).collect();
    let wholes = sum_up(&dirs, &walk(host, root, &dirs).await?);
    seen.retain(|name, seen| !seen.is_dir || wholes.contains_key(name.as_str()));
    seen.extend(wholes);
    Ok(seen)
}

/// Sums up directories by what was found in them. One that went meanwhile is left out.
pub(super) fn sum_up(dirs: &[String], walked: &[(String, Seen)]) -> HashMap<String, Seen> {
    let mut wholes: HashMap<String, Option<Seen>> = dirs.iter().map(|dir| (plain(dir), None)).collect();
    for (name, seen) in walked {
        let size = if seen.is_dir { 0 } else { seen.size };
        for dir in with_those_above(name) {
            let Some(whole) = wholes.get_mut(dir) else { continue };
            let sum = whole.get_or_insert(Seen { size: 0, nanos: 0, is_dir: true, ..*seen });
            sum.size = sum.size.saturating_add(size);
            sum.mtime = sum.mtime.max(seen.mtime);
        }
    }
    dirs.iter().filter_map(|dir| Some((dir.clone(), (*wholes.get(&plain(dir))?)?))).collect()
}

/// Returns the directories above a name (plain), the outermost first, and the name itself.
pub(super) fn with_those_above(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| at).chain([name.len()]).filter_map(|end| name.get(..end))
}

/// Parts of a second, where `stat` knows them.
const FORMAT: &str =
    "f='%s %.9Y %a %F|%n'; case $(stat -c %.9Y . 2>/dev/null) in *.*) ;; *) f='%s %Y %a %F|%n' ;; esac; ";

/// Returns everything in directories of a host: files and directories by their names from `root`.
///
/// # Errors
/// When the host cannot be asked, or has more than is taken.
pub(super) async fn walk(host: &dyn Transport, root: &str, dirs: &[String]) -> Result<Vec<(String, Seen)>, StageError> {
    // What is in one that is in another is found with that.
    let all: HashSet<String> = dirs.iter().map(|dir| plain(dir)).collect();
    let is_outer = |dir: &&String| {
        let dir = plain(dir);
        !with_those_above(&dir).any(|above| above != dir && all.contains(above))
    };
    let list = list(dirs.iter().filter(is_outer).map(String::as_str))?;
    if list.is_empty() {
        return Ok(Vec::new());
    }
    // Links are followed there: what they lead to is what a program there would have read. A `find` that prints facts itself
    // spares a look at each file; its tenth digit of a second is none.
    let own = sh(
        r#"find -L "$@" \( -type d -printf '%s %T@ %m directory|%p\n' -o -type f -printf '%s %T@ %m file|%p\n' \) 2>/dev/null"#,
    );
    let find = sh(r#"find -L "$@" \( -type f -o -type d \) -print0 2>/dev/null"#);
    let script = format!(
        "cd -- {} || exit 73\n\
         case $(find . -prune -printf '%T@ %m|%p' 2>/dev/null) in\n\
         *[0-9].[0-9]*' '*[0-7]'|.') xargs -0 sh -c {own} sh ;;\n\
         *) {FORMAT}xargs -0 sh -c {find} sh | xargs -0 stat -L -c \"$f\" -- 2>/dev/null ;;\n\
         esac; exit 0",
        sh(root)
    );
    let text = ask(host, script, list).await?;
    let strange = |what| StageError::Strange { host: host.host().to_owned(), what };
    read_walk(&text, &all).map_err(strange)
}

/// Returns the files in a directory of a host, by their paths from it, sorted; none where there is no such directory.
///
/// # Errors
/// When the host cannot be asked, has more than is taken, or does not let anybody look.
pub async fn list_all(host: &dyn Transport, dir: &str) -> Result<Option<Vec<(String, Seen)>>, StageError> {
    let dir = sh(dir);
    let find = r"find -L . -name '.csync-*' -prune -o -type f -print0 2>/dev/null";
    let script = format!(
        "[ -e {dir} ] || {{ echo absent; exit 0; }}; echo there; cd -- {dir} || exit 73; {FORMAT}\
         {find} | xargs -0 stat -L -c \"$f\" -- 2>/dev/null; exit 0"
    );
    let text = ask(host, script, Vec::new()).await?;
    let Some(rest) = text.strip_prefix("there\n") else { return Ok(None) };
    let strange = |what| StageError::Strange { host: host.host().to_owned(), what };
    let mut found = read_walk(rest, &HashSet::from([String::new()])).map_err(strange)?;
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(Some(found))
}

/// Reads what a host has in directories; what it names besides would be written here over something else.
pub(super) fn read_walk(text: &str, dirs: &HashSet<String>) -> Result<Vec<(String, Seen)>, String> {
    let mut found = Vec::new();
    for text in text.lines() {
        // A name with a line end is cut here; what is left of it is none.
        let read = line(text).and_then(|(name, seen)| Some((plain(checked(&name).ok()?), seen)));
        let (name, seen) = read.ok_or_else(|| {
            format!(
                "a list of files with `{}` in it, which is none of them: a name with a line end is told in pieces, and such a file can \
                 be brought only where it is an output of its own; have the task give it another name, or pack the directory with `tar`",
                text.escape_debug()
            )
        })?;
        if !dirs.contains("") && !with_those_above(&name).any(|dir| dirs.contains(dir)) {
            return Err(format!("`{}`, which nobody asked for", name.escape_debug()));
        }
        found.push((name, seen));
        if found.len() > MOST_FILES {
            return Err(format!("more than {MOST_FILES} files"));
        }
    }
    Ok(found)
}

/// Returns the checksums of files of a host, in the order of their names; nothing where it does not say them all.
///
/// # Errors
/// When the host cannot be asked.
pub async fn sums(
    host: &dyn Transport,
    root: &str,
    names: impl IntoIterator<Item = &str>,
) -> Result<Option<Vec<Checksum>>, StageError> {
    let mut count = 0;
    let list = list(names.into_iter().inspect(|_| count += 1))?;
    if count == 0 {
        return Ok(Some(Vec::new()));
    }
    // One that is not there has a line too, so that the others' stay in order.
    let script = format!("cd -- {} || exit 73; xargs -0 cksum 2>/dev/null; exit 0", sh(root));
    let text = ask(host, script, list).await?;
    // With a backslash in front where the name behind it has one.
    let sums: Option<Vec<Checksum>> =
        text.lines().map(|line| Checksum::read(line.strip_prefix('\\').unwrap_or(line))).collect();
    Ok(sums.filter(|sums| sums.len() == count))
}

/// Returns the checksum of what `cksum` prints of files of a host, in the order of their names; nothing where it does not say it.
///
/// One line, not one for each file: `cksum` writes each by itself, and each would be a packet. Into a file where there is room for
/// one, since whoever reads a pipe is woken for each, too.
///
/// # Errors
/// When the host cannot be asked; where it is to fail when all channels are taken, also then.
pub(super) async fn sum_of_sums(
    host: &dyn Transport,
    root: &str,
    names: impl IntoIterator<Item = &str>,
    when_busy: WhenBusy,
) -> Result<Option<Checksum>, StageError> {
    let list = list(names)?;
    if list.is_empty() {
        return Ok(None);
    }
    let script = format!(
        "cd -- {} || exit 73\n\
         if t=$(mktemp 2>/dev/null); then\n\
         trap 'rm -f \"$t\"' EXIT; xargs -0 cksum >\"$t\" 2>/dev/null; cksum <\"$t\"\n\
         else xargs -0 cksum 2>/dev/null | cksum; fi\nexit 0",
        sh(root)
    );
    let text = asked(host, Exec::new(script).reading(list).when_busy(when_busy)).await?;
    Ok(Checksum::read(&text))
}

/// Returns names as `xargs -0` reads them. Those that begin with `-` are no options behind `./`.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Vec<u8>, StageError> {
    let mut list = Vec::new();
    for name in names {
        list.extend_from_slice(b"./");
        list.extend_from_slice(checked(name)?.as_bytes());
        list.push(0);
    }
    Ok(list)
}

pub(super) async fn ask(host: &dyn Transport, script: String, list: Vec<u8>) -> Result<String, StageError> {
    asked(host, Exec::new(script).reading(list)).await
}

async fn asked(host: &dyn Transport, exec: Exec) -> Result<String, StageError> {
    let reply = host.exec(exec.printing(SAID).reading_files()).await?;
    if !reply.status.is_success() {
        let host = host.host().to_owned();
        return Err(StageError::There { host, action: "cannot look for files", words: words(&reply.stderr) });
    }
    Ok(String::from_utf8_lossy(&reply.stdout).into_owned())
}

/// Reads a line. A name with a line end is cut here, and so is not found: such a file moves each time.
fn line(line: &str) -> Option<(String, Seen)> {
    let (facts, name) = line.split_once('|')?;
    let mut facts = facts.splitn(4, ' ');
    let (size, time) = (facts.next()?.parse().ok()?, facts.next()?);
    let (mtime, nanos) = time.split_once('.').unwrap_or((time, "0"));
    let mode = u32::from_str_radix(facts.next()?, 8).ok()?;
    let is_dir = facts.next()? == "directory";
    let (mtime, nanos) = (mtime.parse().ok()?, nanos.get(..9).unwrap_or(nanos).parse().ok()?);
    Some((name.strip_prefix("./")?.to_owned(), Seen { size, mtime, nanos, mode, is_dir }))
}

/// Makes the error of a file here.
pub(super) fn here(path: &std::path::Path, source: io::Error) -> StageError {
    StageError::Here { path: path.to_owned(), source }
}
