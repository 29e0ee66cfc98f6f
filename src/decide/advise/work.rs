//! The one command of a line that took its time, where there is one: what a line's time teaches is about that.

use crate::decide::advise::facts::Facts;
use crate::decide::advise::walk::{At, Line, Step};
use crate::language::command::is_small;
use crate::language::shell::{Command, Means, inner_script, read};

/// Programs that leave the work to others: how long they take is not how long that takes.
const LEAVE: [&str; 5] = ["bsub", "csync", "qsub", "salloc", "sbatch"];

/// A command, and where it ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// csync's name of the host.
    pub host: String,
}

/// Finds the command that a line's time and exit code are those of. None where there are several, or none, where its end is not
/// the line's, or where it waited for others: in a batch system, a container, a loop.
pub fn work_of(text: &str, cwd: &str, facts: &impl Facts) -> Option<Work> {
    let script = read(text)?;
    let last = script.commands.len().checked_sub(1)?;
    let plain = |command: &Command| {
        let stands = command.stands;
        let within = stands.substituted || stands.in_function || stands.in_heredoc;
        !(stands.apart || within || stands.in_loop.is_some())
    };
    if !script.commands.iter().all(plain) || is_unsure(text) {
        return None;
    }
    let line = Line::new(&script, cwd, facts);
    let mut working = line.steps.iter().filter(|step| !hands_on(step) && !is_small(&texts(step)));
    let only =
        working.next().filter(|step| step.command == last && !(step.many || step.again || step.open || step.in_job))?;
    let leaves = only.program().is_none_or(|program| LEAVE.contains(&program));
    // Of what stands in a text, the exit code may be that of what follows.
    if leaves || working.next().is_some() || (!only.own && text.contains([';', '\n'])) {
        return None;
    }
    let host = match &only.at {
        At::Here => facts.here().map_or_else(|| "local".to_owned(), |here| here.name.clone()),
        At::There(Some(host), _) | At::Node(host, _) => host.name.clone(),
        At::There(None, _) | At::Inside => return None,
    };
    let words = only.words.get(only.head..)?;
    let known = words.iter().all(|word| word.means != Means::AnyWords);
    known.then(|| Work { words: words.iter().map(|word| word.text.clone()).collect(), host })
}

/// Says whether a line may go well although a command of it did not, or did not run.
fn is_unsure(text: &str) -> bool {
    let rest = text.replace("&&", "").replace(">&", "").replace("&>", "");
    rest.contains('&') || ["||", "! ", "then", "esac", "set +e"].iter().any(|word| text.contains(word))
}

/// Says whether a step only starts others: what they do is theirs.
fn hands_on(step: &Step) -> bool {
    let shell = step.words.get(step.head..).and_then(inner_script).is_some();
    shell || step.program() == Some("ssh")
}

fn texts(step: &Step) -> Vec<&str> {
    step.words.get(step.head..).unwrap_or_default().iter().map(|word| word.text.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::advise::tests::World;

    fn worked(text: &str) -> Option<String> {
        let work = work_of(text, "/p", &World::default())?;
        Some(format!("{}: {}", work.host, work.words.join(" ")))
    }

    #[test]
    fn the_one_that_took_the_time_is_found() {
        for (text, expected) in [
            ("python x.py 3 > log 2>&1", "local: python x.py 3"),
            ("cd a && source env && timeout 1h python x.py", "local: python x.py"),
            ("set -e\nmodule load x\nnice bwa mem \"$R\" a", "local: bwa mem  a"),
            ("ssh hpc 'cd a && python x.py'", "hpc: python x.py"),
            ("bash -lc './x --n 3'", "local: ./x --n 3"),
        ] {
            assert_eq!(worked(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "sleep 60",
            "a && b",
            "a | tail",
            "a; echo over",
            "a || true",
            "! a",
            "a & sleep 60",
            "(a)",
            "if true; then a; fi",
            "for i in 1 2; do a; done",
            "f() { a; }; f",
            "x=$(a)",
            "srun a",
            "docker run img a",
            "find . | xargs a",
            "ssh hpc 'a; echo over'",
            "ssh nowhere a",
            "ssh hpc",
            "a $X",
            "sbatch job.sh",
        ] {
            assert_eq!(worked(text), None, "{text}");
        }
    }
}
