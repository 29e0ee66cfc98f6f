//! Words of programs that found no room: a disk that is full, a quota that is used up.

/// What the C library calls it, and what tools and file systems of their own do.
const WORDS: [&str; 4] = ["Disk quota exceeded", "No space left on device", "quota exceeded", "disk is full"];

/// What is noted of a job whose output found no room.
pub const UNWRITTEN: &str =
    "not all that it printed could be written: the disk of its job directory was full, or its quota used up";

/// Returns whether somebody complains that there is no room.
pub fn is_full(words: &str) -> bool {
    WORDS.iter().any(|full| words.contains(full))
}

/// Returns what makes room on a host.
pub fn make_room(host: &str) -> String {
    format!(
        "make room there: `csync clean --on {host} --inputs` removes what jobs left and what was brought for them; or let `scratch` \
         of `{host}` in hosts.toml name another place"
    )
}

/// Puts what a host complained into one line, each complaint once.
pub fn one_line(words: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in words.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_about_room_are_known() {
        for words in [
            "mkdir: cannot create directory 'x': Disk quota exceeded",
            "cat: write error: No space left on device",
            "OSError: [Errno 122] Disk quota exceeded: 'out'",
        ] {
            assert!(is_full(words), "{words}");
        }
        for words in ["", "No such file or directory", "Read-only file system", "the quota is 5 files"] {
            assert!(!is_full(words), "{words}");
        }
    }

    #[test]
    fn what_is_said_twice_is_told_once() {
        assert_eq!(one_line("mkdir: no\nmkdir: no\n\n  cd: no\n"), "mkdir: no; cd: no");
        assert_eq!(one_line(""), "");
    }
}
