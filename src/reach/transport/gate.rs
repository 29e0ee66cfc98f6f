//! When a connection may be tried: back-off with jitter after failures, a budget per minute, and the state for views. The
//! time and the dice come in.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::units::Timestamp;
use crate::reach::transport::TransportError;

/// The window of the budget.
pub(super) const MINUTE: Duration = Duration::from_mins(1);

/// The longest back-off after connections that failed.
const LONGEST: Duration = Duration::from_mins(1);

/// The back-off after a refusal that trying again does not mend, and for which centers ban addresses.
const REFUSED: Duration = Duration::from_mins(5);

/// How a connection was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Member {
    /// No connection: this machine.
    Local,
    /// The system's `ssh`.
    OpenSsh,
    /// The SSH of this program.
    Russh,
    /// No connection: a made-up cluster on this machine.
    Simulated,
}

impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::OpenSsh => "openssh",
            Self::Russh => "russh",
            Self::Simulated => "simulated",
        })
    }
}

/// How the way to a host is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum LinkState {
    /// Not connected; the next command connects.
    #[default]
    Closed,
    /// Connecting.
    Connecting {
        /// Since when.
        since: Timestamp,
    },
    /// Connected.
    Open {
        /// Since when.
        since: Timestamp,
        /// How.
        via: Member,
    },
    /// Not tried for a while.
    BackingOff {
        /// Until when.
        until: Timestamp,
        /// Why.
        reason: String,
    },
    /// A person has to log in.
    NeedsLogin {
        /// What for.
        reason: String,
    },
}

/// How many connections may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections per minute.
    pub per_minute: u32,
    /// The first back-off; it doubles with every failure, up to a minute.
    pub first_backoff: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_minute: 6, first_backoff: Duration::from_secs(1) }
    }
}

/// A connection may not be tried now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) wait: Duration,
    pub(super) reason: String,
    pub(super) because: Because,
}

/// What keeps a connection from being tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Because {
    /// The last ones failed.
    Failed,
    /// A person has to log in.
    NeedsLogin,
    /// There were as many within a minute as may be.
    Full,
}

impl Hold {
    /// Makes the one of a budget that is used up.
    pub(super) fn full(most: u32, wait: Duration) -> Self {
        let (connections, are) = if most == 1 { ("connection", "is") } else { ("connections", "are") };
        let reason = format!("{most} {connections} within a minute {are} its limit");
        Self { wait, reason, because: Because::Full }
    }

    /// Says it as an error of a host.
    pub(super) fn error(self, host: &str) -> TransportError {
        let host = host.to_owned();
        match self.because {
            Because::NeedsLogin => TransportError::NeedsLogin { host, detail: self.reason },
            Because::Failed | Because::Full => TransportError::Held { host, wait: self.wait, reason: self.reason },
        }
    }
}

/// Throws dice for jitter.
pub(super) fn dice() -> u64 {
    let mut bytes = [0; 8];
    // Without dice there is no jitter, which is no reason to fail.
    let _: Result<usize, _> = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u64::from_ne_bytes(bytes)
}

/// The gate before a host.
#[derive(Debug)]
pub(super) struct Gate {
    limits: Limits,
    state: LinkState,
    held_until: Option<Timestamp>,
    failures: u32,
    tried: VecDeque<Timestamp>,
}

impl Gate {
    /// Makes a gate that was never passed.
    pub(super) const fn new(limits: Limits) -> Self {
        Self { limits, state: LinkState::Closed, held_until: None, failures: 0, tried: VecDeque::new() }
    }

    /// Returns the state for views.
    pub(super) fn state(&self) -> LinkState {
        self.state.clone()
    }

    /// Asks for a connection; it is counted when it may be tried.
    pub(super) fn pass(&mut self, now: Timestamp) -> Result<(), Hold> {
        self.pass_beside(now)?;
        self.state = LinkState::Connecting { since: now };
        Ok(())
    }

    /// Asks for a connection beside the one that everything else goes over; it is counted likewise.
    pub(super) fn pass_beside(&mut self, now: Timestamp) -> Result<(), Hold> {
        self.allows(now)?;
        self.tried.push_back(now);
        Ok(())
    }

    /// Returns whether a connection may be tried now, and how many may be in a minute; counts none.
    pub(super) fn allows(&mut self, now: Timestamp) -> Result<u32, Hold> {
        if let Some(until) = self.held_until.filter(|until| *until > now) {
            let (reason, because) = match &self.state {
                LinkState::NeedsLogin { reason } => (reason.clone(), Because::NeedsLogin),
                LinkState::BackingOff { reason, .. } => (reason.clone(), Because::Failed),
                _ => (String::new(), Because::Failed),
            };
            return Err(Hold { wait: until.since(now), reason, because });
        }
        while self.tried.front().is_some_and(|first| now.since(*first) >= MINUTE) {
            self.tried.pop_front();
        }
        if let Some(first) = self.tried.front().filter(|_| self.tried.len() >= self.limits.per_minute as usize) {
            return Err(Hold::full(self.limits.per_minute, MINUTE.saturating_sub(now.since(*first))));
        }
        Ok(self.limits.per_minute)
    }

    /// Notes a connection.
    pub(super) fn opened(&mut self, now: Timestamp, via: Member) {
        self.state = LinkState::Open { since: now, via };
        self.failures = 0;
        self.held_until = None;
    }

    /// Notes that a connection ended; the next may be tried at once.
    pub(super) fn closed(&mut self) {
        if !matches!(self.state, LinkState::BackingOff { .. } | LinkState::NeedsLogin { .. }) {
            self.state = LinkState::Closed;
        }
    }

    /// Notes that a connection failed. The dice are any number.
    pub(super) fn failed(&mut self, now: Timestamp, error: &TransportError, dice: u64) {
        self.failures = self.failures.saturating_add(1);
        let refused = matches!(
            error,
            TransportError::NeedsLogin { .. } | TransportError::Denied { .. } | TransportError::HostKey { .. }
        );
        let wait = if refused {
            REFUSED
        } else {
            let doubled = self.limits.first_backoff.saturating_mul(1 << (self.failures - 1).min(16));
            // Between three and five quarters: hosts that went down together are not asked together.
            doubled.min(LONGEST).mul_f64(0.75 + (dice % 1000) as f64 / 2000.0)
        };
        let until = now.after(wait);
        self.held_until = Some(until);
        self.state = match error {
            TransportError::NeedsLogin { detail, .. } => LinkState::NeedsLogin { reason: detail.clone() },
            error => LinkState::BackingOff { until, reason: error.to_string() },
        };
    }

    /// Lets the next connection be tried at once: a person asked for it.
    pub(super) fn forgive(&mut self) {
        self.held_until = None;
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::ssh::Unreached;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    fn refused() -> TransportError {
        TransportError::Unreached { host: "h".into(), how: Unreached::Refused, detail: "d".into() }
    }

    #[test]
    fn failures_back_off_and_success_forgives() {
        let mut gate = Gate::new(Limits { per_minute: 100, ..Limits::default() });
        let mut now = 0;
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(gate.pass(at(now)), Ok(()));
            gate.failed(at(now), &refused(), 500);
            let hold = gate.pass(at(now)).unwrap_err();
            assert_eq!(hold.wait.as_secs(), expected);
            assert!(hold.reason.contains("refused"));
            now += i64::try_from(expected).unwrap();
        }
        assert_eq!(gate.pass(at(now)), Ok(()));
        gate.opened(at(now), Member::Russh);
        gate.closed();
        assert_eq!(gate.state(), LinkState::Closed);
        assert_eq!(gate.pass(at(now)), Ok(()), "a connection that broke is made again at once");
    }

    #[test]
    fn jitter_stays_within_a_quarter() {
        for dice in [0, 1, 499, 999, u64::MAX] {
            let mut gate = Gate::new(Limits { first_backoff: Duration::from_secs(40), ..Limits::default() });
            gate.failed(at(0), &refused(), dice);
            let wait = gate.pass(at(0)).unwrap_err().wait.as_secs_f64();
            assert!((30.0..=50.0).contains(&wait), "{wait}");
        }
    }

    #[test]
    fn a_minute_has_a_budget() {
        let mut gate = Gate::new(Limits { per_minute: 2, ..Limits::default() });
        for (now, wait) in [(0, None), (10, None), (20, Some(40)), (59, Some(1)), (60, None), (61, Some(9)), (70, None)]
        {
            let held = gate.pass(at(now)).err().map(|hold| hold.wait.as_secs());
            assert_eq!(held, wait, "at {now} s");
            gate.closed();
        }
    }

    #[test]
    fn who_is_not_let_in_is_not_tried_again_soon() {
        let mut gate = Gate::new(Limits::default());
        let error = TransportError::NeedsLogin { host: "h".into(), detail: "a code".into() };
        assert_eq!(gate.pass(at(0)), Ok(()));
        gate.failed(at(0), &error, 1);
        assert_eq!(gate.state(), LinkState::NeedsLogin { reason: "a code".into() });
        let hold = gate.pass(at(299)).unwrap_err();
        assert_eq!(hold.because, Because::NeedsLogin);
        gate.forgive();
        assert_eq!(gate.pass(at(300)), Ok(()));
    }
}
