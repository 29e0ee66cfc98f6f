//! Batch systems: what csync calls the dialects it speaks.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A batch system by the dialect it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// Slurm.
    Slurm,
    /// PBS, open or Pro.
    Pbs,
    /// A Grid Engine: Sun's, Son of, Open, Univa's.
    Sge,
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Slurm => "slurm",
            Self::Pbs => "pbs",
            Self::Sge => "sge",
        })
    }
}
