//! Parse, run, turn an error into an exit code.

use std::process::ExitCode;

use csync::cli;

fn main() -> ExitCode {
    let (context, command) = match cli::args::parse(std::env::args_os()) {
        Ok(parsed) => parsed,
        Err(refused) => return refused.tell().code(),
    };
    match cli::run(&context, command) {
        Ok(exit) => exit.code(),
        Err(failure) => context.tell(&failure).code(),
    }
}
