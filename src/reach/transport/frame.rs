//! Marks in a stream that nobody could have guessed, each with a number: `\n<mark> <number>\n`.

use std::io;

use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest number of a mark with its line's end: a process id.
const NUMBER: usize = 12;

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// A mark, made anew for every use.
///
/// It is printed from two halves: a shell that traces its commands shows them apart, and is not taken for one that ran them.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    left: String,
    right: String,
}

impl Mark {
    /// Draws a mark.
    pub(super) fn draw() -> io::Result<Self> {
        let mut bytes = [0; 16];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        let number = u128::from_ne_bytes(bytes);
        Ok(Self { left: format!("csync-{:016x}", number >> 64), right: format!("{:016x}", number as u64) })
    }

    /// Returns the shell command that prints the mark with a number on a line of its own.
    pub(super) fn print(&self, number: &str) -> String {
        format!(r#"printf '\n%s%s %d\n' {} {} "{number}""#, self.left, self.right)
    }

    /// Returns what is looked for.
    fn needle(&self) -> Vec<u8> {
        format!("\n{}{} ", self.left, self.right).into_bytes()
    }
}

/// A stream ended, or went on for too long, before the mark was there.
#[derive(Debug)]
pub(super) enum Unmarked {
    /// It ended or broke.
    Ended(String),
    /// There was more than was allowed.
    Flood,
}

/// A place in a buffer: the mark begins at `at` and what follows it at `rest`.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    at: usize,
    rest: usize,
    number: u32,
}

fn find(buffer: &[u8], from: usize, needle: &[u8]) -> Option<Found> {
    let at = from + memmem::find(buffer.get(from..)?, needle)?;
    let digits = buffer.get(at + needle.len()..)?;
    let length = digits.iter().take(NUMBER).position(|byte| *byte == b'\n')?;
    let number = std::str::from_utf8(digits.get(..length)?).ok()?.parse().ok()?;
    Some(Found { at, rest: at + needle.len() + length + 1, number })
}

/// Reads up to a mark: what came before it stays in the buffer, what came after it is returned with its number.
pub(super) async fn read_to(
    stream: &mut (impl AsyncRead + Unpin + ?Sized),
    mark: &Mark,
    buffer: &mut Vec<u8>,
    limit: usize,
) -> Result<(u32, Vec<u8>), Unmarked> {
    let needle = mark.needle();
    let mut searched = 0_usize;
    loop {
        if let Some(found) = find(buffer, searched.saturating_sub(needle.len() + NUMBER), &needle) {
            let rest = buffer.split_off(found.rest.min(buffer.len()));
            buffer.truncate(found.at);
            return if buffer.len() > limit { Err(Unmarked::Flood) } else { Ok((found.number, rest)) };
        }
        if buffer.len() > limit.saturating_add(needle.len() + NUMBER) {
            return Err(Unmarked::Flood);
        }
        searched = buffer.len();
        buffer.reserve(CHUNK);
        match stream.read_buf(buffer).await {
            Ok(0) => return Err(Unmarked::Ended("it was closed".to_owned())),
            Ok(_) => {}
            Err(error) => return Err(Unmarked::Ended(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark() -> Mark {
        Mark { left: "csync-ab".to_owned(), right: "cd".to_owned() }
    }

    /// Gives its chunks one by one.
    struct Chunks(std::collections::VecDeque<Vec<u8>>);

    impl AsyncRead for Chunks {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            to: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            if let Some(chunk) = self.0.pop_front() {
                to.put_slice(&chunk);
            }
            std::task::Poll::Ready(Ok(()))
        }
    }

    type Outcome = Result<(u32, Vec<u8>), Unmarked>;

    fn read(chunks: Vec<Vec<u8>>, limit: usize) -> (Vec<u8>, Outcome) {
        let mut buffer = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let result = runtime.block_on(read_to(&mut Chunks(chunks.into()), &mark(), &mut buffer, limit));
        (buffer, result)
    }

    #[test]
    fn a_mark_is_not_in_the_command_that_prints_it() {
        let mark = Mark::draw().unwrap();
        let command = mark.print("$?").into_bytes();
        let needle = mark.needle();
        assert!(memmem::find(&command, needle.get(1..needle.len() - 1).unwrap()).is_none());
        let output = std::process::Command::new("/bin/sh").arg("-c").arg(mark.print("7")).output().unwrap();
        assert_eq!(find(&output.stdout, 0, &needle).unwrap().number, 7);
        assert_ne!(needle, Mark::draw().unwrap().needle());
    }

    #[test]
    fn streams_without_a_mark_end_or_flood() {
        assert!(matches!(read(vec![b"abc".to_vec()], 10).1, Err(Unmarked::Ended(_))));
        assert!(matches!(read(vec![vec![b'x'; 5000]; 3], 10).1, Err(Unmarked::Flood)));
        assert!(matches!(read(vec![b"\ncsync-abcd ".to_vec()], 10).1, Err(Unmarked::Ended(_))));
        assert!(matches!(read(vec![b"12345678901\ncsync-abcd 0\n".to_vec()], 10).1, Err(Unmarked::Flood)));
    }

    proptest! {
        #[test]
        fn whatever_comes_before_a_mark_is_kept_however_it_is_cut(
            before in proptest::collection::vec(any::<u8>(), 0..200),
            after in proptest::collection::vec(any::<u8>(), 0..50),
            number in 0_u32..300,
            cuts in proptest::collection::vec(0_usize..300, 0..6),
        ) {
            let mut all = before.clone();
            all.extend(format!("\ncsync-abcd {number}\n").into_bytes());
            let end = all.len();
            all.extend(&after);
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut > 0 && *cut < all.len()).collect();
            cuts.push(all.len());
            cuts.sort_unstable();
            cuts.dedup();
            let mut start = 0;
            let chunks = cuts.iter().map(|cut| { let chunk = all[start..*cut].to_vec(); start = *cut; chunk }).collect();
            let (buffer, result) = read(chunks, 1000);
            let (seen, rest) = result.unwrap();
            prop_assert_eq!(buffer, before);
            prop_assert_eq!(seen, number);
            prop_assert!(all[end..].starts_with(&rest));
        }
    }
}
