//! Text to model and back: pure functions over strings. The rooms do not know each other (import alone uses manifest).

pub mod manifest;

pub mod import;
