//! Private keys in files, and those of them that were unlocked with a passphrase.

use std::collections::HashMap;
use std::fmt;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use russh::keys::PrivateKey;

use crate::reach::transport::native::ask::{Questions, Seen, Turn};
use crate::reach::transport::native::login::signs;

/// Keys that were unlocked, in this process's memory alone and for as long as it runs, whatever hosts they open: a passphrase is
/// asked for once. Whoever asks has the turn to, and looks again before: two hosts that want one key do not ask twice.
#[derive(Clone, Default)]
pub struct Unlocked(Arc<Mutex<HashMap<PathBuf, Arc<PrivateKey>>>>);

impl fmt::Debug for Unlocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unlocked").finish_non_exhaustive()
    }
}

/// A private key in a file.
pub(in crate::reach::transport) enum Key {
    /// It has no passphrase.
    Plain(Arc<PrivateKey>),
    /// It has one, which was given.
    Unlocked(Arc<PrivateKey>),
    /// It has one.
    Locked,
    /// It is not there, of a kind that is not known here, or one that cannot sign here and would end the connection.
    Unusable,
}

impl Unlocked {
    /// Reads a key; asks nobody.
    pub(in crate::reach::transport) async fn read(&self, path: &Path) -> Key {
        if let Some(key) = self.known(path) {
            return Key::Unlocked(key);
        }
        let Ok(text) = tokio::fs::read_to_string(path).await else { return Key::Unusable };
        match russh::keys::decode_secret_key(&text, None) {
            Ok(key) if signs(key.public_key()) => Key::Plain(Arc::new(key)),
            Err(russh::keys::Error::KeyIsEncrypted) => Key::Locked,
            Ok(_) | Err(_) => Key::Unusable,
        }
    }

    /// Asks for the passphrase of a key, so often at most; an empty one means that it is not to be used, as with OpenSSH.
    pub(in crate::reach::transport) async fn ask(
        &self,
        path: &Path,
        host: &str,
        prompts: u32,
        turn: &Turn<'_>,
    ) -> Option<Arc<PrivateKey>> {
        if let Some(key) = self.known(path) {
            return Some(key);
        }
        let text = tokio::fs::read_to_string(path).await.ok()?;
        for _ in 0..prompts {
            let prompt = format!("Passphrase of the key {}: ", path.display());
            let questions =
                Questions { host: host.to_owned(), instructions: String::new(), prompts: vec![(prompt, Seen::Hidden)] };
            let passphrase = turn.ask(questions).await?.pop().filter(|passphrase| !passphrase.is_empty())?;
            let text = text.clone();
            // Deriving the key is slow on purpose.
            let opened = tokio::task::spawn_blocking(move || {
                let key = russh::keys::decode_secret_key(&text, Some(&passphrase));
                wipe(passphrase);
                key
            });
            if let Ok(Ok(key)) = opened.await {
                if !signs(key.public_key()) {
                    return None;
                }
                let key = Arc::new(key);
                self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_path_buf(), Arc::clone(&key));
                return Some(key);
            }
        }
        None
    }

    fn known(&self, path: &Path) -> Option<Arc<PrivateKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }
}

/// Overwrites a secret that is no longer needed.
fn wipe(secret: String) {
    let mut bytes = secret.into_bytes();
    bytes.fill(0);
    // Read once more, so that the writing is not left out.
    black_box(&bytes);
}
