//! Halves of files on hosts: what transfers left that broke. One that is tried again goes on with them; the others' would stay.

use std::time::Duration;

use crate::language::quote::sh;
use crate::model::units::Bytes;
use crate::reach::config::StateDir;
use crate::reach::transport::{Exec, Remote, Transport, TransportError};
use crate::serve::site::jobs::{There, succeeded};
use crate::serve::site::send::trees;

/// How many days nothing was written to what goes where nobody may go on with it.
const DAYS: u32 = 3;

/// How many where somebody may: whoever goes on then sends it anew.
const LONG: u32 = 7;

/// How long looking for them may take.
const LOOKING: Duration = Duration::from_mins(30);

/// Halves of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Halves {
    /// How many.
    pub files: u32,
    /// What they hold.
    pub bytes: Bytes,
}

/// What is done with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// They are counted.
    Count,
    /// They go.
    Remove,
}

/// Looks for halves of files in what was brought to a host, to which nothing was written for days, but for those of other state
/// directories. Nobody may be going on with one.
///
/// # Errors
/// When the host cannot be asked.
pub async fn look_for_halves(
    way: &Remote,
    state: &StateDir,
    there: &There,
    then: Then,
) -> Result<Halves, TransportError> {
    let script = format!("cd -- {} || exit 1\n{}exit 0", sh(&there.scratch), script(&trees(state), then));
    let reply = way.exec(Exec::new(script).within(LOOKING)).await?;
    succeeded(way.host(), &there.scratch, &reply)?;
    Ok(read(&String::from_utf8_lossy(&reply.stdout)))
}

/// Finds what was not written to for more than so many days.
fn find(trees: &str, days: u32) -> String {
    format!(
        "find trees/{trees}* -type f \\( -name '.csync-*.part' -o -path '*/.csync-partial/*' \\) -mtime +{}",
        days.saturating_sub(1)
    )
}

/// What names the temporary directories of `rsync`.
fn emptied(trees: &str) -> String {
    format!("find trees/{trees}* -type d -name .csync-partial -exec rmdir {{}} + 2>/dev/null\n")
}

fn script(trees: &str, then: Then) -> String {
    let (remove, emptied) = match then {
        Then::Count => ("", String::new()),
        Then::Remove => ("rm -f -- \"$@\"", emptied(trees)),
    };
    let each = sh(&format!("du -k -- \"$@\"\n{remove}")).into_owned();
    format!("{} -exec sh -c {each} sh {{}} + 2>/dev/null\n{emptied}", find(trees, DAYS))
}

fn read(text: &str) -> Halves {
    let sizes = text.lines().filter_map(|line| line.split_once('\t')?.0.trim().parse::<u64>().ok());
    sizes.fold(Halves::default(), |all, kilobytes| Halves {
        files: all.files + 1,
        bytes: Bytes(all.bytes.0.saturating_add(kilobytes << 10)),
    })
}

/// Returns the lines that remove, once a day, what nobody went on with for long, whoever might: nothing runs on a host only to look
/// through all that was brought there.
pub(super) fn daily(trees: &str) -> String {
    let mark = format!("trees/.{trees}tidied");
    format!(
        "if [ -d trees ] && [ -z \"$(find {mark} -mtime -1 2>/dev/null)\" ] && : >{mark}; then\n\
         {} -exec rm -f -- {{}} + 2>/dev/null\n{}fi\n",
        find(trees, LONG),
        emptied(trees)
    )
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;
    use std::process::Command;

    use super::*;

    const DAY: u64 = 24 * 60 * 60;

    fn write(dir: &Path, name: &str, days: u64) {
        let path = dir.join("trees").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, vec![b'x'; 10_000]).unwrap();
        let file = File::options().append(true).open(path).unwrap();
        let now = file.metadata().unwrap().modified().unwrap();
        file.set_modified(now - Duration::from_secs(days * DAY + 60)).unwrap();
    }

    /// Runs lines that others follow.
    fn run(dir: &Path, script: &str) -> Halves {
        let script = &format!("{script}exit 0");
        let done = Command::new("/bin/sh").current_dir(dir).args(["-c", script]).output().unwrap();
        assert_eq!((done.status.code(), done.stderr.as_slice()), (Some(0), &b""[..]));
        read(&String::from_utf8_lossy(&done.stdout))
    }

    fn left(dir: &Path, names: &[&str]) -> Vec<bool> {
        names.iter().map(|name| dir.join("trees").join(name).exists()).collect()
    }

    const NAMES: [&str; 6] = [
        "ab-1/data/it's/.csync-0-1.part",
        "ab-1/.csync-partial/large",
        "ab-1/.csync-0-2.part",
        "ab-1/old.part",
        "cd-1/.csync-0-1.part",
        "ab-2/.csync-partial/new",
    ];

    fn world() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, days) in NAMES.into_iter().zip([3, 8, 1, 100, 100, 0]) {
            write(dir.path(), name, days);
        }
        dir
    }

    #[test]
    fn what_nobody_goes_on_with_is_counted_and_goes() {
        let world = world();
        let dir = world.path();
        let counted = run(dir, &script("ab-", Then::Count));
        assert_eq!((counted.files, left(dir, &NAMES)), (2, vec![true; 6]));
        assert!(counted.bytes >= Bytes(20_000), "{counted:?}");
        assert_eq!(run(dir, &script("ab-", Then::Remove)), counted);
        assert_eq!(left(dir, &NAMES), [false, false, true, true, true, true]);
        assert_eq!(left(dir, &["ab-1/.csync-partial", "ab-2/.csync-partial"]), [false, true]);
        assert_eq!(run(dir, &script("ab-", Then::Remove)), Halves::default());
        // Where nothing was ever brought.
        let empty = tempfile::tempdir().unwrap();
        for text in [script("ab-", Then::Remove), daily("ab-")] {
            assert_eq!(run(empty.path(), &text), Halves::default());
        }
    }

    #[test]
    fn what_nobody_went_on_with_for_long_goes_once_a_day() {
        let world = world();
        let dir = world.path();
        run(dir, &daily("ab-"));
        assert_eq!(left(dir, &NAMES), [true, false, true, true, true, true]);
        write(dir, NAMES[1], 8);
        run(dir, &daily("ab-"));
        assert_eq!(left(dir, &NAMES), [true; 6], "it was looked for today");
        write(dir, ".ab-tidied", 1);
        run(dir, &daily("ab-"));
        assert_eq!(left(dir, &NAMES), [true, false, true, true, true, true]);
    }
}
