//! Colors, where they are wanted.

use std::fmt;

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

    const fn with<T>(self, code: &'static str, text: T) -> Painted<T> {
        Painted { text, code: if self.on { code } else { "" } }
    }

    /// For headings and names.
    pub(in crate::cli) const fn bold<T>(self, text: T) -> Painted<T> {
        self.with("1", text)
    }

    /// For what matters less.
    pub(in crate::cli) const fn dim<T>(self, text: T) -> Painted<T> {
        self.with("2", text)
    }

    /// For errors and failures.
    pub(in crate::cli) const fn red<T>(self, text: T) -> Painted<T> {
        self.with("1;31", text)
    }

    /// For success.
    pub(in crate::cli) const fn green<T>(self, text: T) -> Painted<T> {
        self.with("32", text)
    }

    /// For warnings.
    pub(in crate::cli) const fn yellow<T>(self, text: T) -> Painted<T> {
        self.with("33", text)
    }

    /// For commands to run, and what is going on.
    pub(in crate::cli) const fn cyan<T>(self, text: T) -> Painted<T> {
        self.with("36", text)
    }
}
