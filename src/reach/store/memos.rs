//! What need not run again, per workflow: an append-only list of chunks, merged as they grow.

use std::collections::HashMap;

use crate::decide::fresh::memos::workflow_key;
use crate::model::plan::Memo;
use crate::reach::store::codec::{BadForm, decode};
use crate::reach::store::error::StoreError;
use crate::reach::store::open::{Reader, Store};
use crate::reach::store::sql;

/// Version of stored memos. Memos of another version are as good as none: what they are of runs again.
const MEMOS: u8 = 1;
/// A chunk is merged with the newer ones once these together are at least a half of its size.
const MERGE_FACTOR: u64 = 2;

/// Names a workflow for its memos: the same name in the same directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkflowKey(pub [u8; 16]);

impl WorkflowKey {
    /// Returns the key of the workflow of this name in this directory.
    pub fn of(root: &str, name: &str) -> Self {
        Self(workflow_key(root, name))
    }
}

/// Appends a memo to a chunk.
pub(super) fn append_memo(chunk: &mut Vec<u8>, memo: &Memo) {
    if chunk.is_empty() {
        chunk.push(MEMOS);
    }
    let mut bytes = std::mem::take(chunk);
    let length = bytes.len();
    // Serializing to memory fails only for types that cannot say their length.
    bytes = postcard::to_extend(memo, bytes).unwrap_or_default();
    debug_assert!(bytes.len() > length, "a memo was lost");
    *chunk = bytes;
}

/// Where a memo stands: in which chunk, and between which bytes of it.
#[derive(Clone, Copy, Debug)]
struct Place {
    chunk: u32,
    start: u32,
    end: u32,
}

/// Reads a chunk, handing on each memo and where it stands.
fn read_chunk(chunk: &[u8], mut take: impl FnMut(Memo, u32, u32)) -> Result<(), BadForm> {
    // The version byte is looked at by the same function as everywhere; what follows is a list without a length.
    let Some((&version, mut rest)) = chunk.split_first() else { return Ok(()) };
    if version != MEMOS {
        return decode::<()>(MEMOS, "a chunk of memos", chunk);
    }
    while !rest.is_empty() {
        let (memo, tail) = postcard::take_from_bytes(rest)
            .map_err(|error| BadForm { what: "a chunk of memos", form: format!("{version} ({error})") })?;
        take(memo, (chunk.len() - rest.len()) as u32, (chunk.len() - tail.len()) as u32);
        rest = tail;
    }
    Ok(())
}

/// Finds the last memo of each key, in the order in which the keys came first.
fn latest(chunks: &[(i64, Vec<u8>)]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    let mut known: HashMap<[u8; 16], u32> = HashMap::new();
    for (chunk, (id, bytes)) in (0u32..).zip(chunks) {
        let read = read_chunk(bytes, |memo, start, end| {
            let place = Place { chunk, start, end };
            let next = places.len() as u32;
            let index = *known.entry(memo.key).or_insert(next);
            match places.get_mut(index as usize) {
                Some(older) => *older = place,
                None => places.push(place),
            }
        });
        if let Err(BadForm { what, form }) = read {
            tracing::warn!(chunk = id, what, form, "left out what another version wrote; what it is of runs again");
        }
    }
    places
}

/// Returns the bytes of a memo.
fn bytes(chunks: &[(i64, Vec<u8>)], place: Place) -> &[u8] {
    let chunk = chunks.get(place.chunk as usize).map(|(_, chunk)| chunk.as_slice()).unwrap_or_default();
    chunk.get(place.start as usize..place.end as usize).unwrap_or_default()
}

/// Writes one chunk with the last memo of each key. Memos are copied as bytes: of a hundred thousand, what is gathered in memory
/// is a few megabytes.
fn merge(chunks: &[(i64, Vec<u8>)]) -> Vec<u8> {
    let places = latest(chunks);
    let mut merged = Vec::with_capacity(1 + places.iter().map(|it| (it.end - it.start) as usize).sum::<usize>());
    merged.push(MEMOS);
    for place in places {
        merged.extend_from_slice(bytes(chunks, place));
    }
    merged
}

impl Reader {
    /// Returns what need not run again of a workflow, one memo per key.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn memos(&self, workflow: WorkflowKey) -> Result<Vec<Memo>, StoreError> {
        let chunks: Vec<(i64, Vec<u8>)> = sqlx::query_as(sql::MEMOS)
            .bind(workflow.0.as_slice())
            .fetch_all(&self.pool)
            .await
            .map_err(|source| StoreError::from_sqlx(&self.path, source))?;
        let places = latest(&chunks).into_iter();
        Ok(places.filter_map(|place| postcard::from_bytes(bytes(&chunks, place)).ok()).collect())
    }
}

impl Store {
    /// Merges the newest chunks of a workflow, as many as are worth it: each memo is rewritten a logarithmic number of times
    /// over the life of the workflow, and at most a third of what is stored is out of date.
    ///
    /// # Errors
    /// When the store cannot be read or written; the memos are as before then.
    pub async fn compact_memos(&mut self, workflow: WorkflowKey) -> Result<(), StoreError> {
        let key = workflow.0.as_slice();
        let sizes: Result<Vec<(i64, i64)>, _> =
            sqlx::query_as(sql::MEMO_SIZES).bind(key).fetch_all(&mut self.conn).await;
        let Some((first, last)) = worth_merging(&self.finish(sizes).await?) else { return Ok(()) };
        let chunks = sqlx::query_as(sql::MEMOS_FROM).bind(key).bind(first).fetch_all(&mut self.conn).await;
        let merged = merge(&self.finish(chunks).await?);
        let replace =
            sqlx::query(sql::REPLACE_MEMOS).bind(key).bind(first).bind(last).bind(first).bind(key).bind(merged);
        let written = replace.execute(&mut self.conn).await;
        self.finish(written.map(drop)).await
    }
}

/// Picks the chunks to merge from sizes, newest first: the oldest and the newest number.
fn worth_merging(sizes: &[(i64, i64)]) -> Option<(i64, i64)> {
    let (newest, size) = *sizes.first()?;
    let (mut oldest, mut sum) = (newest, size.unsigned_abs());
    for &(id, size) in sizes.get(1..)? {
        if size.unsigned_abs() > sum.saturating_mul(MERGE_FACTOR) {
            break;
        }
        oldest = id;
        sum = sum.saturating_add(size.unsigned_abs());
    }
    (oldest != newest).then_some((oldest, newest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memo(key: u8, definition: u8) -> Memo {
        Memo { key: [key; 16], definition: [definition; 16], inputs: Vec::new(), outputs: Vec::new() }
    }

    fn chunk(memos: &[Memo]) -> Vec<u8> {
        let mut chunk = Vec::new();
        for memo in memos {
            append_memo(&mut chunk, memo);
        }
        chunk
    }

    #[test]
    fn the_last_memo_of_a_key_counts() {
        let chunks =
            [(1, chunk(&[memo(1, 1), memo(2, 1)])), (2, vec![99, 1, 2]), (3, chunk(&[memo(1, 2), memo(3, 1)]))];
        assert_eq!(merge(&chunks), chunk(&[memo(1, 2), memo(2, 1), memo(3, 1)]));
    }

    #[test]
    fn a_cut_chunk_keeps_what_stands_before_the_cut() {
        let mut cut = chunk(&[memo(1, 1), memo(2, 1)]);
        cut.truncate(cut.len() - 3);
        assert_eq!(merge(&[(1, cut)]), chunk(&[memo(1, 1)]));
    }

    #[test]
    fn small_chunks_merge_and_a_large_one_waits() {
        for (sizes, picked) in [
            (&[][..], None),
            (&[(5, 10)][..], None),
            (&[(6, 10), (5, 21)][..], None),
            (&[(6, 10), (5, 20)][..], Some((5, 6))),
            (&[(9, 10), (8, 10), (7, 40), (2, 1000)][..], Some((7, 9))),
        ] {
            assert_eq!(worth_merging(sizes), picked, "{sizes:?}");
        }
    }

    #[test]
    fn a_workflow_is_its_name_in_its_directory() {
        let key = WorkflowKey::of;
        assert_eq!(key("/a", "w"), key("/a", "w"));
        assert_ne!(key("/a", "w"), key("/b", "w"));
        assert_ne!(key("/a", "bw"), key("/ab", "w"));
    }
}
