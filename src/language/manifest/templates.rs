//! Workflows to begin with (`csync new`).

/// A workflow to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Starter {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it shows, in one line.
    pub about: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// Returns the workflows to begin with, the plainest first.
pub const fn templates() -> &'static [Starter] {
    &[
        Starter {
            name: "minimal",
            about: "two tasks, one after the other by a file",
            text: include_str!("templates/minimal.toml"),
        },
        Starter {
            name: "fan",
            about: "the same work for many files, then one task that gathers the results",
            text: include_str!("templates/fan.toml"),
        },
        Starter {
            name: "sweep",
            about: "every combination of some parameters, then a table of the results",
            text: include_str!("templates/sweep.toml"),
        },
        Starter {
            name: "python",
            about: "a Python script over the rows of a table, with a retry when memory runs out",
            text: include_str!("templates/python.toml"),
        },
        Starter {
            name: "bioinformatics",
            about: "paired reads aligned, sorted and called per sample, then merged",
            text: include_str!("templates/bioinformatics.toml"),
        },
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::language::manifest::{Facts, Limits, expand, read};

    #[test]
    fn every_starter_is_free_of_mistakes_and_expands() {
        for starter in templates() {
            let (workflow, mistakes) = read(starter.text);
            assert_eq!(mistakes, [], "{}", starter.name);
            assert_eq!(workflow.name(), starter.name);
            let rows = "sample,r1,r2,input\nA,A_1.fq,A_2.fq,a.csv\nB,B_1.fq,B_2.fq,b.csv\n".to_owned();
            let files = BTreeMap::from([("samples.csv".to_owned(), Ok(rows))]);
            let globs =
                BTreeMap::from([("texts/*.txt".to_owned(), vec!["texts/a.txt".to_owned(), "texts/b.txt".to_owned()])]);
            let expanded = expand(&workflow, "/w", &BTreeMap::new(), &Facts { globs, files }, Limits::default());
            let expanded = expanded.unwrap_or_else(|mistakes| panic!("{}: {mistakes:?}", starter.name));
            assert!(expanded.plan.instances.len() > 1, "{}", starter.name);
            assert!(!expanded.plan.dependents.is_empty(), "{}", starter.name);
            assert_eq!(expanded.warnings, [], "{}", starter.name);
        }
    }
}
