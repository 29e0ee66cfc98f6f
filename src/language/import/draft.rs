//! What an importer found, and its printing as `workflow.toml`: every value quoted, every brace that would be read as a
//! placeholder escaped.

use std::fmt::Write as _;

use crate::language::import::escape::{Reader, escape};
use crate::model::units::{Bytes, Walltime};

/// A workflow to be printed.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    /// Its name.
    pub(super) name: String,
    /// Comment lines at the top, without `#`.
    pub(super) head: Vec<String>,
    /// One sentence for people.
    pub(super) description: Option<String>,
    /// Its tasks.
    pub(super) tasks: Vec<DraftTask>,
}

/// A task to be printed. Texts are literal: escaping is done here, except in [`Text::Template`].
#[derive(Clone, Debug, Default)]
pub(super) struct DraftTask {
    /// Its name, from [`task_name`].
    pub(super) name: String,
    /// Comment lines above its keys, without `#`.
    pub(super) comments: Vec<String>,
    /// Tasks that come first.
    pub(super) needs: Vec<String>,
    /// Its rows.
    pub(super) foreach: Foreach,
    /// Most instances at once.
    pub(super) max_parallel: Option<u32>,
    /// Paths read.
    pub(super) inputs: Vec<String>,
    /// Paths made.
    pub(super) outputs: Vec<String>,
    /// Paths read, with placeholders.
    pub(super) input_templates: Vec<String>,
    /// Paths made, with placeholders.
    pub(super) output_templates: Vec<String>,
    /// What runs.
    pub(super) run: Run,
    /// Shell lines before it.
    pub(super) setup: Vec<String>,
    /// Resources.
    pub(super) resources: Resources,
    /// Working directory.
    pub(super) workdir: Option<String>,
    /// Standard input.
    pub(super) stdin: Option<String>,
    /// Signal name and seconds before the end.
    pub(super) checkpoint: Option<(String, u64)>,
    /// `account`, `partition`, `qos`, `constraint`.
    pub(super) batch: Vec<(&'static str, String)>,
    /// Environment.
    pub(super) env: Vec<(String, Text)>,
    /// Flags that only the batch system understands.
    pub(super) raw: Option<Raw>,
    /// Where it runs.
    pub(super) on: Vec<String>,
    /// Attempts after the first.
    pub(super) retries: Option<u32>,
    /// Whether it runs however often it ran before.
    pub(super) always: bool,
}

/// Flags under `[tasks.X.slurm]` and its like.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    /// `slurm`, `pbs` or `sge`.
    pub(super) table: &'static str,
    /// Flag without dashes, and its value; none for a flag that takes none.
    pub(super) flags: Vec<(String, Option<String>)>,
}

/// What makes the instances of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Foreach {
    /// One instance.
    #[default]
    Once,
    /// These numbers.
    Numbers(Vec<u64>),
    /// These texts.
    Texts(Vec<String>),
    /// Rows with named columns, the first of which names the instance.
    Rows {
        /// Names of the columns.
        columns: Vec<String>,
        /// A cell per column.
        rows: Vec<Vec<String>>,
    },
}

/// A value that may hold placeholders of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// Someone else's text: braces are escaped.
    Literal(String),
    /// Our text: placeholders are meant.
    Template(String),
}

impl Text {
    fn template(&self, reader: Reader) -> String {
        match self {
            Self::Literal(text) => escape(text, reader),
            Self::Template(text) => text.clone(),
        }
    }
}

/// What runs.
#[derive(Clone, Debug)]
pub(super) enum Run {
    /// A bash script.
    Script(Text),
    /// An argument list.
    Argv(Vec<Text>),
}

impl Default for Run {
    fn default() -> Self {
        Self::Script(Text::Literal(String::new()))
    }
}

/// Resources as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resources {
    /// Cores per process.
    pub(super) cpus: Option<u32>,
    /// Ranks.
    pub(super) processes: Option<u32>,
    /// Nodes.
    pub(super) nodes: Option<u32>,
    /// Memory of the whole instance.
    pub(super) mem: Option<Bytes>,
    /// Walltime.
    pub(super) time: Option<Walltime>,
    /// GPUs of the whole instance.
    pub(super) gpus: Option<u32>,
    /// Scratch space.
    pub(super) disk: Option<Bytes>,
}

impl Draft {
    /// Prints the workflow.
    pub(super) fn print(&self) -> String {
        let mut out = String::new();
        for line in &self.head {
            comment(&mut out, line);
        }
        key(&mut out, "name", &quoted(&workflow_name(&self.name)));
        key(&mut out, "schema", "1");
        if let Some(description) = &self.description {
            key(&mut out, "description", &quoted(description));
        }
        for task in &self.tasks {
            task.print(&mut out);
        }
        out
    }
}

impl DraftTask {
    fn print(&self, out: &mut String) {
        let name = bare_or_quoted(&self.name);
        put(out, format_args!("\n[tasks.{name}]\n"));
        for line in &self.comments {
            comment(out, line);
        }
        if !self.needs.is_empty() {
            key(out, "needs", &array(self.needs.iter().map(|need| quoted(need))));
        }
        self.foreach.print(out);
        if let Some(limit) = self.max_parallel {
            key(out, "max_parallel", &limit.to_string());
        }
        for (name, paths, templates) in
            [("inputs", &self.inputs, &self.input_templates), ("outputs", &self.outputs, &self.output_templates)]
        {
            let paths = paths.iter().map(|path| quoted(&escape(path, Reader::Plain)));
            let all: Vec<String> = paths.chain(templates.iter().map(|template| quoted(template))).collect();
            if !all.is_empty() {
                key(out, name, &array(all.into_iter()));
            }
        }
        for (name, path) in [("workdir", &self.workdir), ("stdin", &self.stdin)] {
            if let Some(path) = path {
                key(out, name, &quoted(&escape(path, Reader::Plain)));
            }
        }
        if !self.setup.is_empty() {
            key(out, "setup", &array(self.setup.iter().map(|line| quoted(line))));
        }
        match &self.run {
            Run::Script(text) => key(out, "run", &block(&text.template(Reader::Shell))),
            Run::Argv(args) => key(out, "run", &array(args.iter().map(|arg| block(&arg.template(Reader::Plain))))),
        }
        self.resources.print(out);
        if !self.on.is_empty() {
            key(out, "on", &array(self.on.iter().map(|place| quoted(&escape(place, Reader::Plain)))));
        }
        if let Some(retries) = self.retries {
            key(out, "retries", &retries.to_string());
        }
        if self.always {
            key(out, "cache", "false");
        }
        for (name, value) in &self.batch {
            key(out, name, &quoted(&escape(value, Reader::Plain)));
        }
        if let Some((signal, before)) = &self.checkpoint {
            key(out, "checkpoint", &format!("{{ signal = {}, before = \"{}\" }}", quoted(signal), Walltime(*before)));
        }
        if !self.env.is_empty() {
            put(out, format_args!("\n[tasks.{name}.env]\n"));
            for (variable, value) in &self.env {
                key(out, &bare_or_quoted(variable), &quoted(&value.template(Reader::Plain)));
            }
        }
        if let Some(raw) = self.raw.as_ref().filter(|raw| !raw.flags.is_empty()) {
            put(out, format_args!("\n[tasks.{name}.{}]\n", raw.table));
            for (flag, value) in &raw.flags {
                key(
                    out,
                    &bare_or_quoted(flag),
                    &value.as_ref().map_or("true".to_owned(), |value| quoted(&escape(value, Reader::Plain))),
                );
            }
        }
    }
}

impl Foreach {
    /// Returns how many instances it makes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Once => 1,
            Self::Numbers(numbers) => numbers.len(),
            Self::Texts(texts) => texts.len(),
            Self::Rows { rows, .. } => rows.len(),
        }
    }

    fn print(&self, out: &mut String) {
        match self {
            Self::Once => {}
            Self::Numbers(numbers) => print_numbers(numbers, out),
            Self::Texts(texts) => {
                out.push_str("foreach = [");
                for text in texts {
                    out.push_str("\n    ");
                    quote_into(out, &escape(text, Reader::Plain));
                    out.push(',');
                }
                out.push_str("\n]\n");
            }
            Self::Rows { columns, rows } => {
                out.push_str("foreach = [");
                for row in rows {
                    out.push_str("\n    {");
                    for (index, (column, cell)) in columns.iter().zip(row).enumerate() {
                        put(out, format_args!("{} {column} = ", if index > 0 { "," } else { "" }));
                        quote_into(out, &escape(cell, Reader::Plain));
                    }
                    out.push_str(" },");
                }
                out.push_str("\n]\n");
            }
        }
    }
}

/// Prints numbers as a range where they are one, else many to a line.
fn print_numbers(numbers: &[u64], out: &mut String) {
    if let [first, second, .., last] = *numbers
        && second > first
        && numbers.windows(2).all(|pair| matches!(*pair, [a, b] if b.wrapping_sub(a) == second - first))
    {
        let step = if second - first == 1 { String::new() } else { format!(", {}", second - first) };
        return key(out, "foreach", &format!("{{ range = [{first}, {last}{step}] }}"));
    }
    out.push_str("foreach = [");
    let mut width = usize::MAX;
    for number in numbers {
        let text = format!(" {number},");
        if width.saturating_add(text.len()) > 100 {
            out.push_str("\n   ");
            width = 3;
        }
        width += text.len();
        out.push_str(&text);
    }
    out.push_str("\n]\n");
}

impl Resources {
    fn print(&self, out: &mut String) {
        let number = |name: &str, value: Option<u32>| value.map(|value| format!("{name} = {value}"));
        let text = |name: &str, value: Option<String>| value.map(|value| format!("{name} = \"{value}\""));
        let parts: Vec<String> = [
            number("cpus", self.cpus),
            number("processes", self.processes),
            number("nodes", self.nodes),
            text("mem", self.mem.map(Bytes::exactly)),
            text("time", self.time.map(|time| time.to_string())),
            number("gpus", self.gpus),
            text("disk", self.disk.map(Bytes::exactly)),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !parts.is_empty() {
            key(out, "resources", &format!("{{ {} }}", parts.join(", ")));
        }
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ok = out.write_fmt(text);
}

fn key(out: &mut String, name: &str, value: &str) {
    put(out, format_args!("{name} = {value}\n"));
}

fn comment(out: &mut String, line: &str) {
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    put(out, format_args!("# {}\n", line.trim_end()));
}

/// Prints a short array on one line, a long one with an element per line.
fn array(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    let width: usize = items.iter().map(|item| item.len() + 2).sum();
    if width <= 100 && !items.iter().any(|item| item.contains('\n')) {
        format!("[{}]", items.join(", "))
    } else {
        format!("[\n    {},\n]", items.join(",\n    "))
    }
}

fn bare_or_quoted(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare { name.to_owned() } else { basic(name) }
}

/// Returns a string of one line: literal where that saves escapes.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    quote_into(&mut out, text);
    out
}

fn quote_into(out: &mut String, text: &str) {
    let literal = text.contains(['"', '\\']) && !text.contains(|c: char| c == '\'' || (c.is_control() && c != '\t'));
    if literal {
        out.push('\'');
        out.push_str(text);
        out.push('\'');
    } else {
        basic_into(out, text);
    }
}

fn basic(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    basic_into(&mut out, text);
    out
}

fn basic_into(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        escape_char(out, c);
    }
    out.push('"');
}

fn escape_char(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        '\r' => out.push_str("\\r"),
        c if c.is_control() => put(out, format_args!("\\u{:04X}", c as u32)),
        c => out.push(c),
    }
}

/// Returns a text as a block of several lines where it has several.
fn block(text: &str) -> String {
    if !text.contains('\n') {
        return quoted(text);
    }
    let plain = |c: char| !c.is_control() || c == '\n' || c == '\t';
    if text.chars().all(plain) && !text.contains("'''") && !text.ends_with('\'') {
        return format!("'''\n{text}'''");
    }
    let mut out = "\"\"\"\n".to_owned();
    for c in text.chars() {
        if c == '\n' { out.push(c) } else { escape_char(&mut out, c) }
    }
    out.push_str("\"\"\"");
    out
}

/// Makes a task's name out of any text: a letter or `_` first, then letters, digits, `_` and `-`.
pub(super) fn task_name(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = text.trim().chars().map(plain).take(120).collect();
    let name = name.trim_matches(['_', '-']);
    match name.chars().next() {
        Some(first) if first.is_ascii_alphabetic() => name.to_owned(),
        Some(_) => format!("_{name}"),
        None => "task".to_owned(),
    }
}

/// Makes a workflow's name out of any text: letters, digits, `_`, `-`, `.` and blanks.
pub(super) fn workflow_name(text: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '.' | ' ') { c } else { '_' };
    let name: String = text.trim().chars().map(plain).take(50).collect();
    if name.trim().is_empty() { "imported".to_owned() } else { name.trim().to_owned() }
}
