//! What is up to date: plans, memos and fingerprints in, verdicts with reasons out.
