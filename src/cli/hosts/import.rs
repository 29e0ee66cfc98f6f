//! `csync hosts import`: hosts out of `~/.ssh/config`.

use std::fmt::Write as _;
use std::io::{self, BufRead, IsTerminal, Write as _};
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use serde::Serialize;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::hosts::Known;
use crate::cli::hosts::prompt::picks;
use crate::cli::hosts::way::{address, ssh_config};
use crate::cli::outfile;
use crate::cli::view::table::{Cell, Column, Page, Table};
use crate::cli::view::words::many;
use crate::language::hosts::{SiteFile, Value, add, read_nf_core};
use crate::language::ssh::Options;
use crate::model::api::ErrorKind;
use crate::model::host::{HostName, SshAlias};
use crate::reach::config::ssh_aliases;
use crate::reach::probe::{ResolveError, resolve};

/// Take hosts from ~/.ssh/config
///
/// Lists the hosts that it and the files it includes name, asks which of them csync shall know, and adds those to `hosts.toml`:
/// what stands there stays as it is. Only the names are taken; addresses, users, keys and jump hosts stay where they are.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Take these, whether or not they are listed
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// Take all that are listed, but for those that serve git alone
    #[arg(short, long, conflicts_with = "hosts")]
    all: bool,
    /// Make a site file of this site config of nf-core instead; its name is the file's
    #[arg(long, value_name = "FILE", conflicts_with_all = ["hosts", "all"])]
    nf_core: Option<PathBuf>,
    /// Only say what would be added
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// A host that can be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Candidate {
    alias: SshAlias,
    /// Where `ssh` goes; why that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    /// The site whose address it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<String>,
    /// Whether `hosts.toml` has it already.
    known: bool,
    /// Whether it serves git and runs nothing.
    git: bool,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    let known = Known::load(context)?;
    if let Some(file) = &args.nf_core {
        return from_nf_core(context, &known, file, args.dry_run);
    }
    let (aliases, odd) = if args.hosts.is_empty() { listed()? } else { (named(&args.hosts)?, Vec::new()) };
    if aliases.is_empty() {
        let hint = "name one as ssh does: `csync hosts import HOST`";
        return Err(Failure::new(ErrorKind::NotFound, "~/.ssh/config names no host").hint(hint));
    }
    let candidates = context.block_on(look_up(aliases, &known))?;
    for name in &odd {
        context.say(&format!("`{}` is left out: csync takes names of plain characters alone.", name.escape_debug()));
    }
    let Some(wanted) = choose(context, args, &candidates)? else { return Ok(Exit::Success) };
    let added = write(&known, &wanted, args.dry_run)?;
    if !args.hosts.is_empty() {
        note_unlisted(context, &wanted);
    }
    if context.json() {
        context.print_json(&json!({ "candidates": candidates, "added": added, "dry_run": args.dry_run }))?;
    } else {
        context.print(&report(&known, args, &added))?;
    }
    Ok(Exit::Success)
}

/// Makes a site file of a site config of nf-core.
fn from_nf_core(context: &Context, known: &Known, file: &Path, dry_run: bool) -> Result<Exit, Failure> {
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("{shown} cannot be read")).because(&error))?;
    let nothing =
        || Failure::new(ErrorKind::Invalid, format!("{shown} says neither whose site it is nor its executor"));
    let site = read_nf_core(&text).ok_or_else(nothing)?;
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let name: HostName = stem
        .parse()
        .map_err(|_| Failure::usage(format!("`{stem}` is no name for a site: letters, digits, `.`, `_`, `-`")))?;
    let made = site.site_file(&file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()));
    let path = known.dir.sites_dir().join(format!("{name}.toml"));
    if !dry_run {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)
                .map_err(|error| Failure::new(ErrorKind::Storage, "no directory for site files").because(&error))?;
        }
        if path.exists() {
            let failure =
                Failure::new(ErrorKind::Conflict, format!("there is a site file `{}` already", path.display()));
            return Err(failure.hint("a copy of the config under another name makes another site of it: `csync hosts import --nf-core` goes by that"));
        }
        outfile::create(&path, &made, None)?;
    }
    if context.json() {
        context.print_json(&json!({ "site": name, "file": path, "text": made, "dry_run": dry_run }))?;
    } else {
        context.print(made.trim_end())?;
        let verb = if dry_run { "It would be" } else { "It is" };
        context.say(&format!("{verb} {}; `site = \"{name}\"` in hosts.toml takes it.", path.display()));
    }
    Ok(Exit::Success)
}

/// Returns the hosts that the configuration of `ssh` names, and names that are not taken.
fn listed() -> Result<(Vec<SshAlias>, Vec<String>), Failure> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let home = home.ok_or_else(|| Failure::usage("no home directory is known").hint("set HOME"))?;
    let file = ssh_config().unwrap_or_else(|| home.join(".ssh/config"));
    let found = ssh_aliases(&file, &home)?;
    Ok((found.aliases, found.odd))
}

/// Says which of the hosts that a person named ssh was told nothing of: a slip, or an address as it stands.
fn note_unlisted(context: &Context, wanted: &[Candidate]) {
    // Without a configuration no name is told of, and all are addresses.
    let Ok((aliases, _)) = listed() else { return };
    for Candidate { alias, .. } in wanted.iter().filter(|candidate| !aliases.contains(&candidate.alias)) {
        context.say(&format!("{alias}: ~/.ssh/config has no entry of its own for it; ssh takes it as an address."));
    }
}

fn named(names: &[String]) -> Result<Vec<SshAlias>, Failure> {
    let parse = |name: &String| {
        let hint = "give it a plain name in ~/.ssh/config: `Host NAME` and under it `HostName`, `User`, `Port`";
        name.parse::<SshAlias>().map_err(|error| Failure::usage(error.to_string()).hint(hint))
    };
    names.iter().map(parse).collect()
}

/// Asks `ssh` where it goes for each.
async fn look_up(aliases: Vec<SshAlias>, known: &Known) -> Result<Vec<Candidate>, Failure> {
    let config = ssh_config();
    let answers = join_all(aliases.iter().map(|alias| resolve(alias, config.as_deref()))).await;
    let mut candidates = Vec::new();
    for (alias, answer) in aliases.into_iter().zip(answers) {
        let is_known = known.config.file.hosts.iter().any(|entry| entry.name.as_str() == alias.as_str())
            || known.hosts.iter().any(|host| host.ssh.as_ref() == Some(&alias) && !host.name.is_local());
        let (options, trouble) = match answer {
            Ok(options) => (Some(options), None),
            Err(error @ ResolveError::NoSsh(_)) => {
                let hint = "install OpenSSH's client";
                return Err(Failure::usage(error.to_string()).because_of_source(&error).hint(hint));
            }
            Err(error) => (None, Some(error.to_string())),
        };
        let goes_to = options.as_ref().and_then(Options::host_name);
        let site_of = |site: &&SiteFile| goes_to.is_some_and(|host| site.is_of(host));
        let site = known.config.sites.iter().find(site_of).map(|site| site.name.clone());
        let git = options.as_ref().and_then(|options| options.get("user")) == Some("git");
        let address = options.as_ref().map(address);
        candidates.push(Candidate { alias, address, trouble, site, known: is_known, git });
    }
    Ok(candidates)
}

/// Returns the candidates that are wanted; none when that was only asked.
fn choose(context: &Context, args: &Args, candidates: &[Candidate]) -> Result<Option<Vec<Candidate>>, Failure> {
    let new = |candidate: &&Candidate| !candidate.known;
    if !args.hosts.is_empty() {
        return Ok(Some(candidates.iter().filter(new).cloned().collect()));
    }
    if args.all {
        let wanted = candidates.iter().filter(new).filter(|candidate| !candidate.git && candidate.trouble.is_none());
        return Ok(Some(wanted.cloned().collect()));
    }
    if context.json() {
        return Ok(Some(Vec::new()));
    }
    context.print(&table(candidates, Page::stdout(context.paint())))?;
    if candidates.iter().all(|candidate| candidate.known) {
        context.say("All of them are known already.");
        return Ok(None);
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() || args.dry_run {
        context.say("`csync hosts import HOST...` takes some of them, `csync hosts import --all` takes all.");
        return Ok(None);
    }
    let picked = ask(context, candidates.len())?;
    let picked = picked.into_iter().filter_map(|at| candidates.get(at)).filter(new).cloned();
    Ok(Some(picked.collect()))
}

/// Asks until an answer makes sense.
fn ask(context: &Context, count: usize) -> Result<Vec<usize>, Failure> {
    loop {
        let mut err = io::stderr().lock();
        // A terminal that cannot be written is not answered either.
        write!(err, "Which? (such as 1,3-5; all; nothing for none) ").and_then(|()| err.flush()).ok();
        drop(err);
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        match read {
            Ok(0) | Err(_) => return Err(Failure::interrupted("nothing was chosen")),
            Ok(_) => match picks(&answer, count) {
                Ok(picked) => return Ok(picked),
                Err(why) => context.warn(&why),
            },
        }
    }
}

/// Adds hosts to the file; returns the names of those that were.
fn write(known: &Known, wanted: &[Candidate], dry_run: bool) -> Result<Vec<HostName>, Failure> {
    let mut text = known.config.text.clone();
    let mut added = Vec::new();
    for candidate in wanted {
        let alias = candidate.alias.as_str();
        // `local` is this machine, whatever ssh_config calls so.
        let name = if alias == HostName::LOCAL { "local-ssh" } else { alias };
        let Ok(name) = name.parse::<HostName>() else { continue };
        let mut keys = vec![("ssh", Value::Text(alias.to_owned()))];
        keys.extend(candidate.site.clone().map(|site| ("site", Value::Text(site))));
        let (next, _) = add(&text, &name, &keys)
            .map_err(|error| Failure::internal("a file that was read cannot be added to").because(&error))?;
        text = next;
        added.push(name);
    }
    if !dry_run && text != known.config.text {
        known.dir.write_hosts(&known.config.text, &text)?;
    }
    Ok(added)
}

const COLUMNS: &[Column] = &[Column::Number("#"), Column::Text("HOST"), Column::Text("ADDRESS"), Column::Extra("NOTE")];

fn table(candidates: &[Candidate], page: Page) -> String {
    let mut table = Table::new(page, COLUMNS);
    for (index, candidate) in candidates.iter().enumerate() {
        let note = match candidate {
            Candidate { known: true, .. } => "known already".to_owned(),
            Candidate { trouble: Some(trouble), .. } => trouble.clone(),
            Candidate { site: Some(site), .. } => format!("site {site}"),
            Candidate { git: true, .. } => "serves git".to_owned(),
            _ => String::new(),
        };
        let address = candidate.address.clone().unwrap_or_else(|| "?".to_owned());
        table.row(vec![Cell::new(index + 1), Cell::new(&candidate.alias), Cell::new(address), Cell::new(note)]);
    }
    table.print()
}

fn report(known: &Known, args: &Args, added: &[HostName]) -> String {
    let dry_run = args.dry_run;
    if added.is_empty() {
        let why = if args.hosts.is_empty() { "nothing new was chosen" } else { "known already" };
        return format!("Nothing was added: {why}.");
    }
    let names: Vec<&str> = added.iter().map(HostName::as_str).collect();
    let (verb, file) = (if dry_run { "would be" } else { "were" }, known.dir.hosts_file());
    let verb = if added.len() == 1 && !dry_run { "was" } else { verb };
    let mut text =
        format!("{} {verb} added to {}: {}\n", many(added.len() as u32, "host"), file.display(), names.join(", "));
    if !dry_run {
        let what = if names.len() == 1 { "it offers" } else { "they offer" };
        let _ = writeln!(text, "`csync hosts probe {}` looks at what {what}.", names.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::view::Paint;

    #[test]
    fn candidates_are_listed_with_what_is_known_of_them() {
        let candidate = |alias: &str| Candidate {
            alias: alias.parse().unwrap(),
            address: Some(format!("ada@{alias}.example.org")),
            trouble: None,
            site: None,
            known: false,
            git: false,
        };
        let candidates = [
            Candidate { site: Some("lab".to_owned()), ..candidate("hpc") },
            Candidate { known: true, ..candidate("nas") },
            Candidate { git: true, ..candidate("forge") },
            Candidate { address: None, trouble: Some("`ssh -G x` failed: bad".to_owned()), ..candidate("x") },
            candidate("a-host-with-quite-a-long-name.of.a.cluster"),
        ];
        insta::assert_snapshot!(table(&candidates, Page { width: Some(80), paint: Paint::new(false) }));
    }
}
