//! The rows of a task: elements of `foreach` times combinations of `matrix`.

use std::collections::{HashMap, HashSet};

use crate::language::document::Mistakes;
use crate::language::manifest::Facts;
use crate::language::manifest::draft::{Combination, Foreach, Sweep, Values as Listed, Workflow};
use crate::language::manifest::glob::is_pattern;
use crate::language::manifest::paths::{is_remote, normal};
use crate::language::manifest::template::Template;
use crate::language::manifest::values::Values;
use crate::model::diagnostic::{Diagnostic, Span};
use crate::model::plan::Strings;

/// No value: the combination comes from an `include` that does not name the key.
const ABSENT: u32 = u32::MAX;

/// The rows of a task, not multiplied out.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Names of the columns: `item`, `item.sample`, `matrix.a`.
    pub(super) columns: Vec<String>,
    /// Elements of `foreach`, a row's cells one after the other; one row without cells when there is no `foreach`.
    items: Strings,
    item_width: usize,
    item_count: usize,
    /// Combinations: indexes into `values`, `matrix_width` each.
    combinations: Vec<u32>,
    matrix_width: usize,
    combination_count: usize,
    values: Strings,
    /// Whether the elements are paths found by a glob.
    pub(super) found: bool,
}

impl Rows {
    /// Returns the one row of a task without `foreach` and `matrix`.
    pub(super) fn single() -> Self {
        Self { item_count: 1, combination_count: 1, ..Self::default() }
    }

    /// Returns how many rows there are.
    pub(super) const fn len(&self) -> usize {
        self.item_count * self.combination_count
    }

    /// Iterates over the first cells of the elements of `foreach`.
    pub(super) fn items(&self) -> impl Iterator<Item = &str> {
        (0..self.item_count).map(|item| self.items.get((item * self.item_width) as u32))
    }

    /// Leaves out elements of `foreach`, by their first cell.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let mut items = Strings::default();
        let width = self.item_width.max(1);
        for item in 0..self.item_count {
            if keep(self.items.get((item * width) as u32)) {
                for cell in 0..width {
                    items.push(self.items.get((item * width + cell) as u32));
                }
            }
        }
        self.item_count = items.len() / width;
        self.items = items;
    }

    /// Appends the cells of a row.
    pub(super) fn push(&self, row: usize, cells: &mut Strings) {
        let (item, combination) = (row / self.combination_count, row % self.combination_count);
        for cell in 0..self.item_width {
            cells.push(self.items.get((item * self.item_width + cell) as u32));
        }
        let start = combination * self.matrix_width;
        for &value in self.combinations.get(start..start + self.matrix_width).unwrap_or_default() {
            cells.push(if value == ABSENT { "" } else { self.values.get(value) });
        }
    }
}

/// What the rows of every task are made from.
pub(super) struct Source<'a> {
    pub(super) workflow: &'a Workflow,
    pub(super) values: &'a Values,
    pub(super) facts: &'a Facts,
    pub(super) root: &'a str,
    /// Most instances of this task.
    pub(super) limit: u64,
    /// Most instances of the workflow.
    pub(super) whole: u64,
}

impl Source<'_> {
    fn text(&self, template: Template) -> String {
        self.values.constant(self.workflow, template)
    }

    /// Returns the pattern or file that a `foreach` needs looked at.
    pub(super) fn want(&self, foreach: &Foreach) -> Option<(String, bool)> {
        match foreach {
            Foreach::Glob(template) => Some((normal(&self.text(*template), self.root).into_owned(), true)),
            Foreach::Table(template, _) | Foreach::Lines(template) => {
                Some((normal(&self.text(*template), self.root).into_owned(), false))
            }
            Foreach::List(_) | Foreach::Rows(..) | Foreach::Range(_) => None,
        }
    }

    /// Makes the rows of a task; none after a mistake. `made` are paths that other tasks make.
    pub(super) fn rows(&self, task: &str, sweep: &Sweep, made: &[&str], mistakes: &mut Mistakes) -> Option<Rows> {
        let mut rows = Rows::single();
        if let Some(foreach) = &sweep.foreach {
            self.items(task, foreach, sweep.foreach_span, made, &mut rows, mistakes)?;
        }
        let room = self.limit / (rows.item_count as u64).max(1);
        if !sweep.matrix.is_empty() {
            self.matrix(task, sweep, room, &mut rows, mistakes)?;
        }
        if rows.len() as u64 > self.limit {
            too_many(task, rows.len() as u64, self.whole, sweep.foreach_span, mistakes);
            return None;
        }
        Some(rows)
    }

    fn items(
        &self,
        task: &str,
        foreach: &Foreach,
        span: Span,
        made: &[&str],
        rows: &mut Rows,
        mistakes: &mut Mistakes,
    ) -> Option<()> {
        rows.columns.push("item".to_owned());
        rows.item_width = 1;
        match foreach {
            Foreach::Glob(_) => self.found(task, foreach, span, made, rows, mistakes),
            Foreach::List(list) => {
                for template in list {
                    rows.items.push(&self.text(*template));
                }
            }
            Foreach::Range(steps) => {
                if steps.len() > self.limit {
                    too_many(task, steps.len(), self.whole, span, mistakes);
                    return None;
                }
                for number in steps.iter() {
                    rows.items.push(&number.to_string());
                }
            }
            Foreach::Rows(columns, cells) => {
                rows.columns.extend(columns.iter().map(|column| format!("item.{column}")));
                rows.item_width += columns.len();
                for row in cells.chunks(columns.len().max(1)) {
                    let texts: Vec<String> = row.iter().map(|cell| self.text(*cell)).collect();
                    rows.items.push(texts.first().map_or("", String::as_str));
                    for text in &texts {
                        rows.items.push(text);
                    }
                }
            }
            Foreach::Lines(_) => {
                let text = self.file(foreach, span, mistakes)?;
                for line in text.lines().filter(|line| !line.trim().is_empty()) {
                    rows.items.push(line);
                }
            }
            Foreach::Table(_, delimiter) => {
                let text = self.file(foreach, span, mistakes)?;
                table(text, *delimiter, span, rows, mistakes)?;
            }
        }
        rows.item_count = rows.items.len() / rows.item_width;
        if rows.item_count == 0 && !rows.found {
            let message = format!("task `{task}` has no instances: its `foreach` is empty");
            mistakes.push(Diagnostic::warning(span, message));
        }
        if (0..rows.items.len() as u32).any(|cell| rows.items.get(cell).contains('\0')) {
            mistakes.error(span, "an element with a zero byte");
            return None;
        }
        Some(())
    }

    /// Takes the paths that a glob matches: existing ones and those that other tasks make.
    fn found(
        &self,
        task: &str,
        foreach: &Foreach,
        span: Span,
        made: &[&str],
        rows: &mut Rows,
        mistakes: &mut Mistakes,
    ) {
        let Some((pattern, _)) = self.want(foreach) else { return };
        rows.found = true;
        let exist = self.facts.globs.get(&pattern).map(Vec::as_slice).unwrap_or_default();
        let mut all: Vec<&str> = exist.iter().map(String::as_str).chain(made.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        if is_remote(&pattern) {
            let message = format!("task `{task}` has no instances: `{pattern}` is no dataset");
            mistakes.push(Diagnostic::warning(span, message));
        } else if all.is_empty() {
            let message = format!("task `{task}` has no instances: `{pattern}` matches nothing");
            let help = if is_pattern(&pattern) {
                "globs start in the workflow's directory; for a list of values write `foreach = [...]`"
            } else {
                "a `foreach` in quotes is a glob; for a list of values write `foreach = [...]`"
            };
            mistakes.push(Diagnostic::warning(span, message).help(help));
        }
        for path in all {
            // A path that begins with `-` would be an option to most commands.
            if path.starts_with('-') {
                rows.items.push(&format!("./{path}"))
            } else {
                rows.items.push(path)
            };
        }
    }

    fn file(&self, foreach: &Foreach, span: Span, mistakes: &mut Mistakes) -> Option<&str> {
        let (path, _) = self.want(foreach)?;
        let why = match self.facts.files.get(&path) {
            Some(Ok(text)) => return Some(text.strip_prefix('\u{feff}').unwrap_or(text)),
            Some(Err(why)) => why.as_str(),
            None => "it was not read",
        };
        mistakes.push(Diagnostic::error(span, format!("`{path}` cannot be read: {why}")));
        None
    }

    fn matrix(&self, task: &str, sweep: &Sweep, room: u64, rows: &mut Rows, mistakes: &mut Mistakes) -> Option<()> {
        let keys = sweep.matrix_keys();
        rows.columns.extend(keys.iter().map(|key| format!("matrix.{key}")));
        rows.matrix_width = keys.len();
        let size = |values: &Listed| match values {
            Listed::List(list) => list.len() as u64,
            Listed::Range(steps) => steps.len(),
        };
        let total = sweep.matrix.iter().try_fold(1u64, |total, (_, values)| total.checked_mul(size(values)));
        if total.is_none_or(|total| total > room) {
            let sizes: Vec<String> = sweep.matrix.iter().map(|(_, values)| size(values).to_string()).collect();
            let items = if rows.item_count == 1 { String::new() } else { format!("{} elements x ", rows.item_count) };
            let total =
                total.map_or(String::new(), |total| format!(" = {}", u128::from(total) * rows.item_count as u128));
            let message = format!(
                "task `{task}` would have {items}{}{total} instances, the limit is {}",
                sizes.join(" x "),
                self.whole
            );
            mistakes
                .push(Diagnostic::error(sweep.matrix_span, message).help("leave out values, or split the workflow"));
            return None;
        }
        // Values of one key are numbered from its first, so that a number tells the key too.
        let mut numbers: Vec<Vec<u32>> = Vec::new();
        for (_, values) in &sweep.matrix {
            numbers.push(match values {
                Listed::List(list) => list.iter().map(|value| rows.values.push(&self.text(*value))).collect(),
                Listed::Range(steps) => steps.iter().map(|number| rows.values.push(&number.to_string())).collect(),
            });
        }
        let mut combinations = Combinations { width: keys.len(), own: sweep.matrix.len(), all: Vec::new() };
        combinations.product(&numbers);
        self.exclude(sweep, rows, &mut combinations);
        self.include(sweep, rows, &mut combinations);
        rows.combination_count = combinations.all.len() / keys.len().max(1);
        rows.combinations = combinations.all;
        if rows.combination_count == 0 {
            let message = format!("task `{task}` has no instances: `exclude` leaves nothing of its matrix");
            mistakes.push(Diagnostic::warning(sweep.matrix_span, message));
            rows.combination_count = 1;
            rows.item_count = 0;
        }
        Some(())
    }

    fn exclude(&self, sweep: &Sweep, rows: &Rows, combinations: &mut Combinations) {
        for (keys, wanted) in self.by_keys(&sweep.exclude) {
            let out: HashSet<&Vec<String>> = wanted.iter().map(|(texts, _)| texts).collect();
            combinations.retain(|row| !out.contains(&row_texts(row, &keys, &rows.values)));
        }
    }

    /// Adds values to the combinations that an element of `include` matches in the matrix's own keys, or a combination of its
    /// own when it matches none: as GitHub Actions do it.
    fn include(&self, sweep: &Sweep, rows: &mut Rows, combinations: &mut Combinations) {
        let own = sweep.matrix.len() as u32;
        let made = combinations.all.len();
        let mut index: HashMap<Vec<u32>, HashMap<Vec<String>, Vec<usize>>> = HashMap::new();
        for element in &sweep.include {
            let mut element: Vec<(u32, String)> =
                element.iter().map(|(key, value)| (*key, self.text(*value))).collect();
            element.sort_unstable();
            let (matched, added): (Vec<_>, Vec<_>) = element.iter().cloned().partition(|(key, _)| *key < own);
            let (keys, texts): (Vec<u32>, Vec<String>) = matched.into_iter().unzip();
            let by_texts = index.entry(keys.clone()).or_insert_with(|| {
                let mut by_texts: HashMap<Vec<String>, Vec<usize>> = HashMap::new();
                for start in (0..made).step_by(combinations.width.max(1)) {
                    let row = combinations.all.get(start..start + combinations.width).unwrap_or_default();
                    by_texts.entry(row_texts(row, &keys, &rows.values)).or_default().push(start);
                }
                by_texts
            });
            let own_start = combinations.all.len();
            let (starts, cells) = if let Some(starts) = by_texts.get(&texts) {
                (starts.as_slice(), &added)
            } else {
                combinations.all.resize(own_start + combinations.width, ABSENT);
                (std::slice::from_ref(&own_start), &element)
            };
            for (key, text) in cells {
                let value = rows.values.push(text);
                for start in starts {
                    combinations.set(*start, *key, value);
                }
            }
        }
    }

    /// Groups elements of `exclude` by the keys that they name.
    fn by_keys(&self, elements: &[Combination]) -> HashMap<Vec<u32>, Vec<(Vec<String>, usize)>> {
        let mut groups: HashMap<Vec<u32>, Vec<(Vec<String>, usize)>> = HashMap::new();
        for (index, element) in elements.iter().enumerate() {
            let mut element: Vec<(u32, String)> =
                element.iter().map(|(key, value)| (*key, self.text(*value))).collect();
            element.sort_unstable();
            let (keys, texts) = element.into_iter().unzip();
            groups.entry(keys).or_default().push((texts, index));
        }
        groups
    }
}

/// Combinations of matrix values, `width` numbers each; the first `own` belong to the matrix's own keys.
struct Combinations {
    width: usize,
    own: usize,
    all: Vec<u32>,
}

impl Combinations {
    /// Multiplies the keys out, the last one fastest.
    fn product(&mut self, numbers: &[Vec<u32>]) {
        let total: usize = numbers.iter().map(Vec::len).product();
        self.all.reserve_exact(total * self.width);
        for row in 0..total {
            let mut rest = total;
            for values in numbers.iter().take(self.own) {
                rest /= values.len();
                self.all.extend(values.get(row / rest % values.len()));
            }
            self.all.extend(std::iter::repeat_n(ABSENT, self.width - self.own));
        }
    }

    fn retain(&mut self, keep: impl Fn(&[u32]) -> bool) {
        let width = self.width.max(1);
        self.all = self.all.chunks(width).filter(|row| keep(row)).flatten().copied().collect();
    }

    fn set(&mut self, start: usize, key: u32, value: u32) {
        if let Some(cell) = self.all.get_mut(start + key as usize) {
            *cell = value;
        }
    }
}

fn row_texts(row: &[u32], keys: &[u32], values: &Strings) -> Vec<String> {
    let text = |&key: &u32| row.get(key as usize).map_or("", |&value| values.get(value));
    keys.iter().map(|key| text(key).to_owned()).collect()
}

fn too_many(task: &str, size: u64, limit: u64, span: Span, mistakes: &mut Mistakes) {
    let message = format!("task `{task}` would have {size} instances, the limit is {limit}");
    mistakes.push(Diagnostic::error(span, message).help("split the workflow"));
}

/// Reads rows with a header.
fn table(text: &str, delimiter: u8, span: Span, rows: &mut Rows, mistakes: &mut Mistakes) -> Option<()> {
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
    let header = match reader.headers() {
        Ok(header) => header.clone(),
        Err(error) => {
            mistakes.error(span, format!("the header cannot be read: {error}"));
            return None;
        }
    };
    // Headers of tables in biology often begin with `#`.
    let columns: Vec<String> = header.iter().map(|column| column.trim_start_matches('#').trim().to_owned()).collect();
    let mut seen = HashSet::new();
    if let Some(twice) = columns.iter().find(|column| !seen.insert(column.as_str())) {
        mistakes.error(span, format!("the column `{twice}` is there twice"));
        return None;
    }
    rows.columns.extend(columns.iter().map(|column| format!("item.{column}")));
    rows.item_width = 1 + columns.len();
    let mut record = csv::StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(false) => return Some(()),
            Ok(true) => {
                rows.items.push(record.get(0).unwrap_or_default());
                for field in &record {
                    rows.items.push(field);
                }
            }
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                let message = match error.kind() {
                    csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                        format!("line {line} of the table has {len} fields, the header has {expected_len}")
                    }
                    _ => format!("line {line} of the table cannot be read: {error}"),
                };
                mistakes.error(span, message);
                return None;
            }
        }
    }
}
