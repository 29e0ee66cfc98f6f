//! Where a member runs, as its directory says.

use crate::language::batch::wrapper::unescape;
use crate::language::quote::sh;

/// Where a member runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// The host that was asked, as it calls itself.
    pub host: String,
    /// The node that it runs on, as that calls itself.
    pub node: String,
    /// The directory that it works in.
    pub workdir: String,
    /// The batch system's id of this member.
    pub batch: Option<String>,
}

/// Returns the script that asks for it, of the member's directory.
pub fn whereabouts_script(directory: &str) -> String {
    let directory = sh(directory);
    format!(
        "cd -- {directory} && printf 'self=%s\\n' \"$(uname -n)\" && sed -n 's/^host=/node=/p;/^batch=/p' status && sed -n '/^workdir=/p' spec"
    )
}

/// Reads what the script printed; none where the member has not started.
pub fn parse_whereabouts(text: &str) -> Option<Whereabouts> {
    let mut at = Whereabouts::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        let value = unescape(value);
        match key {
            "self" => at.host = value,
            "node" => at.node = value,
            "workdir" => at.workdir = value,
            "batch" => at.batch = Some(value),
            _ => {}
        }
    }
    // What a host says of a node goes into command lines: a name, and nothing else.
    let plain = |name: &str| {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        !name.is_empty() && !name.starts_with('-') && name.bytes().all(letters)
    };
    (plain(&at.node) && plain(&at.host)).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_says_where_it_is() {
        let at = parse_whereabouts("self=login\nnode=n1\nbatch=12_3\nworkdir=/s/a\\\\b\n").unwrap();
        assert_eq!((at.host.as_str(), at.node.as_str(), at.workdir.as_str()), ("login", "n1", "/s/a\\b"));
        assert_eq!(at.batch.as_deref(), Some("12_3"));
        for bad in ["", "self=login\n", "self=login\nnode=-oProxyCommand=x\n", "self=a\nnode=n1 n2\n"] {
            assert_eq!(parse_whereabouts(bad), None, "{bad}");
        }
    }
}
