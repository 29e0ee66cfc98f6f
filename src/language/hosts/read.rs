//! From the text of `hosts.toml` or a site file to what it says, with every mistake.

use std::fmt::Display;
use std::str::FromStr;

use crate::language::document::{KeySet, Kind, Mistakes, NodeId, Reading, Tree, did_you_mean, parse};
use crate::language::hosts::keys::{
    HostKey, InternetKey, LinkKey, PartitionKey, PolicyKey, RootKey, SimulatedKey, SiteKey, meant,
};
use crate::language::hosts::setting::{PartitionSetting, Said, Setting};
use crate::language::hosts::site::{Pattern, SiteFile};
use crate::model::diagnostic::{Diagnostic, Span};
use crate::model::host::{Agents, Batch, ContainerRuntime, HostName, HostPath, Link, Links, LoginNode, Simulated};
use crate::model::units::{Bytes, Price, Walltime};

/// What `hosts.toml` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostsFile {
    /// The hosts, in the order of the file.
    pub hosts: Vec<Entry>,
    /// The links.
    pub links: Links,
}

/// What `hosts.toml` says of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: HostName,
    /// What is said.
    pub said: Vec<Said>,
}

/// Reads `hosts.toml`; `sites` are the names of the site files that there are. Returns what could be read, and every mistake
/// found; errors among them refuse the file.
pub fn read(text: &str, sites: &[&str]) -> (HostsFile, Vec<Diagnostic>) {
    let mut mistakes = Mistakes::default();
    let tree = parse(text, &mut mistakes);
    let mut reader = Reader { tree: &tree, mistakes, lines: line_starts(text), sites, said: Vec::new() };
    let file = reader.root();
    (file, reader.mistakes.finish())
}

/// Reads a site file.
pub fn read_site(name: &str, text: &str) -> (SiteFile, Vec<Diagnostic>) {
    let mut mistakes = Mistakes::default();
    let tree = parse(text, &mut mistakes);
    let mut reader = Reader { tree: &tree, mistakes, lines: line_starts(text), sites: &[], said: Vec::new() };
    let site = reader.site_file(name);
    (site, reader.mistakes.finish())
}

/// Returns where lines begin.
fn line_starts(text: &str) -> Vec<u32> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at as u32 + 1)).collect()
}

struct Reader<'a, 't> {
    tree: &'a Tree<'t>,
    mistakes: Mistakes,
    lines: Vec<u32>,
    sites: &'a [&'a str],
    /// What is said of the host that is being read.
    said: Vec<Said>,
}

impl<'a, 't> Reading<'a, 't> for Reader<'a, 't> {
    fn tree(&self) -> &'a Tree<'t> {
        self.tree
    }

    fn mistakes(&mut self) -> &mut Mistakes {
        &mut self.mistakes
    }

    fn meant(key: &str, known: &[&'static str]) -> Option<String> {
        meant(key, known)
    }
}

/// The keys of a site file.
#[derive(Clone, Copy)]
enum InSite {
    Site(SiteKey),
    Host(HostKey),
}

impl KeySet for InSite {
    fn texts() -> Vec<&'static str> {
        let of_hosts = HostKey::texts().into_iter().filter(|key| !matches!(*key, "ssh" | "site" | "simulated"));
        SiteKey::texts().into_iter().chain(of_hosts).collect()
    }

    fn of(text: &str) -> Option<Self> {
        SiteKey::find(text).map(Self::Site).or_else(|| HostKey::find(text).map(Self::Host))
    }
}

impl Reader<'_, '_> {
    fn root(&mut self) -> HostsFile {
        let mut file = HostsFile::default();
        let mut links = None;
        self.keys::<RootKey>(Tree::ROOT, "hosts.toml", |reader, key, id| match key {
            RootKey::Hosts => file.hosts = reader.hosts(id),
            RootKey::Links => links = Some(id),
        });
        // Links name hosts that may stand behind them in the file.
        if let Some(links) = links {
            file.links = self.links(links, &file.hosts);
        }
        file
    }

    fn hosts(&mut self, id: NodeId) -> Vec<Entry> {
        let tree = self.tree;
        if tree.kind(id) != Kind::Table {
            self.wrong(id, "hosts", "a table");
            self.help_last("write `[hosts.NAME]` and under it what holds for the host");
            return Vec::new();
        }
        let mut hosts = Vec::new();
        for child in tree.children(id) {
            let text = tree.key(child);
            let name = match text.parse::<HostName>() {
                Ok(name) => Some(name),
                Err(error) => {
                    let help = "give it a plain name; `ssh = \"...\"` says what ssh_config calls it";
                    self.error(tree.key_span(child), error.to_string(), help);
                    None
                }
            };
            let table = format!("`hosts.{}`", text.escape_debug());
            let local = name.as_ref().is_some_and(HostName::is_local);
            self.keys::<HostKey>(child, &table, |reader, key, id| {
                if local && matches!(key, HostKey::Ssh | HostKey::TransferOnly | HostKey::Simulated) {
                    let message = format!("`local` is this machine: `{}` says nothing about it", key.text());
                    return reader.error(tree.key_span(id), message, "give the other machine another name");
                }
                reader.host_key(key, id);
            });
            let said = std::mem::take(&mut self.said);
            hosts.extend(name.map(|name| Entry { name, said }));
        }
        hosts
    }

    fn site_file(&mut self, name: &str) -> SiteFile {
        let mut site = SiteFile { name: name.to_owned(), ..SiteFile::default() };
        let tree = self.tree;
        self.keys::<InSite>(Tree::ROOT, "a site file", |reader, key, id| match key {
            InSite::Site(SiteKey::Description) => {
                site.description = reader.string(id, "description").map(str::to_owned);
            }
            InSite::Site(SiteKey::Hosts) => site.hosts = reader.patterns(id),
            InSite::Host(key @ (HostKey::Ssh | HostKey::Site | HostKey::Simulated)) => {
                let message = format!("`{}` is said of one host, and a site file is for all of a site", key.text());
                reader.error(tree.key_span(id), message, "write it in hosts.toml");
            }
            InSite::Host(key) => reader.host_key(key, id),
        });
        site.said = std::mem::take(&mut self.said);
        site
    }

    fn patterns(&mut self, id: NodeId) -> Vec<Pattern> {
        let mut patterns = Vec::new();
        for (id, text) in self.strings(id, "hosts", true) {
            match text.parse() {
                Ok(pattern) => patterns.push(pattern),
                Err(why) => {
                    let help = "write an address such as `login*.example.org`, where `*` is anything";
                    self.error(self.tree.span(id), format!("`{}` is no address: {why}", text.escape_debug()), help);
                }
            }
        }
        patterns
    }

    fn line(&self, span: Span) -> u32 {
        self.lines.partition_point(|&start| start <= span.start) as u32
    }

    /// Keeps what a key says.
    fn say(&mut self, id: NodeId, setting: Setting) {
        let line = self.line(self.tree.key_span(id));
        self.said.push(Said { setting, line });
    }

    fn host_key(&mut self, key: HostKey, id: NodeId) {
        let name = key.text();
        let count = |reader: &mut Self| reader.integer(id, name, 1, i64::from(u32::MAX)).map(|count| count as u32);
        let setting = match key {
            HostKey::Ssh => self.parsed(id, name, "write what stands behind `Host` in ~/.ssh/config").map(Setting::Ssh),
            HostKey::Site => self.site(id).map(Setting::Site),
            HostKey::Batch => self.batch(id).map(Setting::Batch),
            HostKey::Scratch => self.parsed::<HostPath>(id, name, "write `/scratch/$USER/csync`").map(Setting::Scratch),
            HostKey::Tags => Some(Setting::Tags(self.words(id, name, "tag"))),
            HostKey::Account => self.word(id, name).map(Setting::Account),
            HostKey::MaxJobs => count(self).map(Setting::MaxJobs),
            HostKey::Rate => self.rate(id).map(Setting::Rate),
            HostKey::KeepAbove => self.amount(id, name, "a size such as \"500M\" or \"20G\"").map(Setting::KeepAbove),
            HostKey::Containers => Some(Setting::Containers(self.containers(id))),
            HostKey::Filesystems => Some(Setting::Filesystems(self.paths(id, name))),
            HostKey::TransferOnly => self.boolean(id, name).map(Setting::TransferOnly),
            HostKey::Simulated => Some(Setting::Simulated(self.simulated(id))),
            HostKey::Internet => return self.internet(id),
            HostKey::Policy => return self.policy(id),
            HostKey::Partitions => return self.partitions(id),
        };
        if let Some(setting) = setting {
            self.say(id, setting);
        }
    }

    /// Reads a string that has a type of its own.
    fn parsed<T: FromStr<Err: Display>>(&mut self, id: NodeId, key: &str, help: &str) -> Option<T> {
        let text = self.string(id, key)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.error(self.tree.span(id), error.to_string(), help);
                None
            }
        }
    }

    /// Reads an amount with a unit, whose mistakes say what is accepted.
    fn amount<T: FromStr<Err: Display>>(&mut self, id: NodeId, key: &str, accepted: &str) -> Option<T> {
        if self.tree.kind(id) != Kind::String {
            self.wrong(id, key, accepted);
            return None;
        }
        let text = self.string(id, key)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.mistakes.error(self.tree.span(id), error.to_string());
                None
            }
        }
    }

    /// Reads one of a few words.
    fn choice<T: Copy>(
        &mut self,
        id: NodeId,
        key: &str,
        all: &[(T, &'static str)],
        other: &[(&str, &str)],
    ) -> Option<T> {
        let text = self.string(id, key)?;
        let folded = text.to_ascii_lowercase();
        if let Some((value, _)) = all.iter().find(|(_, word)| *word == text) {
            return Some(*value);
        }
        let words = || all.iter().map(|(_, word)| *word);
        let help = match other.iter().find(|(word, _)| *word == folded) {
            Some((_, ours)) => format!("csync calls it `{ours}`"),
            None => did_you_mean(&folded, words()).unwrap_or_else(|| {
                format!("write {}", words().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or "))
            }),
        };
        self.error(self.tree.span(id), format!("`{}` is not what `{key}` can be", text.escape_debug()), help);
        None
    }

    fn batch(&mut self, id: NodeId) -> Option<Batch> {
        let other = [
            ("pbspro", "pbs"),
            ("openpbs", "pbs"),
            ("torque", "pbs"),
            ("gridengine", "sge"),
            ("grid engine", "sge"),
            ("uge", "sge"),
            ("sbatch", "slurm"),
            ("qsub", "pbs"),
            ("local", "none"),
            ("process", "none"),
            ("shell", "none"),
            ("fork", "none"),
        ];
        self.choice(id, "batch", &Batch::ALL, &other)
    }

    fn rate(&mut self, id: NodeId) -> Option<Price> {
        let Some(value) = self.tree.number(id) else {
            self.wrong(id, "rate", "a number such as `0.02`");
            return None;
        };
        let price = Price::of(value);
        if price.is_none() {
            self.mistakes.error(self.tree.span(id), "`rate` is a number from 0 to a billion");
        }
        price
    }

    fn site(&mut self, id: NodeId) -> Option<String> {
        let name = self.string(id, "site")?;
        if self.sites.contains(&name) {
            return Some(name.to_owned());
        }
        let help = did_you_mean(name, self.sites.iter().copied())
            .unwrap_or_else(|| format!("there are {}; your own lie in sites/ beside hosts.toml", listed(self.sites)));
        let message = format!("there is no site file `{}`", name.escape_debug());
        self.error(self.tree.span(id), message, help);
        None
    }

    /// Reads a text that becomes one argument of a batch system.
    fn word(&mut self, id: NodeId, key: &str) -> Option<String> {
        let text = self.string(id, key)?;
        if text.is_empty() || text.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
            let message = format!("`{}` is no {key}: it is empty or has blanks", text.escape_debug());
            self.mistakes.error(self.tree.span(id), message);
            return None;
        }
        Some(text.to_owned())
    }

    fn words(&mut self, id: NodeId, key: &str, what: &str) -> Vec<String> {
        let mut words = Vec::new();
        for (id, text) in self.strings(id, key, false) {
            let good = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | '_' | '-');
            if text.is_empty() || !text.chars().all(good) {
                let help = match text.strip_prefix("tag:") {
                    Some(rest) => format!("write `{rest}`: `tag:` stands in workflows alone"),
                    None => "letters, digits, `.`, `_` and `-`".to_owned(),
                };
                self.error(self.tree.span(id), format!("`{}` is no {what}", text.escape_debug()), help);
            } else {
                words.push(text.to_owned());
            }
        }
        words
    }

    fn containers(&mut self, id: NodeId) -> Vec<ContainerRuntime> {
        let others = [("sif", "apptainer"), ("moby", "docker")];
        let elements = self.strings(id, "containers", false);
        elements
            .into_iter()
            .filter_map(|(id, _)| self.choice(id, "containers", &ContainerRuntime::ALL, &others))
            .collect()
    }

    fn paths(&mut self, id: NodeId, key: &str) -> Vec<HostPath> {
        let elements = self.strings(id, key, false);
        elements.into_iter().filter_map(|(id, _)| self.parsed(id, key, "write `/home`")).collect()
    }

    fn internet(&mut self, id: NodeId) {
        let before = self.mistakes.errors();
        self.keys::<InternetKey>(id, "`internet`", |reader, key, id| {
            let Some(there) = reader.boolean(id, key.text()) else { return };
            let setting = match key {
                InternetKey::Login => Setting::InternetLogin(there),
                InternetKey::Compute => Setting::InternetCompute(there),
            };
            reader.say(id, setting);
        });
        if self.tree.kind(id) == Kind::Boolean && self.mistakes.errors() > before {
            self.help_last("write `internet = { login = true, compute = false }`");
        }
    }

    fn simulated(&mut self, id: NodeId) -> Simulated {
        let mut simulated = Simulated::default();
        let time = "a length of time such as `\"2s\"`";
        self.keys::<SimulatedKey>(id, "`simulated`", |reader, key, id| {
            let name = key.text();
            match key {
                SimulatedKey::Nodes => {
                    simulated.nodes = reader.integer(id, name, 1, 64).map_or(simulated.nodes, |nodes| nodes as u32);
                }
                SimulatedKey::Cores => {
                    simulated.cores = reader.integer(id, name, 1, 1024).map_or(simulated.cores, |cores| cores as u32);
                }
                SimulatedKey::Memory => {
                    simulated.memory = reader.amount(id, name, "an amount of memory").unwrap_or(simulated.memory);
                }
                SimulatedKey::Wait => simulated.wait = reader.amount(id, name, time).unwrap_or(simulated.wait),
                SimulatedKey::Minute => simulated.minute = reader.amount(id, name, time).unwrap_or(simulated.minute),
            }
        });
        simulated
    }

    fn policy(&mut self, id: NodeId) {
        self.keys::<PolicyKey>(id, "`policy`", |reader, key, id| {
            let name = key.text();
            let setting = match key {
                PolicyKey::LoginNode => reader.choice(id, name, &LoginNode::ALL, &[]).map(Setting::LoginNode),
                PolicyKey::Agents => {
                    let others = [("never", "deny"), ("always", "allow"), ("no", "deny"), ("yes", "allow")];
                    reader.choice(id, name, &Agents::ALL, &others).map(Setting::Agents)
                }
                PolicyKey::PollMin => {
                    let time = reader.amount::<Walltime>(id, name, "a length of time such as `\"15s\"`");
                    time.map(|time| Setting::PollMin(time.duration()))
                }
                PolicyKey::ConnectionsPerMinute => {
                    let most = reader.integer(id, name, 1, 1000);
                    most.map(|most| Setting::ConnectionsPerMinute(most as u32))
                }
                PolicyKey::AskInternet => reader.boolean(id, name).map(Setting::AskInternet),
            };
            if let Some(setting) = setting {
                reader.say(id, setting);
            }
        });
    }

    fn partitions(&mut self, id: NodeId) {
        let tree = self.tree;
        if tree.kind(id) != Kind::Table {
            self.wrong(id, "partitions", "a table");
            self.help_last("write `[hosts.NAME.partitions.gpu]` and under it `walltime = \"2-00:00:00\"`");
            return;
        }
        for child in tree.children(id) {
            let name = tree.key(child);
            let table = format!("`partitions.{}`", name.escape_debug());
            self.keys::<PartitionKey>(child, &table, |reader, key, id| {
                if let Some(setting) = reader.partition_key(key, id) {
                    reader.say(id, Setting::Partition(name.to_owned(), setting));
                }
            });
        }
    }

    fn partition_key(&mut self, key: PartitionKey, id: NodeId) -> Option<PartitionSetting> {
        let name = key.text();
        let time = "a length of time such as `\"2-00:00:00\"`";
        let most = i64::from(u32::MAX);
        Some(match key {
            PartitionKey::Walltime => PartitionSetting::Walltime(self.amount(id, name, time)?),
            PartitionKey::DefaultWalltime => PartitionSetting::DefaultWalltime(self.amount(id, name, time)?),
            PartitionKey::Memory => {
                PartitionSetting::Memory(self.amount::<Bytes>(id, name, "an amount of memory such as `\"256G\"`")?)
            }
            PartitionKey::Nodes => PartitionSetting::Nodes(self.integer(id, name, 1, most)? as u32),
            PartitionKey::Cores => PartitionSetting::Cores(self.integer(id, name, 1, most)? as u32),
            PartitionKey::Gpus => PartitionSetting::Gpus(self.integer(id, name, 0, most)? as u32),
        })
    }

    fn links(&mut self, id: NodeId, hosts: &[Entry]) -> Links {
        let tree = self.tree;
        let mut links = Links::new();
        if tree.kind(id) != Kind::Table {
            self.wrong(id, "links", "a table");
            return links;
        }
        for child in tree.children(id) {
            let pair = self.pair(child, hosts);
            let mut link = Link::default();
            let table = format!("`links.{}`", tree.key(child).escape_debug());
            self.keys::<LinkKey>(child, &table, |reader, key, id| match key {
                LinkKey::Direct => link.direct = reader.boolean(id, "direct").unwrap_or_default(),
                LinkKey::Agent => link.agent = reader.boolean(id, "agent").unwrap_or_default(),
            });
            link.direct |= link.agent;
            links.extend(pair.map(|pair| (pair, link)));
        }
        links
    }

    /// Reads `from-to`; names may hold `-` themselves, so that the hosts say where it is cut.
    fn pair(&mut self, id: NodeId, hosts: &[Entry]) -> Option<(HostName, HostName)> {
        let key = self.tree.key(id);
        let known = |name: &str| {
            let local = (name == HostName::LOCAL).then(HostName::local);
            local.or_else(|| hosts.iter().map(|entry| &entry.name).find(|known| known.as_str() == name).cloned())
        };
        let cuts = key.match_indices('-').map(|(at, _)| key.split_at(at));
        let mut pairs = cuts.filter_map(|(from, to)| Some((known(from)?, known(to.get(1..)?)?)));
        let found = pairs.next();
        let another = pairs.next().is_some();
        let span = self.tree.key_span(id);
        match found {
            Some((from, to)) if from == to => self.error(span, "a link from a host to itself", "remove it"),
            Some(_) if another => {
                self.error(span, format!("`{key}` can be read as two pairs of hosts"), "rename one of them");
            }
            Some(pair) => return Some(pair),
            None => {
                let help = "write `\"FROM-TO\" = { direct = true }` with the names of two hosts of this file";
                self.error(span, format!("`{}` names no two hosts", key.escape_debug()), help);
            }
        }
        None
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
