//! `csync man`: the manual pages, made from the help of the commands.

use std::path::PathBuf;

use clap::builder::Resettable;
use clap_mangen::Man;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::outfile;
use crate::cli::view::words::many;
use crate::model::api::ErrorKind;

/// Write the manual pages
///
/// Prints the page of csync or of one command: `csync man submit | man -l -`. With `--dir` all pages are written into a
/// directory: `csync man --dir ~/.local/share/man/man1`, and `man csync-submit` finds them.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The command whose page is printed; that of csync itself without it
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
    /// Write all pages into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

/// A page: its file's name and its text.
struct Page {
    file: String,
    text: String,
}

/// Runs it, for the whole command line.
pub(super) fn run(context: &Context, args: &Args, mut command: clap::Command) -> Result<Exit, Failure> {
    // Propagates the global options, which the pages list.
    command.build();
    if let Some(dir) = &args.dir {
        return write_all(context, dir, &command);
    }
    let page = match &args.command {
        None => page(&command, "csync")?,
        Some(name) => {
            let found = visible(&command).find(|sub| sub.get_name() == name).ok_or_else(|| {
                Failure::new(ErrorKind::NotFound, format!("there is no command `{name}`"))
                    .hint("`csync help` lists the commands")
            })?;
            page(found, &format!("csync-{name}"))?
        }
    };
    if context.json() {
        context.print_json(&json!({ "file": page.file, "page": page.text }))?;
    } else {
        context.print(&page.text)?;
    }
    Ok(Exit::Success)
}

fn write_all(context: &Context, dir: &PathBuf, command: &clap::Command) -> Result<Exit, Failure> {
    std::fs::create_dir_all(dir).map_err(|error| {
        Failure::new(ErrorKind::Storage, format!("the directory `{}` cannot be made", dir.display())).because(&error)
    })?;
    let mut pages = vec![page(command, "csync")?];
    for sub in visible(command) {
        pages.push(page(sub, &format!("csync-{}", sub.get_name()))?);
    }
    for page in &pages {
        outfile::replace(&dir.join(&page.file), &page.text)?;
    }
    if context.json() {
        let files: Vec<_> = pages.iter().map(|page| dir.join(&page.file)).collect();
        context.print_json(&json!({ "files": files }))?;
    } else {
        context.say(&format!("Wrote {} into {}", many(pages.len() as u32, "page"), dir.display()));
    }
    Ok(Exit::Success)
}

fn visible(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
}

fn page(command: &clap::Command, name: &str) -> Result<Page, Failure> {
    // The overview of the commands stands in the page's own list of them.
    let command = command.clone().after_help(Resettable::Reset).disable_help_subcommand(true);
    let man = Man::new(command).title(name).manual("csync").source(format!("csync {}", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    man.render(&mut text).map_err(|error| Failure::internal("a manual page cannot be made").because(&error))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(Page { file: format!("{name}.1"), text })
}
