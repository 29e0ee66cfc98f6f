//! One file that answers by name: written whole, read by offset, for a process that lives for a millisecond. A look-up reads a
//! few hundred bytes of the file, however large that is; every byte that counts is checked against a hash.
//!
//! ```text
//! header   magic, length of the file as it was written, number of slots, hash of these
//! slots    hash of the key, where its record is, how long, hash of the record; open addressing in windows of eight
//! records  key and value, in postcard; those that came later behind the first ones
//! ```
//!
//! A change is a new record behind the others and one slot that leads to it, in this order: who reads meanwhile finds the old
//! one, the new one or, for a moment, none, and never anything else.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The file's kind and version.
const MAGIC: &[u8; 8] = b"csyncix7";
/// Bytes of the header.
const HEADER: usize = 32;
/// Bytes of a slot.
const SLOT: usize = 28;
/// Slots that a key may stand in. With 8, the index of `benches/hook` had to have 2,097,152 of them (59 MB) for its keys to find one,
/// with 32 a quarter of that; a lookup reads them in one call either way.
const WINDOW: usize = 32;
/// Largest record.
const LARGEST: u32 = 16 << 20;
/// Bytes of the record that says how many others had no room, at most.
const CUT_RECORD: u64 = 32;
/// Bytes that changes may leave behind beside what was written at first, at least; and the share of that which they may.
const LEFT_BEHIND: (u64, u64) = (4 << 20, 4);

/// Largest file, with all that changes leave behind in it: every call of the hook maps some of it, and it lies in people's homes.
pub const MOST: u64 = 64_000_000;
/// The key under which an index says how many records had no room in it.
pub const CUT_KEY: &str = "cut";

/// An index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// It cannot be read or written.
    #[error("the index cannot be used")]
    Io(#[from] io::Error),
    /// It is damaged, or another version wrote it.
    #[error("the index is damaged")]
    Damaged,
    /// There are more records than fit: it has to be written anew.
    #[error("the index has no room for more records")]
    TooLarge,
}

/// An index that is open.
#[derive(Debug)]
pub struct Index {
    file: File,
    slots: u64,
}

fn hash(bytes: &[u8]) -> u64 {
    let hash = blake3::hash(bytes);
    let mut first = [0; 8];
    first.copy_from_slice(hash.as_bytes().first_chunk::<8>().unwrap_or(&[0; 8]));
    u64::from_le_bytes(first)
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk::<8>()?))
}

impl Index {
    /// Opens an index and looks whether it is whole.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        let file = File::open(path)?;
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0).map_err(|_| IndexError::Damaged)?;
        let field = |at| number(&header, at).ok_or(IndexError::Damaged);
        let (length, slots) = (field(8)?, field(16)?);
        let sound = header.starts_with(MAGIC)
            && header.get(..24).is_some_and(|fields| Some(hash(fields)) == number(&header, 24))
            && file.metadata()?.len() >= length
            && slots.is_power_of_two();
        if sound { Ok(Self { file, slots }) } else { Err(IndexError::Damaged) }
    }

    /// Reads the slots that a key may stand in; returns where they begin in the file, too.
    fn window(&self, wanted: u64) -> io::Result<(u64, [u8; SLOT * WINDOW])> {
        let at = HEADER as u64 + (wanted & (self.slots - 1)) * SLOT as u64;
        let mut window = [0; SLOT * WINDOW];
        self.file.read_exact_at(&mut window, at)?;
        Ok((at, window))
    }

    /// Looks a key up. None where it is not there, and where its bytes are not what was written.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let wanted = hash(key.as_bytes());
        let (_, window) = self.window(wanted).ok()?;
        for slot in window.chunks_exact(SLOT) {
            let length = u32::from_le_bytes(*slot.get(16..)?.first_chunk::<4>()?);
            if number(slot, 0)? != wanted || length == 0 || length > LARGEST {
                continue;
            }
            let mut record = vec![0; length as usize];
            self.file.read_exact_at(&mut record, number(slot, 8)?).ok()?;
            if hash(&record) != number(slot, 20)? {
                continue;
            }
            let (found, value): (&str, T) = postcard::from_bytes(&record).ok()?;
            if found == key {
                return Some(value);
            }
        }
        None
    }
}

/// An index that is changed where it stands. One at a time: who changes it holds a lock.
#[derive(Debug)]
pub struct IndexEditor {
    index: Index,
    /// Where the next record goes.
    end: u64,
    /// Where no more go.
    full: u64,
}

impl IndexEditor {
    /// Opens an index to change it.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        let Index { slots, .. } = Index::open(path)?;
        let file = File::options().read(true).write(true).open(path)?;
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0)?;
        let length = number(&header, 8).ok_or(IndexError::Damaged)?;
        let end = file.metadata()?.len();
        let full = (length + LEFT_BEHIND.0.max(length / LEFT_BEHIND.1)).min(MOST);
        Ok(Self { index: Index { file, slots }, end, full })
    }

    /// Looks a key up.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        self.index.get(key)
    }

    /// Puts a record in, in the place of the one that the key had.
    ///
    /// # Errors
    /// [`IndexError::TooLarge`] where there is no room.
    pub fn put(&mut self, key: &str, value: &impl Serialize) -> Result<(), IndexError> {
        let record = postcard::to_stdvec(&(key, value)).map_err(|_| IndexError::TooLarge)?;
        let length =
            u32::try_from(record.len()).ok().filter(|length| *length <= LARGEST).ok_or(IndexError::TooLarge)?;
        let wanted = hash(key.as_bytes());
        let (at, window) = self.index.window(wanted)?;
        let taken = |slot: &[u8]| slot.get(16..20) != Some(&[0; 4]);
        let own = |slot: &&[u8]| taken(slot) && number(slot, 0) == Some(wanted);
        let mut slots = window.chunks_exact(SLOT);
        let place = slots.clone().position(|slot| own(&slot)).or_else(|| slots.position(|slot| !taken(slot)));
        let place = place.filter(|_| self.end + u64::from(length) <= self.full).ok_or(IndexError::TooLarge)?;
        self.index.file.write_all_at(&record, self.end)?;
        let fields =
            [&wanted.to_le_bytes()[..], &self.end.to_le_bytes(), &length.to_le_bytes(), &hash(&record).to_le_bytes()];
        self.index.file.write_all_at(&fields.concat(), at + (place * SLOT) as u64)?;
        self.end += u64::from(length);
        Ok(())
    }

    /// Takes a record out.
    ///
    /// # Errors
    /// [`IndexError::Io`].
    pub fn remove(&mut self, key: &str) -> Result<(), IndexError> {
        let wanted = hash(key.as_bytes());
        let (at, window) = self.index.window(wanted)?;
        let place = window.chunks_exact(SLOT).position(|slot| number(slot, 0) == Some(wanted));
        if let Some(place) = place {
            self.index.file.write_all_at(&[0; SLOT], at + (place * SLOT) as u64)?;
        }
        Ok(())
    }
}

/// An index that is being made.
#[derive(Debug, Default)]
pub struct IndexWriter {
    records: Vec<(u64, Vec<u8>)>,
}

impl IndexWriter {
    /// Adds a record; the first of a key counts. Where there is no room for all, what was added last is left out.
    pub fn add(&mut self, key: &str, value: &impl Serialize) {
        if let Ok(record) = postcard::to_stdvec(&(key, value)) {
            self.records.push((hash(key.as_bytes()), record));
        }
    }

    /// Returns how many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Writes the index in the place of what is there: all of it or nothing. Returns how many records had no room, the last ones that were
    /// added; what is written tells that too ([`CUT_KEY`]).
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn write(self, path: &Path) -> Result<u64, IndexError> {
        // Changes need room as well.
        self.write_within(path, MOST - MOST / (LEFT_BEHIND.1 + 1))
    }

    fn write_within(mut self, path: &Path, most: u64) -> Result<u64, IndexError> {
        let mut seen = std::collections::HashSet::new();
        self.records.retain(|(key, _)| seen.insert(*key));
        let all = self.records.len();
        let mut kept = self.fitting(all, most);
        let (slots, table, left) = loop {
            self.records.truncate(kept);
            let left = (all - kept) as u64;
            if left > 0 {
                self.add(CUT_KEY, &left);
            }
            if let Some((slots, table)) = self.table_within(most) {
                break (slots, table, left);
            }
            if kept == 0 {
                return Err(IndexError::TooLarge);
            }
            // Too many keys want the same slots of the largest table that there is room for.
            kept = self.fitting(kept - kept.div_ceil(8), most);
        };
        let length = HEADER as u64 + size_of_table(slots) + self.bytes(self.records.len());
        let mut header = MAGIC.to_vec();
        header.extend(length.to_le_bytes());
        header.extend((slots as u64).to_le_bytes());
        header.extend(hash(&header).to_le_bytes());
        let new = path.with_extension(format!("new-{}", std::process::id()));
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        let mut out = io::BufWriter::with_capacity(1 << 20, file);
        let mut write = || -> io::Result<()> {
            out.write_all(&header)?;
            out.write_all(&table)?;
            self.records.iter().try_for_each(|(_, record)| out.write_all(record))?;
            out.flush()?;
            std::fs::rename(&new, path)
        };
        write().inspect_err(|_| drop(std::fs::remove_file(&new)))?;
        Ok(left)
    }

    /// Returns how many records there is room for, of so many at most.
    fn fitting(&self, at_most: usize, most: u64) -> usize {
        let mut bytes = self.bytes(at_most);
        let mut kept = at_most;
        while kept > 0 && HEADER as u64 + size_of_table(slots_for(kept + 1)) + bytes + CUT_RECORD > most {
            kept -= 1;
            bytes -= self.records.get(kept).map_or(0, |(_, record)| record.len() as u64);
        }
        kept
    }

    /// Returns how long the first records are together.
    fn bytes(&self, count: usize) -> u64 {
        self.records.iter().take(count).map(|(_, record)| record.len() as u64).sum()
    }

    /// Makes the smallest table in which every key finds a slot; none where the file would be too large with that.
    fn table_within(&self, most: u64) -> Option<(usize, Vec<u8>)> {
        let bytes = HEADER as u64 + self.bytes(self.records.len());
        let mut slots = slots_for(self.records.len());
        while bytes + size_of_table(slots) <= most {
            match self.table(slots) {
                Some(table) => return Some((slots, table)),
                None => slots *= 2,
            }
        }
        None
    }

    /// Makes the slots; none where a key finds no room in its window.
    fn table(&self, slots: usize) -> Option<Vec<u8>> {
        let mut table = vec![0; (slots + WINDOW) * SLOT];
        let mut offset = (HEADER + table.len()) as u64;
        for (key, record) in &self.records {
            let first = (*key & (slots as u64 - 1)) as usize;
            let mut window = table.get_mut(first * SLOT..(first + WINDOW) * SLOT)?.chunks_exact_mut(SLOT);
            let slot = window.find(|slot| slot.get(16..20) == Some(&[0; 4]))?;
            let length = u32::try_from(record.len()).ok()?;
            let fields =
                [&key.to_le_bytes()[..], &offset.to_le_bytes(), &length.to_le_bytes(), &hash(record).to_le_bytes()];
            slot.copy_from_slice(&fields.concat());
            offset += u64::from(length);
        }
        Some(table)
    }
}

/// Returns how many slots so many records have at first: half as many again are free, since changes put in what is new.
fn slots_for(records: usize) -> usize {
    (records * 3 / 2).next_power_of_two().max(64)
}

/// Returns the bytes of so many slots.
fn size_of_table(slots: usize) -> u64 {
    ((slots + WINDOW) * SLOT) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.idx");
        let mut writer = IndexWriter::default();
        assert!(writer.is_empty());
        for number in 0..5_000_u32 {
            writer.add(&format!("key {number}"), &(number, "é".repeat(number as usize % 50)));
        }
        writer.add("key 7", &(0_u32, "a second one"));
        assert_eq!(writer.len(), 5_001);
        writer.write(&path).unwrap();
        let index = Index::open(&path).unwrap();
        for number in 0..5_000_u32 {
            let (found, text): (u32, String) = index.get(&format!("key {number}")).unwrap();
            assert_eq!((found, text.chars().count()), (number, number as usize % 50));
        }
        assert_eq!(index.get::<(u32, String)>("key 5000"), None);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing temporary stays");
        IndexWriter::default().write(&path).unwrap();
        assert_eq!(Index::open(&path).unwrap().get::<u32>("a"), None);
    }

    #[test]
    fn changes_are_found_beside_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.idx");
        let mut writer = IndexWriter::default();
        (0..1_000_u32).for_each(|number| writer.add(&format!("key {number}"), &number));
        writer.write(&path).unwrap();
        let reader = Index::open(&path).unwrap();
        let mut editor = IndexEditor::open(&path).unwrap();
        for number in 0..1_000_u32 {
            match number % 3 {
                0 => editor.put(&format!("key {number}"), &(number + 7)).unwrap(),
                1 => editor.remove(&format!("key {number}")).unwrap(),
                _ => {}
            }
        }
        editor.put("new", &1_u32).unwrap();
        editor.remove("not there").unwrap();
        let fresh = Index::open(&path).unwrap();
        for number in 0..1_000_u32 {
            let expected = [Some(number + 7), None, Some(number)][number as usize % 3];
            for index in [&reader, &fresh] {
                assert_eq!(index.get::<u32>(&format!("key {number}")), expected, "{number}");
            }
        }
        assert_eq!((reader.get::<u32>("new"), editor.get::<u32>("new")), (Some(1), Some(1)));
        let long = "x".repeat(1 << 20);
        let full = (0..100).find_map(|_| editor.put("long", &long).err());
        assert!(matches!(full, Some(IndexError::TooLarge)), "what changes leave behind is bounded: {full:?}");
        assert_eq!(reader.get::<String>("long"), Some(long));
    }

    #[test]
    fn what_is_added_last_is_left_out_where_there_is_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.idx");
        let written = |most: u64| {
            let mut writer = IndexWriter::default();
            (0..5_000_u32).for_each(|number| writer.add(&format!("key {number}"), &(number, "x".repeat(40))));
            let left = writer.write_within(&path, most).unwrap();
            let index = Index::open(&path).unwrap();
            let found =
                (0..5_000_u32).take_while(|number| index.get::<(u32, String)>(&format!("key {number}")).is_some());
            let found = found.count() as u64;
            assert_eq!(found + left, 5_000, "the first ones are there: {left} are left out");
            assert_eq!(index.get::<u64>(CUT_KEY), (left > 0).then_some(left));
            assert!(std::fs::metadata(&path).unwrap().len() <= most);
            left
        };
        assert_eq!(written(MOST), 0);
        let (some, most) = (written(300_000), written(100_000));
        assert!(0 < some && some < most && most < 5_000, "{some} {most}");
        let mut writer = IndexWriter::default();
        writer.add("a", &"x");
        assert!(matches!(writer.write_within(&path, 100), Err(IndexError::TooLarge)));
    }

    #[test]
    fn damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.idx");
        assert!(matches!(Index::open(&path), Err(IndexError::Io(_))));
        let mut writer = IndexWriter::default();
        writer.add("a", &"value");
        writer.write(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            std::fs::write(&path, &bytes).unwrap();
            let found = Index::open(&path).ok().and_then(|index| index.get::<String>("a"));
            assert!(found.as_deref().is_none_or(|found| found == "value"), "byte {at}: {found:?}");
        }
        for length in [0, 10, HEADER, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(matches!(Index::open(&path), Err(IndexError::Damaged)), "{length} bytes");
        }
    }
}
