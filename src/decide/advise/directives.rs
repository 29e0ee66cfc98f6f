//! What a batch script asks for in its own head: `#SBATCH`, `#PBS`, `#$`.

use crate::language::shell::{Word, words};

/// Returns the words of the lines of a batch script that speak to the batch system. None where one cannot be read.
pub(super) fn directives(script: &str, mark: &str) -> Option<Vec<Word>> {
    let mut all = Vec::new();
    for line in script.lines() {
        let trimmed = line.trim_start();
        if let Some(rest) = trimmed.strip_prefix(mark).filter(|rest| rest.starts_with([' ', '\t'])) {
            // A comment may follow.
            let rest = rest.split(" #").next().unwrap_or(rest);
            all.extend(words(rest)?);
        } else if !(trimmed.is_empty() || trimmed.starts_with('#')) {
            // Batch systems stop at the first command.
            break;
        }
    }
    Some(all)
}
