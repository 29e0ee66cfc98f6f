//! The question which of a list is meant.

use std::collections::BTreeSet;

/// Reads an answer such as `1,3-5` or `all`: positions from 0, in order. Nothing is nobody.
pub(super) fn picks(answer: &str, count: usize) -> Result<Vec<usize>, String> {
    let mut picked = BTreeSet::new();
    for word in answer.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty()) {
        if word == "all" || word == "*" {
            picked.extend(1..=count);
            continue;
        }
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let number = |text: &str| text.parse::<usize>().ok().filter(|number| (1..=count).contains(number));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => picked.extend(first..=last),
            _ => return Err(format!("`{}` is none of 1 to {count}", word.escape_debug())),
        }
    }
    Ok(picked.into_iter().map(|number| number - 1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges_are_picked() {
        for (answer, picked) in [
            ("", Ok(vec![])),
            ("1", Ok(vec![0])),
            ("3, 1-2 2", Ok(vec![0, 1, 2])),
            ("all", Ok(vec![0, 1, 2, 3])),
            ("5", Err("`5` is none of 1 to 4")),
            ("0", Err("`0` is none of 1 to 4")),
            ("3-1", Err("`3-1` is none of 1 to 4")),
            ("x", Err("`x` is none of 1 to 4")),
        ] {
            assert_eq!(picks(answer, 4), picked.map_err(str::to_owned), "{answer}");
        }
    }
}
