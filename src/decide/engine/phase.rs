//! Where an instance stands, in one byte.

use crate::model::job::State;

/// Where an instance stands; finer than [`State`], which is what people see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not part of the run.
    Left,
    /// Waits for instances or tasks.
    Pending,
    /// Could run; whether it must is being found out.
    Checking,
    /// Could run; its task has `max_parallel` others before it.
    Held,
    /// Could run; in the ready queue, or about to be refused for what it asks.
    Ready,
    /// Waits for the delay of a retry.
    Delayed,
    /// Handed over; not known to have started.
    Queued,
    /// Handed over and started.
    Running,
    /// Handed over; there is no contact with its host.
    Lost,
    /// Succeeded.
    Done,
    /// Up to date.
    Cached,
    /// Failed for good.
    Failed,
    /// Failed for good, and its task says to go on.
    Ignored,
    /// Cancelled.
    Cancelled,
    /// Not run because of what it depends on.
    Skipped,
}

impl Phase {
    /// Returns what people see.
    pub(super) const fn state(self) -> State {
        match self {
            Self::Pending => State::Pending,
            Self::Checking | Self::Held | Self::Ready | Self::Delayed => State::Ready,
            Self::Queued => State::Queued,
            Self::Running => State::Running,
            Self::Lost => State::Lost,
            Self::Done => State::Done,
            Self::Cached => State::Cached,
            Self::Failed | Self::Ignored => State::Failed,
            Self::Cancelled => State::Cancelled,
            Self::Skipped | Self::Left => State::Skipped,
        }
    }

    /// Returns whether nothing more happens to it.
    pub(super) const fn is_over(self) -> bool {
        self.state().is_over()
    }

    /// Returns whether what depends on it may go on.
    pub(super) const fn is_satisfied(self) -> bool {
        matches!(self, Self::Left | Self::Done | Self::Cached | Self::Ignored)
    }

    /// Returns whether an executor has it.
    pub(super) const fn is_in_flight(self) -> bool {
        matches!(self, Self::Queued | Self::Running | Self::Lost)
    }

    /// Returns whether it is neither over nor with an executor.
    pub(super) const fn is_waiting(self) -> bool {
        !self.is_over() && !self.is_in_flight()
    }

    /// Returns whether `csync retry` without labels gives it another chance.
    pub(super) const fn is_unsuccessful(self) -> bool {
        matches!(self, Self::Failed | Self::Ignored | Self::Cancelled | Self::Skipped)
    }
}
