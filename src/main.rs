//! Parse, run, turn an error into an exit code.

use std::process::ExitCode;

use csync::cli;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if let Some(exit) = cli::answer_agent(&args) {
        return exit.code();
    }
    let (context, command) = match cli::args::parse(args) {
        Ok(parsed) => parsed,
        Err(refused) => return refused.tell().code(),
    };
    match cli::run(&context, command) {
        Ok(exit) => exit.code(),
        Err(failure) => context.tell(&failure).code(),
    }
}
