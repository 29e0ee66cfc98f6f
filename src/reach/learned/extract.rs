//! What was learned, in the index that hooks look things up in: as sealed as in the store, under tokens of the same key.
//!
//! ```text
//! own TOKEN    a signature on a class of hosts: its profile, as far as predictions go by it, and what it is of
//! any TOKEN    a signature: the class of hosts of which most is known
//! like TOKEN   a program and its verb: the signature of which most is known
//! on TOKEN     a signature: the classes of hosts that it is known on
//! kin TOKEN    a program and its verb: some signatures on classes of hosts, with what tells which of them matter
//! as of        the store, as it was when all of this was what it held
//! ```
//!
//! Who reads the index without the key learns how many records there are. A key behind a passphrase is not opened here: working
//! it out takes longer than a hook may, and nobody is there to ask.

use std::collections::{BTreeMap, HashSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::decide::learn::profile::{Profile, SlimProfile, Source};
use crate::language::command::{Inputs, Signature, Token, TokenKey};
use crate::reach::index::{Index, IndexEditor, IndexError, IndexWriter};
use crate::reach::learned::key::MasterKey;
use crate::reach::learned::record::Entry;
use crate::reach::learned::seal::Seal;
use crate::reach::learned::stamp::Stamp;
use crate::reach::learned::store::{Place, TOKENS, place_on};

/// What records in the index are sealed with.
const EXTRACTS: &str = "csync 2026-11 extracts";

/// Where the stamp of the store stands.
const AS_OF: &str = "as of";
/// Signatures of a program and its verb that are led to at most.
pub const MOST_KIN: u32 = 64;

/// A signature on a class of hosts, and what is known of it.
#[derive(Serialize, Deserialize)]
struct Own {
    profile: SlimProfile,
    signature: Signature,
    class: Token,
}

impl Own {
    fn of(entry: &Entry) -> Self {
        Self { profile: entry.profile.slim(), signature: entry.signature.clone(), class: entry.class }
    }
}

/// Leads to a signature on a class of hosts, and tells as much of it as says whether it matters: opening all of a program's takes a
/// millisecond.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mention {
    /// The signature's token.
    pub of: Token,
    /// The class of hosts.
    pub class: Token,
    /// The signature's inputs.
    pub inputs: Inputs,
    /// How much is known of it, as [`Entry::magnitude`] says it.
    pub magnitude: u32,
}

/// A mention in the list of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kin {
    /// Where the store has it: who asks that for some gets the first.
    stored: Token,
    mention: Mention,
}

/// Leads to a record of which more is known than of its like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pointer {
    token: Token,
    count: u32,
}

/// Seals what was learned for the index, and opens it there.
pub struct Extract {
    tokens: TokenKey,
    seal: Seal,
}

impl std::fmt::Debug for Extract {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Extract(..)")
    }
}

impl Extract {
    /// Reads the key. None where there is none, or where it stands behind a passphrase.
    pub fn open(place: &Place) -> Option<Self> {
        let master = MasterKey::load(&place.key, None).ok()??;
        Some(Self { tokens: TokenKey::new(master.derive(TOKENS)), seal: Seal::new(&master.derive(EXTRACTS)) })
    }

    /// Returns what names become tokens with.
    pub fn tokens(&self) -> &TokenKey {
        &self.tokens
    }

    /// Adds everything that was learned to an index that is being made.
    pub fn add_all(&self, entries: &[Entry], writer: &mut IndexWriter) {
        for entry in entries {
            let token = self.token(&entry.signature, entry.class);
            self.add(&own(token), &Own::of(entry), writer);
        }
        let (mut on, mut kin): (BTreeMap<String, Vec<Token>>, BTreeMap<String, Vec<Kin>>) = Default::default();
        for entry in entries {
            on.entry(self.on(&entry.signature)).or_default().push(entry.class);
            kin.entry(self.kin(&entry.signature)).or_default().push(self.kin_of(entry));
        }
        for (key, classes) in &on {
            self.add(key, classes, writer);
        }
        for (key, mut all) in kin {
            all.sort_unstable_by_key(|kin| kin.stored);
            all.truncate(MOST_KIN as usize);
            self.add(&key, &all, writer);
        }
        // The first record of a key counts: those of which most is known come first.
        let mut most: Vec<&Entry> = entries.iter().collect();
        most.sort_by_key(|entry| std::cmp::Reverse(entry.profile.summary().count()));
        let mut seen = std::collections::HashSet::new();
        for entry in most {
            for key in self.pointing(&entry.signature) {
                if seen.insert(key.clone()) {
                    self.add(&key, &self.pointer(entry), writer);
                }
            }
        }
    }

    /// Puts what was learned of one signature into an index.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn put(&self, entry: &Entry, editor: &mut IndexEditor) -> Result<(), IndexError> {
        let mut put = |key: &str, sealed: Option<Vec<u8>>| sealed.map_or(Ok(()), |sealed| editor.put(key, &sealed));
        let token = self.token(&entry.signature, entry.class);
        put(&own(token), self.sealed(&own(token), &Own::of(entry)))?;
        let (on, kin) = (self.on(&entry.signature), self.kin(&entry.signature));
        let mut classes: Vec<Token> =
            editor.get(&on).and_then(|sealed: Vec<u8>| self.opened(&on, &sealed)).unwrap_or_default();
        if !classes.contains(&entry.class) {
            classes.push(entry.class);
            self.sealed(&on, &classes).map_or(Ok(()), |sealed| editor.put(&on, &sealed))?;
        }
        let mut all: Vec<Kin> =
            editor.get(&kin).and_then(|sealed: Vec<u8>| self.opened(&kin, &sealed)).unwrap_or_default();
        if listed(&mut all, self.kin_of(entry)) {
            self.sealed(&kin, &all).map_or(Ok(()), |sealed| editor.put(&kin, &sealed))?;
        }
        let pointer = self.pointer(entry);
        for key in self.pointing(&entry.signature) {
            let known: Option<Pointer> = editor.get(&key).and_then(|sealed: Vec<u8>| self.opened(&key, &sealed));
            if known.is_none_or(|known| known.count <= pointer.count || known.token == token)
                && let Some(sealed) = self.sealed(&key, &pointer)
            {
                editor.put(&key, &sealed)?;
            }
        }
        Ok(())
    }

    /// Looks up what is known of a signature on a class of hosts, best first: there, elsewhere, of its like.
    pub fn find(&self, index: &Index, signature: &Signature, class: Token) -> impl Iterator<Item = (Profile, Source)> {
        let get = |key: &str| index.get::<Vec<u8>>(key);
        let pointed = move |key: &str| {
            let pointer: Pointer = self.opened(key, &get(key)?)?;
            Some(own(pointer.token))
        };
        let [any, like] = self.pointing(signature);
        let keys = [
            (Some(own(self.token(signature, class))), Source::Learned),
            (pointed(&any), Source::OtherHosts),
            (pointed(&like), Source::Similar),
        ];
        keys.into_iter().filter_map(move |(key, source)| {
            let key = key?;
            let own: Own = self.opened(&key, &get(&key)?)?;
            Some((own.profile.profile()?, source))
        })
    }

    /// Adds which state of the store an index that is being made holds.
    pub fn add_stamp(&self, stamp: &Stamp, writer: &mut IndexWriter) {
        self.add(AS_OF, stamp, writer);
    }

    /// Puts in which state of the store the index holds now, if it held all of the one before.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn put_stamp(&self, before: &Stamp, now: &Stamp, editor: &mut IndexEditor) -> Result<(), IndexError> {
        let held: Option<Stamp> = editor.get(AS_OF).and_then(|sealed: Vec<u8>| self.opened(AS_OF, &sealed));
        if held.as_ref() != Some(before) || before == now {
            return Ok(());
        }
        self.sealed(AS_OF, now).map_or(Ok(()), |sealed| editor.put(AS_OF, &sealed))
    }

    /// Returns whether the index holds what the store holds: then it answers as the store does.
    pub fn is_all(&self, index: &Index, place: &Place) -> bool {
        let held: Option<Stamp> = index.get::<Vec<u8>>(AS_OF).and_then(|sealed| self.opened(AS_OF, &sealed));
        held.is_some() && held == Stamp::of(place)
    }

    /// Looks up of what the store would tell as being of the same programs, whatever their options and inputs; none where that
    /// cannot be read though it is there.
    pub fn kindred(&self, index: &Index, signature: &Signature) -> Option<Vec<Mention>> {
        let kin: Vec<Kin> = self.list(index, &self.kin(signature))?;
        Some(kin.into_iter().map(|kin| kin.mention).collect())
    }

    /// Looks up on which of some classes of hosts the store would tell of a signature, in its order; none where that cannot be read
    /// though it is there.
    pub fn on_classes(&self, index: &Index, signature: &Signature, classes: &HashSet<Token>) -> Option<Vec<Mention>> {
        let on: Vec<Token> = self.list(index, &self.on(signature))?;
        let (of, inputs) = (signature.token(&self.tokens), &signature.inputs);
        let asked = on.into_iter().filter(|class| classes.contains(class));
        let mut asked: Vec<Mention> =
            asked.map(|class| Mention { of, class, inputs: inputs.clone(), magnitude: 0 }).collect();
        asked.sort_by_cached_key(|mention| place_on(of, mention.class, &self.tokens));
        Some(asked)
    }

    /// Looks up what is known of what was mentioned; none where it cannot be read.
    pub fn entry(&self, index: &Index, mention: &Mention) -> Option<Entry> {
        let Own { profile, signature, class } = self.get(index, &own(self.token_of(mention.of, mention.class)))?;
        Some(Entry { signature, class, profile: profile.profile()? })
    }

    fn get<T: DeserializeOwned>(&self, index: &Index, key: &str) -> Option<T> {
        self.opened(key, &index.get::<Vec<u8>>(key)?)
    }

    /// Returns a list, empty where there is none; none where it is there and cannot be opened: that is no empty one.
    fn list<T: DeserializeOwned>(&self, index: &Index, key: &str) -> Option<Vec<T>> {
        index.get::<Vec<u8>>(key).map_or_else(|| Some(Vec::new()), |sealed| self.opened(key, &sealed))
    }

    /// Returns what seals what is kept beside the index.
    pub(super) fn seal(&self) -> &Seal {
        &self.seal
    }

    fn token(&self, signature: &Signature, class: Token) -> Token {
        self.token_of(signature.token(&self.tokens), class)
    }

    fn token_of(&self, signature: Token, class: Token) -> Token {
        self.tokens.token("extract", &format!("{:032x}{:032x}", signature.0, class.0))
    }

    /// Returns the keys under which a signature is found without its class of hosts, and without its options.
    fn pointing(&self, signature: &Signature) -> [String; 2] {
        let (any, like) = (signature.token(&self.tokens), signature.likes(&self.tokens));
        [format!("any {:032x}", any.0), format!("like {:032x}", like.0)]
    }

    fn on(&self, signature: &Signature) -> String {
        format!("on {:032x}", signature.token(&self.tokens).0)
    }

    fn kin(&self, signature: &Signature) -> String {
        format!("kin {:032x}", signature.likes(&self.tokens).0)
    }

    fn kin_of(&self, entry: &Entry) -> Kin {
        let (of, class, inputs) = (entry.signature.token(&self.tokens), entry.class, entry.signature.inputs.clone());
        let mention = Mention { of, class, inputs, magnitude: entry.magnitude() };
        Kin { stored: place_on(of, class, &self.tokens), mention }
    }

    fn pointer(&self, entry: &Entry) -> Pointer {
        Pointer { token: self.token(&entry.signature, entry.class), count: entry.profile.summary().count() }
    }

    fn add(&self, key: &str, value: &impl Serialize, writer: &mut IndexWriter) {
        if let Some(sealed) = self.sealed(key, value) {
            writer.add(key, &sealed);
        }
    }

    fn sealed(&self, key: &str, value: &impl Serialize) -> Option<Vec<u8>> {
        self.seal.seal(key.as_bytes(), &postcard::to_stdvec(value).ok()?)
    }

    fn opened<T: DeserializeOwned>(&self, key: &str, sealed: &[u8]) -> Option<T> {
        postcard::from_bytes(&self.seal.open(key.as_bytes(), sealed)?).ok()
    }
}

/// Puts one into the list of a program, in its place; returns whether that changed the list.
fn listed(all: &mut Vec<Kin>, kin: Kin) -> bool {
    match all.binary_search_by_key(&kin.stored, |known| known.stored) {
        Ok(place) => all.get_mut(place).is_some_and(|known| std::mem::replace(known, kin.clone()) != kin),
        Err(place) if place < MOST_KIN as usize => {
            all.insert(place, kin);
            all.truncate(MOST_KIN as usize);
            true
        }
        Err(_) => false,
    }
}

fn own(token: Token) -> String {
    format!("own {:032x}", token.0)
}

#[cfg(test)]
mod tests {
    use super::Source::{Learned, OtherHosts, Similar};
    use super::*;
    use crate::language::command::signature;
    use crate::model::observation::{Cut, Observation, Trust};

    fn entry(extract: &Extract, words: &[&str], host: &str, attempts: u64) -> Entry {
        let mut profile = Profile::default();
        for id in 0..attempts {
            let seen = Observation {
                id: id + 1,
                at: id as u32,
                input: 1e6,
                memory: 3e9,
                wall: 600.0,
                cpu: 2400.0,
                io: 0.0,
                asked: 0.0,
                asked_time: 0.0,
                cut: Cut::Nothing,
                trust: Trust::Full,
            };
            profile.observe(1, seen);
        }
        let key = extract.tokens();
        let signature = signature(&[words.to_vec()], &[], key).unwrap();
        Entry { signature, class: key.token("class", host), profile }
    }

    fn found(extract: &Extract, path: &std::path::Path, words: &[&str], host: &str) -> Vec<(u32, Source)> {
        let index = Index::open(path).unwrap();
        let key = extract.tokens();
        let signature = signature(&[words.to_vec()], &[], key).unwrap();
        let all = extract.find(&index, &signature, key.token("class", host));
        all.map(|(profile, source)| (profile.summary().count(), source)).collect()
    }

    #[test]
    fn what_was_learned_is_found_by_those_who_have_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { path: dir.path().join("l.db"), key: dir.path().join("l.key"), network: false };
        assert!(Extract::open(&place).is_none(), "nothing was learned yet");
        MasterKey::make(&place.key).unwrap();
        let extract = Extract::open(&place).unwrap();
        let path = dir.path().join("x.idx");
        let mut writer = IndexWriter::default();
        let first = entry(&extract, &["bwa", "mem", "-t", "4"], "hpc", 4);
        extract.add_all(&[first, entry(&extract, &["bwa", "mem"], "lab", 7)], &mut writer);
        writer.write(&path).unwrap();
        let of = |words: &[&str], host: &str| found(&extract, &path, words, host);
        assert_eq!(of(&["bwa", "mem", "-t", "9", "x"], "hpc"), [(4, Learned), (4, OtherHosts), (7, Similar)]);
        assert_eq!(of(&["bwa", "mem"], "hpc"), [(7, OtherHosts), (7, Similar)]);
        assert_eq!(of(&["bwa", "mem", "-K", "1"], "new"), [(7, Similar)]);
        assert_eq!(of(&["bwa", "index"], "hpc"), []);
        let mut editor = IndexEditor::open(&path).unwrap();
        extract.put(&entry(&extract, &["bwa", "index"], "hpc", 3), &mut editor).unwrap();
        extract.put(&entry(&extract, &["bwa", "mem", "-t", "4"], "hpc", 9), &mut editor).unwrap();
        assert_eq!(of(&["bwa", "index"], "hpc"), [(3, Learned), (3, OtherHosts), (3, Similar)]);
        assert_eq!(of(&["bwa", "mem"], "lab"), [(7, Learned), (7, OtherHosts), (9, Similar)]);
        let bytes = std::fs::read(&path).unwrap();
        for secret in ["bwa", "mem", "hpc"] {
            assert!(!bytes.windows(3).any(|window| window == secret.as_bytes()), "{secret} stands in the index");
        }
        crate::reach::learned::protect(&place.key, None, Some("words")).unwrap();
        assert!(Extract::open(&place).is_none(), "behind a passphrase it stays shut");
    }
    #[test]
    fn a_list_that_cannot_be_opened_is_no_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place { path: dir.path().join("l.db"), key: dir.path().join("l.key"), network: false };
        MasterKey::make(&place.key).unwrap();
        let extract = Extract::open(&place).unwrap();
        let path = dir.path().join("x.idx");
        let asked = entry(&extract, &["bwa", "mem"], "hpc", 4);
        let classes = HashSet::from([asked.class]);
        let known = |broken: &[String]| {
            let mut writer = IndexWriter::default();
            // The first record of a key counts.
            for key in broken {
                writer.add(key, &vec![7_u8; 60]);
            }
            extract.add_all(std::slice::from_ref(&asked), &mut writer);
            writer.write(&path).unwrap();
            let index = Index::open(&path).unwrap();
            let kindred = extract.kindred(&index, &asked.signature)?;
            Some((extract.on_classes(&index, &asked.signature, &classes)?.len(), kindred.len()))
        };
        let (on, kin) = (extract.on(&asked.signature), extract.kin(&asked.signature));
        assert_eq!((known(&[]), known(&[on]), known(&[kin])), (Some((1, 1)), None, None));
        let other = entry(&extract, &["bwa", "index"], "hpc", 1).signature;
        let index = Index::open(&path).unwrap();
        assert!(extract.on_classes(&index, &other, &classes).is_some_and(|all| all.is_empty()));
        assert!(extract.kindred(&index, &other).is_some_and(|all| all.is_empty()));
    }
}
