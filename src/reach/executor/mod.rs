//! How jobs run: the local worker.
