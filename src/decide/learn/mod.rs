//! Observations to profiles to predictions: what a command will need, and what to ask for.
//!
//! A [`Summary`](summary::Summary) keeps a bounded set of observations, which merges in any order. Several models (the
//! [`points`] and the lines through them) each turn it into outcomes that may come true for an input of some size; together,
//! each weighing by what its requests would have wasted so far, they make one [`Spread`](stakes::Spread). The request is the
//! value with the least expected waste over both mistakes (the [`Stakes`](stakes::Stakes)). A
//! [`Profile`](profile::Profile) is all that for one signature on one class of hosts; [`evidence`] falls back from it to other
//! hosts, to similar signatures and to what is shipped.
//!
//! What is absent: names of anything. A profile holds numbers.

pub mod waits;

pub mod steps;

pub mod grain;

pub mod stakes;

pub mod points;

pub mod slim;

pub mod summary;

pub mod profile;

pub mod limits;

pub mod hosts;

pub mod evidence;

pub mod options;

pub mod shipped;

pub mod threads;

#[cfg(test)]
mod tests;
