//! Files of workflows: globs, fingerprints, locks.
