//! What every command is given: the global options, and how to print.

use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::{ArgAction, ValueEnum};
use serde::Serialize;
use serde_json::json;

use crate::cli::errors::{Exit, Failure};
use crate::cli::view;
use crate::reach::client::{Client, Launch};
use crate::reach::config::StateDir;
use crate::serve::host::held_elsewhere;

/// Options that every command takes.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Print exactly one JSON value on standard output; errors as {"error": ...}
    #[arg(long, global = true)]
    pub json: bool,
    /// Color the output: auto, always or never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        hide_default_value = true
    )]
    pub color: ColorWhen,
    /// Say less: results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

/// When to color.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The global options, resolved.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct Context {
    json: bool,
    quiet: bool,
    verbose: u8,
    /// Colors on standard output.
    color_out: bool,
    /// Colors on standard error.
    color_err: bool,
}

impl Context {
    /// Resolves the global options.
    pub fn new(globals: &Globals) -> Self {
        let wish = |terminal: bool| match globals.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => {
                terminal && !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
            }
        };
        Self {
            json: globals.json,
            quiet: globals.quiet,
            verbose: globals.verbose,
            color_out: wish(io::stdout().is_terminal()) && !globals.json,
            color_err: wish(io::stderr().is_terminal()),
        }
    }

    /// Returns whether `--json` was given: then exactly one value is printed.
    pub fn json(&self) -> bool {
        self.json
    }

    /// Returns whether `--quiet` was given.
    pub fn quiet(&self) -> bool {
        self.quiet
    }

    /// Returns how often `--verbose` was given.
    pub fn verbose(&self) -> u8 {
        self.verbose
    }

    /// Returns how text for standard output is painted.
    pub(super) fn paint(&self) -> view::Paint {
        view::Paint::new(self.color_out)
    }

    /// Returns how text for standard error is painted.
    pub(super) fn paint_err(&self) -> view::Paint {
        view::Paint::new(self.color_err)
    }

    /// Returns the state directory.
    ///
    /// # Errors
    /// When no home directory is known.
    pub fn state_dir(&self) -> Result<StateDir, Failure> {
        Ok(StateDir::locate(|name| std::env::var_os(name))?)
    }

    /// Returns whether a person watches standard error on a terminal that can be drawn on.
    pub fn is_watched(&self) -> bool {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        !self.json && !self.quiet && !dumb && io::stderr().is_terminal()
    }

    /// Finds the running engine, whatever its version; none when there is none. Starts nothing.
    ///
    /// # Errors
    /// When there is one that cannot be reached, as one of another machine that shares the state directory.
    pub async fn find(&self) -> Result<Option<Client>, Failure> {
        let state = self.state_dir()?;
        let found = Client::find(&state).await?;
        match held_elsewhere(&state).filter(|_| found.is_none()) {
            Some(held) => Err(held.into()),
            None => Ok(found),
        }
    }

    /// Finds the running engine, or starts one.
    ///
    /// # Errors
    /// When it is of another version and busy, or does not start.
    pub async fn reach(&self) -> Result<Client, Failure> {
        Ok(Client::reach(&self.state_dir()?, &Self::launch()).await?)
    }

    /// Returns how this program is started as the engine.
    pub fn launch() -> Launch {
        // After an upgrade the path that we were started from may hold another version, or nothing; this is always us.
        let program = PathBuf::from("/proc/self/exe");
        let program = if program.exists() { program } else { std::env::current_exe().unwrap_or(program) };
        Launch { program, args: vec!["engine".into(), "serve".into()] }
    }

    /// Prints text on standard output, with a final newline when it has none.
    ///
    /// # Errors
    /// [`Failure::ClosedPipe`] when nobody reads any more.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        write_line(&mut io::stdout().lock(), text)
    }

    /// Prints the one JSON value of a command.
    ///
    /// # Errors
    /// [`Failure::ClosedPipe`] when nobody reads any more.
    pub fn print_json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let mut out = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
        serde_json::to_writer_pretty(&mut out, value)
            .map_err(io::Error::from)
            .and_then(|()| out.write_all(b"\n"))
            .and_then(|()| out.flush())
            .map_err(|error| Failure::output(&error))
    }

    /// Prints a message for people on standard error, unless `--quiet` or `--json` was given.
    pub fn say(&self, text: &str) {
        if !self.quiet && !self.json {
            self.warn(text);
        }
    }

    /// Prints a message for people on standard error whatever was given.
    pub fn warn(&self, text: &str) {
        // Nobody is left to tell when standard error is closed.
        drop(write_line(&mut io::stderr().lock(), text));
    }

    /// Shows a failure and returns what to exit with.
    pub fn tell(&self, failure: &Failure) -> Exit {
        match failure {
            Failure::ClosedPipe => {}
            Failure::Told(_) if self.json => {
                // Nobody is left to tell when that fails: a closed pipe.
                drop(self.print_json(&json!({"error": failure.to_json()})));
            }
            Failure::Told(told) => self.warn(&view::failure(told, self.paint_err())),
        }
        failure.exit()
    }

    /// Runs a future to its end on a runtime of one thread, made for it: commands that need none start none.
    ///
    /// # Errors
    /// Those of the future, and the system's refusal to make a runtime.
    pub fn block_on<T>(&self, future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        Self::run_on(tokio::runtime::Builder::new_current_thread().enable_all(), future)
    }

    /// Runs a future that asks the store alone, which needs no event queue: a tenth of a millisecond less.
    ///
    /// # Errors
    /// Those of the future, and the system's refusal to make a runtime.
    pub fn block_on_store<T>(&self, future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        Self::run_on(tokio::runtime::Builder::new_current_thread().enable_time(), future)
    }

    fn run_on<T>(
        builder: &mut tokio::runtime::Builder,
        future: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let runtime =
            builder.build().map_err(|error| Failure::internal("the system gives no event queue").because(&error))?;
        let result = runtime.block_on(future);
        // A thread that still reads standard input must not keep the process.
        runtime.shutdown_background();
        result
    }
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// Writes text with a final newline, in one call.
pub(super) fn write_line(out: &mut impl Write, text: &str) -> Result<(), Failure> {
    let newline = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
    out.write_all(format!("{text}{newline}").as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::output(&error))
}
