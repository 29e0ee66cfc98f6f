//! Blobs in the store: a version byte, then postcard. Postcard does not describe itself: whoever changes a type that is
//! stored raises its version here and keeps reading the old one, or says what happens to what was stored before.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::decide::engine::protocol::{Mark, Verdict};
use crate::decide::fresh::reason::Reason;
use crate::model::data::Listed;
use crate::model::id::InstanceId;
use crate::model::plan::Plan;

/// Version of stored lists of files.
const LISTING: u8 = 1;
/// Version of stored plans.
const PLAN: u8 = 3;
/// Version of stored environments.
const ENV: u8 = 1;
/// Version of stored reasons.
const REASONS: u8 = 1;
/// Version of stored lists of marked instances.
const MARKS: u8 = 1;

/// The blob was written by another version, or is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadForm {
    /// What was read.
    pub what: &'static str,
    /// Its version byte, and what was wrong.
    pub form: String,
}

/// Encodes a value behind a version byte.
pub(super) fn encode<T: Serialize + ?Sized>(version: u8, value: &T) -> Vec<u8> {
    // Serializing to memory fails only for types that cannot say their length; none is stored.
    postcard::to_extend(value, vec![version]).unwrap_or_default()
}

/// Decodes a value behind a version byte.
pub(super) fn decode<T: DeserializeOwned>(version: u8, what: &'static str, bytes: &[u8]) -> Result<T, BadForm> {
    match bytes.split_first() {
        Some((&found, rest)) if found == version => {
            postcard::from_bytes(rest).map_err(|error| BadForm { what, form: format!("{found} ({error})") })
        }
        Some((found, _)) => Err(BadForm { what, form: found.to_string() }),
        None => Err(BadForm { what, form: "none".to_owned() }),
    }
}

/// Encodes what a place has of a dataset.
pub(super) fn encode_listing(files: &[Listed]) -> Vec<u8> {
    encode(LISTING, files)
}

/// Decodes it.
pub(super) fn decode_listing(bytes: &[u8]) -> Result<Vec<Listed>, BadForm> {
    decode(LISTING, "a dataset's files", bytes)
}

/// Encodes a plan for [`NewRun`](super::NewRun); costs milliseconds for a large one, so it is done off the loop.
pub fn encode_plan(plan: &Plan) -> Vec<u8> {
    encode(PLAN, plan)
}

/// Decodes a plan.
///
/// # Errors
/// When another version wrote it, or it is damaged.
pub fn decode_plan(bytes: &[u8]) -> Result<Plan, BadForm> {
    decode(PLAN, "a plan", bytes)
}

/// Encodes an environment.
pub fn encode_env(env: &[(String, String)]) -> Vec<u8> {
    encode(ENV, env)
}

/// Decodes an environment.
///
/// # Errors
/// When another version wrote it, or it is damaged.
pub fn decode_env(bytes: &[u8]) -> Result<Vec<(String, String)>, BadForm> {
    decode(ENV, "an environment", bytes)
}

/// Encodes why instances run or do not.
pub(super) fn encode_reasons(reasons: &[Reason]) -> Vec<u8> {
    encode(REASONS, reasons)
}

/// Decodes why instances run or do not.
pub(super) fn decode_reasons(bytes: &[u8]) -> Result<Vec<Reason>, BadForm> {
    decode(REASONS, "a list of reasons", bytes)
}

/// Encodes instances that were marked together.
pub(super) fn encode_marked(instances: &[(InstanceId, u32)]) -> Vec<u8> {
    encode(MARKS, instances)
}

/// Decodes instances that were marked together.
pub(super) fn decode_marked(bytes: &[u8]) -> Result<Vec<(InstanceId, u32)>, BadForm> {
    decode(MARKS, "a list of marked instances", bytes)
}

/// Encodes verdicts, one byte each.
pub(super) fn encode_verdicts(verdicts: &[Verdict]) -> Vec<u8> {
    let code = |verdict: &Verdict| match verdict {
        Verdict::Fresh => b'f',
        Verdict::Check => b'c',
        Verdict::Stale => b's',
        Verdict::Left => b'l',
    };
    verdicts.iter().map(code).collect()
}

/// Decodes verdicts.
pub(super) fn decode_verdicts(bytes: &[u8]) -> Result<Vec<Verdict>, BadForm> {
    let verdict = |byte: &u8| match byte {
        b'f' => Ok(Verdict::Fresh),
        b'c' => Ok(Verdict::Check),
        b's' => Ok(Verdict::Stale),
        b'l' => Ok(Verdict::Left),
        other => Err(BadForm { what: "a verdict", form: other.to_string() }),
    };
    bytes.iter().map(verdict).collect()
}

/// Returns the name of a mark in the store.
pub(super) const fn mark_name(mark: Mark) -> &'static str {
    match mark {
        Mark::Cached => "cached",
        Mark::Skipped => "skipped",
        Mark::Cancelled => "cancelled",
        Mark::Reset => "reset",
        Mark::CalledBack => "called back",
    }
}

/// Returns the mark of a name.
pub(super) fn mark_of(name: &str) -> Result<Mark, BadForm> {
    [Mark::Cached, Mark::Skipped, Mark::Cancelled, Mark::Reset, Mark::CalledBack]
        .into_iter()
        .find(|&mark| mark_name(mark) == name)
        .ok_or_else(|| BadForm { what: "a mark", form: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn another_version_is_told_apart_from_damage() {
        let plan = Plan { name: "w".to_owned(), ..Plan::default() };
        let mut bytes = encode_plan(&plan);
        assert_eq!(decode_plan(&bytes), Ok(plan));
        assert!(decode_plan(&bytes[..bytes.len() - 1]).unwrap_err().form.starts_with("3 ("));
        bytes[0] = 9;
        assert_eq!(decode_plan(&bytes).unwrap_err().form, "9");
        assert_eq!(decode_plan(&[]).unwrap_err().form, "none");
    }

    #[test]
    fn marks_have_one_name_each() {
        for mark in [Mark::Cached, Mark::Skipped, Mark::Cancelled, Mark::Reset, Mark::CalledBack] {
            assert_eq!(mark_of(mark_name(mark)), Ok(mark));
        }
        assert!(mark_of("kept").is_err());
    }

    proptest! {
        #[test]
        fn verdicts_round_trip(picks in proptest::collection::vec(0usize..4, 0..50)) {
            let all = [Verdict::Fresh, Verdict::Check, Verdict::Stale, Verdict::Left];
            let verdicts: Vec<_> = picks.into_iter().map(|pick| all[pick]).collect();
            prop_assert_eq!(decode_verdicts(&encode_verdicts(&verdicts)), Ok(verdicts));
        }

        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _plan = decode_plan(&bytes);
            let _env = decode_env(&bytes);
            let _marks = decode_marked(&bytes);
            let _verdicts = decode_verdicts(&bytes);
        }
    }
}
