//! The page: HTML that needs nothing from elsewhere. Every text of the run goes through [`escape`].

use std::fmt::Write as _;

use crate::cli::chart::{self, Bar, BoxRow, Layer, Unit, escape};
use crate::cli::report::critical::Step;
use crate::cli::report::facts::{Facts, Span, TaskFacts};
use crate::cli::view::words::{clock, duration, many, number, outcome, run_state};
use crate::model::api::{PlanInstance, RunPlan, Why};
use crate::model::job::State;
use crate::model::units::{Bytes, Timestamp};

const STYLE: &str = include_str!("style.css");

/// Attempts up to which each has a bar of its own.
const BARS: usize = 600;

/// Lanes up to which bars are drawn.
const LANES: usize = 48;

/// Tasks that have a row in charts and tables; the rest is summed.
const ROWS: usize = 40;

/// Tasks that have a color of their own.
const COLORS: usize = 8;

/// Parts of the time in the chart of cores.
const PARTS: usize = 240;

/// Steps of the critical path that are listed.
const STEPS: usize = 60;

/// What a page is made of.
pub(super) struct Page<'a> {
    /// The run.
    pub(super) plan: &'a RunPlan,
    /// What was computed of it.
    pub(super) facts: &'a Facts,
    /// The critical path.
    pub(super) path: &'a [Step],
    /// What is known of some that failed.
    pub(super) failures: &'a [Why],
    /// When the page is made.
    pub(super) now: Timestamp,
}

/// How the tasks are shown: the largest have rows, and the largest of these colors.
struct Rows {
    /// Positions of tasks, in the order of the file.
    shown: Vec<usize>,
    /// Per task its class.
    class: Vec<String>,
    /// Tasks without a row.
    hidden: usize,
}

impl Rows {
    fn new(facts: &Facts) -> Self {
        let mut by_wall: Vec<usize> = (0..facts.tasks.len()).collect();
        let wall = |task: usize| facts.tasks.get(task).map_or(0.0, |task| task.wall_s);
        by_wall.sort_by(|&a, &b| wall(b).total_cmp(&wall(a)));
        let mut shown: Vec<usize> = by_wall.iter().copied().take(ROWS).collect();
        let mut colored: Vec<usize> = by_wall.iter().copied().take(COLORS).collect();
        shown.sort_unstable();
        colored.sort_unstable();
        let mut class = vec!["rest".to_owned(); facts.tasks.len()];
        for (color, &task) in colored.iter().enumerate() {
            if let Some(class) = class.get_mut(task) {
                *class = format!("c{color}");
            }
        }
        Self { hidden: facts.tasks.len() - shown.len(), shown, class }
    }

    fn class(&self, task: usize) -> &str {
        self.class.get(task).map_or("rest", String::as_str)
    }
}

impl Page<'_> {
    /// Writes the page.
    pub(super) fn html(&self) -> String {
        let rows = Rows::new(self.facts);
        let title = format!("{} · run {}", self.plan.summary.name, self.plan.summary.run);
        let parts = [
            self.head(),
            self.cards(),
            self.failed(),
            self.timeline(&rows),
            self.critical(),
            self.tasks(&rows),
            self.distributions(&rows),
        ];
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
             <style>\n{STYLE}</style>\n</head>\n<body>\n{}<footer>Written by csync {} on {}.</footer>\n</body>\n</html>\n",
            escape(&title),
            parts.concat(),
            env!("CARGO_PKG_VERSION"),
            escape(&clock(self.now)),
        )
    }

    fn head(&self) -> String {
        let summary = &self.plan.summary;
        let state = run_state(summary.state);
        let file = summary.path.as_deref().map(|path| format!(" · <code>{}</code>", escape(path))).unwrap_or_default();
        let command = summary.command.as_deref().map(|command| format!("<p><code>{}</code></p>\n", escape(command)));
        format!(
            "<header>\n<h1>{}</h1>\n<p class=\"muted\"><span class=\"state {state}\">{state}</span> run {} · submitted {} · \
             <code>{}</code>{file}</p>\n{}</header>\n",
            escape(&summary.name),
            summary.run,
            escape(&clock(summary.submitted)),
            escape(&summary.root),
            command.unwrap_or_default(),
        )
    }

    fn cards(&self) -> String {
        let counts = self.plan.summary.counts;
        let (cpu, makespan) = (self.facts.sum(|task| task.cpu_s), self.facts.makespan);
        let available = makespan * f64::from(self.plan.cpus);
        let used = if available > 0.0 { format!("{:.0} %", cpu / available * 100.0) } else { "–".to_owned() };
        let peak = self.facts.tasks.iter().map(|task| task.peak_memory).max().unwrap_or(0);
        let lost = self.facts.sum(|task| task.lost_s);
        let mut others = vec![format!("of {}", many(counts.total(), "instance"))];
        for (count, word) in [(counts.cached, "up to date"), (counts.failed, "failed"), (counts.skipped, "skipped")] {
            if count > 0 {
                others.push(format!("{} {word}", number(count)));
            }
        }
        let mut cards = vec![
            (duration(makespan), "from first start to last end".to_owned()),
            (number(counts.done), format!("done, {}", others.join(", "))),
            (duration(cpu), "CPU time".to_owned()),
            (used, format!("of {} busy", many(self.plan.cpus, "core"))),
            (Bytes(peak).to_string(), "largest peak of memory".to_owned()),
        ];
        if lost > 0.0 {
            cards.push((duration(lost), "spent in attempts that failed".to_owned()));
        }
        let card = |(value, words): (String, String)| {
            format!("<div class=\"card\"><b>{}</b><span>{}</span></div>\n", escape(&value), escape(&words))
        };
        format!("<div class=\"cards\">\n{}</div>\n", cards.into_iter().map(card).collect::<String>())
    }

    fn failed(&self) -> String {
        let all = self.plan.summary.counts.failed;
        if all == 0 {
            return String::new();
        }
        let mut html = format!("<h2>What failed</h2>\n<p class=\"note\">{}", many(all, "instance"));
        if (self.failures.len() as u32) < all {
            let _ = write!(html, ", the first {} of them here", self.failures.len());
        }
        let _ = writeln!(html, ". <code>csync show {} --state failed</code> lists them.</p>", self.plan.summary.run);
        for (index, why) in self.failures.iter().enumerate() {
            let view = &why.instance;
            let how = view.outcome.as_ref().map(outcome).unwrap_or_default();
            let attempts = many(view.attempts.len() as u32, "attempt");
            let open = if index < 3 { " open" } else { "" };
            let _ = writeln!(
                html,
                "<details{open}><summary><b>{}</b> <span class=\"bad\">{}</span> <span class=\"muted\">{attempts}</span>\
                 </summary>",
                escape(&view.label),
                escape(&how)
            );
            let _ = writeln!(html, "<pre>{}</pre>", escape(why.command.trim_end()));
            if why.log_tail.is_empty() {
                html.push_str("<p class=\"note\">It wrote nothing.</p>\n");
            } else {
                let _ = writeln!(
                    html,
                    "<p class=\"note\">Its last words:</p>\n<pre>{}</pre>",
                    escape(&why.log_tail.join("\n"))
                );
            }
            html.push_str("</details>\n");
        }
        html
    }

    fn bar(&self, rows: &Rows, span: &Span, on_path: &[bool]) -> Bar {
        let label = self.plan.instances.get(span.instance).map_or("", |instance| &instance.view.label);
        let attempt = if span.attempt > 1 { format!(", attempt {}", span.attempt) } else { String::new() };
        Bar {
            row: rows.shown.binary_search(&span.task).unwrap_or(usize::MAX),
            class: rows.class(span.task).to_owned(),
            start: span.start,
            end: span.end,
            label: label.to_owned(),
            title: format!(
                "{label}{attempt}: {} from {}{}",
                duration(span.end - span.start),
                duration(span.start),
                if span.failed { ", failed" } else { "" }
            ),
            failed: span.failed,
            marked: on_path.get(span.instance).copied().unwrap_or(false),
        }
    }

    fn timeline(&self, rows: &Rows) -> String {
        if self.facts.spans.is_empty() {
            return "<h2>Timeline</h2>\n<p class=\"note\">Nothing ran: all was up to date, or nothing has started.</p>\n"
                .to_owned();
        }
        let mut on_path = vec![false; self.plan.instances.len()];
        for step in self.path {
            if let Some(slot) = on_path.get_mut(step.instance) {
                *slot = true;
            }
        }
        let bars: Vec<Bar> = self.facts.spans.iter().map(|span| self.bar(rows, span, &on_path)).collect();
        let seconds = self.facts.makespan;
        let (chart, note) = if bars.len() <= BARS && chart::lane_count(&bars) <= LANES {
            let note = "A bar is an attempt; outlined bars are the critical path, red ones failed.";
            (chart::lanes(&bars, seconds, "Attempts over time"), note)
        } else {
            let named = |&task: &usize| {
                let name = self.facts.tasks.get(task).map_or_else(String::new, |task| task.name.clone());
                (name, rows.class(task).to_owned())
            };
            let tasks: Vec<(String, String)> = rows.shown.iter().map(named).collect();
            let note = "A strip is a task, the darker the more of its instances ran at that time; below it the critical path \
                        is black and failed attempts are red.";
            (chart::strips(&bars, &tasks, seconds, "Tasks over time"), note)
        };
        format!(
            "<h2>Timeline</h2>\n<p class=\"note\">{note}</p>\n{}{chart}<h2>Cores</h2>\n\
             <p class=\"note\">Cores granted to running attempts; the dashed line is what there is.</p>\n{}",
            self.legend(rows),
            self.cores(rows),
        )
    }

    fn legend(&self, rows: &Rows) -> String {
        let mut html = "<div class=\"legend\">".to_owned();
        let mut rest = false;
        for (task, class) in self.facts.tasks.iter().zip(&rows.class) {
            if class == "rest" {
                rest = true;
            } else {
                let _ = write!(html, "<span><i class=\"{class}\"></i>{}</span>", escape(&task.name));
            }
        }
        if rest {
            html.push_str("<span><i class=\"rest\"></i>other tasks</span>");
        }
        html.push_str("</div>\n");
        html
    }

    fn cores(&self, rows: &Rows) -> String {
        let mut classes: Vec<String> = (0..COLORS).map(|color| format!("c{color}")).collect();
        classes.push("rest".to_owned());
        let layer = |class: String| {
            let spans = self.facts.spans.iter().filter(|span| rows.class(span.task) == class);
            let times = spans.map(|span| (span.start, span.end, f64::from(span.cpus)));
            Layer { values: chart::load(times, self.facts.makespan, PARTS), class }
        };
        let layers: Vec<Layer> = classes.into_iter().map(layer).collect();
        chart::area(&layers, self.facts.makespan, Some(f64::from(self.plan.cpus)), "Cores over time")
    }

    fn critical(&self) -> String {
        if self.path.is_empty() {
            return String::new();
        }
        let ran: f64 = self.path.iter().map(|step| step.end_s - step.start_s).sum();
        let waited: f64 = self.path.iter().map(|step| step.waited_s).sum();
        let mut html = format!(
            "<h2>Critical path</h2>\n<p class=\"note\">From the last end back to the start, always to what was waited for last: \
             {} ran for {} and waited for room for {}. {}</p>\n<div class=\"scroll\">\
             <table>\n<tr><th>Instance</th><th>Start</th><th>Waited for room</th><th>Ran</th><th>Part of the run</th></tr>\n",
            many(self.path.len() as u32, "instance"),
            duration(ran),
            duration(waited),
            if waited > ran {
                "Room was what it waited for most: with more cores the run would be shorter."
            } else {
                "Making these faster makes the run shorter."
            },
        );
        for step in self.path.iter().take(STEPS) {
            let length = step.end_s - step.start_s;
            let part = if self.facts.makespan > 0.0 { length / self.facts.makespan } else { 0.0 };
            let _ = writeln!(
                html,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(&step.label),
                duration(step.start_s),
                if step.waited_s >= 0.0005 { duration(step.waited_s) } else { "–".to_owned() },
                duration(length),
                meter(part, false),
            );
        }
        html.push_str("</table></div>\n");
        if self.path.len() > STEPS {
            let _ = writeln!(
                html,
                "<p class=\"note\">... and {} further steps.</p>",
                number((self.path.len() - STEPS) as u32)
            );
        }
        html
    }

    fn tasks(&self, rows: &Rows) -> String {
        let mut html =
            "<h2>Tasks</h2>\n<div class=\"scroll\"><table>\n<tr><th>Task</th><th>Instances</th><th>Attempts</th>\
                        <th>Run time</th><th>CPU time</th><th>CPU of granted cores</th><th>Peak memory</th>\
                        <th>Of granted memory</th></tr>\n"
                .to_owned();
        for task in rows.shown.iter().filter_map(|&task| self.facts.tasks.get(task)) {
            html.push_str(&task_row(task));
        }
        html.push_str("</table></div>\n");
        if rows.hidden > 0 {
            let hidden = many(rows.hidden as u32, "task");
            let _ = writeln!(html, "<p class=\"note\">... and {hidden} that ran for less.</p>");
        }
        html
    }

    fn distributions(&self, rows: &Rows) -> String {
        let of = |values: fn(&TaskFacts) -> &Vec<f64>| -> Vec<BoxRow> {
            let tasks = rows.shown.iter().filter_map(|&task| Some((task, self.facts.tasks.get(task)?)));
            tasks.map(|(index, task)| BoxRow::new(&task.name, rows.class(index), values(task).clone())).collect()
        };
        let (walls, peaks) = (of(|task| &task.walls), of(|task| &task.peaks));
        if walls.iter().all(|row| row.values.is_empty()) {
            return String::new();
        }
        format!(
            "<h2>Run times</h2>\n<p class=\"note\">Attempts that succeeded: the middle half in the box, 90 % between the \
             whiskers, the median at the right.</p>\n{}<h2>Peaks of memory</h2>\n{}",
            chart::boxes(&walls, Unit::Seconds, "Distribution of run times by task"),
            chart::boxes(&peaks, Unit::Bytes, "Distribution of peaks of memory by task"),
        )
    }
}

fn task_row(task: &TaskFacts) -> String {
    let failed = if task.failed > 0 {
        format!(" <span class=\"bad\">{} failed</span>", number(task.failed))
    } else {
        String::new()
    };
    let efficiency = task.cpu_efficiency().map_or_else(|| "–".to_owned(), |part| meter(part, false));
    let memory = task
        .granted_memory
        .map_or_else(|| "–".to_owned(), |granted| meter(task.peak_memory as f64 / granted.max(1) as f64, true));
    let peak = if task.peak_memory > 0 { Bytes(task.peak_memory).to_string() } else { "–".to_owned() };
    format!(
        "<tr><td>{}{failed}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{efficiency}</td><td>{peak}</td>\
         <td>{memory}</td></tr>\n",
        escape(&task.name),
        number(task.instances),
        number(task.attempts),
        if task.attempts > 0 { duration(task.wall_s) } else { "–".to_owned() },
        if task.attempts > 0 { duration(task.cpu_s) } else { "–".to_owned() },
    )
}

/// A part of a whole as a bar and in words; one that comes near the whole may be marked.
fn meter(part: f64, mark: bool) -> String {
    let percent = part * 100.0;
    let class = if mark && percent >= 95.0 { " class=\"over\"" } else { "" };
    format!(
        "<span class=\"meter\"><i{class} style=\"width:{:.0}%\"></i></span>{percent:.0} %",
        percent.clamp(0.0, 100.0)
    )
}

/// Returns the instances that failed, the first to fail first.
pub(super) fn failed<'a>(plan: &'a RunPlan) -> Vec<&'a PlanInstance> {
    let mut failed: Vec<&'a PlanInstance> =
        plan.instances.iter().filter(|instance| instance.view.state == State::Failed).collect();
    failed.sort_by_key(|instance| instance.view.attempts.last().and_then(|attempt| attempt.ended));
    failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::{critical, fixtures};

    fn html(plan: &RunPlan, failures: &[Why]) -> String {
        let facts = Facts::new(plan, fixtures::at(1000.0));
        let path = critical::path(plan, &facts);
        Page { plan, facts: &facts, path: &path, failures, now: fixtures::at(1000.0) }.html()
    }

    fn why(plan: &RunPlan) -> Why {
        Why {
            instance: failed(plan)[0].view.clone(),
            reasons: vec![],
            command: "align <(zcat 'x') && echo \"</pre>\"".to_owned(),
            log_tail: vec!["<img src=x onerror=alert(1)>".to_owned(), "\u{1b}[31mred\u{1b}[0m".to_owned()],
            advice: vec![],
        }
    }

    #[test]
    fn no_text_of_the_run_becomes_markup() {
        let plan = fixtures::plan();
        let page = html(&plan, &[why(&plan)]);
        for markup in ["<script", "<img", "</title></title>", "\"</pre>\"", "\u{1b}"] {
            assert!(!page.contains(markup), "{markup}");
        }
        for words in ["variants &amp; more", "align[&lt;script&gt;alert(1)&lt;/script&gt;]", "&lt;img src=x"] {
            assert!(page.contains(words), "{words}");
        }
    }

    #[test]
    fn nothing_is_fetched_from_elsewhere() {
        let plan = fixtures::plan();
        let page = html(&plan, &[]).replace("http://www.w3.org/2000/svg", "");
        for word in ["http:", "https:", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(word), "{word}");
        }
    }

    #[test]
    fn every_part_is_there() {
        let plan = fixtures::plan();
        let page = html(&plan, &[why(&plan)]);
        for heading in ["What failed", "Timeline", "Cores", "Critical path", "Tasks", "Run times", "Peaks of memory"] {
            assert!(page.contains(&format!("<h2>{heading}</h2>")), "{heading}");
        }
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        assert!(page.contains("3 instances ran for 45s and waited for room for 5.0s"), "{page}");
    }

    #[test]
    fn ten_thousand_instances_stay_small() {
        let plan = fixtures::large(2_500);
        let page = html(&plan, &[]);
        assert!(page.len() < 250_000, "{}", page.len());
        assert!(page.contains("Tasks over time"), "strips");
        assert!(!page.contains("NaN"));
    }

    #[test]
    fn a_run_in_which_nothing_ran_has_a_page() {
        let mut plan = fixtures::plan();
        for instance in &mut plan.instances {
            instance.view.attempts.clear();
        }
        let page = html(&plan, &[]);
        assert!(page.contains("Nothing ran") && !page.contains("NaN"));
    }
}
