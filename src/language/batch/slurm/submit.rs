//! `sbatch` and `scancel`.

use crate::language::batch::call::{
    Call, Meaning, Target, Unsayable, could_not_ask, judge, limited, path, preamble, ranges, raw_flags, share,
    submit_from, units,
};
use crate::model::batch::RefusalKind::{Account, ArrayTooLarge, Dependency, OverLimit, Permission};
use crate::model::batch::{BatchId, Cancelled, CouldNotAsk, MemberRequest, RefusalKind, Reply, Sharing};
use crate::model::batch::{Submission, Submitted};
use crate::model::units::Bytes;

/// Flags that csync sets itself: passed through, they would change what it reads back.
const OURS: [&str; 10] =
    ["array", "chdir", "error", "job-name", "output", "parsable", "requeue", "test-only", "wait", "wrap"];

/// Leaves a job what a login gives, and nothing of this session.
///
/// `--export=NONE` would be the word for it, but then the node asks `su` for an environment, which takes seconds where logins
/// are slow and, where it fails, starts the job without `HOME` and without an exported `PATH`; and each `srun` of the job gets
/// none either.
const ENVIRONMENT: &str = "for v in $(env | sed -n 's/^\\([A-Za-z_][A-Za-z_0-9]*\\)=.*/\\1/p'); do case $v in \
    HOME|USER|LOGNAME|SHELL|PATH|LANG|LC_*|TZ|LD_LIBRARY_PATH|SLURM_CONF|BASH_ENV|MODULE*|LOADEDMODULES|LMOD_*) ;; \
    *) command unset \"$v\" 2>/dev/null ;; esac; done\n";

/// Returns the command that submits.
pub fn submit(submission: &Submission) -> Result<Call, Unsayable> {
    let mut notes = Vec::new();
    let words = arguments(submission, &mut notes)?;
    Ok(Call { script: submit_from(&submission.directory, ENVIRONMENT, &words), notes })
}

fn arguments(submission: &Submission, notes: &mut Vec<String>) -> Result<Vec<String>, Unsayable> {
    // In names of files `%` and `\` mean something; `%%` is the letter, for `\` there is nothing.
    let log = path(submission, &submission.log, "Slurm", &['\\'])?.replace('%', "%%");
    let index = if submission.members().is_some() { ".%a" } else { "" };
    let mut words: Vec<String> = vec![
        "sbatch".to_owned(),
        "--parsable".to_owned(),
        // Tries are csync's to count.
        "--no-requeue".to_owned(),
        "--export=ALL".to_owned(),
        format!("--job-name={}", submission.name),
        format!("--output={log}{index}"),
    ];
    let mut option = |name: &str, value: Option<&str>| {
        words.extend(value.map(|value| format!("--{name}={value}")));
    };
    option("account", submission.account.as_deref());
    option("partition", submission.partition.as_deref());
    option("qos", submission.qos.as_deref());
    option("reservation", submission.reservation.as_deref());
    option("constraint", submission.constraint.as_deref());
    if let Some(array) = submission.members() {
        let cap = array.cap.map(|cap| format!("%{cap}")).unwrap_or_default();
        words.push(format!("--array=1-{}{cap}", array.size));
    }
    words.extend(resources(&submission.request));
    if let Some((signal, before)) = &submission.signal {
        words.push(format!("--signal=B:{signal}@{before}"));
    }
    if !submission.after.is_empty() {
        let ids: Vec<&str> = submission.after.iter().map(BatchId::as_str).collect();
        words.push(format!("--dependency=afterok:{}", ids.join(":")));
        // Else it would wait for ever for what cannot come.
        words.push("--kill-on-invalid-dep=yes".to_owned());
    }
    for (name, value) in raw_flags(submission, "slurm.")? {
        if OURS.contains(&name) {
            notes.push(format!("`--{name}` is csync's own; it was left out"));
        } else {
            words.push(value.map_or_else(|| format!("--{name}"), |value| format!("--{name}={value}")));
        }
    }
    words.push(path(submission, &submission.script, "Slurm", &[])?);
    Ok(words)
}

fn resources(request: &MemberRequest) -> Vec<String> {
    // One process has one node; several go where the batch system puts them, unless nodes are asked for.
    let nodes = request.nodes.or((request.processes <= 1).then_some(1));
    let mut words = vec![format!("--ntasks={}", request.processes), format!("--cpus-per-task={}", request.cpus)];
    words.extend(nodes.map(|nodes| format!("--nodes={nodes}")));
    words.extend(request.mem.map(|mem| memory(request, nodes, mem)));
    words.extend(request.time.map(|time| format!("--time={}", time.0.div_ceil(60).max(1))));
    if let Some(gpus) = request.gpus.as_ref().filter(|gpus| gpus.count > 0) {
        let model = gpus.model.as_ref().map(|model| format!("{model}:")).unwrap_or_default();
        words.push(match nodes {
            Some(nodes) => format!("--gres=gpu:{model}{}", gpus.count.div_ceil(nodes.max(1))),
            None => format!("--gpus={model}{}", gpus.count),
        });
    }
    if request.sharing == Sharing::Exclusive {
        words.push("--exclusive".to_owned());
    }
    words
}

/// Asks for memory by node or, where the number of nodes is open, by core.
fn memory(request: &MemberRequest, nodes: Option<u32>, mem: Bytes) -> String {
    // 0 would mean all that a node has.
    let mib = |part: Bytes| units(part, Bytes::mib(1));
    if let Some(nodes) = nodes {
        return format!("--mem={}M", mib(share(mem, nodes)));
    }
    let cores = request.processes.saturating_mul(request.cpus);
    format!("--mem-per-cpu={}M", mib(share(mem, cores)))
}

/// What `sbatch` says when it does not submit. Order matters: the first that is found decides.
const MESSAGES: &[(&str, Meaning)] = &[
    // The request went out and no answer came back.
    ("Socket timed out", Meaning::Unknown),
    ("Zero Bytes were transmitted", Meaning::Unknown),
    ("Unexpected message received", Meaning::Unknown),
    ("receive failure", Meaning::Unknown),
    // Nothing goes out without a credential; an answer whose credential cannot be read was one.
    ("Munge decode failed", Meaning::Unknown),
    ("Munge encode failed", Meaning::Later),
    ("Protocol authentication error", Meaning::Unknown),
    ("Unable to contact slurm controller", Meaning::Later),
    ("temporarily unable to accept job", Meaning::Full),
    ("Resource temporarily unavailable", Meaning::Full),
    // `QOSMaxSubmitJobPerUserLimit`, `AssocGrpSubmitJobsLimit`, `AssocMaxSubmitJobLimit`, ...
    ("MaxSubmitJob", Meaning::Full),
    ("GrpSubmitJob", Meaning::Full),
    // What lasts: a job that is larger than an account or a qos allows.
    ("Limit", refused(OverLimit)),
    ("I/O error writing script", Meaning::Later),
    ("Job violates accounting/QOS policy", refused(OverLimit)),
    ("Invalid partition name", refused(RefusalKind::Partition)),
    ("invalid partition specified", refused(RefusalKind::Partition)),
    ("Requested partition configuration not available", refused(RefusalKind::Partition)),
    ("Required partition not available", refused(RefusalKind::Partition)),
    ("User's group not permitted", refused(RefusalKind::Partition)),
    ("Invalid account", refused(Account)),
    ("Invalid qos", refused(Account)),
    ("Invalid QOS", refused(Account)),
    ("Requested time limit is invalid", refused(OverLimit)),
    ("Requested node configuration is not available", refused(OverLimit)),
    ("Node count specification invalid", refused(OverLimit)),
    ("More processors requested than permitted", refused(OverLimit)),
    ("Memory specification can not be satisfied", refused(OverLimit)),
    ("Memory required by task is not available", refused(OverLimit)),
    ("Invalid job array specification", refused(ArrayTooLarge)),
    ("Job dependency problem", refused(Dependency)),
    ("Access/permission denied", refused(Permission)),
    ("Access denied", refused(Permission)),
    ("User not found", refused(Permission)),
    ("Invalid user id", refused(Permission)),
];

const fn refused(kind: RefusalKind) -> Meaning {
    Meaning::Refused(kind)
}

/// Reads what `sbatch` said.
pub fn parse_submit(reply: &Reply<'_>) -> Submitted {
    let id = |line: &str| {
        let line = line.trim();
        let text = line.strip_prefix("Submitted batch job ").unwrap_or(line).split([';', ' ']).next()?;
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| BatchId(text.to_owned()))
    };
    // A site's greetings may stand around it.
    match (reply.stdout.lines().rev().find_map(id), judge(reply, MESSAGES)) {
        (Some(id), _) => Submitted::Accepted(id),
        // `sbatch` itself waits for room, two minutes long, where the controller has as many jobs as it keeps (`MaxJobCount`).
        (None, Submitted::Unknown(message)) if reply.stderr.contains(WAITS_FOR_ROOM) => Submitted::FullPerhaps(message),
        (None, judged) => judged,
    }
}

/// What `sbatch` says before it tries again.
const WAITS_FOR_ROOM: &str = "unable to accept job, sleeping and retrying";

/// Returns the command that cancels all of these.
pub fn cancel(targets: &[Target]) -> String {
    let mut words = vec!["scancel".to_owned()];
    for Target { id, members } in targets {
        match ranges(members).as_slice() {
            [] => words.push(id.to_string()),
            // A step inside brackets is not read by every version.
            list => words.extend(list.iter().flat_map(|range| single_steps(id, range))),
        }
    }
    format!("{}{}\n", preamble(60), limited(&words))
}

/// Prints a range of members of an array, without steps.
fn single_steps(id: &BatchId, range: &str) -> Vec<String> {
    let Some((range, step)) = range.split_once(':') else {
        let text = if range.contains('-') { format!("{id}_[{range}]") } else { format!("{id}_{range}") };
        return vec![text];
    };
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let numbers = (first.parse::<u32>(), last.parse::<u32>(), step.parse::<usize>());
    let (Ok(first), Ok(last), Ok(step)) = numbers else { return Vec::new() };
    (first..=last).step_by(step.max(1)).map(|member| format!("{id}_{member}")).collect()
}

/// Reads what `scancel` said. It says nothing of jobs that it does not know, and nothing of those that it cancels.
pub fn parse_cancel(reply: &Reply<'_>) -> Result<Cancelled, CouldNotAsk> {
    let mut cancelled = Cancelled::default();
    for line in reply.stderr.lines() {
        let Some((_, rest)) = line.split_once("job id ") else { continue };
        let Some((id, why)) = rest.split_once(": ") else { continue };
        let (id, why) = (id.trim(), why.trim());
        if ["Invalid job id", "already completing or completed"].iter().any(|text| why.contains(text)) {
            cancelled.unknown.push(id.to_owned());
        } else if ["contact slurm controller", "timed out", "authentication error"]
            .iter()
            .any(|text| why.contains(text))
        {
            return Err(could_not_ask(reply));
        } else {
            cancelled.refused.push((id.to_owned(), why.to_owned()));
        }
    }
    let understood = reply.status == 0 || !cancelled.unknown.is_empty() || !cancelled.refused.is_empty();
    if understood { Ok(cancelled) } else { Err(could_not_ask(reply)) }
}
