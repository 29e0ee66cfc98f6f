//! Text to model and back: pure functions over strings. The rooms do not know each other, but for what two share: files that
//! people write are `document`s, and `import` writes for `manifest`.

mod document;

pub mod manifest;

pub mod import;
