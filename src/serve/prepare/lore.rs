//! What was learned of the commands of a plan, and where its files lie: read before a run is taken in, beside the engine's loop.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use crate::decide::engine::protocol::Verdict;
use crate::decide::learn::hosts::{Factor, ratios};
use crate::decide::learn::profile::Profile;
use crate::decide::learn::shipped::prior;
use crate::decide::outlook::known::{Known, Seen};
use crate::language::command::{Inputs, Signature, Token, TokenKey, commands, signature};
use crate::language::manifest::render;
use crate::model::data::{Brought, DATA, Replica};
use crate::model::diagnostic::Diagnostic;
use crate::model::host::HostName;
use crate::model::id::{InstanceId, PathId, TaskId};
use crate::model::job::Invocation;
use crate::model::plan::Plan;
use crate::model::resources::{Grant, Hold};
use crate::model::units::{Bytes, Timestamp};
use crate::reach::advice;
use crate::reach::config::StateDir;
use crate::reach::files::look::Root;
use crate::reach::index::{Index, IndexError};
use crate::reach::learned::{Entry, Extract, Learned, LearnedError, MOST_KIN, Mention, Place, class_of};

/// Commands of a plan that are looked up at most: of more, the rest is taken as it is written.
const MOST_COMMANDS: usize = 500;
/// Similar commands that are kept of one.
const MOST_SIMILAR: usize = 3;
/// Hosts that a command is looked up for by itself, for one decision.
const MOST_CLASSES: usize = 500;
/// Commands that two classes of hosts are compared by at most.
const MOST_COMPARED: usize = 8;

/// What was learned of a plan's commands.
#[derive(Clone, Debug, Default)]
pub struct Lore {
    /// Per task; none where nothing is known.
    pub of_task: Vec<Option<Arc<Known>>>,
    /// Whether something can be learned of any task.
    pub is_learnable: bool,
    /// The classes of the hosts.
    pub classes: BTreeMap<HostName, Token>,
    /// What could not be read, and what tells what helps.
    pub trouble: Option<Diagnostic>,
}

impl Lore {
    /// Returns whether anything is known, or will be.
    pub fn is_of_use(&self) -> bool {
        self.is_learnable
    }
}

/// Where a file lies, and how large it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lying {
    /// The file.
    pub path: PathId,
    /// Its size.
    pub bytes: u64,
    /// The hosts that have it.
    pub hosts: Vec<HostName>,
}

/// Returns the passphrase of what was learned, where it is kept under one.
pub fn passphrase() -> Option<String> {
    std::env::var("CSYNC_LEARNED_PASSPHRASE").ok()
}

/// Returns what the command of an instance is like; none where it is nothing to learn of.
pub fn signature_of(plan: &Plan, instance: InstanceId, key: &TokenKey) -> Option<Signature> {
    // What a command is granted stands among its values, which do not matter here.
    let grant = Grant { cpus: 1, mem: Bytes::gib(1), hold: Hold::Nothing, time: None, gpus: 0 };
    let lines = match render(plan, instance, &grant, 1).invocation {
        Invocation::Script(script) => commands(&script),
        Invocation::Argv(words) => vec![words],
    };
    let inputs: Vec<&str> = plan.inputs(instance).iter().map(|path| plan.path(*path)).collect();
    signature(&lines, &inputs, key)
}

/// Reads what is known of the tasks that a run has something to do of, for this machine and `hosts`. What cannot be read is not
/// known: advice is no reason to refuse a run.
pub async fn lore(state: &StateDir, plan: &Plan, verdicts: &[Verdict], hosts: &[HostName], now: Timestamp) -> Lore {
    let mut lore = Lore { of_task: vec![None; plan.tasks.len()], ..Lore::default() };
    let place = Place::of(state);
    if !place.path.exists() {
        return cold(plan, verdicts, lore);
    }
    let read = match Learned::open(&place, passphrase().as_deref(), now).await {
        Ok(mut learned) => {
            let read = read(&mut learned, plan, verdicts, hosts, &mut lore).await;
            lore.trouble = Some(learned.unreadable()).filter(|count| *count > 0).map(damaged);
            learned.close().await;
            read
        }
        Err(error) => Err(error),
    };
    if let Err(error) = read {
        tracing::warn!(%error, "what was learned is of no use to this run");
        let trouble = Some(trouble(format!("what was learned is of no use to this run: {error}")));
        return cold(plan, verdicts, Lore { of_task: vec![None; plan.tasks.len()], trouble, ..Lore::default() });
    }
    lore
}

fn damaged(records: u32) -> Diagnostic {
    let are = if records == 1 { "1 record is".to_owned() } else { format!("{records} records are") };
    trouble(format!("{are} damaged of what was learned, and left out"))
}

fn trouble(message: String) -> Diagnostic {
    Diagnostic::warning(None, message).help("`csync doctor` says what helps; runs go on without it")
}

/// What is shipped, where nothing was learned yet.
fn cold(plan: &Plan, verdicts: &[Verdict], lore: Lore) -> Lore {
    let (key, mut lore) = (TokenKey::new([0; 32]), lore);
    for (task, first) in first_of_each(plan, verdicts) {
        let Some(signature) = signature_of(plan, first, &key) else { continue };
        lore.is_learnable = true;
        let known = Known { prior: prior(&signature), ..Known::default() };
        if let Some(slot) = lore.of_task.get_mut(task.index()).filter(|_| !known.is_empty()) {
            *slot = Some(Arc::new(known));
        }
    }
    lore
}

async fn read(
    learned: &mut Learned,
    plan: &Plan,
    verdicts: &[Verdict],
    hosts: &[HostName],
    lore: &mut Lore,
) -> Result<(), LearnedError> {
    let key = learned.tokens().clone();
    let local = HostName::local();
    for host in hosts.iter().chain([&local]) {
        lore.classes.insert(host.clone(), class_of(host.as_str(), &key));
    }
    // By where they lie in memory: one that is shared lies in one place.
    let mut by_command: HashMap<usize, Option<Arc<Known>>> = HashMap::new();
    let mut by_signature: HashMap<Signature, Option<Arc<Known>>> = HashMap::new();
    for (task, first) in first_of_each(plan, verdicts) {
        // Commands without files of their own are alike wherever they stand.
        let shared = Arc::as_ptr(&plan.task(task).command).addr();
        let known = if let Some(known) = by_command.get(&shared) {
            known.clone()
        } else {
            let Some(signature) = signature_of(plan, first, &key) else { continue };
            lore.is_learnable = true;
            let known = match by_signature.get(&signature) {
                Some(known) => known.clone(),
                None => known_of(learned, &signature).await?.map(Arc::new),
            };
            by_signature.insert(signature, known.clone());
            if plan.inputs(first).is_empty() {
                by_command.insert(shared, known.clone());
            }
            known
        };
        if let Some(slot) = lore.of_task.get_mut(task.index()) {
            *slot = known;
        }
    }
    if hosts.iter().any(|host| !host.is_local()) && lore.of_task.iter().any(Option::is_some) {
        compare(learned, lore).await?;
    }
    Ok(())
}

/// Returns the first instance that may run of each of the first tasks.
fn first_of_each<'p>(plan: &'p Plan, verdicts: &'p [Verdict]) -> impl Iterator<Item = (TaskId, InstanceId)> + 'p {
    let runs = |instance: &InstanceId| {
        verdicts.get(instance.index()).is_none_or(|verdict| matches!(verdict, Verdict::Stale | Verdict::Check))
    };
    let tasks = (0..plan.tasks.len() as u32).map(TaskId);
    tasks.filter_map(move |task| Some((task, plan.instances_of(task).find(runs)?))).take(MOST_COMMANDS)
}

/// Reads what is known of a command.
pub async fn known_of(learned: &mut Learned, signature: &Signature) -> Result<Option<Known>, LearnedError> {
    let known = Known { prior: prior(signature), ..known(signature, learned.likes(signature).await?) };
    Ok((!known.is_empty()).then_some(known))
}

/// Sorts what was learned of a command and of those like it.
fn known(signature: &Signature, entries: Vec<Entry>) -> Known {
    let (own, mut similar): (Vec<Entry>, Vec<Entry>) =
        entries.into_iter().partition(|entry| entry.signature == *signature);
    similar.sort_by_key(|entry| likeness(signature, &entry.signature.inputs, entry.magnitude()));
    let seen = own.into_iter().map(|entry| Seen { class: entry.class, profile: entry.profile, scale: Vec::new() });
    Known {
        seen: seen.collect(),
        similar: similar.into_iter().take(MOST_SIMILAR).map(|entry| entry.profile).collect(),
        prior: None,
    }
}

/// Orders what is like a command: that with inputs of the same kinds first, then that of which most was seen.
fn likeness(signature: &Signature, inputs: &Inputs, magnitude: u32) -> (bool, Reverse<u32>) {
    (*inputs != signature.inputs, Reverse(magnitude))
}

/// Finds out how many times longer the classes of the hosts take than those that something was learned on, by all that ran on
/// both.
async fn compare(learned: &mut Learned, lore: &mut Lore) -> Result<(), LearnedError> {
    let mut pairs = Pairs::of(learned.all().await?);
    let classes: Vec<Token> = lore.classes.values().copied().collect();
    for known in lore.of_task.iter_mut().flatten() {
        pairs.scale(Arc::make_mut(known), &classes);
    }
    Ok(())
}

/// What ran on several classes of hosts, by which those compare.
#[derive(Debug, Default)]
struct Pairs {
    by_signature: BTreeMap<Signature, Vec<(Token, Profile)>>,
    factors: HashMap<(Token, Token), Factor>,
}

impl Pairs {
    fn of(entries: Vec<Entry>) -> Self {
        let mut pairs = Self::default();
        for entry in entries {
            pairs.by_signature.entry(entry.signature).or_default().push((entry.class, entry.profile));
        }
        pairs.by_signature.retain(|_, of| of.len() > 1);
        pairs
    }

    /// Takes of the entries those that compare anything: the rest is not copied.
    fn of_some(entries: &[Entry]) -> Self {
        let mut classes: HashMap<&Signature, u32> = HashMap::new();
        for entry in entries {
            *classes.entry(&entry.signature).or_default() += 1;
        }
        let several = |entry: &&Entry| classes.get(&entry.signature).is_some_and(|count| *count > 1);
        Self::of(entries.iter().filter(several).cloned().collect())
    }

    /// Returns how many times longer one class takes than another.
    fn factor(&mut self, class: Token, than: Token) -> Factor {
        let by_signature = &self.by_signature;
        *self.factors.entry((class, than)).or_insert_with(|| {
            let both = by_signature.values().filter_map(|of| {
                let on = |wanted| of.iter().find(|(class, _)| *class == wanted).map(|(_, profile)| profile);
                Some((on(class)?, on(than)?))
            });
            Factor::of(both.take(MOST_COMPARED).flat_map(|(here, there)| ratios(here, there)).collect())
        })
    }

    fn scale(&mut self, known: &mut Known, classes: &[Token]) {
        if self.by_signature.is_empty() {
            return;
        }
        for seen in &mut known.seen {
            for &class in classes.iter().filter(|class| **class != seen.class) {
                let factor = self.factor(class, seen.class);
                if factor != Factor::UNKNOWN {
                    seen.scale.push((class, factor));
                }
            }
        }
    }
}

/// What was learned of one command, for one decision.
#[derive(Debug)]
pub struct Command {
    /// What was learned, without what is shipped of the program.
    pub known: Known,
    /// The classes of the hosts.
    pub classes: BTreeMap<HostName, Token>,
}

/// What was learned, open to be asked about one command.
#[derive(Debug)]
pub struct Lookup {
    learned: Learned,
}

impl Lookup {
    /// Opens what was learned; none where nothing was.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn open(state: &StateDir, now: Timestamp) -> Result<Option<Self>, LearnedError> {
        let place = Place::of(state);
        if !place.path.exists() {
            return Ok(None);
        }
        let learned = Learned::open(&place, passphrase().as_deref(), now).await?;
        Ok(Some(Self { learned }))
    }

    /// Reads what is known of a command, and how the hosts compare by commands like it; none where nothing is.
    ///
    /// # Errors
    /// When what was learned cannot be read.
    pub async fn command(
        &mut self,
        lines: &[Vec<String>],
        inputs: &[&str],
        hosts: &[HostName],
    ) -> Result<Option<Command>, LearnedError> {
        let key = self.learned.tokens().clone();
        let Some(signature) = signature(lines, inputs, &key) else { return Ok(None) };
        let classes = classes(hosts, &key);
        let asked: Vec<Token> = asked(&classes).collect();
        let mut entries = self.learned.get_on(&signature, &asked).await?;
        entries.extend(self.learned.some_likes(&signature, MOST_KIN).await?);
        let mut met = HashSet::new();
        entries.retain(|entry| met.insert((entry.signature.clone(), entry.class)));
        Ok(command_of(&signature, classes, entries))
    }

    /// Closes it.
    pub async fn close(self) {
        self.learned.close().await;
    }
}

/// What was learned, as the index that hooks read has it: nothing is opened that takes a thread, and one command is looked up in
/// a tenth of the time.
#[derive(Debug)]
pub struct Digested {
    extract: Extract,
    index: Index,
}

impl Digested {
    /// Opens the index; none where there is none, where it has not all that was learned, and where a passphrase keeps it shut:
    /// then [`Lookup`] tells, also what is wrong.
    pub fn open(state: &StateDir) -> Option<Self> {
        let place = Place::of(state);
        let index = Index::open(&advice::path(state.root())).ok()?;
        let extract = Extract::open(&place)?;
        extract.is_all(&index, &place).then_some(Self { extract, index })
    }

    /// Returns the classes of hosts.
    pub fn classes(&self, hosts: &[HostName]) -> BTreeMap<HostName, Token> {
        classes(hosts, self.extract.tokens())
    }

    /// Reads which commands of the same programs are known: nothing has to be known for that of a command's inputs and hosts.
    ///
    /// # Errors
    /// Where the index is damaged there.
    pub fn kindred(&self, lines: &[Vec<String>]) -> Result<Vec<Mention>, IndexError> {
        let Some(signature) = signature(lines, &[], self.extract.tokens()) else { return Ok(Vec::new()) };
        self.extract.kindred(&self.index, &signature).ok_or(IndexError::Damaged)
    }

    /// Says of a command on hosts of these classes what [`Lookup::command`] says of it.
    ///
    /// # Errors
    /// Where the index is damaged there.
    pub fn command(
        &self,
        lines: &[Vec<String>],
        inputs: &[&str],
        classes: BTreeMap<HostName, Token>,
        kindred: &[Mention],
    ) -> Result<Option<Command>, IndexError> {
        let Some(signature) = signature(lines, inputs, self.extract.tokens()) else { return Ok(None) };
        let asked: HashSet<Token> = asked(&classes).collect();
        let mut mentions = self.extract.on_classes(&self.index, &signature, &asked).ok_or(IndexError::Damaged)?;
        mentions.extend_from_slice(kindred);
        let entry = |mention| self.extract.entry(&self.index, mention).ok_or(IndexError::Damaged);
        let of = signature.token(self.extract.tokens());
        let entries = needed(&signature, of, &mentions).into_iter().map(entry).collect::<Result<_, _>>()?;
        Ok(command_of(&signature, classes, entries))
    }
}

/// Returns those of what is known of a command and of those like it that [`command_of`] comes to its answer by: the command itself,
/// the most alike, and what ran on several classes of hosts, by which these compare.
fn needed<'m>(signature: &Signature, of: Token, mentions: &'m [Mention]) -> Vec<&'m Mention> {
    let mut met = HashSet::new();
    let mentions: Vec<&Mention> = mentions.iter().filter(|it| met.insert((it.of, it.class))).collect();
    let mut classes: HashMap<Token, u32> = HashMap::new();
    for mention in &mentions {
        *classes.entry(mention.of).or_default() += 1;
    }
    let mut similar: Vec<&Mention> = mentions.iter().copied().filter(|it| it.of != of).collect();
    similar.sort_by_key(|it| likeness(signature, &it.inputs, it.magnitude));
    similar.truncate(MOST_SIMILAR);
    let compares = |it: &Mention| classes.get(&it.of).is_some_and(|count| *count > 1);
    let is_similar = |it: &Mention| similar.iter().any(|like| std::ptr::eq(*like, it));
    mentions.into_iter().filter(|it| it.of == of || compares(it) || is_similar(it)).collect()
}

fn classes(hosts: &[HostName], key: &TokenKey) -> BTreeMap<HostName, Token> {
    hosts.iter().map(|host| (host.clone(), class_of(host.as_str(), key))).collect()
}

/// For one decision: a command on as many hosts as are looked up in no time, this one among them.
fn asked(classes: &BTreeMap<HostName, Token>) -> impl Iterator<Item = Token> {
    let here = classes.get(&HostName::local()).into_iter();
    here.chain(classes.values().take(MOST_CLASSES)).copied()
}

/// Sorts what is known of a command, and compares the hosts by it and by commands like it.
fn command_of(signature: &Signature, classes: BTreeMap<HostName, Token>, entries: Vec<Entry>) -> Option<Command> {
    let mut pairs = Pairs::of_some(&entries);
    let mut known = known(signature, entries);
    if known.is_empty() {
        return None;
    }
    if known.seen.iter().any(|seen| classes.values().any(|class| *class != seen.class)) {
        let all: Vec<Token> = classes.values().copied().collect();
        pairs.scale(&mut known, &all);
    }
    Some(Command { known, classes })
}

/// Says where the files of a dataset lie that a path names: on the hosts that have all of them.
fn lying_of_dataset(path: PathId, text: &str, copies: &BTreeMap<&str, Vec<&Replica>>, root: &Root) -> Option<Lying> {
    let dir = format!("{text}/");
    let below = copies.range(&*dir..).take_while(|(name, _)| name.starts_with(&dir));
    let named = copies.get_key_value(text).into_iter().chain(below);
    let (mut bytes, mut files, mut on) = (0_u64, 0_usize, BTreeMap::<&HostName, usize>::new());
    for (_, of) in named {
        files += 1;
        bytes = bytes.saturating_add(of.iter().map(|copy| copy.size.0).max().unwrap_or(0));
        for copy in of {
            *on.entry(&copy.host).or_default() += 1;
        }
    }
    let mut hosts: Vec<HostName> =
        on.into_iter().filter(|(_, has)| *has == files).map(|(host, _)| host.clone()).collect();
    let here = root.look(text).ok().flatten();
    let whole = here.filter(|here| files == 0 || here.size == bytes);
    hosts.extend(whole.map(|_| HostName::local()));
    let bytes = if files > 0 { bytes } else { here?.size };
    Some(Lying { path, bytes, hosts })
}

/// Looks where the files that tasks read lie, and how large they are: here, where earlier tasks left them, and where they were brought
/// and are as they are here.
pub fn lying(plan: &Plan, replicas: &[Replica], brought: &[Brought]) -> Vec<Lying> {
    let Ok(root) = Root::open(Path::new(&plan.root)) else { return Vec::new() };
    let mut copies: BTreeMap<&str, Vec<&Replica>> = BTreeMap::new();
    for replica in replicas {
        copies.entry(&replica.path).or_default().push(replica);
    }
    let mut taken: HashMap<&str, Vec<&Brought>> = HashMap::new();
    for one in brought {
        taken.entry(&one.path).or_default().push(one);
    }
    let mut wanted: Vec<PathId> = plan.instance_ids().flat_map(|instance| plan.inputs(instance)).copied().collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut all = Vec::new();
    for path in wanted {
        let text = plan.path(path);
        if text.starts_with(DATA) {
            all.extend(lying_of_dataset(path, text, &copies, &root));
            continue;
        }
        let here = root.look(text).ok().flatten();
        let there = copies.get(text).into_iter().flatten();
        let mut hosts: Vec<HostName> = there.clone().map(|copy| copy.host.clone()).collect();
        hosts.extend(here.map(|_| HostName::local()));
        let taken = taken.get(text).into_iter().flatten();
        hosts.extend(taken.filter(|one| here.is_some_and(|print| one.is(&print))).map(|one| one.host.clone()));
        let bytes = here.map(|print| print.size).or_else(|| there.map(|copy| copy.size.0).max());
        all.extend(bytes.map(|bytes| Lying { path, bytes, hosts }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::learn::summary::Summary;
    use crate::model::observation::Observation;

    /// A command of a kind, on a host, seen so often; kinds of another ten have other inputs.
    fn entry(kind: u64, host: &str, times: u64, key: &TokenKey) -> Entry {
        let line = ["samtools".to_owned(), "sort".to_owned(), format!("--kind{}", kind % 10), "in.bam".to_owned()];
        let inputs: &[&str] = if kind < 10 { &["in.bam"] } else { &[] };
        let mut summary = Summary::default();
        for id in 0..times {
            let wall = 60.0 + (kind * 7 + id * 3 + host.len() as u64) as f32;
            let seen =
                Observation { id: id + 1, at: id as u32, input: 1e6, memory: 2e9, wall, ..Observation::default() };
            summary.add(1, seen);
        }
        let signature = signature(&[line.to_vec()], inputs, key).expect("it is a command");
        Entry { signature, class: class_of(host, key), profile: Profile::of(summary) }
    }

    #[test]
    fn what_is_not_looked_up_makes_no_difference() {
        let key = TokenKey::new([7; 32]);
        let hosts: Vec<HostName> = ["one", "two", "three"].map(|name| name.parse().expect("a name")).to_vec();
        let mention = |entry: &Entry| Mention {
            of: entry.signature.token(&key),
            class: entry.class,
            inputs: entry.signature.inputs.clone(),
            magnitude: entry.magnitude(),
        };
        let mut fewer = 0;
        for seed in 0..10_u64 {
            let on = |kind: u64| match (kind * 31 + seed * 17) % 9 {
                0 => &["one", "two"][..],
                1 => &["two", "elsewhere"],
                2 | 3 if seed % 2 == 0 => &["one", "two", "three"],
                _ => &["one"],
            };
            let all: Vec<Entry> = (0..20)
                .flat_map(|kind| on(kind).iter().map(move |host| (kind, *host)))
                .map(|(kind, host)| entry(kind, host, (kind * 13 + seed * 5) % 23 + 1, &key))
                .collect();
            for asked in [0, 3, 12, 40] {
                let signature = entry(asked, "one", 1, &key).signature;
                let mentions: Vec<Mention> = all.iter().map(mention).collect();
                let needed = needed(&signature, signature.token(&key), &mentions);
                let some = all.iter().filter(|entry| needed.contains(&&mention(entry))).cloned().collect::<Vec<_>>();
                fewer += all.len() - some.len();
                let told = |entries| {
                    let command = command_of(&signature, classes(&hosts, &key), entries).expect("something is known");
                    (command.known, command.classes)
                };
                assert_eq!(told(some), told(all.clone()), "{asked} of {seed}");
            }
        }
        assert!(fewer > 250, "all is looked up: {fewer}");
    }
}
