//! The store: SQLite.
