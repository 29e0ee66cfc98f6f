//! Why an instance stands where it stands, and what a person can do about it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::decide::engine::protocol::Halt;
use crate::decide::engine::run::Run;
use crate::decide::engine::views::Wait;
use crate::decide::fresh::reason::Reason;
use crate::decide::fresh::select::UnknownNames;
use crate::language::batch::room::{UNWRITTEN, is_full, make_room};
use crate::language::manifest::render;
use crate::model::api::{ApiError, AttemptView, ErrorKind, InstanceView, Stream, Why};
use crate::model::id::{HostId, InstanceId, JobKey, RunId};
use crate::model::job::{Invocation, Outcome, State};
use crate::model::plan::Plan;
use crate::model::resources::{Amount, Grant, Hold, Request};
use crate::reach::config::StateDir;
use crate::reach::files::aside::aside;
use crate::reach::store::StoredAttempt;
use crate::serve::engine::care::Care;
use crate::serve::engine::logs::last_lines;
use crate::serve::engine::refusal::refuse;
use crate::serve::engine::sites::Sites;
use crate::serve::engine::views::{Seen, join};

/// Instances that one question is answered for.
const MOST_CASES: usize = 100;
/// Causes of the same kind that are named one by one.
const MOST_NAMED: usize = 5;
/// Lines of a log that are shown.
const MOST_LINES: usize = 20;

/// An instance with what the core knows of it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    seen: Seen,
    about: About,
}

#[derive(Clone, Debug)]
struct About {
    run: RunId,
    plan: Arc<Plan>,
    reason: Option<Reason>,
    /// What it waits for, or what kept it from running.
    causes: Vec<String>,
}

impl Case {
    pub(super) fn instance(&self) -> InstanceId {
        self.seen.view.instance
    }
}

/// Refuses names that a run does not have.
pub(super) fn unknown_names(run: &Run, error: &UnknownNames) -> ApiError {
    let names: Vec<_> = run.plan().tasks.iter().take(20).map(|task| task.name.as_str()).collect();
    ApiError {
        hint: Some(format!("tasks of run {}: {}", run.id(), names.join(", "))),
        ..refuse(ErrorKind::NotFound, error.to_string())
    }
}

/// Refuses a name that a run does not have.
pub(super) fn unknown(run: &Run, name: &str) -> ApiError {
    unknown_names(run, &UnknownNames(vec![name.to_owned()]))
}

/// Looks at the instances that a label names, the ones that need attention first.
pub(super) fn cases(run: &Run, care: &Care, sites: &Sites, label: &str) -> Result<Vec<Case>, ApiError> {
    let plan = run.plan();
    let mut instances = plan.find(label);
    if instances.is_empty() {
        return Err(unknown(run, label));
    }
    instances.sort_by_key(|&instance| (urgency(run.instance_state(instance)), instance));
    instances.truncate(MOST_CASES);
    instances.sort_unstable();
    let look = |instance: InstanceId| Case {
        seen: Seen::new(run, instance),
        about: About {
            run: run.id(),
            plan: Arc::clone(plan),
            reason: care.reasons.get(instance.index()).copied(),
            causes: causes(run, sites, instance),
        },
    };
    Ok(instances.into_iter().map(look).collect())
}

const fn urgency(state: Option<State>) -> u8 {
    match state {
        Some(State::Failed | State::Lost) => 0,
        Some(State::Running | State::Queued | State::Ready | State::Pending) => 1,
        Some(State::Skipped | State::Cancelled) => 2,
        Some(State::Done | State::Cached) | None => 3,
    }
}

fn causes(run: &Run, sites: &Sites, instance: InstanceId) -> Vec<String> {
    if let Some((host, stage)) = run.attempt(instance).and_then(|it| Some((it.host?, it.stage)))
        && host != HostId::LOCAL
    {
        let key = JobKey { run: run.id(), instance, attempt: run.attempts(instance) };
        return vec![sites.in_words(host, stage, key)];
    }
    match run.instance_state(instance) {
        Some(State::Skipped) if run.is_left(instance) => Vec::new(),
        Some(State::Skipped) => spoilers(run, instance),
        Some(State::Cancelled) if run.attempts(instance) == 0 => vec![
            match run.halt() {
                Halt::Stopped => {
                    "something failed before, and the run starts nothing more (`on_error`, `max_failures`)"
                }
                Halt::Cancelled => "the run was cancelled",
                Halt::Going => "it was cancelled before it started",
            }
            .to_owned(),
        ],
        Some(State::Ready) if let Some(words) = sites.closed_in_words(run.route(instance)) => vec![words],
        _ => some("for", run.waits(instance).into_iter().map(|wait| wait_in_words(run, wait))),
    }
}

/// Takes the first few and counts the rest.
fn some(word: &str, causes: impl ExactSizeIterator<Item = String>) -> Vec<String> {
    let more = causes.len().saturating_sub(MOST_NAMED);
    let mut named: Vec<_> = causes.take(MOST_NAMED).collect();
    if more > 0 {
        named.push(format!("and {word} {more} more"));
    }
    named
}

fn wait_in_words(run: &Run, wait: Wait) -> String {
    let plan = run.plan();
    match wait {
        Wait::Instance(other, state) => {
            format!("it waits for `{}`, which is {}", plan.label(other), state_in_words(state))
        }
        Wait::Task(task, left) => {
            let instances = if left == 1 { "1 instance is".to_owned() } else { format!("{left} instances are") };
            format!("it waits for task `{}`, of which {instances} not over", plan.task(task).name)
        }
        Wait::Check => "its files are being looked at".to_owned(),
        Wait::MaxParallel(most) => format!("`max_parallel = {most}` of its task are under way"),
        Wait::Delay(until) => format!("it is tried again at {until}"),
        Wait::Room => "it waits for free cores or memory".to_owned(),
    }
}

const fn state_in_words(state: State) -> &'static str {
    match state {
        State::Pending => "waiting itself",
        State::Ready | State::Queued => "about to start",
        State::Running => "running",
        State::Done => "done",
        State::Cached => "up to date",
        State::Failed => "failed",
        State::Cancelled => "cancelled",
        State::Skipped => "not run",
        State::Lost => "lost",
    }
}

/// Names what an instance depends on that did not succeed.
fn spoilers(run: &Run, instance: InstanceId) -> Vec<String> {
    let plan = run.plan();
    let bad = |state: Option<State>| matches!(state, Some(State::Failed | State::Cancelled | State::Skipped));
    let mut producers: Vec<_> = plan.inputs(instance).iter().filter_map(|&path| plan.producer(path)).collect();
    producers.sort_unstable();
    producers.dedup();
    let producers = producers.into_iter().filter(|&producer| bad(run.instance_state(producer)));
    let of_tasks = plan.task_of(instance).needs.iter().flat_map(|&task| plan.instances_of(task));
    let mut spoilers: Vec<_> = producers.chain(of_tasks.filter(|&needed| bad(run.instance_state(needed)))).collect();
    spoilers.sort_unstable();
    spoilers.dedup();
    // What failed by itself says more than what was not run because of it.
    spoilers.sort_by_key(|&spoiler| run.instance_state(spoiler) != Some(State::Failed));
    // Only those that are named are put into words: there may be a hundred thousand.
    some(
        "on",
        spoilers.into_iter().map(|spoiler| {
            let state = match run.instance_state(spoiler) {
                Some(State::Failed) => "failed",
                Some(State::Cancelled) => "was cancelled",
                _ => "was not run",
            };
            format!("it depends on `{}`, which {state}", plan.label(spoiler))
        }),
    )
}

/// Adds what the store and the logs know. Blocks.
pub(super) fn close(state: &StateDir, cases: Vec<Case>, attempts: &[StoredAttempt]) -> Vec<Why> {
    let (seen, about): (Vec<_>, Vec<_>) = cases.into_iter().map(|case| (case.seen, case.about)).unzip();
    join(seen, attempts).into_iter().zip(about).map(|(view, about)| close_one(state, view, about)).collect()
}

fn close_one(state: &StateDir, view: InstanceView, about: About) -> Why {
    let About { run, plan, reason, causes } = about;
    let last = view.attempts.last();
    let grant = last.map_or_else(|| first_grant(&plan, view.instance), |last| last.grant);
    let attempt = last.map_or(1, |last| last.attempt);
    let log = |last: &AttemptView| tail(state, JobKey { run, instance: view.instance, attempt: last.attempt });
    let log_tail = last.map_or_else(Vec::new, log);
    Why {
        reasons: reasons(&plan, &view, reason, causes),
        command: command(&plan, view.instance, &grant, attempt),
        advice: advice(run, &view, &log_tail, unfinished(&plan, view.instance).as_deref()),
        log_tail,
        instance: view,
    }
}

/// Guesses what an instance that was not tried yet will be granted.
fn first_grant(plan: &Plan, instance: InstanceId) -> Grant {
    fn least<T: Copy>(amount: Amount<T>) -> Option<T> {
        match amount {
            Amount::Auto => None,
            Amount::Exact(value) => Some(value),
            Amount::Range { min, max } => min.or(max),
        }
    }
    let default = Request::default();
    let request = plan.task_of(instance).resources.first().unwrap_or(&default);
    Grant {
        cpus: least(request.cpus).unwrap_or(1).saturating_mul(request.processes.unwrap_or(1)),
        mem: least(request.mem).unwrap_or_default(),
        hold: Hold::Nothing,
        time: least(request.time),
        gpus: request.gpus,
    }
}

fn command(plan: &Plan, instance: InstanceId, grant: &Grant, attempt: u32) -> String {
    match render(plan, instance, grant, attempt).invocation {
        Invocation::Script(script) => script,
        Invocation::Argv(words) => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    }
}

/// Quotes a word so that a shell reads it as it is: for reading and copying, never for running.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn tail(state: &StateDir, key: JobKey) -> Vec<String> {
    let lines = |stream| last_lines(&state.log(key, stream), MOST_LINES);
    let errors = lines(Stream::Stderr);
    if errors.is_empty() { lines(Stream::Stdout) } else { errors }
}

fn reasons(plan: &Plan, view: &InstanceView, reason: Option<Reason>, causes: Vec<String>) -> Vec<String> {
    let mut said = Vec::new();
    let last = view.attempts.last();
    match (view.state, last) {
        (State::Failed, Some(last)) => {
            said.push(format!("it failed{}: {}", nth(last), ending(last)));
            said.extend(last.notes.iter().cloned());
        }
        (State::Cancelled, Some(last)) => {
            said.push(format!("it was cancelled{}", nth(last)));
            said.extend(last.notes.iter().cloned());
        }
        (State::Running, Some(last)) => {
            let since = last.started.map_or_else(String::new, |at| format!(" since {at}"));
            said.push(format!("it has been running{since}{}", nth(last)));
        }
        (State::Done, Some(last)) => {
            said.push(format!("it succeeded{}", nth(last)));
            said.extend(last.notes.iter().cloned());
        }
        (State::Cached, _) => said.push("it is up to date: nothing that it depends on has changed".to_owned()),
        // Who was asked and what came of it is said with its causes.
        (State::Lost, _) if causes.is_empty() => said.push("nothing is heard of where it runs".to_owned()),
        _ => {}
    }
    said.extend(causes);
    let before = view.attempts.iter().rev().skip(1).take(MOST_NAMED);
    said.extend(before.map(|attempt| format!("attempt {} ended before: {}", attempt.attempt, ending(attempt))));
    if let Some(reason) = reason.filter(|reason| !matches!(reason, Reason::Fresh)) {
        let sentence = reason.sentence(plan);
        said.push(match view.state {
            State::Cached => format!("it was to be looked at since {sentence}"),
            State::Skipped if matches!(reason, Reason::When | Reason::Only | Reason::Absent(_)) => {
                format!("it is not part of this run: {sentence}")
            }
            State::Done | State::Failed | State::Running | State::Lost => format!("it runs because {sentence}"),
            _ => format!("it is to run because {sentence}"),
        });
    }
    said
}

fn nth(attempt: &AttemptView) -> String {
    if attempt.attempt > 1 { format!(" (attempt {})", attempt.attempt) } else { String::new() }
}

fn ending(attempt: &AttemptView) -> String {
    let Some(outcome) = &attempt.outcome else { return "not over".to_owned() };
    let mut text = match outcome {
        Outcome::Success => "success".to_owned(),
        Outcome::Exit { code, signal: Some(signal) } => format!("signal {signal} ended it (exit code {code})"),
        Outcome::Exit { code, signal: None } => format!("exit code {code}"),
        Outcome::Oom => format!("it used more than its memory, {}", attempt.grant.mem),
        Outcome::Timeout => match attempt.grant.time {
            Some(time) => format!("it ran longer than its walltime, {time}"),
            None => "it ran longer than its walltime".to_owned(),
        },
        Outcome::NodeFail => match &attempt.host {
            Some(host) if attempt.started.is_some() => format!("its node on `{host}` failed"),
            Some(host) => format!("it was not started on `{host}`"),
            None => "the local worker died under it".to_owned(),
        },
        Outcome::Preempted => "it was preempted".to_owned(),
        Outcome::Cancelled => "it was cancelled".to_owned(),
        Outcome::Rejected { message } | Outcome::Stage { message } | Outcome::Spawn { message } => message.clone(),
    };
    // What was killed between two looks has a peak that nobody saw.
    let seen = attempt.usage.filter(|usage| usage.peak_memory >= attempt.grant.mem);
    if let (Outcome::Oom, Some(usage)) = (outcome, seen) {
        // Writing to a string cannot fail.
        let _ok = write!(text, "; its peak was {}", usage.peak_memory);
    }
    text
}

/// Returns where the first lies of what an instance left unfinished here; of hosts nothing comes.
fn unfinished(plan: &Plan, instance: InstanceId) -> Option<PathBuf> {
    let outputs = plan.outputs(instance).iter();
    let mut beside = outputs.filter_map(|&path| aside(&Path::new(&plan.root).join(plan.path(path))));
    beside.find(|path| path.symlink_metadata().is_ok())
}

fn advice(run: RunId, view: &InstanceView, log_tail: &[String], unfinished: Option<&Path>) -> Vec<String> {
    let retry = format!("csync retry {run} {}", quoted(&view.label));
    let task = &view.task;
    let (Some(last), State::Failed) = (view.attempts.last(), view.state) else {
        return match view.state {
            State::Skipped | State::Cancelled => vec![retry],
            State::Running => vec![format!("csync logs -f {run} {}", quoted(&view.label))],
            State::Lost => vec![
                format!(
                    "csync retry --lost {run} {} runs it again, and waits for this attempt no more",
                    quoted(&view.label)
                ),
                format!(
                    "csync cancel {run} {} ends what is left of it as soon as its host answers",
                    quoted(&view.label)
                ),
            ],
            _ => Vec::new(),
        };
    };
    let mut advice = match &last.outcome {
        _ if let Some(host) = last.host.as_deref().filter(|_| had_no_room(last, log_tail)) => vec![make_room(host)],
        Some(Outcome::Oom) => {
            let more = last.grant.mem.scaled(2.0);
            vec![format!("give it more: `resources.mem = \"{more}\"` in task `{task}`, then submit again")]
        }
        Some(Outcome::Timeout) => {
            let more = last.grant.time.map_or_else(|| "2h".to_owned(), |time| time.scaled(2.0).to_string());
            vec![format!("give it longer: `resources.time = \"{more}\"` in task `{task}`, then submit again")]
        }
        Some(Outcome::Exit { code: 126 | 127, .. }) if log_tail.iter().any(|line| is_of_windows(line)) => {
            vec![
                r"a file has line ends of Windows, which shells take for letters: `sed -i 's/\r$//' FILE` changes them"
                    .to_owned(),
            ]
        }
        Some(Outcome::Exit { code: 127, .. }) => match missing_program(log_tail) {
            Some(program) => {
                vec![format!("`{program}` is not installed, or not in the PATH that the run was submitted with")]
            }
            None => vec!["a command was not found: look at the log".to_owned()],
        },
        Some(Outcome::Exit { code: 126, .. }) => {
            vec!["a file is not executable: `chmod +x` it, or run it through its interpreter".to_owned()]
        }
        Some(Outcome::Exit { code: 137, signal: Some(9) }) => {
            vec![format!(
                "something killed it, often the system for want of memory: set `resources.mem` in task `{task}`"
            )]
        }
        // What came is kept where it came to, and gone on with.
        Some(Outcome::Stage { message }) if message.contains(" bytes arrived") => {
            after_a_cut(run, last.host.as_deref())
        }
        // Nothing of it ran: it is about what it reads.
        Some(Outcome::Stage { .. }) if last.started.is_none() => {
            vec!["look whether that file is there and can be read, by `ls -l`".to_owned()]
        }
        Some(Outcome::Stage { .. }) => vec![compare(task, unfinished)],
        Some(Outcome::Spawn { message }) if message.ends_with(" is not there") && last.host.is_some() => {
            vec![format!(
                "write its whole path, or bring it into the PATH of jobs there, by `modules`, `conda` or `setup` in task `{task}`"
            )]
        }
        Some(Outcome::Spawn { .. }) => vec![format!("check the program and `workdir` of task `{task}`")],
        Some(Outcome::Rejected { message }) => vec![after_refusal(message, task, last.host.as_deref())],
        _ => Vec::new(),
    };
    if last.started.is_some() && !matches!(last.outcome, Some(Outcome::Rejected { .. } | Outcome::Spawn { .. })) {
        advice.push(format!("csync logs {run} {}", quoted(&view.label)));
    }
    advice.push(retry);
    advice
}

/// What batch systems call what is not there, or not for this person, and the key of the task that names it.
const WRONG: [(&str, &str); 9] = [
    ("invalid partition", "partition"),
    ("unknown queue", "partition"),
    ("queue is not enabled", "partition"),
    ("access to queue", "partition"),
    ("no default queue", "partition"),
    ("invalid account", "account"),
    ("invalid qos", "qos"),
    ("invalid feature", "constraint"),
    ("reservation", "reservation"),
];

/// Says what helps where a file came in part.
fn after_a_cut(run: RunId, host: Option<&str>) -> Vec<String> {
    let host = host.unwrap_or("HOST");
    vec![
        format!("the connection broke, or there is no room left where it goes: `csync hosts test {host}`, `df -h`"),
        format!("`csync retry {run}` goes on where it ended"),
    ]
}

/// Says what helps where outputs are not what was said.
fn compare(task: &str, unfinished: Option<&Path>) -> String {
    let beside = unfinished.map_or_else(String::new, |path| format!(" (what was unfinished is {})", path.display()));
    format!("compare `outputs` of task `{task}` with what its command writes{beside}")
}

/// Says what helps where a batch system, or csync for it, refused what was asked for.
fn after_refusal(message: &str, task: &str, host: Option<&str>) -> String {
    let said = message.to_ascii_lowercase();
    let shown = host.map_or_else(String::new, |host| format!("; `csync hosts show {host}` lists what is there"));
    match WRONG.iter().find(|(words, _)| said.contains(words)) {
        Some((_, key)) => format!("name another `{key}` in task `{task}`, or none{shown}"),
        None if said.contains("option '") => {
            format!("take that out of the flags that task `{task}` passes through (`slurm`, `pbs`, `sge`)")
        }
        None => format!("ask for less in `resources` of task `{task}`{shown}"),
    }
}

/// Returns whether a shell complains of the letter before the line ends of Windows: `$'\r': command not found`.
fn is_of_windows(line: &str) -> bool {
    [r"\r'", "\\r\u{2019}", "^M: "].iter().any(|words| line.contains(words))
}

/// Returns whether something of an attempt found no room on its host.
fn had_no_room(attempt: &AttemptView, log_tail: &[String]) -> bool {
    let said = match &attempt.outcome {
        Some(Outcome::Rejected { message } | Outcome::Stage { message } | Outcome::Spawn { message }) => Some(message),
        _ => None,
    };
    let is_unwritten = |note: &String| is_full(note) || note.contains(UNWRITTEN);
    said.into_iter().chain(log_tail).any(|words| is_full(words)) || attempt.notes.iter().any(is_unwritten)
}

/// Finds the program in a shell's `bash: line 1: bwa: command not found`.
fn missing_program(log_tail: &[String]) -> Option<&str> {
    let line = log_tail.iter().rev().find_map(|line| line.strip_suffix(": command not found"))?;
    line.rsplit(": ").next().filter(|program| !program.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_found_in_what_the_shell_says() {
        let lines = |text: &str| vec!["something else".to_owned(), text.to_owned()];
        for (line, program) in [
            ("align: line 1: bwa: command not found", Some("bwa")),
            ("bash: my tool: command not found", Some("my tool")),
            ("bwa not found", None),
        ] {
            assert_eq!(missing_program(&lines(line)), program, "{line}");
        }
    }

    #[test]
    fn what_helps_after_a_refusal_depends_on_what_was_refused() {
        let helps = |message| after_refusal(message, "t", Some("hpc"));
        for message in ["invalid partition specified: nosuch", "Unknown queue", "Queue is not enabled"] {
            assert_eq!(
                helps(message),
                "name another `partition` in task `t`, or none; `csync hosts show hpc` lists what is there"
            );
        }
        for (message, key) in [
            ("Batch job submission failed: Invalid feature specification", "constraint"),
            ("Invalid account or account/partition combination specified", "account"),
            ("Invalid qos specification", "qos"),
        ] {
            assert!(helps(message).starts_with(&format!("name another `{key}` in task `t`")), "{message}");
        }
        let flag = helps("unrecognized option '--nosuchflag=x'; Try \"sbatch --help\" for more information");
        assert!(flag.starts_with("take that out of the flags that task `t` passes through"), "{flag}");
        for message in
            ["asks for 10h of walltime, and the most is 1h in `debug`", "no queue behind its routing queue takes it"]
        {
            assert_eq!(
                helps(message),
                "ask for less in `resources` of task `t`; `csync hosts show hpc` lists what is there"
            );
        }
        assert_eq!(after_refusal("more cores than there are", "t", None), "ask for less in `resources` of task `t`");
    }

    #[test]
    fn what_helps_where_a_transfer_was_cut_is_no_look_at_a_file() {
        let said = after_a_cut(RunId(7), Some("hpc")).join("\n");
        assert!(said.contains("`csync hosts test hpc`") && said.contains("`csync retry 7` goes on"), "{said}");
        assert!(
            !compare("a", None).contains('(') && compare("a", Some(Path::new("/w/.b.failed"))).contains("/w/.b.failed")
        );
    }

    #[test]
    fn line_ends_of_windows_are_seen_in_what_the_shell_says() {
        for line in [
            r"x.sh: line 4: $'\r': command not found",
            "/usr/bin/env: \u{2018}bash\\r\u{2019}: No such file or directory",
            "bash: ./x.sh: /bin/bash^M: bad interpreter: No such file or directory",
        ] {
            assert!(is_of_windows(line), "{line}");
        }
        assert!(!is_of_windows("x.sh: line 4: hostname: command not found"));
    }

    #[test]
    fn words_are_shown_as_a_shell_would_take_them() {
        for (word, shown) in [("a-b/c.d", "a-b/c.d"), ("", "''"), ("it's", r"'it'\''s'"), ("t[x y]", "'t[x y]'")] {
            assert_eq!(quoted(word), shown);
        }
    }
}
