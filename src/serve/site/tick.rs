//! A look at a host: one command that ends what is to be ended, and asks for all news of ours: the wrappers' records, the queue and,
//! for what left the queue without a word, the history.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::decide::outcome::{
    Asked as AskedFor, Cancel, Evidence, Hearing, Log, Own, Patience, Routing, Verdict, judge,
};
use crate::language::batch;
use crate::language::batch::call::{Ask, Target};
use crate::language::batch::log::{LastWords, last_words};
use crate::language::batch::room::{UNWRITTEN, one_line};
use crate::language::batch::wrapper::{
    Crew, NewsRequest, Record, Stage as At, Tail, cancel_command, news_command_of_any, parse_news,
};
use crate::language::probe::CLOCK;
use crate::language::quote::sh;
use crate::model::api::Stream;
use crate::model::batch::{
    Answer, BatchId, CouldNotAsk, Dialect, Ending, Flavour, History, JobName, Members, Queue, QueueState, Reply,
};
use crate::model::facts::NodeSight;
use crate::model::id::JobKey;
use crate::model::job::Outcome;
use crate::model::units::{Bytes, Timestamp};
use crate::reach::clock;
use crate::reach::transport::{Exec, Transport, TransportError};
use crate::serve::site::Means;
use crate::serve::site::clocks::Ahead;
use crate::serve::site::desk::{Live, Member, Way};
use crate::serve::site::doubt;
use crate::serve::site::gone::{self, REMOVED};
use crate::serve::site::jobs::prefix;
use crate::serve::site::marks::{mark, sections};
use crate::serve::site::nodes::sights;
use crate::serve::site::send::Ground;
use crate::serve::site::used::{Used, allocation, used};
use crate::serve::site::words::{deleted, killed, lost};

/// How long a look may take: batch systems stall for a quarter of a minute when they are busy.
const LOOKING: Duration = Duration::from_mins(1);
/// Most that a look brings of one watched stream.
const GROWTH: u64 = 4 << 20;
/// Looks in a row without a trace after which a member is given up. Records of network filesystems show late.
pub(super) const MISSING: u32 = 3;
/// Looks in a row after which a history that does not know a member never will, and how long that takes at least: Grid Engine writes
/// every fifteen seconds, and a network filesystem may show that a minute later. Looks alone may be a second apart.
const MISSED: u32 = 5;
const BEHIND: Duration = Duration::from_secs(90);
/// Looks in a row without a trace after which a submission whose answer was never heard did not go through.
const NEVER_SENT: u32 = 6;

/// Nothing runs of a job that did not end.
const ENDED: &str = "nothing of it runs any more, and it left no record: its processes were killed, as systems do that end all \
                     processes at logout (`loginctl enable-linger` keeps them)";

/// Most that is read of what a batch system wrote into a job's log.
const LOG: u64 = 4096;

/// What a look reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Scope {
    /// Job directories alone: the batch system is not asked.
    #[default]
    Directories,
    All,
}

/// What is looked for.
pub(super) struct Asked {
    pub(super) live: Vec<Live>,
    /// Members to be ended, by submission and number.
    pub(super) stops: Vec<(JobName, u32)>,
    /// Members whose output somebody watches.
    pub(super) watched: Vec<(JobName, u32, JobKey)>,
    /// The number of this look.
    pub(super) turn: u64,
    /// How busy the batch system is, is to be asked too.
    pub(super) load: bool,
    /// What is read.
    pub(super) scope: Scope,
    /// How far the host's clock is ahead, as far as that is known.
    pub(super) ahead: Ahead,
}

/// What a batch system says of a submission that waits.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Queueing {
    /// Why.
    pub(super) reason: Option<Arc<str>>,
    /// Until when, as far as it can tell: for an array, until the first member starts that waits.
    pub(super) until: Option<Timestamp>,
}

impl Queueing {
    fn of(queue: Option<&Queue>, id: Option<&BatchId>, ahead: Ahead) -> Self {
        let (Some(queue), Some(id)) = (queue, id) else { return Self::default() };
        let waiting = queue.of(id).filter(|queued| queued.state == QueueState::Waiting);
        Self {
            reason: queue.of(id).find_map(|queued| queued.reason.as_deref()).map(Arc::from),
            until: waiting.filter_map(|queued| queued.start).min().map(|at| ahead.here(at)),
        }
    }
}

/// What is known of a member.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum MemberNews {
    /// It waits.
    Waiting(Queueing),
    /// Nobody knows it, for now.
    Missing,
    /// It runs since then.
    Running(Timestamp),
    /// It goes no further: to be cancelled, and over so.
    Remove(Outcome),
    /// Everybody was asked, and nobody knows what became of it.
    Lost(String),
    /// It is over.
    Over { outcome: Outcome, used: Used, notes: Vec<String> },
}

/// What a look brought.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Submissions that are there after all, with their id.
    pub(super) found: Vec<(JobName, Option<BatchId>)>,
    /// Submissions that never went out.
    pub(super) never_sent: Vec<JobName>,
    /// News of members, by submission and number.
    pub(super) members: Vec<(JobName, u32, MemberNews)>,
    /// Not all records came.
    pub(super) cut_off: bool,
    /// Our directory is not there (any more).
    pub(super) no_ground: bool,
    /// More of what is watched is there than came.
    pub(super) behind: bool,
    /// What was read.
    pub(super) scope: Scope,
    /// Why the batch system told nothing, where it was asked.
    pub(super) silent: Option<String>,
    /// Why nothing can be written to our directory there.
    pub(super) unwritable: Option<String>,
    /// Cores that nobody uses, by partition; none where that was not asked, or not told.
    pub(super) idle: Vec<(String, u32)>,
    /// What jobs saw on compute nodes, by partition; it comes more than once.
    pub(super) sights: Vec<(String, NodeSight)>,
    /// How far the host's clock is ahead.
    pub(super) ahead: Ahead,
}

/// Looks.
pub(super) async fn tick(means: &Means, ground: &Ground, asked: Asked) -> Result<Heard, TransportError> {
    let mark = mark(asked.turn);
    let (script, request) = script(means, ground, &asked, &mark);
    let exec = Exec::new(script).reading(request).within(LOOKING).printing(256 << 20);
    let reply = means.way().await?.exec(exec).await?;
    let sections = sections(&reply.stdout, &mark);
    let (mut heard, tails) = understand(means, ground, &asked, &sections);
    heard.scope = asked.scope;
    heard.no_ground = sections.is_empty() && !reply.status.is_success();
    let more = |tail: &Tail| tail.size.is_some_and(|size| size > tail.from + tail.bytes.len() as u64);
    heard.behind = tails.iter().any(|tail| more(tail) && !tail.path.contains("/batch.log"));
    grow(means, ground, &asked, tails).await;
    Ok(heard)
}

/// Adds what came of watched output to the logs here.
async fn grow(means: &Means, ground: &Ground, asked: &Asked, tails: Vec<Tail>) {
    let mut tails: HashMap<String, Tail> = tails.into_iter().map(|tail| (tail.path.clone(), tail)).collect();
    let mut pieces = Vec::new();
    for (name, index, key) in &asked.watched {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let piece = tails.remove(&output(ground, name, *index, stream));
            pieces
                .extend(piece.filter(|tail| !tail.bytes.is_empty()).map(|tail| (means.state.log(*key, stream), tail)));
        }
    }
    if pieces.is_empty() {
        return;
    }
    let written = spawn_blocking(move || pieces.iter().try_for_each(|(log, tail)| add(log, tail))).await;
    if let Ok(Err(error)) = written {
        tracing::warn!(host = %means.host.name, %error, "what jobs print cannot be kept");
    }
}

fn add(log: &Path, tail: &Tail) -> io::Result<()> {
    if let Some(dir) = log.parent() {
        fs::create_dir_all(dir)?;
    }
    let mut file = fs::File::options().create(true).append(true).open(log)?;
    // Else somebody brought the whole of it meanwhile.
    if file.metadata()?.len() == tail.from { file.write_all(&tail.bytes) } else { Ok(()) }
}

/// Returns where a member's output lies on the host.
fn output(ground: &Ground, name: &JobName, index: u32, stream: Stream) -> String {
    let file = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    format!("{}/{index}/{file}", ground.submission(name))
}

fn script(means: &Means, ground: &Ground, asked: &Asked, mark: &str) -> (String, Vec<u8>) {
    let mut script = format!(
        "cd -- {} && [ -d jobs ] || exit 1\numask 077\nexec 3<&0 4>&1 </dev/null\n{}",
        sh(&ground.scratch),
        means.prelude
    );
    let mut request = NewsRequest::default();
    // A byte, since a file without any needs no room.
    let _infallible = writeln!(
        script,
        "csync_words=$({{ echo >jobs/.room-{}; }} 2>&1) || printf '\\n%s unwritable\\n%s\\n' {mark} \"$csync_words\"",
        prefix(&means.state)
    );
    cancel(means, ground, asked, &mut script);
    let there: Vec<&Live> = asked.live.iter().filter(|live| live.state == Way::There).collect();
    if !there.is_empty() {
        // Two looks ago: times of files are coarse, and what comes twice is the same.
        // Another state directory of the same person looks at its own stamps, and so does another host that has the same scratch: each
        // would miss what the other had seen.
        let whose = format!("{}{}", prefix(&means.state), means.host.name);
        let look = |turn: u64| format!("{}/jobs/.look-{whose}-{}", ground.scratch, turn % 4);
        request.stamp(&look(asked.turn));
        if asked.turn > 2 {
            request.since(&look(asked.turn + 2));
        }
        for live in &there {
            request.records(&ground.submission(&live.sent.name));
        }
        if means.dialect.is_none() {
            for live in &there {
                request.crew(&ground.submission(&live.sent.name));
            }
        }
        for (name, index, key) in &asked.watched {
            for stream in [Stream::Stdout, Stream::Stderr] {
                let have = fs::metadata(means.state.log(*key, stream)).map_or(0, |meta| meta.len());
                request.tail(&output(ground, name, *index, stream), have, GROWTH);
            }
        }
        // Of those that left the queue, whatever their records' age: network filesystems show late what was written long ago.
        for live in &there {
            let missing = (1u32..).zip(&live.members).filter(|(_, member)| !member.over && member.missing > 0);
            for (index, _) in missing {
                let directory = ground.submission(&live.sent.name);
                request.record(&format!("{directory}/{index}"));
                if means.dialect.is_some() {
                    request.tail(&log_of(&directory, live, index), 0, LOG);
                }
            }
        }
        let directories: Vec<String> = there.iter().map(|live| ground.submission(&live.sent.name)).collect();
        let news = news_command_of_any(&directories);
        let _infallible = writeln!(script, "printf '\\n%s news\\n' {mark}; {news} <&3");
        let names = there.iter().map(|live| &live.sent.name);
        let _infallible = write!(script, "printf '\\n%s gone\\n' {mark}\n{}", gone::script(ground, names));
    }
    let doubtful = asked.live.iter().filter(|live| live.state == Way::Doubtful).map(|live| &live.sent.name);
    let _infallible = write!(script, "printf '\\n%s out\\n' {mark}\n{}", doubt::script(doubtful));
    if let Some(dialect) = &means.dialect
        && asked.scope == Scope::All
    {
        section(&mut script, mark, "queue", &batch::queue(dialect.flavour, Ask::Mine));
        if asked.load {
            section(&mut script, mark, "load", &batch::load(dialect.flavour));
        }
        if let Some(asks) = past(dialect, &unheard_of(asked)) {
            section(&mut script, mark, "history", &asks);
        }
    }
    // Last: the answer is here as soon as that is said.
    let _infallible = write!(script, "printf '\\n%s clock\\n' {mark}; {CLOCK}");
    let _infallible = writeln!(script, "printf '\\n%s end\\n' {mark}");
    (script, request.text().as_bytes().to_vec())
}

/// Returns where the batch system writes for a member.
fn log_of(directory: &str, live: &Live, index: u32) -> String {
    // An array of one is no array.
    if live.members.len() == 1 { format!("{directory}/batch.log") } else { format!("{directory}/batch.log.{index}") }
}

/// Appends a command whose output, status and complaints are told apart from the others'. Nothing is written for that: the disk may
/// be full.
fn section(script: &mut String, mark: &str, name: &str, command: &str) {
    let _infallible = writeln!(
        script,
        "printf '\\n%s {name}\\n' {mark}\ncsync_words=$( (\n{command}\n) 2>&1 >&4 4>&-); csync_status=$?\n\
         printf '\\n%s {name}-status\\n%s\\n%s\\n' {mark} \"$csync_status\" \"$csync_words\""
    );
}

/// Ends members, by the batch system or by their wrappers.
fn cancel(means: &Means, ground: &Ground, asked: &Asked, script: &mut String) {
    let mut by_submission: BTreeMap<&JobName, Vec<u32>> = BTreeMap::new();
    for (name, index) in &asked.stops {
        by_submission.entry(name).or_default().push(*index);
    }
    let mut targets = Vec::new();
    let there: HashMap<&JobName, &Live> = asked.live.iter().map(|live| (&live.sent.name, live)).collect();
    for (name, mut indices) in by_submission {
        indices.sort_unstable();
        let Some(live) = there.get(name) else { continue };
        let directory = ground.submission(name);
        // So that one that starts in this moment does not run. Not `:`, which ends the shell where the file cannot be made.
        let mut left = (1u32..).zip(&live.members).filter(|(_, member)| !member.over);
        let all = left.all(|(index, _)| indices.binary_search(&index).is_ok());
        if all {
            let _infallible = writeln!(script, "true 2>/dev/null >{}/cancel", sh(&directory));
        } else {
            for index in &indices {
                let _infallible = writeln!(script, "true 2>/dev/null >{}/{index}/cancel", sh(&directory));
            }
        }
        match (&means.dialect, &live.sent.batch) {
            (Some(_), Some(id)) => {
                let ranges = indices.iter().map(|&index| (index, index, 1)).collect();
                let members = if all { Members::All } else { Members::Ranges(ranges) };
                targets.push(Target { id: id.clone(), members });
            }
            (Some(_), None) => {}
            (None, _) => {
                let _infallible = writeln!(script, "{} >/dev/null 2>&1", cancel_command(&directory, &indices));
            }
        }
    }
    if let Some(dialect) = &means.dialect
        && !targets.is_empty()
    {
        let _infallible = writeln!(script, "(\n{}\n) >/dev/null 2>&1", batch::cancel(dialect.flavour, &targets));
    }
}

/// Returns the command that asks what became of these; none where nobody tells.
fn past(dialect: &Dialect, ids: &[BatchId]) -> Option<String> {
    match dialect.history {
        _ if ids.is_empty() => None,
        History::Kept => Some(batch::history(dialect.flavour, Ask::Ids(ids))),
        History::Off => batch::traces(dialect.flavour, ids),
    }
}

/// Returns the submissions with members that left the queue without a word.
fn unheard_of(asked: &Asked) -> Vec<BatchId> {
    let lost = asked.live.iter().filter(|live| live.members.iter().any(|member| !member.over && member.missing > 0));
    lost.filter_map(|live| live.sent.batch.clone()).collect()
}

fn understand(means: &Means, ground: &Ground, asked: &Asked, sections: &HashMap<String, &[u8]>) -> (Heard, Vec<Tail>) {
    let unwritable = sections.get("unwritable").map(|words| one_line(&String::from_utf8_lossy(words)));
    let now = clock::now();
    let ahead = asked.ahead.heard(sections.get("clock").copied(), now);
    let mut news = sections.get("news").map(|bytes| parse_news(bytes)).unwrap_or_default();
    let sights = sights(&news.looks, ahead, now);
    let mut heard = Heard { unwritable: unwritable.clone(), ahead, sights, ..Heard::default() };
    let tails = std::mem::take(&mut news.tails);
    heard.cut_off = sections.contains_key("news") && !news.complete;
    ahead.set_all(&mut news.records, &asked.live, now);
    let mut records: Records<'_> = HashMap::new();
    for record in &news.records {
        if let Ok(member) = record.member.parse() {
            records.entry(record.submission.as_str()).or_default().insert(member, record);
        }
    }
    let answer = |name: &str| {
        let status = sections.get(format!("{name}-status").as_str())?;
        let status = String::from_utf8_lossy(status).into_owned();
        let (code, stderr) = status.split_once('\n').unwrap_or((&status, ""));
        let stdout = String::from_utf8_lossy(sections.get(name)?).into_owned();
        Some((code.trim().parse().unwrap_or(1), stdout, stderr.to_owned()))
    };
    let queue = means.dialect.as_ref().and_then(|dialect| {
        let (status, stdout, stderr) = &answer("queue")?;
        let reply = Reply { status: *status, stdout, stderr };
        batch::parse_queue(dialect.flavour, &reply).map_err(|error| heard.silent = Some(error.why)).ok()
    });
    if let (Some(dialect), Some((0, stdout, _))) = (&means.dialect, answer("load")) {
        let queues: Vec<&str> = means.limits.partitions.iter().map(|it| it.name.as_str()).collect();
        heard.idle = batch::parse_load(dialect.flavour, &stdout, &queues);
    }
    let endings: Option<Vec<Ending>> = means.dialect.as_ref().and_then(|dialect| {
        let (status, stdout, stderr) = answer("history")?;
        batch::parse_history(dialect.flavour, &Reply { status, stdout: &stdout, stderr: &stderr }).ok()
    });
    let past = endings.is_some();
    let mut endings = endings.unwrap_or_default();
    ahead.set_endings(&mut endings);
    let mut known: Endings<'_> = HashMap::with_capacity(endings.len());
    for ending in &endings {
        known.entry((ending.id.as_str(), ending.member)).or_insert(ending);
    }
    let gone = sections.get("gone").map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
    let gone: HashSet<&str> = gone.lines().collect();
    let crews: HashMap<&str, Crew> =
        news.crews.iter().filter_map(|(path, crew)| Some((path.rsplit_once('/')?.1, *crew))).collect();
    let logs = tails.iter().map(|tail| (tail.path.as_str(), &*tail.bytes)).collect();
    let told = Told { ahead, logs, records, queue: queue.as_ref(), endings: &known, past, gone, crews, unwritable };
    let out = sections.get("out").map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
    let out: HashSet<&str> = out.lines().collect();
    for live in &asked.live {
        match live.state {
            // What did not get to its end told nothing.
            Way::Doubtful if !sections.contains_key("end") => {}
            Way::Doubtful => doubt::decide(means, live, queue.as_ref(), &out, &mut heard),
            _ => members(means, ground, live, &told, &mut heard),
        }
    }
    (heard, tails)
}

/// Records by submission and member.
type Records<'a> = HashMap<&'a str, HashMap<u32, &'a Record>>;

/// What the history told, by submission and member.
type Endings<'a> = HashMap<(&'a str, Option<u32>), &'a Ending>;

/// All that a look brought, by whom it speaks of.
struct Told<'a> {
    /// How far the host's clock is ahead.
    ahead: Ahead,
    /// What batch systems wrote, by the log's path.
    logs: HashMap<&'a str, &'a [u8]>,
    records: Records<'a>,
    queue: Option<&'a Queue>,
    endings: &'a Endings<'a>,
    /// Whether the history answered.
    past: bool,
    /// Submissions whose directories are not there, or have nothing in them that runs them.
    gone: HashSet<&'a str>,
    crews: HashMap<&'a str, Crew>,
    /// Why nothing can be written there.
    unwritable: Option<String>,
}

fn members(means: &Means, ground: &Ground, live: &Live, told: &Told<'_>, heard: &mut Heard) {
    let name = &live.sent.name;
    if means.dialect.is_some() && live.sent.batch.is_none() && unnamed(live, &told.records, told.queue, heard) {
        return;
    }
    let records = told.records.get(name.as_str());
    // Once for all members: an array has thousands.
    let queueing = Queueing::of(told.queue, live.sent.batch.as_ref(), told.ahead);
    for (member, index) in live.members.iter().zip(1u32..) {
        if member.over {
            continue;
        }
        let record = records.and_then(|records| records.get(&index).copied());
        // Asked for of those alone that are missing.
        let path = (member.missing > 0).then(|| log_of(&ground.submission(name), live, index));
        let read = path.and_then(|path| told.logs.get(path.as_str()).copied());
        let read = read.map(|bytes| last_words(&String::from_utf8_lossy(bytes)));
        let (log, words) = match (&means.dialect, read) {
            (None, _) => (Log::None, None),
            (Some(_), None) => (Log::Unread, None),
            (Some(_), Some(words)) => (Log::Read(words.as_ref().map(|words| words.class)), words),
        };
        let known = Witnesses {
            log,
            words,
            means,
            live,
            member,
            record,
            queue: told.queue,
            queueing: &queueing,
            endings: told.endings,
            past: told.past,
            gone: told.gone.contains(name.as_str()),
            crew: told.crews.get(name.as_str()).copied(),
            unwritable: told.unwritable.as_deref(),
        };
        let news = known.judge(index).filter(|news| !member.is_known(news));
        heard.members.extend(news.map(|news| (name.clone(), index, news)));
    }
}

/// Looks for a submission whose id was never heard: in the queue by its name, else by its members' records. Returns whether there
/// is nothing more to be said of it now.
fn unnamed(live: &Live, records: &Records<'_>, queue: Option<&Queue>, heard: &mut Heard) -> bool {
    let name = &live.sent.name;
    let Some(queue) = queue else { return false };
    if let Some(job) = queue.named(name).next() {
        heard.found.push((name.clone(), Some(job.id.clone())));
        return true;
    }
    let trace = |member: &Member| member.started.is_some() || member.over;
    if live.members.iter().any(trace) || records.contains_key(name.as_str()) {
        return false;
    }
    if live.members.iter().all(|member| member.missing >= NEVER_SENT) {
        heard.never_sent.push(name.clone());
    } else {
        let missing = (1u32..).zip(&live.members).map(|(index, _)| (name.clone(), index, MemberNews::Missing));
        heard.members.extend(missing);
    }
    true
}

/// Everything that was told of a member.
struct Witnesses<'a> {
    log: Log,
    /// What the batch system wrote of its end.
    words: Option<LastWords>,
    means: &'a Means,
    live: &'a Live,
    member: &'a Member,
    record: Option<&'a Record>,
    queue: Option<&'a Queue>,
    queueing: &'a Queueing,
    endings: &'a Endings<'a>,
    /// Whether the history answered.
    past: bool,
    /// Its submission's directory is not there, or has nothing in it that runs it.
    gone: bool,
    /// How those are who run it, where there is no batch system.
    crew: Option<Crew>,
    /// Why nothing can be written there.
    unwritable: Option<&'a str>,
}

impl<'a> Witnesses<'a> {
    fn own(&self) -> Own<'a> {
        match self.record.map(|record| &record.stage) {
            Some(At::Ended(ended)) => Own::Ended(ended),
            Some(At::Started) => Own::Started,
            None if self.member.started.is_some() => Own::Started,
            None => Own::Missing,
        }
    }

    fn judge(&self, index: u32) -> Option<MemberNews> {
        let own = self.own();
        let id = self.live.sent.batch.as_ref();
        let unknown = |why: &str| CouldNotAsk { why: why.to_owned() };
        let queue = match (self.queue, id) {
            (Some(queue), Some(id)) => queue.member(id, index).map_or(Answer::Gone, Answer::Is),
            _ => Answer::Unknown(unknown("the queue was not told")),
        };
        let ending = id.and_then(|id| {
            let of = |member: Option<u32>| self.endings.get(&(id.as_str(), member)).copied();
            of(Some(index)).or_else(|| of(None))
        });
        let evidence = Evidence {
            own,
            queue,
            history: match (ending, self.means.dialect.as_ref().map(|dialect| dialect.history)) {
                (Some(ending), _) => Answer::Is(ending),
                // Not asked yet, or behind.
                (None, Some(History::Kept)) => Answer::Gone,
                (None, _) => Answer::Unknown(unknown("there is no history")),
            },
            log: self.log,
            asked: self.asked(),
            cancel: if self.member.stopping { Cancel::Asked } else { Cancel::No },
            patience: if self.member.missing >= MISSING { Patience::Spent } else { Patience::Left },
            routing: match &self.means.dialect {
                Some(dialect) if dialect.hands_on => Routing::HandedOn,
                _ => Routing::Direct,
            },
            hearing: self.hearing(),
        };
        if self.means.dialect.is_none() && !matches!(own, Own::Ended(_)) {
            return Some(self.alone());
        }
        let verdict = match judge(&evidence).verdict {
            // Without its directory the wrapper fails, and the batch system knows of no more than that.
            Verdict::Over { outcome: Outcome::Exit { .. } | Outcome::Spawn { .. } | Outcome::Stage { .. }, .. }
            | Verdict::Lost(_)
                if self.gone && !matches!(own, Own::Ended(_)) =>
            {
                Verdict::Over { outcome: Outcome::Stage { message: REMOVED.to_owned() }, note: None }
            }
            verdict => verdict,
        };
        self.news(verdict, ending)
    }

    /// Grid Engine alone keeps nothing of a job that is deleted while it waits. Elsewhere one that the history does not know was taken out
    /// of that too, and nobody knows what else happened; but for one that no queue took behind the one that hands on.
    fn hearing(&self) -> Hearing {
        let forgets = |dialect: &Dialect| dialect.flavour == Flavour::Sge || dialect.hands_on;
        let forgets = self.means.dialect.as_ref().is_some_and(forgets);
        let is_long = || self.member.missed.is_some_and(|at| clock::now().since(at) >= BEHIND);
        match self.member.missing {
            _ if !self.past || !forgets => Hearing::Silent,
            MISSED.. if is_long() => Hearing::ToldLong,
            _ => Hearing::Told,
        }
    }

    /// Without a batch system, and without a record of its end: whether anything of it runs says the rest.
    fn alone(&self) -> MemberNews {
        let started = self.member_started();
        if self.crew == Some(Crew::Alive) || self.crew.is_none() && !self.gone {
            return started.map_or(MemberNews::Waiting(Queueing::default()), MemberNews::Running);
        }
        if self.member.missing < MISSING {
            return MemberNews::Missing;
        }
        let over =
            |outcome, note: Option<&str>| self.over(outcome, note.map(str::to_owned).into_iter().collect(), None);
        if self.gone {
            return over(Outcome::Stage { message: REMOVED.to_owned() }, None);
        }
        match (started, self.crew) {
            // Not before it began: then it is tried again, but not for ever.
            (None, Some(Crew::Dead)) => {
                let full =
                    |why: &str| format!("it could not begin: nothing can be written to its job directory: {why}");
                over(Outcome::Spawn { message: self.unwritable.map_or(ENDED.to_owned(), full) }, None)
            }
            (_, Some(Crew::Rebooted)) => over(Outcome::NodeFail, Some("the machine was started anew under it")),
            _ => over(Outcome::NodeFail, Some(ENDED)),
        }
    }

    fn asked(&self) -> AskedFor {
        let Some(grant) = self.member.grant else { return AskedFor::default() };
        AskedFor { mem: grant.is_limited().then_some(grant.mem), time: grant.time }
    }

    fn member_started(&self) -> Option<Timestamp> {
        self.record.map(|record| record.started).or(self.member.started)
    }

    fn news(&self, verdict: Verdict, ending: Option<&Ending>) -> Option<MemberNews> {
        let started = self.member_started();
        match verdict {
            Verdict::Live(QueueState::Waiting | QueueState::Held) => Some(MemberNews::Waiting(self.queueing.clone())),
            Verdict::Live(_) => Some(started.map_or(MemberNews::Waiting(Queueing::default()), MemberNews::Running)),
            Verdict::Over { outcome, note } => Some(self.over(outcome, note.into_iter().collect(), ending)),
            Verdict::Remove { outcome } => Some(MemberNews::Remove(outcome)),
            // Its record is asked for again, whatever its age.
            Verdict::AskAgain => Some(MemberNews::Missing),
            Verdict::Unreached(_) => started.map(MemberNews::Running),
            Verdict::Lost(why) => {
                let dialect = self.means.dialect.as_ref();
                Some(MemberNews::Lost(dialect.map_or(why, |dialect| lost(self.own(), dialect))))
            }
        }
    }

    fn over(&self, outcome: Outcome, mut notes: Vec<String>, ending: Option<&Ending>) -> MemberNews {
        if let (Own::Ended(own), Some(record)) = (self.own(), self.record) {
            let unexplained = matches!(outcome, Outcome::Exit { .. }).then(|| killed(own, &record.host));
            notes.extend(unexplained.flatten());
            if own.left > 0 {
                notes.push(format!("{} processes left behind were ended", own.left));
            }
            let dropped = own.dropped.0 + own.dropped.1;
            if dropped > 0 {
                notes.push(format!("{} of output dropped", Bytes(dropped)));
            }
            if own.unwritten {
                notes.push(UNWRITTEN.to_owned());
            }
            notes.extend(own.gone.as_deref().map(gone::without));
        }
        notes.extend(ending.and_then(deleted));
        if let Some(words) = &self.words {
            notes.push(format!("its log there says: {}", words.line));
        }
        if let Some(restarts) = self.record.map(|record| record.restarts).filter(|restarts| *restarts > 0) {
            let times = if restarts == 1 { "once".to_owned() } else { format!("{restarts} times") };
            notes.push(format!("the batch system started it again {times}"));
        }
        let used = used(self.own(), self.member_started(), ending, clock::now());
        MemberNews::Over { outcome, used: Used { allocation: allocation(self.record, ending), ..used }, notes }
    }
}
