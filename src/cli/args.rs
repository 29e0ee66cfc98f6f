//! The command line: every command and option, in clap's words.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;

use clap::builder::styling::{AnsiColor, Effects, Styles};
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use serde_json::json;

use crate::cli::context::{Context, Globals, write_line};
use crate::cli::errors::{Exit, Failure};
use crate::cli::{
    boxed, cancel, check, clean, completions, dag, data, demo, discover, doctor, engine, exit_codes, fetch, forward,
    hook, hosts, images, import, login, logs, man, mcp, new, profile, report, retry, route, run, runs, schema, secret,
    shell, show, simulate, status, submit, wait, watch, why, worker,
};

/// Decides where scientific work should run, takes it there, and brings the results back
#[derive(Debug, Parser)]
#[command(
    name = "csync",
    version,
    styles = STYLES,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = false,
    help_template = "{about}\n\n{usage-heading} {usage}{after-help}\n\nOptions:\n{options}"
)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// The commands, one file each.
#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "a comment here would stand in the place of that of the arguments, which is the help")]
pub enum Command {
    Submit(submit::Args),
    Run(run::Args),
    Runs(runs::Args),
    Show(show::Args),
    Status(status::Args),
    Watch(watch::Args),
    Wait(wait::Args),
    Logs(logs::Args),
    Why(why::Args),
    Cancel(cancel::Args),
    Retry(retry::Args),
    Route(route::Args),
    Clean(clean::Args),
    Fetch(fetch::Args),
    Shell(shell::Args),
    Forward(forward::Args),
    Check(check::Args),
    Schema(schema::Args),
    Simulate(simulate::Args),
    Demo(demo::Args),
    New(new::Args),
    Dag(dag::Args),
    Report(report::Args),
    Import(import::Args),
    Hosts(hosts::Args),
    Images(images::Args),
    Hook(hook::Args),
    Mcp(mcp::Args),
    Discover(discover::Args),
    Data(data::Args),
    Login(login::Args),
    Profile(profile::Args),
    Secret(secret::Args),
    Engine(engine::Args),
    Doctor(doctor::Args),
    Completions(completions::Args),
    Man(man::Args),
    #[command(hide = true)]
    ExitCodes(exit_codes::Args),
    #[command(hide = true)]
    Worker(worker::Args),
    #[command(hide = true)]
    Box(boxed::Args),
}

/// The command line of one command by itself. That of all commands takes clap a millisecond to lay out, which is much of the time
/// that such a command may take.
#[derive(Debug, Parser)]
#[command(disable_help_subcommand = true)]
struct Alone<A: clap::Args> {
    #[command(flatten)]
    globals: Globals,
    #[command(flatten)]
    args: A,
}

/// Parses the arguments of one command; none where they are another's, or where there is something to say: then they are parsed as
/// all are.
fn alone<A: clap::Args>(name: &str, args: &[OsString]) -> Option<Alone<A>> {
    let (_, rest) = args.split_first().filter(|(_, rest)| rest.first().is_some_and(|first| first == name))?;
    Alone::try_parse_from(rest).ok()
}

/// The groups of the overview: every command that is not hidden stands in one.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Run", &["submit", "run", "route", "retry", "cancel"]),
    ("Look", &["status", "watch", "runs", "show", "why", "logs", "wait", "report", "fetch", "shell", "forward"]),
    ("Write workflows", &["demo", "new", "check", "dag", "simulate", "import", "schema"]),
    ("Coding agents", &["hook", "mcp", "discover"]),
    (
        "Keep house",
        &["hosts", "images", "login", "data", "profile", "secret", "engine", "clean", "doctor", "completions", "man"],
    ),
];

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .usage(AnsiColor::Green.on_default().effects(Effects::BOLD))
    .literal(AnsiColor::Cyan.on_default().effects(Effects::BOLD))
    .placeholder(AnsiColor::Cyan.on_default());

/// Returns the whole command line, for parsing, completions and manual pages.
pub fn command() -> clap::Command {
    let command = Cli::command();
    let overview = overview(&command);
    command.after_help(overview)
}

/// Parses the arguments.
///
/// # Errors
/// [`Refused`] for a mistake in them, and for `--help` and `--version`, which are not mistakes.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<(Context, Command), Refused> {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(worker) = worker::Args::alone(&args) {
        return Ok((Context::new(&Globals::default()), Command::Worker(worker)));
    }
    if let Some(boxed) = boxed::Args::alone(&args) {
        return Ok((Context::new(&Globals::default()), Command::Box(boxed)));
    }
    if let Some(Alone { globals, args }) = alone("route", &args) {
        return Ok((Context::new(&globals), Command::Route(args)));
    }
    let json = args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json");
    let parsed = command()
        .color(color_wish(&args))
        .try_get_matches_from(&args)
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| refused(error, json))?;
    Ok((Context::new(&parsed.globals), parsed.command))
}

/// Arguments that did not lead to a command.
#[derive(Debug)]
pub enum Refused {
    /// Clap speaks: a mistake, or help, or the version.
    Clap(clap::Error, Exit),
    /// A mistake, for programs.
    Json(Failure),
}

impl Refused {
    /// Prints it and returns what to exit with.
    pub fn tell(self) -> Exit {
        match self {
            Self::Clap(error, exit) => {
                // Nobody is left to tell when this fails: a closed pipe.
                drop(error.print());
                exit
            }
            Self::Json(failure) => {
                let text = json!({"error": failure.to_json()}).to_string();
                drop(write_line(&mut io::stdout().lock(), &text));
                failure.exit()
            }
        }
    }
}

fn refused(error: clap::Error, json: bool) -> Refused {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if json && !asked {
        return Refused::Json(Failure::usage(first_lines(&error)).hint("`csync help` explains every command"));
    }
    Refused::Clap(error, if asked { Exit::Success } else { Exit::Usage })
}

/// Takes the message out of clap's report: what precedes usage and tips.
fn first_lines(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:") && !line.starts_with("tip:"));
    let message = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    message.strip_prefix("error: ").map_or(message.clone(), str::to_owned)
}

/// Finds out, before anything is parsed, whether clap's own messages may be colored.
fn color_wish(args: &[OsString]) -> clap::ColorChoice {
    let mut wish = clap::ColorChoice::Auto;
    for (index, arg) in args.iter().enumerate() {
        let Some(arg) = arg.to_str() else { continue };
        let value = if arg == "--color" {
            args.get(index + 1).and_then(|next| next.to_str())
        } else {
            arg.strip_prefix("--color=")
        };
        match value {
            Some("always") => wish = clap::ColorChoice::Always,
            Some("never") => wish = clap::ColorChoice::Never,
            _ => {}
        }
    }
    wish
}

/// Lists the commands in their groups.
fn overview(command: &clap::Command) -> String {
    let (header, literal) = (STYLES.get_header(), STYLES.get_literal());
    let mut text = String::new();
    for (title, names) in GROUPS {
        let _ = writeln!(text, "{header}{title}:{header:#}");
        for name in names {
            let about = command.find_subcommand(name).and_then(clap::Command::get_about);
            let about = about.map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(text, "  {literal}{name:12}{literal:#} {about}");
        }
        text.push('\n');
    }
    text.push_str("`csync help COMMAND` explains one; `csync help exit-codes` lists what it exits with.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn a_command_that_is_parsed_alone_is_read_as_among_all_of_them() {
        let lines = [
            "route ls",
            "route -c 4 --mem 8G -t 1h --input a -i b -- python3 -m x --json",
            "route --json -vv ls -l --json -q",
            "--json route ls",
            "route --quiet --color never --policy spread ls",
            "route --color=always --explain --all ls",
            "route -- --version",
            "route --version",
            "route -V x",
            "route help",
            "route help me",
            "route",
            "route --help",
            "route ls --help",
            "route -h",
            "route -qv ls",
            "route --for-agent --explain ls",
            "route --sandbox ls",
            "route --cpus 0 ls",
            "route --nosuch ls",
            "routes ls",
            "route --gpus 2 --image x --sandbox --internet --container ls",
            "status",
        ];
        for line in lines {
            let args: Vec<OsString> = std::iter::once("csync").chain(line.split(' ')).map(OsString::from).collect();
            let among = command().try_get_matches_from(&args).and_then(|matches| Cli::from_arg_matches(&matches));
            match (alone::<route::Args>("route", &args), among) {
                (Some(alone), Ok(among)) => {
                    let alone = (alone.globals, Command::Route(alone.args));
                    assert_eq!(format!("{alone:?}"), format!("{:?}", (among.globals, among.command)), "{line}");
                }
                (None, Ok(among)) => assert!(!line.starts_with("route "), "{line}: {among:?}"),
                (Some(alone), Err(_)) => panic!("{line} is refused among all and taken alone: {alone:?}"),
                (None, Err(_)) => {}
            }
        }
    }

    #[test]
    fn every_command_says_what_it_does() {
        for command in command().get_subcommands() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(about.starts_with(char::is_uppercase) && !about.ends_with('.'), "{}: {about}", command.get_name());
            assert!(!about.starts_with("Arguments of"), "{}", command.get_name());
        }
    }

    #[test]
    fn every_visible_command_stands_in_one_group() {
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let command = command();
        let mut visible: Vec<&str> =
            command.get_subcommands().filter(|sub| !sub.is_hide_set()).map(clap::Command::get_name).collect();
        grouped.sort_unstable();
        visible.sort_unstable();
        assert_eq!(grouped, visible);
    }
}
