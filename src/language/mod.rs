//! Text to model and back: pure functions over strings. The rooms do not know each other, but for what they share: words for
//! a shell are quoted by `quote`, bytes are written by `base64`, hosts speak as `locale` says, files that people write are `document`s, and `import` writes for `manifest`, and
//! `probe` asks with the words of `batch`, whose steps `history` counts as it does, `hook` and `command` read commands by `shell`, and `manifest` puts
//! them into a `container`.

pub mod quote;

pub mod base64;

pub mod locale;

mod document;

pub mod ssh;

pub mod shell;

pub mod hook;

pub mod transcript;

pub mod container;

pub mod conda;

pub mod manifest;

pub mod batch;

pub mod probe;

pub mod import;

pub mod hosts;

pub mod scenario;

pub mod ignored;

pub mod command;

pub mod history;
