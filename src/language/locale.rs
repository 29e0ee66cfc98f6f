//! In what language a host speaks to us.
//!
//! Whatever a host says is read by csync, and shown in English: its commands run in the `C` locale. A person's own, which `SendEnv`
//! brings along or a login sets there, writes numbers with a comma, sorts otherwise and complains in other words. Jobs have it all
//! the same: they are started in what the login gave.

/// What a shell does first: from then on its commands speak as csync reads.
pub const PLAIN: &str = "csync_locale=${LC_ALL+x$LC_ALL}; LC_ALL=C; export LC_ALL";

/// What a script does before it starts a job: from then on its commands speak as the person's do. In a shell that was not made
/// [`PLAIN`] it changes nothing.
pub const OWN: &str =
    "case ${csync_locale-C} in x*) LC_ALL=${csync_locale#x} ;; '') unset LC_ALL ;; esac; unset csync_locale\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn said(script: &str, own: Option<&str>) -> String {
        let mut shell = std::process::Command::new("/bin/sh");
        shell.arg("-uc").arg(script).env_remove("LC_ALL");
        shell.envs(own.map(|own| ("LC_ALL", own)));
        String::from_utf8(shell.output().unwrap().stdout).unwrap()
    }

    #[test]
    fn commands_are_plain_and_jobs_are_not() {
        let show = "echo \"${csync_locale-none}\"; env | grep -e ^LC_ALL -e ^csync";
        for (own, plain, job) in [
            (None, "\nLC_ALL=C\n", "none\n"),
            (Some(""), "x\nLC_ALL=C\n", "none\nLC_ALL=\n"),
            (Some("de_DE.UTF-8"), "xde_DE.UTF-8\nLC_ALL=C\n", "none\nLC_ALL=de_DE.UTF-8\n"),
            (Some("a b;*"), "xa b;*\nLC_ALL=C\n", "none\nLC_ALL=a b;*\n"),
        ] {
            assert_eq!(said(&format!("{PLAIN}\n{show}"), own), plain, "{own:?}");
            assert_eq!(said(&format!("{PLAIN}\n{OWN}{show}"), own), job, "{own:?}");
        }
        assert_eq!(said(&format!("{OWN}{show}"), Some("de")), "none\nLC_ALL=de\n", "it was not made plain");
        assert_eq!(said(&format!("{OWN}{show}"), None), "none\n");
    }
}
