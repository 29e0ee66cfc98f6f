//! `csync new`: a workflow to start from.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure};
use crate::cli::outfile;
use crate::cli::view::Paint;
use crate::cli::view::words::shell_word;
use crate::language::manifest::{Starter, templates};
use crate::model::api::ErrorKind;

/// Write a workflow file to start from
///
/// Writes one of a few commented workflows; `csync new --list` says what each shows. A file that is there already is left
/// alone.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The workflow to start from
    #[arg(value_name = "TEMPLATE", default_value = "minimal")]
    template: String,
    /// Where to write it; `-` for standard output
    #[arg(short, long, value_name = "FILE", default_value = "workflow.toml")]
    output: PathBuf,
    /// List the templates and write nothing
    #[arg(short, long)]
    list: bool,
}

/// Runs it.
pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, Failure> {
    if args.list {
        return list(context);
    }
    let starter = templates().iter().find(|starter| starter.name == args.template).ok_or_else(|| {
        let names: Vec<String> = templates().iter().map(|starter| format!("`{}`", starter.name)).collect();
        Failure::new(ErrorKind::NotFound, format!("there is no template `{}`", args.template))
            .hint(format!("there are {}; `csync new --list` says what each shows", names.join(", ")))
    })?;
    let to_stdout = args.output.as_os_str() == "-";
    if !to_stdout {
        outfile::create(&args.output, starter.text, None)?;
    }
    if context.json() {
        context.print_json(&json!({ "template": starter.name, "output": args.output, "text": starter.text }))?;
    } else if to_stdout {
        context.print(starter.text)?;
    } else {
        let name = args.output.display().to_string();
        context.say(&format!("Wrote {name}"));
        let file = if name == "workflow.toml" { String::new() } else { format!(" {}", shell_word(&name)) };
        context.say(&format!("`csync check{file}` checks it, `csync submit{file}` runs it."));
    }
    Ok(Exit::Success)
}

fn list(context: &Context) -> Result<Exit, Failure> {
    if context.json() {
        let all = templates().iter().map(|starter| json!({ "template": starter.name, "about": starter.about }));
        context.print_json(&json!({ "templates": all.collect::<Vec<_>>() }))?;
    } else {
        context.print(&table(templates(), context.paint()))?;
        context.say("`csync new TEMPLATE` writes one to workflow.toml.");
    }
    Ok(Exit::Success)
}

fn table(starters: &[Starter], paint: Paint) -> String {
    let width = starters.iter().map(|starter| starter.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for starter in starters {
        let _ = writeln!(text, "{}  {}", paint.bold(format!("{:width$}", starter.name)), starter.about);
    }
    text
}
