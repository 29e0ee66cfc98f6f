//! Questions of hosts to the person at this terminal: passphrases, passwords, one-time codes. Answers are not kept.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Read, Write};

use futures_util::FutureExt;
use rustix::process::{Signal, getpid, kill_process};
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
            let asked = tokio::task::spawn_blocking(move || answers(&questions));
            asked.map(|answers| answers.ok().flatten()).boxed()
        })
    })
}

/// Asks all questions of a host; nothing where the person will not answer.
fn answers(questions: &Questions) -> Option<Vec<String>> {
    let mut answers = Vec::new();
    print(&said(questions)).ok()?;
    for (prompt, seen) in &questions.prompts {
        let prompt = asked(&questions.host, prompt);
        let answer = match seen {
            Seen::Shown => shown(&prompt),
            Seen::Hidden => hidden(&prompt),
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

/// Reads a line that may be seen.
fn shown(prompt: &str) -> io::Result<Option<String>> {
    print(prompt)?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.strip_suffix('\n').map(|line| line.trim_end_matches('\r').to_owned()))
}

/// Reads a line that nobody sees. Ctrl-C ends the program once the terminal is as it was.
fn hidden(prompt: &str) -> io::Result<Option<String>> {
    let stdin = io::stdin();
    let before = tcgetattr(&stdin)?;
    // Letter by letter, and signals from the keyboard as letters: whatever is typed, the terminal shows again what comes after.
    let mut now = before.clone();
    now.local_modes &= !(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
    now.special_codes[SpecialCodeIndex::VMIN] = 1;
    now.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(&stdin, OptionalActions::Drain, &now)?;
    let shown_again = Shown(before);
    let typed = print(prompt).and_then(|()| typed(&mut stdin.lock().bytes()));
    drop(shown_again);
    print("\n")?;
    match typed? {
        Typed::Line(line) => Ok(Some(String::from_utf8_lossy(&line).into_owned())),
        Typed::Nothing => Ok(None),
        Typed::Interrupt => {
            kill_process(getpid(), Signal::INT)?;
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
    let mut line: Vec<u8> = Vec::new();
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
