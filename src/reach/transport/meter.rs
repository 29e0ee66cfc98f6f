//! How much of something has moved.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what moves, for whoever looks at it meanwhile; clones are the same meter.
#[derive(Clone, Debug, Default)]
pub struct Meter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    total: AtomicU64,
    done: AtomicU64,
}

impl Meter {
    /// Adds what is to move.
    pub fn expect(&self, bytes: u64) {
        self.0.total.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Adds what has moved.
    pub fn count(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes away what was to move and need not.
    pub fn spare(&self, bytes: u64) {
        self.0.total.fetch_sub(bytes.min(self.total()), Ordering::Relaxed);
    }

    /// Returns what is to move in all, as far as that is known.
    pub fn total(&self) -> u64 {
        self.0.total.load(Ordering::Relaxed)
    }

    /// Returns what has moved.
    pub fn done(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }
}
