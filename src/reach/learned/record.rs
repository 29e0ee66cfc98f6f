//! One record of what was learned, and how it is written.
//!
//! ```text
//! entry       as the first programs wrote it; postcard does not describe itself, so that nothing can be put into it
//! appendix    what was added since; none where it says nothing. Those programs read up to here and leave it
//! ```

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::decide::learn::profile::{Appendix, Profile};
use crate::language::command::{Signature, Token};

/// A signature on a class of hosts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What the command is like.
    pub signature: Signature,
    /// Which class of hosts.
    pub class: Token,
    /// What was learned.
    pub profile: Profile,
}

impl Entry {
    /// Returns how much is known of it, in powers of two of attempts: by that those like a command are put in order.
    pub fn magnitude(&self) -> u32 {
        self.profile.summary().count().checked_ilog2().map_or(0, |power| power + 1)
    }
}

/// Writes an entry, or what ends with one.
pub(super) fn write(record: &impl Serialize, entry: &Entry) -> postcard::Result<Vec<u8>> {
    let bytes = postcard::to_stdvec(record)?;
    match entry.profile.appendix() {
        Some(appendix) => postcard::to_extend(&appendix, bytes),
        None => Ok(bytes),
    }
}

/// Reads it again, of whatever program; `entry` finds it in what ends with it. None where it is not whole.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8], entry: impl FnOnce(&mut T) -> &mut Entry) -> Option<T> {
    let (mut record, rest) = postcard::take_from_bytes::<T>(bytes).ok()?;
    if !rest.is_empty() {
        entry(&mut record).profile.append(postcard::from_bytes::<Appendix>(rest).ok()?);
    }
    Some(record)
}
