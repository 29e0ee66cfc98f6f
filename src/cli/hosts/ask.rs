//! Questions of hosts to the person at this terminal: passphrases, passwords, one-time codes. Answers are not kept.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, PipeReader, PipeWriter, Write};
use std::sync::mpsc::{self, Receiver};

use futures_util::FutureExt;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Signal, kill_current_process_group};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use crate::reach::transport::{Ask, Questions, Seen};

/// Most letters of a line of a host, and most lines of what it says before it asks.
const LONGEST: usize = 500;
const LINES: usize = 20;

/// Longest answer.
const ANSWER: usize = 4096;

/// Returns who answers at this terminal; nobody where there is none.
pub(super) fn at_terminal() -> Option<Ask> {
    let is_there = io::stdin().is_terminal() && io::stderr().is_terminal();
    is_there.then(|| {
        Ask::new(|questions| {
            let asked = async move {
                let (taken_back, back) = io::pipe().ok()?;
                let (over, is_over) = mpsc::channel::<()>();
                let _waiting = Waiting { back: Some(back), is_over };
                let asked = tokio::task::spawn_blocking(move || {
                    let _over = over;
                    answers(&questions, &taken_back)
                });
                asked.await.ok().flatten()
            };
            asked.boxed()
        })
    })
}

/// Somebody who waits for answers. When it is dropped the person is no longer asked, and the terminal is as it was: a connection that
/// broke leaves neither a thread that takes what is typed next, nor a terminal that shows nothing.
struct Waiting {
    /// Its end is what takes the question back.
    back: Option<PipeWriter>,
    is_over: Receiver<()>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.back.take());
        // The one who asks wakes up at once, and drops its end when it leaves.
        self.is_over.recv().ok();
    }
}

/// Asks all questions of a host; nothing where the person will not answer.
fn answers(questions: &Questions, taken_back: &PipeReader) -> Option<Vec<String>> {
    let mut answers = Vec::new();
    print(&said(questions)).ok()?;
    for (prompt, seen) in &questions.prompts {
        let prompt = asked(&questions.host, prompt);
        let answer = match seen {
            Seen::Shown => shown(&prompt, taken_back),
            Seen::Hidden => hidden(&prompt, taken_back),
        };
        answers.push(answer.ok().flatten()?);
    }
    Some(answers)
}

fn print(text: &str) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    stderr.write_all(text.as_bytes())?;
    stderr.flush()
}

/// Returns what a host says before it asks, each line under its name.
fn said(questions: &Questions) -> String {
    questions.instructions.lines().take(LINES).fold(String::new(), |mut text, line| {
        let _infallible = writeln!(text, "({}) {}", questions.host, plain(line));
        text
    })
}

/// Returns a question as it is printed, under the name of the host that asks.
fn asked(host: &str, prompt: &str) -> String {
    format!("({host}) {} ", plain(prompt).trim_end())
}

/// Returns what a host says without anything that a terminal obeys: neither control characters nor those that turn the direction of
/// writing, by which a question could look like another's.
fn plain(text: &str) -> String {
    let obeyed = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
    };
    let bare = console::strip_ansi_codes(text);
    bare.chars().map(|letter| if obeyed(letter) { ' ' } else { letter }).take(LONGEST).collect()
}

/// What is typed, until a question is taken back.
struct Keys<'a> {
    taken_back: &'a PipeReader,
}

impl Iterator for Keys<'_> {
    type Item = io::Result<u8>;

    fn next(&mut self) -> Option<io::Result<u8>> {
        let stdin = io::stdin();
        loop {
            let mut ready = [PollFd::new(self.taken_back, PollFlags::IN), PollFd::new(&stdin, PollFlags::IN)];
            match poll(&mut ready, None) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Some(Err(error.into())),
            }
            let [back, _] = ready;
            if !back.revents().is_empty() {
                return None;
            }
            let mut key = [0];
            // Not through a buffer, which would keep what belongs to the next question.
            match rustix::io::read(&stdin, &mut key) {
                Ok(0) => return None,
                Ok(_) => return key.first().copied().map(Ok),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}

/// Reads a line that may be seen.
fn shown(prompt: &str, taken_back: &PipeReader) -> io::Result<Option<String>> {
    print(prompt)?;
    let mut line = Vec::new();
    for key in (Keys { taken_back }) {
        match key? {
            b'\n' => {
                let line = String::from_utf8_lossy(&line);
                return Ok(Some(line.trim_end_matches('\r').to_owned()));
            }
            key => line.push(key),
        }
    }
    Ok(None)
}

/// Reads a line that nobody sees. Ctrl-C does what the terminal would have done with it, once that is as it was: it ends all that was
/// started here, an `ssh` too that waits for the answer and would ask for something else without it.
fn hidden(prompt: &str, taken_back: &PipeReader) -> io::Result<Option<String>> {
    let stdin = io::stdin();
    let before = tcgetattr(&stdin)?;
    // Letter by letter, and signals from the keyboard as letters: whatever is typed, the terminal shows again what comes after.
    let mut now = before.clone();
    now.local_modes &= !(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
    now.special_codes[SpecialCodeIndex::VMIN] = 1;
    now.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(&stdin, OptionalActions::Drain, &now)?;
    let shown_again = Shown(before);
    let typed = print(prompt).and_then(|()| typed(&mut Keys { taken_back }));
    drop(shown_again);
    print("\n")?;
    match typed? {
        // Without a copy, which would stay behind, where it is text.
        Typed::Line(line) => {
            Ok(Some(String::from_utf8(line).unwrap_or_else(|odd| String::from_utf8_lossy(odd.as_bytes()).into_owned())))
        }
        Typed::Nothing => Ok(None),
        Typed::Interrupt => {
            kill_current_process_group(Signal::INT)?;
            Ok(None)
        }
    }
}

/// Makes a terminal again what it was.
struct Shown(Termios);

impl Drop for Shown {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing more.
        tcsetattr(io::stdin(), OptionalActions::Drain, &self.0).ok();
    }
}

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
enum Typed {
    Line(Vec<u8>),
    Nothing,
    Interrupt,
}

/// Takes keys up to the end of a line.
fn typed(keys: &mut impl Iterator<Item = io::Result<u8>>) -> io::Result<Typed> {
    let mut line: Vec<u8> = Vec::with_capacity(ANSWER);
    for key in keys {
        match key? {
            0x03 => return Ok(Typed::Interrupt),
            0x04 if line.is_empty() => return Ok(Typed::Nothing),
            b'\r' | b'\n' | 0x04 => return Ok(Typed::Line(line)),
            // A letter may have several bytes.
            0x08 | 0x7f => while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            0x15 => line.clear(),
            other if line.len() < ANSWER => line.push(other),
            _ => {}
        }
    }
    Ok(Typed::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_make_a_line() {
        let typed = |keys: &[u8]| typed(&mut keys.iter().map(|key| Ok(*key))).unwrap();
        let line = |text: &str| Typed::Line(text.as_bytes().to_vec());
        assert_eq!(typed(b"123456\r"), line("123456"));
        assert_eq!(typed(b"\n"), line(""));
        assert_eq!(typed("sö\u{7f}e\u{8}esame\n".as_bytes()), line("sesame"));
        assert_eq!(typed(b"wrong\x15right\nmore"), line("right"));
        assert_eq!(typed(b"\x7fx\x04"), line("x"));
        assert_eq!(typed(b"\x04"), Typed::Nothing);
        assert_eq!(typed(b"half"), Typed::Nothing);
        assert_eq!(typed(b"secr\x03\n"), Typed::Interrupt);
        let Typed::Line(long) = typed(&[&vec![b'x'; 3 * ANSWER][..], b"\n"].concat()) else { panic!("a line") };
        assert_eq!(long.len(), ANSWER);
    }

    #[test]
    fn what_a_host_asks_is_harmless_and_named() {
        let questions = Questions {
            host: "hpc".to_owned(),
            instructions: "Duo\nEnter \u{1b}[2J\u{1b}]0;title\u{7}a code\r\u{202e}reversed\u{9b}31m".to_owned()
                + &"\nx".repeat(99),
            prompts: Vec::new(),
        };
        let said = said(&questions);
        assert!(said.starts_with("(hpc) Duo\n(hpc) Enter a code  reversed"), "{said:?}");
        assert_eq!(said.lines().count(), LINES);
        assert!(said.chars().all(|letter| letter == '\n' || !letter.is_control()), "{said:?}");
        assert_eq!(asked("hpc", "Passcode: "), "(hpc) Passcode: ");
        assert_eq!(asked("hpc", "Code:\n\u{1b}[1A(lab) Passphrase:"), "(hpc) Code: (lab) Passphrase: ");
        assert_eq!(asked("hpc", &"x".repeat(9999)).len(), LONGEST + 7);
    }
}
