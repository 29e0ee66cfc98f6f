//! The job wrapper: what lies in a submission's directory on a host, and the records and news that come back.
//!
//! | file | what it holds |
//! |---|---|
//! | `wrapper.sh` | the program that runs on the host (POSIX sh): jobs and their guardians; its head is the reference of all formats |
//! | `host.sh` | its second half: members without a batch system, cancels, news |
//! | `directory` | a submission's and a member's files |
//! | `record` | what a member says about its start and its end |
//! | `news` | one request and one reply for all that changed on a host |

mod directory;
mod news;
mod record;
mod whereabouts;

#[cfg(test)]
mod tests;

pub use directory::{
    BadMember, File, Member, batch_script, cancel_command, detach_command, looking_script, news_command,
    news_command_of_any, submission_files,
};
pub use news::{Crew, News, NewsRequest, Tail, parse_news};
pub use record::{Ended, Granted, How, Process, Record, Stage, shown};
pub use whereabouts::{Whereabouts, parse_whereabouts, whereabouts_script};

/// The program that runs on the host.
pub const WRAPPER: &str = concat!(include_str!("wrapper.sh"), include_str!("host.sh"));

/// Writes a value as it stands in a line of a file.
fn escape(value: &str, to: &mut String) {
    for letter in value.chars() {
        match letter {
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            letter => to.push(letter),
        }
    }
}

/// Reads a value from a line of a file.
fn unescape(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('n') => value.push('\n'),
                Some(other) => value.push(other),
                None => value.push('\\'),
            },
            letter => value.push(letter),
        }
    }
    value
}
