//! Classes of hosts, as what was learned knows them: tokens of their names.

use std::sync::OnceLock;

use crate::language::command::{Token, TokenKey};
use crate::model::host::HostName;
use crate::reach::machine::host_name;

/// What the class of a host's name is a token of.
const CLASS: &str = "class";

/// Returns the class of a host, by its name. Every machine calls itself `local`: where several exchange what they learned, that
/// is one class for each of them.
pub fn class_of(host: &str, key: &TokenKey) -> Token {
    if host == HostName::LOCAL { class_here(machine(), key) } else { key.token(CLASS, host) }
}

/// Returns the class of this machine, of which something tells it from others.
fn class_here(machine: &str, key: &TokenKey) -> Token {
    // No name of a host has such a byte in it.
    key.token(CLASS, &format!("{}\0{machine}", HostName::LOCAL))
}

/// Returns the class that every machine was for itself until format 3.
pub(super) fn class_before(key: &TokenKey) -> Token {
    key.token(CLASS, HostName::LOCAL)
}

/// Returns what tells this machine from others: the number it was given when it was set up, else its name.
pub(super) fn machine() -> &'static str {
    static MACHINE: OnceLock<String> = OnceLock::new();
    MACHINE.get_or_init(|| {
        let given = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
        match given.trim() {
            "" | "uninitialized" => host_name(),
            given => given.to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_not_one_class_because_each_calls_itself_local() {
        let key = TokenKey::new([7; 32]);
        assert_ne!(class_here("a", &key), class_here("b", &key));
        assert_ne!(class_here("a", &key), class_before(&key));
        assert_eq!(class_of("local", &key), class_here(machine(), &key));
        assert_ne!(class_of("local", &key), class_before(&key), "this machine has a number, or a name");
        // A host that people named is the same from wherever they name it.
        assert_eq!(class_of("hpc", &key), key.token("class", "hpc"));
    }
}
