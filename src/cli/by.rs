//! `--policy`, where hosts are compared.

use crate::model::choice::Policy;

/// What counts when places are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum By {
    /// Done first
    Fastest,
    /// Fewest bytes moved
    Locality,
    /// Least cost by the hosts' `rate`; fewest core-hours where none has one
    Cheapest,
    /// Evenly over the hosts by their cores
    Spread,
}

impl From<By> for Policy {
    fn from(by: By) -> Self {
        match by {
            By::Fastest => Self::Fastest,
            By::Locality => Self::Locality,
            By::Cheapest => Self::Cheapest,
            By::Spread => Self::Spread,
        }
    }
}
