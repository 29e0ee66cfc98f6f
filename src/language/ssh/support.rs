//! What of a host's options this program's own SSH does as `ssh` does; for the rest the system's `ssh` is used, with the reason.

use crate::language::ssh::Options;

/// What decides beside the options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// There is a Kerberos ticket: a host that offers GSSAPI may want it.
    pub kerberos_ticket: bool,
}

/// What a value of a key means.
enum Rule {
    /// Done here as `ssh` does it, or of no consequence for commands and files.
    Any,
    /// Only these values; others say why not.
    Only(&'static [&'static str], &'static str),
    /// Must be as it is without any configuration: lists of algorithms.
    Default(&'static str),
    /// None but `none`, with the reason.
    Unset(&'static str),
}

use Rule::{Any, Default, Only, Unset};

const OFF: &[&str] = &["no", "false"];

/// Every key that is known. A key that is not here is one that a later `ssh` brought.
#[rustfmt::skip]
const RULES: [(&str, Rule); 102] = [
    ("host", Any), ("user", Any), ("hostname", Any), ("port", Any), ("proxyjump", Any),
    ("identityfile", Any), ("certificatefile", Any), ("identityagent", Any), ("identitiesonly", Any),
    ("userknownhostsfile", Any), ("globalknownhostsfile", Any), ("hostkeyalias", Any),
    ("serveraliveinterval", Any), ("serveralivecountmax", Any), ("connecttimeout", Any), ("connectionattempts", Any),
    ("kbdinteractiveauthentication", Any), ("challengeresponseauthentication", Any), ("passwordauthentication", Any),
    ("pubkeyauthentication", Any), ("numberofpasswordprompts", Any), ("preferredauthentications", Only(&["publickey,keyboard-interactive", "publickey", "publickey,keyboard-interactive,password", "publickey,password"], "PreferredAuthentications is set")),
    ("stricthostkeychecking", Only(&["yes", "true", "ask"], "StrictHostKeyChecking is not strict")),
    ("addressfamily", Only(&["any"], "AddressFamily is set")),
    ("bindaddress", Unset("BindAddress is set")), ("bindinterface", Unset("BindInterface is set")),
    ("checkhostip", Only(OFF, "CheckHostIP is on")),
    ("compression", Only(OFF, "Compression is on")),
    ("proxycommand", Unset("ProxyCommand is set")), ("proxyusefdpass", Only(OFF, "ProxyUseFdpass is on")),
    ("knownhostscommand", Unset("KnownHostsCommand is set")),
    ("revokedhostkeys", Unset("RevokedHostKeys is set")),
    ("pkcs11provider", Unset("PKCS11Provider is set")),
    ("hostbasedauthentication", Only(OFF, "HostbasedAuthentication is on")),
    ("gssapiauthentication", Any), ("gssapikeyexchange", Only(OFF, "GSSAPIKeyExchange is on")),
    ("gssapidelegatecredentials", Any), ("gssapitrustdns", Any), ("gssapirenewalforcesrekey", Any), ("gssapikexalgorithms", Any),
    ("gssapiclientidentity", Any), ("gssapiserveridentity", Any),
    ("nohostauthenticationforlocalhost", Only(OFF, "NoHostAuthenticationForLocalhost is on")),
    ("verifyhostkeydns", Only(OFF, "VerifyHostKeyDNS is on")),
    ("tunnel", Only(OFF, "Tunnel is on")),
    ("usekeychain", Only(OFF, "UseKeychain is on")), ("refuseconnection", Unset("RefuseConnection is set")),
    ("addkeystoagent", Only(OFF, "AddKeysToAgent is on")),
    ("obscurekeystroketiming", Any), ("channeltimeout", Unset("ChannelTimeout is set")),
    ("ciphers", Default("Ciphers is set")), ("macs", Default("MACs is set")), ("kexalgorithms", Default("KexAlgorithms is set")),
    ("hostkeyalgorithms", Default("HostKeyAlgorithms is set")), ("pubkeyacceptedalgorithms", Default("PubkeyAcceptedAlgorithms is set")),
    ("pubkeyacceptedkeytypes", Default("PubkeyAcceptedKeyTypes is set")), ("casignaturealgorithms", Default("CASignatureAlgorithms is set")),
    ("requiredrsasize", Default("RequiredRSASize is set")),
    ("hostbasedacceptedalgorithms", Any), ("hostbasedkeytypes", Any),
    // Keys of that kind are looked for by their files.
    ("securitykeyprovider", Any),
    ("rekeylimit", Only(&["0 0", "default none"], "RekeyLimit is set")),
    ("ipqos", Any), ("tcpkeepalive", Any), ("versionaddendum", Any),
    // What these do is asked of `ssh` before they are printed, or happens on its terminal alone, or is switched off for commands.
    ("batchmode", Any), ("canonicalizefallbacklocal", Any), ("canonicalizehostname", Any), ("canonicaldomains", Any),
    ("canonicalizemaxdots", Any), ("canonicalizepermittedcnames", Any), ("controlmaster", Any), ("controlpath", Any),
    ("controlpersist", Any), ("enablesshkeysign", Any), ("clearallforwardings", Any), ("exitonforwardfailure", Any),
    ("fingerprinthash", Any), ("forwardx11", Any), ("forwardx11trusted", Any), ("forwardx11timeout", Any), ("gatewayports", Any),
    ("hashknownhosts", Any), ("permitlocalcommand", Any), ("localcommand", Any), ("remotecommand", Any), ("requesttty", Any),
    ("sessiontype", Any), ("stdinnull", Any), ("forkafterauthentication", Any), ("streamlocalbindunlink", Any),
    ("streamlocalbindmask", Any), ("visualhostkey", Any), ("updatehostkeys", Any), ("enableescapecommandline", Any),
    ("loglevel", Any), ("logverbose", Any), ("syslogfacility", Any), ("xauthlocation", Any), ("permitremoteopen", Any),
    // Variables go along: see [`Options::environment`].
    ("sendenv", Any), ("setenv", Any),
];

/// More keys of no consequence for commands and files.
const IDLE: [&str; 9] = [
    "forwardagent",
    "tunneldevice",
    "escapechar",
    "localforward",
    "remoteforward",
    "dynamicforward",
    "ignoreunknown",
    "tag",
    "warnweakcrypto",
];

/// Says why this program's own SSH does not reach a host as `ssh` would; nothing when it does.
///
/// `defaults` is what `ssh -G` prints without any configuration.
pub fn unsupported(options: &Options, defaults: &Options, now: Circumstances) -> Option<String> {
    if now.kerberos_ticket && options.is_on("gssapiauthentication") {
        return Some("GSSAPIAuthentication is on, and there is a Kerberos ticket".to_owned());
    }
    options.iter().find_map(|(key, values)| {
        let Some((_, rule)) = RULES.iter().find(|(name, _)| *name == key) else {
            return (!IDLE.contains(&key)).then(|| format!("`{key}` is not known to csync"));
        };
        let (allowed, why) = match rule {
            Any => return None,
            Only(allowed, why) => (values.iter().all(|value| allowed.contains(&value.as_str())), why),
            Default(why) => (values == defaults.all(key), why),
            Unset(why) => (values.iter().all(|value| value.eq_ignore_ascii_case("none")), why),
        };
        (!allowed).then(|| (*why).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "host h\nuser u\nhostname h\nport 22\nstricthostkeychecking ask\ngssapiauthentication yes\nciphers a,b\n\
        canonicalizePermittedcnames none\ncheckhostip no\ncompression no\nproxycommand none\ntunnel false\nrekeylimit 0 0\n";

    #[test]
    fn what_differs_is_named() {
        let defaults = Options::read(PLAIN);
        let now = Circumstances { kerberos_ticket: false };
        assert_eq!(unsupported(&defaults, &defaults, now), None);
        assert!(
            unsupported(&defaults, &defaults, Circumstances { kerberos_ticket: true }).unwrap().contains("Kerberos")
        );
        for (line, why) in [
            ("proxycommand nc %h %p", "ProxyCommand is set"),
            ("pkcs11provider /lib/x.so", "PKCS11Provider is set"),
            ("gssapikeyexchange yes", "GSSAPIKeyExchange is on"),
            ("hostbasedauthentication yes", "HostbasedAuthentication is on"),
            ("stricthostkeychecking false", "StrictHostKeyChecking is not strict"),
            ("stricthostkeychecking accept-new", "StrictHostKeyChecking is not strict"),
            ("ciphers 3des-cbc", "Ciphers is set"),
            ("kexalgorithms x", "KexAlgorithms is set"),
            ("compression yes", "Compression is on"),
            ("bindaddress 10.0.0.1", "BindAddress is set"),
            ("addressfamily inet6", "AddressFamily is set"),
            ("knownhostscommand /bin/x", "KnownHostsCommand is set"),
            ("revokedhostkeys /etc/r", "RevokedHostKeys is set"),
            ("verifyhostkeydns ask", "VerifyHostKeyDNS is on"),
            ("checkhostip yes", "CheckHostIP is on"),
            ("rekeylimit 1G 0", "RekeyLimit is set"),
            ("tunnel point-to-point", "Tunnel is on"),
            ("addkeystoagent yes", "AddKeysToAgent is on"),
            ("teleportation yes", "`teleportation` is not known to csync"),
            ("usekeychain yes", "UseKeychain is on"),
            ("refuseconnection closed today", "RefuseConnection is set"),
            ("hostkeyalgorithms x", "HostKeyAlgorithms is set"),
            ("pubkeyacceptedalgorithms x", "PubkeyAcceptedAlgorithms is set"),
            ("casignaturealgorithms x", "CASignatureAlgorithms is set"),
            ("macs x", "MACs is set"),
            ("requiredrsasize 4096", "RequiredRSASize is set"),
            ("bindinterface eth0", "BindInterface is set"),
            ("channeltimeout session=1m", "ChannelTimeout is set"),
            ("proxyusefdpass yes", "ProxyUseFdpass is on"),
            ("nohostauthenticationforlocalhost yes", "NoHostAuthenticationForLocalhost is on"),
            ("preferredauthentications hostbased,publickey", "PreferredAuthentications is set"),
        ] {
            let key = line.split(' ').next().unwrap();
            let kept: Vec<&str> = PLAIN.lines().filter(|old| !old.starts_with(&format!("{key} "))).collect();
            let kept = kept.join("\n") + "\n";
            let options = Options::read(&format!("{kept}{line}\n"));
            assert_eq!(unsupported(&options, &defaults, now).as_deref(), Some(why), "{line}");
        }
        for line in [
            "proxyjump a,b",
            "hostkeyalias k",
            "certificatefile /c",
            "identityagent none",
            "connecttimeout 5",
            "kbdinteractiveauthentication yes",
            "forwardagent yes",
            "localforward 1 2",
            "controlpath /s",
            "loglevel DEBUG",
            "preferredauthentications publickey",
            "setenv A=b c",
            "sendenv LC_*",
            "identityagent $MY_AGENT",
            "securitykeyprovider internal",
            "usekeychain no",
        ] {
            assert_eq!(unsupported(&Options::read(&format!("{PLAIN}{line}\n")), &defaults, now), None, "{line}");
        }
    }

    #[test]
    fn every_key_is_named_once() {
        let mut keys: Vec<&str> = RULES.iter().map(|(key, _)| *key).chain(IDLE).collect();
        keys.sort_unstable();
        let all = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }
}
