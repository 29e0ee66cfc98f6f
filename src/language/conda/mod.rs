//! Conda environments: those that are there, by their names, and those of files, made once for their content.

use std::sync::LazyLock;

use crate::language::quote::sh;

/// See the head of the file.
const FUNCTIONS: &str = include_str!("conda.sh");

/// The functions without their comments: they go along with every job that needs them.
static SHORT: LazyLock<String> = LazyLock::new(|| {
    let lines = FUNCTIONS.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.flat_map(|line| [line, "\n"]).collect()
});

/// Returns whether an environment is named by the file that it is made of.
pub fn is_file(conda: &str) -> bool {
    [".yml", ".yaml", ".txt", ".lock"].iter().any(|end| conda.ends_with(end))
}

/// Returns lines of bash, strict but for variables that are not set, that activate an environment: of a file, which is named by an
/// absolute path then, or one that is there.
pub fn activate(conda: &str) -> String {
    let how = if is_file(conda) { "file" } else { "name" };
    format!("{}csync_conda {how} {}\n", *SHORT, sh(conda))
}

/// Returns lines of bash that have the environment of a file made, beside the directory of images.
pub fn make(file: &str, images: &str) -> String {
    format!("CSYNC_IMAGES={}\n{}csync_conda make {}\n", sh(images), *SHORT, sh(file))
}

#[cfg(test)]
mod tests;
