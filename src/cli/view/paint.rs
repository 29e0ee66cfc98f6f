//! Colors, where they are wanted.

use std::fmt;

/// A color's use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) enum Tone {
    /// As it is.
    #[default]
    Plain,
    /// Headings and names.
    Bold,
    /// What matters less.
    Dim,
    /// Errors and failures.
    Red,
    /// Success.
    Green,
    /// Warnings.
    Yellow,
    /// What is going on, and what to do.
    Cyan,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Red => "1;31",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Cyan => "36",
        }
    }
}

/// Paints text, or leaves it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Paint {
    on: bool,
}

/// Text with its color.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Painted<T> {
    text: T,
    code: &'static str,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.code.is_empty() {
            return self.text.fmt(f);
        }
        write!(f, "\x1b[{}m", self.code)?;
        self.text.fmt(f)?;
        f.write_str("\x1b[0m")
    }
}

impl Paint {
    /// Makes a paint that colors, or one that does not.
    pub(in crate::cli) const fn new(on: bool) -> Self {
        Self { on }
    }

    /// Returns whether it colors.
    pub(in crate::cli) const fn is_on(self) -> bool {
        self.on
    }

    /// Paints text.
    pub(in crate::cli) const fn with<T>(self, tone: Tone, text: T) -> Painted<T> {
        Painted { text, code: if self.on { tone.code() } else { "" } }
    }

    /// See [`Tone::Bold`].
    pub(in crate::cli) const fn bold<T>(self, text: T) -> Painted<T> {
        self.with(Tone::Bold, text)
    }

    /// See [`Tone::Dim`].
    pub(in crate::cli) const fn dim<T>(self, text: T) -> Painted<T> {
        self.with(Tone::Dim, text)
    }

    /// See [`Tone::Red`].
    pub(in crate::cli) const fn red<T>(self, text: T) -> Painted<T> {
        self.with(Tone::Red, text)
    }

    /// See [`Tone::Green`].
    pub(in crate::cli) const fn green<T>(self, text: T) -> Painted<T> {
        self.with(Tone::Green, text)
    }

    /// See [`Tone::Yellow`].
    pub(in crate::cli) const fn yellow<T>(self, text: T) -> Painted<T> {
        self.with(Tone::Yellow, text)
    }

    /// See [`Tone::Cyan`].
    pub(in crate::cli) const fn cyan<T>(self, text: T) -> Painted<T> {
        self.with(Tone::Cyan, text)
    }
}
