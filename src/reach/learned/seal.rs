//! Sealing: bytes in, bytes out, and a reason to distrust what does not open.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};

use rustix::rand::{GetRandomFlags, getrandom};

/// Bytes of a nonce.
const NONCE: usize = 24;

/// Seals and opens with one key.
pub(super) struct Seal(XChaCha20Poly1305);

impl Seal {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(XChaCha20Poly1305::new(&Key::from(*key)))
    }

    /// Seals a message, bound to the place where it is kept; none when the system has no random numbers.
    pub(super) fn seal(&self, place: &[u8], message: &[u8]) -> Option<Vec<u8>> {
        // 192 random bits never meet twice.
        let nonce: [u8; NONCE] = random()?;
        let mut sealed = nonce.to_vec();
        sealed.extend(self.0.encrypt(&XNonce::from(nonce), Payload { msg: message, aad: place }).ok()?);
        Some(sealed)
    }

    /// Opens what was sealed for this place; none when it is anything else.
    pub(super) fn open(&self, place: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        self.0.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: place }).ok()
    }
}

/// Returns random bytes of the system.
pub(super) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let got = getrandom(&mut bytes, GetRandomFlags::empty()).ok()?;
    (got == N).then_some(bytes)
}
