//! What goes along with a command to another machine: found, shown before the first time, agreed to, bounded.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use crate::cli::context::Context;
use crate::cli::errors::Failure;
use crate::cli::hosts::Known;
use crate::cli::view::words::{cut, many, number};
use crate::language::ignored;
use crate::language::manifest::is_here;
use crate::model::api::ErrorKind;
use crate::model::units::Bytes;
use crate::reach::config::Agreed;
use crate::reach::files::FilesError;
use crate::reach::files::tree::{Chosen, Tree, tree};

/// Most that goes along where nobody says more.
const MOST: Bytes = Bytes(1 << 30);

/// A directory that grew by more than this, and to more than twice of what was agreed to, is shown again.
const GROWN: u64 = 64 << 20;

/// Largest files that are named.
const NAMED: usize = 5;

/// Where a command runs, and what goes along.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "On other machines")]
pub(super) struct Elsewhere {
    /// Run it on this host, or on the first of several that can be used: `--on hpc`, `--on hpc,local`
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub(super) on: Vec<String>,
    /// Send this file or directory too, though git ignores it; may be given several times
    #[arg(long, value_name = "PATH", requires = "on")]
    pub(super) with: Vec<String>,
    /// Send at most so much: 500M, 20G [default: 1G]
    #[arg(long, value_name = "SIZE", requires = "on")]
    pub(super) max_size: Option<Bytes>,
    /// Send the files without asking
    #[arg(short, long)]
    pub(super) yes: bool,
}

impl Elsewhere {
    /// Finds what goes along from a directory, and has it agreed to; none where the command stays on this machine.
    pub(super) fn tree(&self, context: &Context, root: &str) -> Result<Option<Vec<String>>, Failure> {
        if !self.leaves(context)? {
            return Ok(None);
        }
        let tree = self.gather(context, root)?;
        self.agree(context, root, &tree)?;
        Ok(Some(tree.files.into_iter().map(|(name, _)| name).collect()))
    }

    /// Returns whether a place is another machine.
    pub(super) fn leaves(&self, context: &Context) -> Result<bool, Failure> {
        if self.on.iter().all(|place| is_here(place)) {
            return Ok(false);
        }
        let known = Known::load(context)?;
        for place in self.on.iter().filter(|place| !is_here(place)) {
            let tag = place.strip_prefix("tag:").unwrap_or(place);
            if known.hosts.tagged(tag).next().is_none() {
                let host = known.host(place)?;
                if host.transfer_only {
                    let failure = Failure::usage(format!("`{place}` only holds data: no job is started there"));
                    return Err(failure.hint("`csync hosts list` names the others"));
                }
            }
        }
        Ok(true)
    }

    /// Finds the files, and refuses too many.
    pub(super) fn gather(&self, context: &Context, root: &str) -> Result<Tree, Failure> {
        let mut found = tree(Path::new(root)).map_err(|error| unread(root, &error))?;
        found.add(Path::new(root), &self.with).map_err(|error| unread(root, &error))?;
        for mistake in &found.mistakes {
            context.warn(&format!("warning: a pattern in {} means nothing: {mistake}", ignored::FILE));
        }
        if let [first, ..] = found.odd.as_slice() {
            let files = many(found.odd.len() as u32, "file");
            let name = first.to_string_lossy().escape_debug().to_string();
            context.warn(&format!("warning: {files} stay behind: their names are not plain text (`{name}`)."));
        }
        let most = self.max_size.unwrap_or(MOST);
        let bytes = Bytes(found.bytes());
        if bytes > most {
            let mut failure = Failure::usage(format!("{bytes} would be sent from {root}, and at most {most} are"))
                .hint(format!(
                    "name what stays behind in {}, as in .gitignore; `--max-size {}` sends it all",
                    ignored::FILE,
                    room_for(bytes)
                ));
            for (name, size) in found.largest(NAMED) {
                failure = failure.why(format!("{} has {}", cut(name, 60), Bytes(*size)));
            }
            return Err(failure);
        }
        Ok(found)
    }

    /// Shows what goes along and asks, unless that was agreed to before.
    fn agree(&self, context: &Context, root: &str, tree: &Tree) -> Result<(), Failure> {
        let agreed = Agreed::of(&context.state_dir()?, root);
        let bytes = tree.bytes();
        let known = agreed.bytes().is_some_and(|before| bytes <= before.saturating_mul(2).max(before + GROWN));
        if !known && !self.yes {
            if context.json() || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
                let failure = Failure::new(ErrorKind::Conflict, format!("nobody has agreed to send {root} yet"));
                return Err(failure
                    .why(summary(tree))
                    .hint("`--yes` agrees, once and for this directory; `-n` lists it"));
            }
            context.warn(&shown(root, &self.on, tree));
            if !said_yes("Send them? [Y/n] ")? {
                return Err(Failure::interrupted("nothing was sent")
                    .hint(format!("what stays behind is named in {}, as in .gitignore", ignored::FILE)));
            }
        }
        if !known && let Err(error) = agreed.keep(bytes) {
            context.warn(&format!("warning: that you agreed will be asked again: it cannot be remembered ({error})"));
        }
        Ok(())
    }
}

fn unread(root: &str, error: &FilesError) -> Failure {
    let hint = match error {
        FilesError::TooMany { .. } => {
            format!("run it from a directory of its own, or name what stays behind in {}", ignored::FILE)
        }
        FilesError::Io { action: "find", .. } => "paths of `--with` are relative to this directory".to_owned(),
        _ => "`git status` and `ls -l` show what is wrong there".to_owned(),
    };
    let message = match error {
        FilesError::TooMany { most, .. } => format!("{root} holds more than {} files", number(*most as u64)),
        other => other.to_string(),
    };
    Failure::usage(message).because_of_source(error).hint(hint)
}

/// Says how much goes along, and by whose choice.
fn summary(tree: &Tree) -> String {
    let (files, bytes) = (many(tree.files.len() as u32, "file"), Bytes(tree.bytes()));
    match tree.chosen {
        Chosen::ByGit => format!("{files}, {bytes}: what git tracks, and what it does not ignore"),
        Chosen::All => format!("{files}, {bytes}: everything, as this is no git repository"),
    }
}

fn shown(root: &str, on: &[String], tree: &Tree) -> String {
    let mut text = format!("From {root} to {} go\n  {}\n", on.join(", "), summary(tree));
    for (name, size) in tree.largest(NAMED) {
        let _infallible = writeln!(text, "  {:>6}  {}", Bytes(*size).to_string(), cut(name, 66));
    }
    if tree.files.len() > NAMED {
        let _infallible = writeln!(text, "          and {} smaller ones", number((tree.files.len() - NAMED) as u64));
    }
    let _infallible = write!(
        text,
        "What the command makes or changes comes back here.\n{} names what neither goes nor comes, as .gitignore does.",
        ignored::FILE
    );
    text
}

/// Returns a size to allow that is enough for so much: rounded down, it would be refused again.
fn room_for(bytes: Bytes) -> String {
    Bytes(bytes.0.next_multiple_of(1 << 20)).exactly()
}

/// Lists every file that would go along.
pub(super) fn listing(tree: &Tree) -> String {
    let mut text = String::new();
    for (name, size) in &tree.files {
        let _infallible = writeln!(text, "{:>6}  {}", Bytes(*size).to_string(), cut(name, usize::MAX));
    }
    let _infallible = writeln!(text, "Would send {}.", summary(tree));
    text
}

/// Asks until the answer is one; nothing is yes, the end of the input is no.
pub(super) fn said_yes(question: &str) -> Result<bool, Failure> {
    loop {
        let mut err = io::stderr().lock();
        // A terminal that cannot be written is not answered either.
        write!(err, "{question}").and_then(|()| err.flush()).ok();
        drop(err);
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        let read = read.map_err(|error| Failure::usage("the answer cannot be read").because(&error))?;
        match (read, answer.trim().to_ascii_lowercase().as_str()) {
            (0, _) | (_, "n" | "no") => return Ok(false),
            (_, "" | "y" | "yes") => return Ok(true),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_that_is_named_is_enough() {
        for (bytes, wanted) in [(30, "1M"), (1 << 20, "1M"), (1_234_567_890, "1178M"), (3 << 30, "3G")] {
            assert_eq!(room_for(Bytes(bytes)), wanted, "{bytes}");
            assert!(room_for(Bytes(bytes)).parse::<Bytes>().is_ok_and(|room| room.0 >= bytes), "{bytes}");
        }
    }

    #[test]
    fn what_goes_along_is_shown_with_its_largest() {
        let files = (1..=7).map(|n| (format!("f{n}"), n * 1000)).collect();
        let tree = Tree { files, chosen: Chosen::ByGit, odd: Vec::new(), mistakes: Vec::new() };
        insta::assert_snapshot!(shown("/data/ada/net", &["hpc".to_owned()], &tree), @r"
        From /data/ada/net to hpc go
          7 files, 27.3K: what git tracks, and what it does not ignore
            6.8K  f7
            5.9K  f6
            4.9K  f5
            3.9K  f4
            2.9K  f3
                  and 2 smaller ones
        What the command makes or changes comes back here.
        .csyncignore names what neither goes nor comes, as .gitignore does.
        ");
    }
}
