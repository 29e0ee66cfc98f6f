//! The engine process: one per user and state directory.
