//! Memos in a table, and the keys by which they are found.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};

use crate::model::id::{InstanceId, PathId};
use crate::model::job::{Ended, Outcome};
use crate::model::plan::{Fingerprint, Memo, Plan};

/// Names the way keys and definitions are made; another one makes everything run again.
const VERSION: &[u8] = b"csync memo 1";

/// Returns who an instance is, whatever its definition: its task's name and its row.
pub fn key(plan: &Plan, instance: InstanceId) -> [u8; 16] {
    let mut hasher = Words::new(b"key");
    hasher.word(plan.task_of(instance).name.as_bytes());
    hasher.row(plan, instance);
    hasher.finish()
}

/// Returns what an instance computes: its task's definition, its row and its declared paths.
pub fn definition(plan: &Plan, instance: InstanceId) -> [u8; 16] {
    let mut hasher = Words::new(b"definition");
    hasher.word(&plan.task_of(instance).definition);
    hasher.row(plan, instance);
    for paths in [plan.inputs(instance), plan.outputs(instance)] {
        hasher.word(&(paths.len() as u64).to_le_bytes());
        for &path in paths {
            hasher.word(plan.path(path).as_bytes());
        }
    }
    hasher.finish()
}

/// Returns under which name the memos of a workflow are kept: its directory and its name.
pub fn workflow_key(root: &str, name: &str) -> [u8; 16] {
    let mut hasher = Words::new(b"workflow");
    hasher.word(root.as_bytes());
    hasher.word(name.as_bytes());
    hasher.finish()
}

/// Returns what to remember of an instance that succeeded; none when it did not, or when a declared file was not there.
///
/// A content that was not hashed for this attempt may be known from elsewhere: `hashes` is asked for it.
pub fn memo(plan: &Plan, ended: &Ended, hashes: &Hashes) -> Option<Memo> {
    let instance = ended.key.instance;
    let (inputs, outputs) = (plan.inputs(instance), plan.outputs(instance));
    let whole = ended.inputs.len() == inputs.len() && ended.outputs.len() == outputs.len();
    if ended.outcome != Outcome::Success || !whole {
        return None;
    }
    let known = |(&path, print): (&PathId, &Option<Fingerprint>)| print.map(|print| hashes.fill(path, print));
    Some(Memo {
        key: key(plan, instance),
        definition: definition(plan, instance),
        inputs: inputs.iter().zip(&ended.inputs).map(known).collect::<Option<_>>()?,
        outputs: outputs.iter().zip(&ended.outputs).map(known).collect::<Option<_>>()?,
    })
}

/// Hashes words one after the other, each with its length, so that no two lists of words look alike.
///
/// Short lists, which nearly all are, are gathered first: one call of the hash function instead of many.
struct Words {
    buffer: [u8; 512],
    filled: usize,
    hasher: Option<blake3::Hasher>,
}

impl Words {
    fn new(purpose: &[u8]) -> Self {
        let mut words = Self { buffer: [0; 512], filled: 0, hasher: None };
        words.word(VERSION);
        words.word(purpose);
        words
    }

    fn word(&mut self, word: &[u8]) {
        self.bytes(&(word.len() as u64).to_le_bytes());
        self.bytes(word);
    }

    fn row(&mut self, plan: &Plan, instance: InstanceId) {
        let columns = plan.task_of(instance).columns.len() as u32;
        self.word(&columns.to_le_bytes());
        for column in 0..columns {
            self.word(plan.cell(instance, column).as_bytes());
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if let Some(free) = self.buffer.get_mut(self.filled..self.filled + bytes.len()) {
            free.copy_from_slice(bytes);
            self.filled += bytes.len();
            return;
        }
        let filled = self.buffer.get(..self.filled).unwrap_or(&[]);
        self.hasher.get_or_insert_with(blake3::Hasher::new).update(filled).update(bytes);
        self.filled = 0;
    }

    fn finish(self) -> [u8; 16] {
        let filled = self.buffer.get(..self.filled).unwrap_or(&[]);
        let hash = match self.hasher {
            Some(mut hasher) => hasher.update(filled).finalize(),
            None => blake3::hash(filled),
        };
        let mut short = [0; 16];
        short.copy_from_slice(hash.as_bytes().first_chunk::<16>().unwrap_or(&[0; 16]));
        short
    }
}

/// The keys are hashes already: eight bytes of one are as good as any hash of it.
#[derive(Clone, Copy, Debug, Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        // An array writes its length first; the key itself is what counts.
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Clone, Copy, Debug)]
struct Row {
    definition: [u8; 16],
    start: u32,
    inputs: u32,
    outputs: u32,
}

/// A memo in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoRef<'a> {
    /// See [`Memo::definition`].
    pub definition: [u8; 16],
    /// See [`Memo::inputs`].
    pub inputs: &'a [Fingerprint],
    /// See [`Memo::outputs`].
    pub outputs: &'a [Fingerprint],
}

/// The memos of a workflow by key; of two with the same key the later counts. 100,000 with two files each take 15 MB.
#[derive(Clone, Debug, Default)]
pub struct Memos {
    entries: HashMap<[u8; 16], Row, BuildHasherDefault<KeyHasher>>,
    prints: Vec<Fingerprint>,
}

impl Memos {
    /// Makes room for so many more.
    pub fn reserve(&mut self, memos: usize) {
        self.entries.reserve(memos);
    }

    /// Adds a memo, in place of an earlier one with its key.
    pub fn insert(&mut self, memo: &Memo) {
        let (inputs, outputs) = (memo.inputs.len() as u32, memo.outputs.len() as u32);
        let prints = memo.inputs.iter().chain(&memo.outputs).copied();
        let entry = self.entries.get(&memo.key).copied();
        // The place of an earlier one serves again where the new one fits, so that a table that is written to for long
        // does not grow.
        let start = if let Some(entry) = entry.filter(|entry| entry.inputs + entry.outputs == inputs + outputs) {
            let old = self.prints.iter_mut().skip(entry.start as usize);
            old.zip(prints).for_each(|(old, new)| *old = new);
            entry.start
        } else {
            let start = self.prints.len() as u32;
            self.prints.extend(prints);
            start
        };
        self.entries.insert(memo.key, Row { definition: memo.definition, start, inputs, outputs });
    }

    /// Returns the memo with this key.
    pub fn get(&self, key: &[u8; 16]) -> Option<MemoRef<'_>> {
        let entry = self.entries.get(key)?;
        let (start, middle) = (entry.start as usize, (entry.start + entry.inputs) as usize);
        Some(MemoRef {
            definition: entry.definition,
            inputs: self.prints.get(start..middle)?,
            outputs: self.prints.get(middle..middle + entry.outputs as usize)?,
        })
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<'a> Extend<&'a Memo> for Memos {
    fn extend<T: IntoIterator<Item = &'a Memo>>(&mut self, memos: T) {
        memos.into_iter().for_each(|memo| self.insert(memo));
    }
}

impl<'a> FromIterator<&'a Memo> for Memos {
    fn from_iter<T: IntoIterator<Item = &'a Memo>>(memos: T) -> Self {
        let mut table = Self::default();
        table.extend(memos);
        table
    }
}

/// Contents known during a run, so that no file is read twice: whoever made or read a file first says what is in it.
#[derive(Clone, Debug, Default)]
pub struct Hashes(HashMap<PathId, Option<Fingerprint>>);

impl Hashes {
    /// Remembers a file's content, if it was hashed.
    pub fn learn(&mut self, path: PathId, print: Fingerprint) {
        if print.hash.is_some() {
            self.0.insert(path, Some(print));
        }
    }

    /// Remembers what an attempt found and left.
    pub fn learn_from(&mut self, plan: &Plan, ended: &Ended) {
        let instance = ended.key.instance;
        for (paths, prints) in [(plan.inputs(instance), &ended.inputs), (plan.outputs(instance), &ended.outputs)] {
            for (&path, print) in paths.iter().zip(prints) {
                if let Some(print) = print {
                    self.learn(path, *print);
                }
            }
        }
    }

    /// Returns whether somebody should read a file: its content is not known, and nobody was asked before.
    pub fn ask(&mut self, path: PathId) -> bool {
        match self.0.entry(path) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(None);
                true
            }
        }
    }

    /// Returns what is known of these files.
    #[must_use]
    pub fn pick(&self, paths: impl Iterator<Item = PathId>) -> Self {
        Self(paths.filter_map(|path| Some((path, *self.0.get(&path)?))).collect())
    }

    /// Adds the hash to a fingerprint without one, if the file is the one that was hashed.
    #[must_use]
    pub fn fill(&self, path: PathId, print: Fingerprint) -> Fingerprint {
        let known = self.0.get(&path).copied().flatten();
        let known = known.filter(|known| (known.size, known.mtime) == (print.size, print.mtime));
        Fingerprint { hash: print.hash.or(known.and_then(|known| known.hash)), ..print }
    }
}
