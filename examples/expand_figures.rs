//! Prints what it costs to read, check and expand a workflow of a given size: CPU seconds and peak memory of the process.
//!
//! ```text
//! cargo run --release --example expand_figures -- foreach 1000000
//! cargo run --release --example expand_figures -- tasks 100000
//! cargo run --release --example expand_figures -- file workflow.toml
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::expect_used, reason = "it is a program")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;

use csync::language::manifest::{Facts, Limits, expand, read, wants};
use rustix::time::{ClockId, clock_gettime};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (text, facts) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["foreach", count] => foreach(count.parse().expect("a number of rows")),
        ["tasks", count] => (tasks(count.parse().expect("a number of tasks")), Facts::default()),
        ["file", path] => (std::fs::read_to_string(path).expect("the file can be read"), Facts::default()),
        _ => {
            eprintln!("usage: expand_figures foreach N | tasks N | file PATH");
            return ExitCode::from(2);
        }
    };
    println!("{:>9.1} MB of TOML, {:.1} MB of tables", mb(text.len()), mb(tables(&facts)));
    figures("start");
    let (workflow, mut mistakes) = read(&text);
    figures("read");
    let params = BTreeMap::new();
    let wanted = wants(&workflow, "/work", &params, &facts);
    figures("wants");
    match expand(&workflow, "/work", &params, &facts, Limits::default()) {
        Ok(expanded) => {
            figures("expand");
            let plan = &expanded.plan;
            println!(
                "{} tasks, {} instances, {} paths, {} edges",
                plan.tasks.len(),
                plan.instances.len(),
                plan.paths.len(),
                plan.dependents.len()
            );
        }
        Err(more) => mistakes.extend(more),
    }
    mistakes.extend(wanted.err().unwrap_or_default());
    for mistake in &mistakes {
        println!("{}", mistake.message);
    }
    ExitCode::SUCCESS
}

/// One task over the rows of a table, and one after it for each.
fn foreach(count: usize) -> (String, Facts) {
    let text = r#"
name = "figures"
[tasks.map]
foreach = { csv = "samples.csv" }
inputs = ["reads/{item.sample}.fastq"]
outputs = ["mapped/{item.sample}.bam"]
run = "map {inputs} > {outputs}"
"#;
    let mut table = String::from("sample,lane\n");
    for row in 0..count {
        let _always = writeln!(table, "sample_{row},{}", row % 8);
    }
    let files = BTreeMap::from([("samples.csv".to_owned(), Ok(table))]);
    (text.to_owned(), Facts { files, ..Facts::default() })
}

/// Ten layers of tasks, each written out, each reading two files of the layer before.
fn tasks(count: usize) -> String {
    let width = (count / 10).max(1);
    let mut text = String::from("name = \"figures\"\n");
    for layer in 0..10 {
        for column in 0..width {
            let other = (column * 7 + 3) % width;
            let inputs = match layer {
                0 => "inputs = []".to_owned(),
                _ => format!("inputs = [\"out/{}_{column}.txt\", \"out/{}_{other}.txt\"]", layer - 1, layer - 1),
            };
            let _always = writeln!(
                text,
                "[tasks.t_{layer}_{column}]\n{inputs}\noutputs = [\"out/{layer}_{column}.txt\"]\nrun = \"touch out/{layer}_{column}.txt\"\n"
            );
        }
    }
    text
}

fn tables(facts: &Facts) -> usize {
    facts.files.values().flatten().map(String::len).sum()
}

fn mb(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

fn figures(step: &str) {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    let status = std::fs::read_to_string("/proc/self/status").expect("memory can be read off /proc");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok());
        kib.expect("/proc names the memory") / 1024.0
    };
    let seconds = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
    println!("{step:>9}: {seconds:>6.2} CPU s, {:>6.1} MB, {:>6.1} MB at most", field("VmRSS:"), field("VmHWM:"));
}
