//! Where one command should run: the hosts that can run it, each with what it would cost there, and those that cannot, with why.
//!
//! `cost(host) = wait + transfer + run`, each an interval that says where it comes from. Hosts that cannot run it are no matter of
//! cost: they are vetoed, with every reason, so that a person sees what to change.

pub mod need;

pub mod veto;

pub mod sheet;

#[cfg(test)]
mod tests;
