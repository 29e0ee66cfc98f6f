//! What a command is like, without what it says: program, subcommand, options, kinds of inputs, and nothing of a person.
//!
//! Names on the list of [`known`] programs stay readable; everything else becomes a keyed [`Token`], the same for one key and
//! meaningless without it. Values, paths and variables are not even hashed.
//!
//! ```text
//! script -> commands -> words of simple commands     plainly, whatever shell it is for
//! words -> signature -> Signature { parts, inputs }  of what `env`, `timeout`, `srun`, a container ... start
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

pub mod known;

mod lines;
mod read;

#[cfg(test)]
mod tests;

pub use lines::commands;
pub use read::{Launch, is_small, launches, signature};

/// The key under which names become tokens: a person's, or a lab's.
#[derive(Clone)]
pub struct TokenKey([u8; 32]);

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

impl TokenKey {
    /// Takes a key.
    pub const fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// Returns the token of a name; `kind` keeps a host and a program of one name apart.
    pub fn token(&self, kind: &str, name: &str) -> Token {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(kind.as_bytes()).update(&[0]).update(name.as_bytes());
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        Token(u128::from_le_bytes(bytes))
    }
}

/// 128 bits that stand for a name. Shown short: `c3d4e5f6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token(pub u128);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", (self.0 >> 96) as u32)
    }
}

/// A program or a subcommand.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Name {
    /// On the list that csync ships.
    Known(String),
    /// Any other.
    Token(Token),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(name) => f.write_str(name),
            Self::Token(token) => write!(f, "command-{token}"),
        }
    }
}

/// A program as it is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Part {
    /// The program.
    pub program: Name,
    /// Its subcommand, module or script.
    pub subcommand: Option<Name>,
    /// Its options, sorted; never readable.
    options: Vec<Token>,
}

impl Part {
    /// Returns what priors are kept under: program and subcommand, where both are known.
    pub fn known(&self) -> Option<(&str, Option<&str>)> {
        let Name::Known(program) = &self.program else { return None };
        match &self.subcommand {
            Some(Name::Known(subcommand)) => Some((program, Some(subcommand))),
            None | Some(Name::Token(_)) => Some((program, None)),
        }
    }
}

/// What a file is, by its name's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Sequencing reads.
    Reads,
    /// Aligned reads.
    Alignment,
    /// Sequences of a reference.
    Sequence,
    /// Variants.
    Variants,
    /// Tables and text.
    Table,
    /// Arrays and grids, as of simulations and cell atlases.
    Array,
    /// Images and volumes.
    Image,
    /// Molecules and their movements.
    Structure,
    /// Weights of a model.
    Model,
    /// Packed files.
    Archive,
    /// A program's text.
    Script,
    /// Anything else.
    Other,
}

/// A command without what it says. Two commands of one signature need like resources for inputs of like size.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Signature {
    /// The programs, in the order in which they are called; at least one.
    pub parts: Vec<Part>,
    /// Its inputs.
    pub inputs: Inputs,
}

/// The kinds of inputs, each with how many there are in powers of two.
pub type Inputs = Vec<(Kind, u8)>;

impl Signature {
    /// Returns the token under which it is kept.
    pub fn token(&self, key: &TokenKey) -> Token {
        key.token("signature", &self.canonical(true))
    }

    /// Returns the token of its likes: the same programs and subcommands, whatever their options and inputs.
    pub fn likes(&self, key: &TokenKey) -> Token {
        key.token("likes", &self.canonical(false))
    }

    /// Returns the first known program and subcommand.
    pub fn known(&self) -> Option<(&str, Option<&str>)> {
        self.parts.iter().find_map(Part::known)
    }

    /// Spells it without ambiguity.
    fn canonical(&self, whole: bool) -> String {
        let part = |part: &Part| {
            let options = part.options.iter().filter(|_| whole).map(|option| format!(" {:032x}", option.0));
            format!("|{:?}/{:?}", part.program, part.subcommand) + &options.collect::<Vec<_>>().concat()
        };
        let inputs = self.inputs.iter().filter(|_| whole).map(|(kind, many)| format!("<{kind:?}{many}"));
        self.parts.iter().map(part).chain(inputs).collect::<Vec<_>>().concat()
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.parts.iter().enumerate() {
            let separator = if i == 0 { "" } else { " | " };
            write!(f, "{separator}{}", part.program)?;
            if let Some(subcommand) = &part.subcommand {
                write!(f, " {subcommand}")?;
            }
        }
        Ok(())
    }
}
