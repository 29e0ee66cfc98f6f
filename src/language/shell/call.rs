//! Calls of the programs that csync knows: their options, operands, and the command that they start.

use crate::language::shell::options::{Opt, Reading, guess, read};
use crate::language::shell::tables::{
    APPTAINER, APPTAINER_RUN, BSUB, DOCKER, DOCKER_EXEC, DOCKER_RUN, QSUB, RSYNC, SALLOC, SBATCH, SCP, SFTP, SRUN, SSH,
    Table,
};
use crate::language::shell::word::{Means, Word};
use crate::language::shell::wrap::base;

/// A call of a program by its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'w> {
    /// The program, without its directory.
    pub program: &'w str,
    /// The word that it stands on.
    pub head: usize,
    /// Its options.
    pub options: Vec<Opt<'w>>,
    /// Its operands: words that are neither options nor part of the command. A container's image is one.
    pub operands: Vec<usize>,
    /// The first word of the command that it starts, or of the batch script.
    pub command: Option<usize>,
}

impl<'w> Call<'w> {
    /// Returns the last of the options with one of these names: that is the one that counts.
    pub fn option(&self, names: &[&str]) -> Option<&Opt<'w>> {
        self.options.iter().rev().find(|option| names.contains(&option.name))
    }

    /// Returns whether one of these options is given.
    pub fn has(&self, names: &[&str]) -> bool {
        self.option(names).is_some()
    }
}

/// Reads the call whose program stands on the word `head`. None for programs without a table, and where it is not understood.
pub fn call(words: &[Word], head: usize) -> Option<Call<'_>> {
    let program = base(words.get(head)?.fixed()?);
    match program {
        "ssh" => ssh(words, head).map(|ssh| ssh.call),
        "scp" => copy(&SCP, words, head, program),
        "sftp" => copy(&SFTP, words, head, program),
        "rsync" => mixed(words, head, program),
        "srun" => starts(&SRUN, words, head, program),
        "sbatch" => starts(&SBATCH, words, head, program),
        "salloc" => starts(&SALLOC, words, head, program),
        "qsub" | "qrsh" | "qlogin" | "qsh" => starts(&QSUB, words, head, program),
        "bsub" => starts(&BSUB, words, head, program),
        "docker" | "podman" => container(words, head, program, &DOCKER, |verb| match verb {
            "run" | "create" => Some(&DOCKER_RUN),
            "exec" => Some(&DOCKER_EXEC),
            _ => None,
        }),
        "apptainer" | "singularity" => container(words, head, program, &APPTAINER, |verb| {
            matches!(verb, "exec" | "run" | "shell" | "test").then_some(&APPTAINER_RUN)
        }),
        _ => None,
    }
}

fn call_of<'w>(program: &'w str, head: usize, reading: Reading<'w>) -> Call<'w> {
    Call { program, head, options: reading.options, operands: Vec::new(), command: None }
}

/// Options, then a command or nothing.
fn starts<'w>(table: &'static Table, words: &'w [Word], head: usize, program: &'w str) -> Option<Call<'w>> {
    let reading = read(table, words, head + 1)?;
    let next = reading.next;
    let command = (next < words.len()).then_some(next);
    Some(Call { command, ..call_of(program, head, reading) })
}

/// Options, then operands.
fn copy<'w>(table: &'static Table, words: &'w [Word], head: usize, program: &'w str) -> Option<Call<'w>> {
    let reading = read(table, words, head + 1)?;
    let operands = (reading.next..words.len()).collect();
    Some(Call { operands, ..call_of(program, head, reading) })
}

/// Options and operands in any order.
fn mixed<'w>(words: &'w [Word], head: usize, program: &'w str) -> Option<Call<'w>> {
    let (mut at, mut options, mut operands) = (head + 1, Vec::new(), Vec::new());
    while at < words.len() {
        let reading = read(&RSYNC, words, at)?;
        options.extend(reading.options);
        at = reading.next;
        if reading.ended {
            operands.extend(at..words.len());
            break;
        }
        if at < words.len() {
            operands.push(at);
            at += 1;
        }
    }
    Some(Call { program, head, options, operands, command: None })
}

/// `docker [options] run [options] IMAGE [command...]`: the operands are the verb and the image.
fn container<'w>(
    words: &'w [Word],
    head: usize,
    program: &'w str,
    global: &'static Table,
    table: impl Fn(&str) -> Option<&'static Table>,
) -> Option<Call<'w>> {
    let before = read(global, words, head + 1)?;
    let mut verb = before.next;
    // `docker container run` is `docker run`.
    if words.get(verb)?.fixed() == Some("container") {
        verb += 1;
    }
    let table = table(words.get(verb)?.fixed()?)?;
    let reading = read(table, words, verb + 1)?;
    let image = reading.next;
    let mut options = before.options;
    options.extend(reading.options);
    let command = (image + 1 < words.len()).then_some(image + 1);
    let operands = if image < words.len() { vec![verb, image] } else { vec![verb] };
    Some(Call { program, head, options, operands, command })
}

/// A call of `ssh`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshCall<'w> {
    /// The call; its command is the first word of the remote command.
    pub call: Call<'w>,
    /// The word that names the destination.
    pub destination: usize,
}

/// Reads a call of `ssh`: its options may stand behind the destination too.
pub fn ssh(words: &[Word], head: usize) -> Option<SshCall<'_>> {
    ssh_by(read, words, head)
}

/// Reads a call of `ssh` some of whose values may become several words: `ssh -i $KEY host`. It may be spoken of, and not changed.
pub fn guessed_ssh(words: &[Word], head: usize) -> Option<SshCall<'_>> {
    ssh_by(guess, words, head)
}

fn ssh_by<'w>(
    read: impl Fn(&'static Table, &'w [Word], usize) -> Option<Reading<'w>>,
    words: &'w [Word],
    head: usize,
) -> Option<SshCall<'w>> {
    let program = base(words.get(head)?.fixed()?);
    if program != "ssh" {
        return None;
    }
    let first = read(&SSH, words, head + 1)?;
    let (destination, ended) = (first.next, first.ended);
    words.get(destination).filter(|word| word.means != Means::AnyWords)?;
    let mut call = call_of(program, head, first);
    let mut next = destination + 1;
    if next < words.len() && !ended {
        // From the destination on, an expansion may be the command: then options are over.
        let expands = words.get(next).is_some_and(|word| word.means != Means::Itself && !word.text.starts_with('-'));
        if !expands {
            let second = read(&SSH, words, next)?;
            next = second.next;
            call.options.extend(second.options);
        }
    }
    call.command = (next < words.len()).then_some(next);
    call.operands = vec![destination];
    Some(SshCall { call, destination })
}

impl SshCall<'_> {
    /// Returns the text that the other side's shell is given: the words with blanks between them. None where there is no
    /// command, or some of it expands here.
    pub fn remote(&self, words: &[Word]) -> Option<String> {
        let parts: Option<Vec<&str>> = words.get(self.call.command?..)?.iter().map(Word::fixed).collect();
        Some(parts?.join(" "))
    }

    /// Returns that text also where some of it expands here, with variables in the places of what only the shell knows.
    pub fn shown(&self, words: &[Word]) -> Option<String> {
        let parts: Vec<&str> = words.get(self.call.command?..)?.iter().map(Word::shown).collect();
        Some(parts.join(" "))
    }
}

/// A place as `scp` and `rsync` spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'w> {
    /// A path of this machine.
    Here(&'w str),
    /// A path of another.
    There {
        /// Who, where it says so.
        user: Option<&'w str>,
        /// Which.
        host: &'w str,
        /// Where.
        path: &'w str,
    },
}

/// Reads an operand of `scp` or `rsync`: `host:path` where no slash stands before the colon.
pub fn place(text: &str) -> Place<'_> {
    let Some((before, path)) = split_host(text) else { return Place::Here(text) };
    let (user, host) = match before.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, before),
    };
    let path = path.strip_prefix(':').unwrap_or(path);
    Place::There { user, host: host.trim_start_matches('[').trim_end_matches(']'), path }
}

fn split_host(text: &str) -> Option<(&str, &str)> {
    // `[fe80::1]:path`
    let from = text.find('[').and_then(|open| text.get(open..)?.find(']').map(|close| open + close)).unwrap_or(0);
    let colon = from + text.get(from..)?.find(':')?;
    let before = text.get(..colon)?;
    (!before.is_empty() && !before.contains('/')).then(|| (before, text.get(colon + 1..).unwrap_or_default()))
}
