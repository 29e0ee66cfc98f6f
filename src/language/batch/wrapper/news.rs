//! One request and one reply for all that changed on a host.

use std::fmt::Write as _;

use crate::language::batch::wrapper::{Process, Record, escape, unescape};

/// Asks the wrapper's `news`, a line per question, answered in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewsRequest {
    text: String,
}

impl NewsRequest {
    /// Makes a file on the host to ask from later on. First of all questions, so that nothing falls between two answers.
    pub fn stamp(&mut self, path: &str) {
        self.question("stamp", path);
    }

    /// Asks for what was written after this file was made; for everything, when it is not there. Times of files may be as coarse
    /// as seconds and become visible late on network filesystems: ask from an older stamp than the last one. What comes twice is
    /// the same record.
    pub fn since(&mut self, path: &str) {
        self.question("since", path);
    }

    /// Asks for the records of a submission, by its directory. Neighbouring questions of this kind are answered together.
    pub fn records(&mut self, submission: &str) {
        self.question("records", submission);
    }

    /// Asks for one member's record, whatever its age, by the member's directory.
    pub fn record(&mut self, member: &str) {
        self.question("record", member);
    }

    /// Asks whether a process lives; `name` comes back with the answer.
    pub fn alive(&mut self, process: &Process, name: &str) {
        let Process { pid, birth, boot } = process;
        self.question(&format!("alive {pid} {birth} {boot}"), name);
    }

    /// Asks whether anything runs of what was started without a batch system, by the submission's directory.
    pub fn crew(&mut self, submission: &str) {
        self.question("crew", submission);
    }

    /// Asks for at most `limit` bytes of a file from an offset on, and for its size.
    pub fn tail(&mut self, path: &str, from: u64, limit: u64) {
        self.question(&format!("tail {from} {limit}"), path);
    }

    /// Returns the standard input of [`news_command`](super::news_command).
    pub fn text(&self) -> &str {
        &self.text
    }

    fn question(&mut self, words: &str, path: &str) {
        let _ = write!(self.text, "{words} ");
        escape(path, &mut self.text);
        self.text.push('\n');
    }
}

/// What a host told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct News {
    /// Records, in no order; a later one of the same member counts.
    pub records: Vec<Record>,
    /// Names asked about, and whether their processes live.
    pub alive: Vec<(String, bool)>,
    /// Directories of submissions without a batch system, and how those who run them are.
    pub crews: Vec<(String, Crew)>,
    /// Pieces of files.
    pub tails: Vec<Tail>,
    /// What jobs noted of the nodes that they ran on.
    pub looks: Vec<String>,
    /// Records that could not be read: half written, or of another version.
    pub unreadable: usize,
    /// Whether the reply came to its end. If not, what is in it is true all the same.
    pub complete: bool,
}

/// How those are who run a submission without a batch system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crew {
    /// Something of it runs, or will.
    Alive,
    /// Nothing does.
    Dead,
    /// Nothing does: the machine was started anew.
    Rebooted,
}

/// A piece of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Which file.
    pub path: String,
    /// How large it is; none: it is not there.
    pub size: Option<u64>,
    /// Where the piece begins.
    pub from: u64,
    /// The piece.
    pub bytes: Vec<u8>,
}

/// Reads a reply.
pub fn parse_news(reply: &[u8]) -> News {
    let mut news = News::default();
    let mut rest = reply;
    while let Some(line) = next_line(&mut rest) {
        let line = String::from_utf8_lossy(line);
        let (word, value) = line.split_once([' ', '=']).unwrap_or((&line, ""));
        match word {
            "csync" if value == "look" => news.looks.push(until(&mut rest, b"end=look")),
            "csync" => news.record(&line, &mut rest),
            "alive" | "dead" => news.alive.push((unescape(value), word == "alive")),
            "crew" => news.crews.extend(crew(value)),
            "tail" => match tail(value, &mut rest) {
                Some(tail) => news.tails.push(tail),
                None => return news,
            },
            "done" => news.complete = true,
            _ => {}
        }
    }
    news
}

impl News {
    /// Takes a record, whose first line was read already.
    fn record(&mut self, first: &str, rest: &mut &[u8]) {
        match Record::parse(&format!("{first}\n{}", until(rest, b"end=1"))) {
            Some(record) => self.records.push(record),
            None => self.unreadable += 1,
        }
    }
}

/// Takes the lines up to this one. What was cut off is followed by the next record, which is read for itself.
fn until(rest: &mut &[u8], end: &[u8]) -> String {
    let mut text = String::new();
    while !rest.starts_with(b"csync=") {
        let Some(line) = next_line(rest) else { break };
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
        if line == end {
            break;
        }
    }
    text
}

fn next_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    if rest.is_empty() {
        return None;
    }
    let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    let (line, after) = rest.split_at(end);
    *rest = after.get(1..).unwrap_or_default();
    Some(line)
}

fn crew(text: &str) -> Option<(String, Crew)> {
    let (word, path) = text.split_once(' ')?;
    let crew = match word {
        "alive" => Crew::Alive,
        "dead" => Crew::Dead,
        "rebooted" => Crew::Rebooted,
        _ => return None,
    };
    Some((unescape(path), crew))
}

fn tail(head: &str, rest: &mut &[u8]) -> Option<Tail> {
    let mut words = head.splitn(4, ' ');
    let (size, from, length) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse::<usize>().ok()?);
    let bytes = rest.get(..length)?.to_vec();
    // The line end is the frame's: where it is not, the file shrank meanwhile, and nothing after it can be told apart.
    let after = rest.get(length..)?.strip_prefix(b"\n")?;
    *rest = after;
    Some(Tail { path: unescape(words.next()?), size: size.parse().ok(), from, bytes })
}
