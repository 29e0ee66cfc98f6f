//! The door: one file per command, what they share in `errors`, `view` and `context`; `args` lists them.
//!
//! A command is a struct of arguments, whose doc comments are its help, and a `run` that prints data on standard output and
//! everything else on standard error. What it shows of runs comes from the engine's API.

pub mod errors;

mod view;

pub mod context;

mod chart;
mod outfile;
mod picture;
mod target;

mod by;
mod hosts;

// Who follows a run may have to log in.
mod catalog;
mod login;

mod follow;
mod submission;

mod along;
mod boxes;

mod boxed;

mod command;
mod far;
mod hook;
mod nodes;
mod place;
mod record;
mod sandboxed;
mod script;

mod foreseen;

mod planned;

mod dry_run;

mod cancel;
mod check;
mod clean;
mod completions;
mod dag;
mod data;
mod demo;
mod discover;
mod engine;
mod exit_codes;
mod fetch;
mod forward;
mod images;
mod import;
mod logs;
mod man;
mod mcp;
mod new;
mod profile;
mod report;
mod retry;
mod route;
mod run;
mod runs;
mod schema;
mod secret;
mod shell;
mod show;
mod simulate;
mod status;
mod submit;
mod wait;
mod watch;
mod why;
mod worker;

mod doctor;

pub mod args;

use crate::cli::args::Command;
use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};

/// Answers a coding agent, where the arguments are those of its hook: before anything else is made ready. None: they are not.
pub fn answer_agent(args: &[std::ffi::OsString]) -> Option<Exit> {
    hook::fast::alone(args)
}

/// Runs a command.
///
/// # Errors
/// [`Failure`], which [`Context::tell`] shows.
pub fn run(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Submit(args) => submit::run(context, &args),
        Command::Run(args) => run::run(context, &args),
        Command::Runs(args) => runs::run(context, &args),
        Command::Show(args) => show::run(context, &args),
        Command::Status(args) => status::run(context, &args),
        Command::Watch(args) => watch::run(context, &args),
        Command::Wait(args) => wait::run(context, &args),
        Command::Logs(args) => logs::run(context, &args),
        Command::Why(args) => why::run(context, &args),
        Command::Cancel(args) => cancel::run(context, &args),
        Command::Retry(args) => retry::run(context, &args),
        Command::Route(args) => route::run(context, &args),
        Command::Clean(args) => clean::run(context, &args),
        Command::Fetch(args) => fetch::run(context, &args),
        Command::Shell(args) => shell::run(context, &args),
        Command::Forward(args) => forward::run(context, &args),
        Command::Check(args) => check::run(context, &args),
        Command::Schema(args) => schema::run(context, &args),
        Command::Simulate(args) => simulate::run(context, &args),
        Command::New(args) => new::run(context, &args),
        Command::Dag(args) => dag::run(context, &args),
        Command::Report(args) => report::run(context, &args),
        Command::Import(args) => import::run(context, &args),
        Command::Images(args) => images::run(context, &args),
        Command::Hosts(args) => hosts::run(context, &args, nodes::look).inspect(|_| {
            if args.may_change() {
                hook::after_change(context);
            }
        }),
        Command::Hook(args) => hook::run(context, &args),
        Command::Mcp(args) => mcp::run(context, &args),
        Command::Discover(args) => discover::run(context, &args),
        Command::Data(args) => data::run(context, &args),
        Command::Demo(args) => demo::run(context, &args),
        Command::Login(args) => login::run(context, &args),
        Command::Profile(args) => profile::run(context, &args).inspect(|_| {
            if args.may_change() {
                hook::after_change(context);
            }
        }),
        Command::Secret(args) => secret::run(context, &args),
        Command::Engine(args) => engine::run(context, &args),
        Command::Doctor(args) => doctor::run(context, &args),
        Command::Completions(args) => completions::run(context, &args, args::command()),
        Command::Man(args) => man::run(context, &args, args::command()),
        Command::ExitCodes(args) => exit_codes::run(context, &args),
        Command::Worker(args) => worker::run(context, &args),
        Command::Box(args) => boxed::run(context, &args),
    }
}
