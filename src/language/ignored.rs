//! `.csyncignore`: what of a directory neither goes along with a command nor comes back. The patterns are those of `.gitignore`.

use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The file's name, in the directory that it speaks of.
pub const FILE: &str = ".csyncignore";

/// What is left out unless the file says otherwise.
const ALWAYS: [&str; 5] = ["__pycache__/", "*.pyc", ".ipynb_checkpoints/", ".nfs*", ".DS_Store"];

/// The patterns of a directory.
#[derive(Clone, Debug)]
pub struct Ignored {
    patterns: Gitignore,
}

impl Ignored {
    /// Reads the patterns; those that mean nothing are returned, with why.
    pub fn read(text: &str) -> (Self, Vec<String>) {
        let mut builder = GitignoreBuilder::new("");
        let mut odd = Vec::new();
        for line in ALWAYS.into_iter().chain(text.lines()) {
            if let Err(error) = builder.add_line(None, line) {
                odd.push(error.to_string());
            }
        }
        // Patterns that were taken one by one fit together, unless they are too many for one automaton.
        let patterns = builder.build().unwrap_or_else(|error| {
            odd.push(error.to_string());
            Gitignore::empty()
        });
        (Self { patterns }, odd)
    }

    /// Returns whether a file is left out, itself or with a directory that it is in. The name is relative to the directory.
    ///
    /// What is git's own, and ours, is left out whatever the patterns say: hooks run, and nothing that comes from elsewhere may put
    /// one there.
    pub fn has(&self, name: &str) -> bool {
        let own = |part: &str| matches!(part, ".git" | ".csync");
        own_file(name) || name.split('/').any(own) || self.patterns.matched_path_or_any_parents(name, false).is_ignore()
    }

    /// Returns whether a directory is left out with all that is in it.
    pub fn has_dir(&self, name: &str) -> bool {
        let own = |part: &str| matches!(part, ".git" | ".csync");
        name.split('/').any(own) || self.patterns.matched_path_or_any_parents(Path::new(name), true).is_ignore()
    }
}

fn own_file(name: &str) -> bool {
    name == FILE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_to_git() {
        let text = "# big things\n/data/\n*.bam\n!small.bam\nout/**/tmp\n\n";
        let (ignored, odd) = Ignored::read(text);
        assert_eq!(odd, Vec::<String>::new());
        for (name, is_ignored) in [
            ("data/a", true),
            ("sub/data/a", false),
            ("x.bam", true),
            ("sub/x.bam", true),
            ("sub/small.bam", false),
            ("out/a/b/tmp", true),
            ("out/tmp/x", true),
            ("src/main.rs", false),
            ("__pycache__/a.pyc", true),
            (".git/config", true),
            ("sub/.git/hooks/post-commit", true),
            (".gitignore", false),
            (".csyncignore", true),
            ("sub/.csyncignore", false),
        ] {
            assert_eq!(ignored.has(name), is_ignored, "{name}");
        }
        assert!(ignored.has_dir("data") && !ignored.has_dir("sub"));
    }

    #[test]
    fn what_is_left_out_anyway_can_be_had() {
        let (ignored, _) = Ignored::read("!*.pyc\n!.git\n");
        assert!(!ignored.has("a.pyc"));
        assert!(ignored.has(".git/HEAD"), "but for git's own");
    }

    #[test]
    fn a_pattern_without_a_meaning_is_told() {
        let (ignored, odd) = Ignored::read("[z-a]\n*.o\n");
        assert_eq!(odd.len(), 1, "{odd:?}");
        assert!(ignored.has("x.o"));
    }

    proptest! {
        #[test]
        fn any_file_is_read(text in "[a-z*!/\\[\\]{}\\\\ \n#?]*", name in "[a-z.]{1,8}(/[a-z.]{1,8}){0,3}") {
            Ignored::read(&text).0.has(&name);
        }
    }
}
