//! The options of a program that say how many threads and processes it uses, as they are shipped of it.

use serde::{Deserialize, Deserializer};

/// The options of a program that say how many threads and processes it uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'a> {
    /// How many in all.
    pub threads: &'a [String],
    /// How many beside the first.
    pub added_threads: &'a [String],
    /// How many processes.
    pub processes: &'a [String],
    /// How many threads each of these has.
    pub process_threads: &'a [String],
}

/// Options that say how many threads or processes a program uses, by the programs that have them: for those that nothing is shipped of.
const COMMON: [&str; 12] = [
    "-@",
    "--threads",
    "--thread",
    "--nthreads",
    "--num-threads",
    "--num_threads",
    "--cpus",
    "--ncpus",
    "--cores",
    "--n-cpus",
    "--processes",
    "-nt",
];

/// Reads options: `-t`, `--threads`, `maxThreads=`.
pub(super) fn options<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    use serde::de::Error as _;
    let all = Vec::<String>::deserialize(from)?;
    if all.is_empty() {
        return Err(D::Error::custom("no option: leave the key out"));
    }
    for (nth, option) in all.iter().enumerate() {
        let is_dashed = option.starts_with('-') && !option.trim_start_matches('-').is_empty() && !option.contains('=');
        let is_key = !option.starts_with(['-', '=']) && option.ends_with('=');
        let is_one = !option.contains(char::is_whitespace) && (is_key || is_dashed);
        if !is_one {
            return Err(D::Error::custom(format!("`{option}` is no option: `-t`, `--threads` and `threads=` are")));
        }
        if all.iter().take(nth).any(|other| other == option) {
            return Err(D::Error::custom(format!("`{option}` stands there twice")));
        }
    }
    Ok(all)
}

impl Options<'_> {
    /// Returns how many threads the words of a call say; none where they say nothing.
    pub fn count(&self, words: &[&str]) -> Option<u32> {
        if *self == Self::default() {
            return said(words, &COMMON);
        }
        let of = |options: &[String]| said(words, options);
        let added = || of(self.added_threads).map(|added| added.saturating_add(1));
        let product = || {
            let (processes, each) = (of(self.processes), of(self.process_threads));
            processes.or(each).map(|_| processes.unwrap_or(1).saturating_mul(each.unwrap_or(1)))
        };
        of(self.threads).or_else(added).or_else(product)
    }
}

/// Returns the number that the last of some options has: that is the one that counts.
fn said<S: AsRef<str>>(words: &[&str], options: &[S]) -> Option<u32> {
    let behind = words.iter().skip(1).map(Some).chain([None]);
    let value = |(word, next): (&&str, Option<&&str>)| {
        options.iter().map(AsRef::as_ref).find_map(|option: &str| {
            let rest = word.strip_prefix(option)?;
            let text = match rest.strip_prefix('=') {
                _ if option.ends_with('=') => rest,
                Some(value) => value,
                None if rest.is_empty() => next?,
                // `-t8`, and `-tt8` is another one.
                None if option.len() == 2 => rest,
                None => return None,
            };
            text.parse::<u32>().ok()
        })
    };
    words.iter().zip(behind).filter_map(value).last().filter(|&count| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Entry {
        #[serde(deserialize_with = "options")]
        threads: Vec<String>,
    }

    #[test]
    fn options_that_are_none_are_refused_with_what_is_wrong() {
        for (value, complaint) in [
            ("[]", "no option"),
            ("[\"t\"]", "`t` is no option"),
            ("[\"\"]", "`` is no option"),
            ("[\"-\"]", "`-` is no option"),
            ("[\"--\"]", "`--` is no option"),
            ("[\"=\"]", "`=` is no option"),
            ("[\"-t 8\"]", "`-t 8` is no option"),
            ("[\"--threads=\"]", "`--threads=` is no option"),
            ("[\"-t\", \"-t\"]", "`-t` stands there twice"),
            ("\"-t\"", "invalid type"),
            ("[8]", "invalid type"),
        ] {
            let error = toml::from_str::<Entry>(&format!("threads = {value}\n")).expect_err(value).to_string();
            assert!(error.contains(complaint) && error.contains("line 1, column 1"), "{value}: {error}");
        }
        let good = toml::from_str::<Entry>("threads = [\"-t\", \"--threads\", \"maxThreads=\"]\n").expect("it is read");
        assert_eq!(good.threads.len(), 3);
    }
}
