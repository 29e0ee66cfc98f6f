//! Globs over declared outputs. What lies on disk is matched by the caller, with the same [`matcher`].

use crate::model::diagnostic::{Diagnostic, Span};

/// Compiles a glob: `*` and `?` stay within one component, `**` crosses them, `[ab]` and `{a,b}` are alternatives, a backslash
/// takes the next character as it is.
///
/// # Errors
/// What is wrong with the pattern.
pub fn matcher(pattern: &str) -> Result<globset::GlobMatcher, String> {
    let glob = globset::GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| error.kind().to_string())
}

/// Says what is wrong with a pattern.
pub(super) fn bad_pattern(pattern: &str, why: &str, span: Span) -> Diagnostic {
    let why = why.split(';').next().unwrap_or(why);
    let help = "`[...]` and `{...}` are alternatives in a pattern: a backslash before one makes it stand for itself";
    Diagnostic::error(span, format!("`{pattern}` is no pattern: {why}")).help(help)
}

/// Returns whether a text as written is a pattern and no plain path.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[']) || text.contains('{') && text.contains(',') && text.contains('}')
}

/// Appends a value to a pattern so that it matches only itself.
pub(super) fn escape(value: &str, pattern: &mut String) {
    for letter in value.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '{' | '}' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
}

/// Returns the text that every match begins with.
pub(super) fn literal_start(pattern: &str) -> &str {
    let wild = pattern.find(['*', '?', '[', '{', '\\']).unwrap_or(pattern.len());
    pattern.get(..wild).unwrap_or_default()
}

/// Returns the text that every match ends with.
pub(super) fn literal_end(pattern: &str) -> &str {
    let wild = pattern.rfind(['*', '?', ']', '}', '\\']).map_or(0, |wild| wild + 1);
    pattern.get(wild..).unwrap_or_default()
}
