//! What a line of bash consists of.

use std::ops::Range;

use crate::language::shell::word::Word;

/// Bytes of the text.
pub type Span = Range<usize>;

/// A line of bash, or several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// The text.
    pub text: String,
    /// The simple commands, in the order in which they begin.
    pub commands: Vec<Command>,
    /// The loops, outer ones first.
    pub loops: Vec<Loop>,
    /// The files that redirections open, in the order in which they stand.
    pub files: Vec<File>,
    /// The texts that are handed to standard inputs, in the order in which they stand.
    pub documents: Vec<Document>,
    /// Names that the text itself gives a meaning to: functions and aliases.
    pub defines: Vec<String>,
}

/// A simple command: assignments, a program, its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// From its first assignment or word to its last word.
    pub span: Span,
    /// Names of the variables that are set for it alone.
    pub assigns: Vec<String>,
    /// The program and its arguments; at least one. A `time` of the shell in front is left out.
    pub words: Vec<Word>,
    /// Where it stands.
    pub stands: Stands,
}

impl Command {
    /// Returns the program as it is called, where that is known.
    pub fn head(&self) -> Option<&str> {
        self.words.first()?.fixed()
    }
}

/// A file that a redirection opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub word: Word,
    /// Whether it is opened to be written.
    pub is_written: bool,
    /// The statement that it is opened for: a command, a loop, or nothing but the redirection.
    pub span: Span,
    /// Where that stands.
    pub stands: Stands,
}

/// A text that is handed to a standard input: a here-document, a here-string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// The bytes that it stands on.
    pub span: Span,
    /// What it means, with variables in the places of what only the shell knows.
    pub text: String,
    /// Whether nothing in it expands.
    pub known: bool,
    /// The statement that it is handed to.
    pub of: Span,
}

/// Where a command stands, and what its streams are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Stands {
    /// Its standard input.
    pub input: Input,
    /// Its standard output.
    pub output: Output,
    /// The innermost loop around it: an index into [`Script::loops`].
    pub in_loop: Option<usize>,
    /// In `$(...)`, backticks or `<(...)`.
    pub substituted: bool,
    /// In the body of a function, which runs when that is called.
    pub in_function: bool,
    /// In a here-document, which is text to everybody but the shell.
    pub in_heredoc: bool,
    /// Where it runs depends on others: `if`, `case`, behind `&&` or `||`.
    pub conditional: bool,
    /// In a shell of its own, or in the background: what it changes of the shell ends with it.
    pub apart: bool,
    /// Has redirections of other kinds, or such as are not understood.
    pub redirected: bool,
}

/// A standard input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Input {
    /// The shell's own.
    #[default]
    Inherited,
    /// Another command's output.
    Pipe,
    /// A file.
    File,
    /// A here-document or here-string.
    Here,
}

/// A standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// The shell's own.
    #[default]
    Inherited,
    /// Another command's input.
    Pipe,
    /// A file, or another descriptor.
    File,
    /// What becomes part of another command: `$(...)`.
    Captured,
}

/// A loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loop {
    /// From its first word to its `done`.
    pub span: Span,
    /// Its kind.
    pub kind: LoopKind,
    /// The loop around it: an index into [`Script::loops`].
    pub outer: Option<usize>,
}

/// Kinds of loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopKind {
    /// `while`, `until`.
    Condition,
    /// `for` over words, `select`.
    Words,
    /// `for ((...))`.
    Counting,
}

impl Script {
    /// Returns whether a command stands in a loop, however deep.
    pub fn is_within(&self, command: &Command, wanted: usize) -> bool {
        let mut at = command.stands.in_loop;
        while let Some(index) = at {
            if index == wanted {
                return true;
            }
            at = self.loops.get(index).and_then(|found| found.outer);
        }
        false
    }

    /// Returns the command that a file is opened for: the first of its statement, or the last in front of one without commands.
    pub fn opener(&self, file: &File) -> usize {
        let behind = self.commands.partition_point(|command| command.span.start < file.span.start);
        if self.first_of(&file.span) == Some(behind) { behind } else { behind.saturating_sub(1) }
    }

    /// Returns the first command of a statement.
    pub fn first_of(&self, statement: &Span) -> Option<usize> {
        let behind = self.commands.partition_point(|command| command.span.start < statement.start);
        self.commands.get(behind).filter(|command| command.span.start < statement.end).map(|_| behind)
    }

    /// Returns the bytes of a span; empty for one that is none of this text.
    pub fn slice(&self, span: &Span) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }
}
