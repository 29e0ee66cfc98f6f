//! Whether the key that a host shows is its own: strictly by the files of known hosts, as OpenSSH judges.

use std::borrow::Cow;

use russh::client::Handler;
use russh::keys::{Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKey, PublicKeyOrCertificate};

use crate::language::ssh::known_hosts::{HostKey, KnownHosts, Verdict};
use crate::language::ssh::{Hop, HostKeyTrouble};
use crate::model::units::Timestamp;
use crate::reach::clock;

/// What the session's task says when it ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// The host is not trusted.
    #[error("{0}")]
    HostKey(HostKeyTrouble, String),
    /// Anything else.
    #[error(transparent)]
    Ssh(#[from] russh::Error),
}

/// Reads the files of known hosts that hold for a host.
pub(in crate::reach::transport) fn known_to(hop: &Hop) -> KnownHosts {
    let mut known = KnownHosts::default();
    for path in &hop.known_hosts {
        if let Ok(bytes) = std::fs::read(path) {
            known.add(&String::from_utf8_lossy(&bytes));
        }
    }
    known
}

/// Judges the host at the far end of one connection.
#[derive(Debug)]
pub(super) struct Checker {
    hop: Hop,
    known: KnownHosts,
}

impl Checker {
    /// Reads the files of known hosts; those that are missing say nothing.
    pub(super) fn new(hop: &Hop) -> Self {
        Self { hop: hop.clone(), known: known_to(hop) }
    }

    /// Returns the types of keys that the host is asked for: those that it is known by, or any where it is not known.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        let rsa = [HashAlg::Sha512, HashAlg::Sha256].map(|hash| Algorithm::Rsa { hash: Some(hash) });
        let mut all = vec![Algorithm::Ed25519];
        all.extend(
            [EcdsaCurve::NistP256, EcdsaCurve::NistP384, EcdsaCurve::NistP521].map(|curve| Algorithm::Ecdsa { curve }),
        );
        all.extend(rsa);
        let kinds = self.known.kinds(&self.hop.place);
        if kinds.is_empty() {
            return all;
        }
        all.retain(|algorithm| {
            let name = match algorithm {
                Algorithm::Rsa { .. } => Cow::Borrowed("ssh-rsa"),
                other => Cow::Owned(other.as_str().to_owned()),
            };
            kinds.iter().any(|kind| *kind == name)
        });
        all
    }

    /// Returns the types of certificates that the host is asked for.
    pub(super) fn certificates(&self) -> Vec<Algorithm> {
        if self.known.has_authority(&self.hop.place) { self.algorithms_of_any() } else { Vec::new() }
    }

    fn algorithms_of_any(&self) -> Vec<Algorithm> {
        Self { hop: self.hop.clone(), known: KnownHosts::default() }.algorithms()
    }

    /// Returns whether the host is known by any key.
    pub(super) fn is_known(&self) -> bool {
        !self.known.kinds(&self.hop.place).is_empty()
    }

    fn judge(&self, shown: &PublicKeyOrCertificate, now: Timestamp) -> Result<(), Ended> {
        let key = written(&shown.public_key())?;
        let plain = self.known.judge(&self.hop.place, &key);
        let verdict = match shown.certificate() {
            Some(certificate) if plain != Verdict::Revoked => {
                let authority = PublicKey::new(certificate.signature_key().clone(), "");
                match self.known.judge_authority(&self.hop.place, &written(&authority)?) {
                    Verdict::Trusted => {
                        return check_certificate(certificate, &authority, &self.hop.principal, now)
                            .map_err(|why| Ended::HostKey(HostKeyTrouble::BadCertificate, why.to_owned()));
                    }
                    // Without an authority that is known it is only a key.
                    Verdict::Revoked => Verdict::Revoked,
                    Verdict::Changed | Verdict::Unknown => plain,
                }
            }
            _ => plain,
        };
        let trouble = match verdict {
            Verdict::Trusted => return Ok(()),
            Verdict::Changed => HostKeyTrouble::Changed,
            Verdict::Unknown => HostKeyTrouble::Unknown,
            Verdict::Revoked => HostKeyTrouble::Revoked,
        };
        let print = shown.public_key().fingerprint(HashAlg::Sha256);
        Err(Ended::HostKey(trouble, format!("{} shows {} {print}", self.hop.place.name(), key.kind)))
    }
}

/// Writes a key as `known_hosts` does.
fn written(key: &PublicKey) -> Result<HostKey, Ended> {
    let text = key.to_openssh().map_err(|error| Ended::Ssh(russh::keys::Error::from(error).into()))?;
    let mut words = text.split(' ').map(str::to_owned);
    let (kind, text) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    Ok(HostKey { kind, text })
}

/// Checks a host's certificate, signed by an authority that is known.
fn check_certificate(
    certificate: &Certificate,
    authority: &PublicKey,
    principal: &str,
    now: Timestamp,
) -> Result<(), &'static str> {
    if !certificate.cert_type().is_host() {
        return Err("it is not a host's certificate");
    }
    let principals = certificate.valid_principals();
    if !principals.is_empty() && !principals.iter().any(|name| name == principal) {
        return Err("it is made out to another host");
    }
    // No option of a host's certificate is known to anybody; who says that one is critical says that it must be.
    if !certificate.critical_options().is_empty() {
        return Err("it has critical options, of which none is known");
    }
    // As `CASignatureAlgorithms` is unless it is set.
    if matches!(certificate.signature().algorithm(), Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
        return Err("its authority signed it with SHA-1");
    }
    let seconds = u64::try_from(now.0 / 1_000_000).unwrap_or(0);
    let fingerprint = authority.fingerprint(HashAlg::Sha256);
    certificate
        .validate_at(seconds, [&fingerprint])
        .map_err(|_| "it has expired, is not valid yet, or its signature is wrong")
}

impl Handler for Checker {
    type Error = Ended;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Ended> {
        self.judge(shown, clock::now()).map(|()| true)
    }
}
