//! Names that differ in their numbers only.

use std::collections::HashSet;

/// Returns a name without the number at its end: `bwa_ID000012` -> `bwa`, `align-3` -> `align`, `align[A]` -> `align`.
pub fn stem(name: &str) -> &str {
    let name = name.split_once('[').map_or(name, |(task, _)| task);
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if bare.len() == name.len() || bare.is_empty() {
        return name;
    }
    let bare = bare.strip_suffix("ID").filter(|rest| rest.ends_with(['_', '-', '.'])).unwrap_or(bare);
    let bare = bare.trim_end_matches(['_', '-', '.', '#']);
    if bare.is_empty() { name } else { bare }
}

/// Returns a name that was not taken yet, and takes it: the name itself, or with a number behind it.
pub(super) fn unique(name: &str, taken: &mut HashSet<String>) -> String {
    let mut candidate = name.to_owned();
    let mut next = 2;
    while !taken.insert(candidate.clone()) {
        candidate = format!("{name}_{next}");
        next += 1;
    }
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems() {
        for (name, expected) in [
            ("bwa_ID000012", "bwa"),
            ("align-12", "align"),
            ("mProject_ID0000001", "mProject"),
            ("grid2", "grid"),
            ("HYBRID7", "HYBRID"),
            ("12", "12"),
            ("_1", "_1"),
            ("plain", "plain"),
            ("align[A_1]", "align"),
        ] {
            assert_eq!(stem(name), expected, "{name}");
        }
    }

    #[test]
    fn names_are_told_apart() {
        let mut taken = HashSet::new();
        let names: Vec<String> = ["a", "a", "a_2", "a"].iter().map(|name| unique(name, &mut taken)).collect();
        assert_eq!(names, ["a", "a_2", "a_2_2", "a_3"]);
    }
}
