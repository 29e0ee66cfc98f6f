//! Containers: what `container` names, and the command that runs in one.
//!
//! A container is a wrapping of the command line, the same on this machine, over SSH and in a batch job: [`wrap()`] puts a
//! prelude in POSIX sh around a command, which finds on the spot what runs containers there (Apptainer, Singularity, Docker,
//! Podman), has the image ready, and shows the command its files.

mod image;
mod sandbox;
mod wrap;

#[cfg(test)]
mod tests;

pub use image::{Archive, BadImage, Image, RUNTIMES, pulled_name};
pub use sandbox::{BadFile, FIND_SOCKETS, Held, NOBODY, Sandbox, WORK, inside};
pub use wrap::{BadBind, Wrapping, bind, list_command, make_command, read_list, words, wrap};
