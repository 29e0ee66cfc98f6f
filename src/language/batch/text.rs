//! What the dialects read alike: sections of a script's output, lists of `key = value`, limits and amounts.

use std::borrow::Cow;

use crate::model::units::{Bytes, Walltime};

/// The line that starts a section of a script's output; its name follows.
const SECTION: &str = "@@csync ";

/// The line that ends a section; the exit status of its command follows.
const STATUS: &str = "@@csync-status ";

/// The shell function by which a script of several commands marks what each of them said.
///
/// Every command has its own deadline where `timeout` exists: clients of a batch system whose master hangs never return.
macro_rules! section_function {
    () => {
        "LC_ALL=C TZ=UTC0 SLURM_TIME_FORMAT=standard; export LC_ALL TZ SLURM_TIME_FORMAT\n\
         csync_limit=; if command -v timeout >/dev/null 2>&1; then csync_limit='timeout 25'; fi\n\
         csync_section() { printf '\\n@@csync %s\\n' \"$1\"; shift; $csync_limit \"$@\" 2>&1 </dev/null; \
         printf '\\n@@csync-status %s\\n' \"$?\"; }\n"
    };
}
pub(super) use section_function;

/// What one command of a script said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its exit status; none where the script was cut off.
    pub(super) status: Option<i32>,
    /// What it printed.
    pub(super) text: &'a str,
}

/// Takes a script's output apart into its sections; what comes before the first is skipped (greetings of the shell).
pub(super) fn sections(output: &str) -> Vec<Section<'_>> {
    let mut found: Vec<Section<'_>> = Vec::new();
    let mut offset = 0;
    let mut start = None;
    for line in output.split_inclusive('\n') {
        let (begin, end) = (offset, offset + line.len());
        offset = end;
        let bare = line.trim_end_matches(['\n', '\r']);
        if let Some(name) = bare.strip_prefix(SECTION) {
            found.push(Section { name, status: None, text: output.get(end..).unwrap_or_default() });
            start = Some(end);
        } else if let Some(status) = bare.strip_prefix(STATUS)
            && let Some(from) = start.take()
            && let Some(section) = found.last_mut()
        {
            section.status = status.trim().parse().ok();
            section.text = output.get(from..begin).unwrap_or_default();
        }
    }
    found
}

/// Returns a section's text, if its command succeeded.
pub(super) fn section<'a>(sections: &[Section<'a>], name: &str) -> Option<&'a str> {
    sections.iter().find(|section| section.name == name && section.status == Some(0)).map(|section| section.text)
}

/// Returns one sentence about a section whose command did not succeed.
pub(super) fn complaint(sections: &[Section<'_>], name: &str, what: &str) -> Option<String> {
    match sections.iter().find(|section| section.name == name) {
        None => Some(format!("{what}: not asked")),
        Some(Section { status: Some(0), .. }) => None,
        Some(section) => {
            let why = first_line(section.text).unwrap_or("no reply");
            Some(format!("{what}: {why}"))
        }
    }
}

/// Returns the first line that is not blank.
pub(super) fn first_line(text: &str) -> Option<&str> {
    text.lines().map(str::trim).find(|line| !line.is_empty())
}

/// Reads `key = value` lines of one record, as PBS prints them: values go on in lines that begin with a tab.
pub(super) fn attributes(lines: &str) -> Vec<(&str, Cow<'_, str>)> {
    let mut found: Vec<(&str, Cow<'_, str>)> = Vec::with_capacity(16);
    for line in lines.lines() {
        if let Some(more) = line.strip_prefix('\t') {
            if let Some((_, value)) = found.last_mut() {
                value.to_mut().push_str(more);
            }
        } else if let Some((key, value)) = line.trim_ascii_start().split_once(" = ") {
            found.push((key, Cow::Borrowed(value.trim_ascii_end())));
        }
    }
    found
}

/// Reads `[D-]HH:MM:SS[.mmm]`, `MM:SS[.mmm]` as milliseconds.
pub(super) fn clock_ms(text: &str) -> Option<u64> {
    let (days, clock) = match text.split_once('-') {
        Some((days, clock)) => (days.parse::<u64>().ok()?, clock),
        None => (0, text),
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let fields: Vec<u64> = clock.split(':').map(|field| field.parse().ok()).collect::<Option<_>>()?;
    if fields.len() > 3 {
        return None;
    }
    let clock = fields.iter().try_fold(0u64, |sum, field| sum.checked_mul(60)?.checked_add(*field))?;
    let seconds = days.checked_mul(86_400)?.checked_add(clock)?;
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    seconds.checked_mul(1000)?.checked_add(digits.parse::<u64>().ok()?)
}

/// Reads a walltime as batch systems print limits; none where there is no limit.
pub(super) fn limit(text: &str) -> Option<Walltime> {
    clock_ms(text.trim()).filter(|_| text.contains(':')).map(|ms| Walltime(ms / 1000))
}

/// Reads an amount of memory; a bare number counts `unit`. Decimal parts and trailing `n`, `c` (Slurm) are understood.
pub(super) fn memory(text: &str, unit: Bytes) -> Option<Bytes> {
    let text = text.trim().trim_end_matches(['n', 'c', '+']);
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        let amount: f64 = text.parse().ok()?;
        return Some(Bytes((amount * unit.0 as f64) as u64));
    }
    text.parse().ok()
}

/// Reads a whole number that may be printed with `+` or a fraction: `48+`, `4.000000`.
pub(super) fn count(text: &str) -> Option<u32> {
    let whole = text.trim().trim_end_matches('+');
    whole.split('.').next()?.parse().ok()
}

/// Returns the text, unless it is one of the ways to say that there is none.
pub(super) fn given(text: &str) -> Option<&str> {
    let text = text.trim();
    let none = ["", "(null)", "N/A", "n/a", "None", "NONE", "none", "Unknown", "None assigned", "UNDEFINED", "-"];
    (!none.contains(&text)).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sections_are_taken_apart() {
        let output = "Welcome!\n\n@@csync a\none\ntwo\n\n@@csync-status 0\n\n@@csync b\noops\n\n@@csync-status 1\n\n@@csync c\ncut";
        let found = sections(output);
        assert_eq!(
            found.iter().map(|s| (s.name, s.status)).collect::<Vec<_>>(),
            [("a", Some(0)), ("b", Some(1)), ("c", None)]
        );
        assert_eq!(section(&found, "a"), Some("one\ntwo\n\n"));
        assert_eq!(section(&found, "b"), None);
        assert_eq!(complaint(&found, "a", "x"), None);
        assert_eq!(complaint(&found, "b", "x").as_deref(), Some("x: oops"));
        assert_eq!(complaint(&found, "c", "x").as_deref(), Some("x: cut"));
        assert_eq!(complaint(&found, "d", "x").as_deref(), Some("x: not asked"));
    }

    #[test]
    fn amounts() {
        for (text, ms) in [
            ("00:00.479", 479),
            ("01:02:03", 3_723_000),
            ("1-00:00:01", 86_401_000),
            ("00:00:00", 0),
            ("00:01.5", 1500),
        ] {
            assert_eq!(clock_ms(text), Some(ms), "{text}");
        }
        assert_eq!(limit("infinite"), None);
        assert_eq!(limit("5-00:00:00"), Some(Walltime(432_000)));
        assert_eq!(memory("50Mn", Bytes(1)), Some(Bytes::mib(50)));
        assert_eq!(memory("2000+", Bytes::mib(1)), Some(Bytes::mib(2000)));
        assert_eq!(memory("583.309MB", Bytes(1)), Some(Bytes(611_643_817)));
        assert_eq!(memory("UNLIMITED", Bytes(1)), None);
        assert_eq!((count("48+"), count("4.000000"), count("x")), (Some(48), Some(4), None));
    }

    #[test]
    fn values_go_on_after_a_tab() {
        let text = "    a = 1\n    b = x,\n\ty = 2\nmore\n    c = 3\n";
        let found = attributes(text);
        assert_eq!(found, [("a", "1".into()), ("b", "x,y = 2".into()), ("c", "3".into())]);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(?s).{0,200}") {
            let _sections = sections(&text);
            let _attributes = attributes(&text);
            let _ = (clock_ms(&text), limit(&text), memory(&text, Bytes(7)), count(&text));
        }
    }
}
