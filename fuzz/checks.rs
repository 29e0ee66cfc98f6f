//! What must hold for every input of the hook and for every line, however odd. A violation panics.

#![allow(dead_code, reason = "each target uses one of them")]

use std::sync::Arc;

use csync::decide::advise::{Facts, Found, HostFacts, Learned, Mode, PartitionFacts, Replica, Verdict, Way, advise};
use csync::language::hook::{Agent, Event, Moment, Reply, Rules, read, render};
use csync::language::shell;
use csync::model::batch::Flavour;
use csync::model::units::{Bytes, Walltime};
use serde_json::Value;

/// A world in which there is something to say to everything.
struct Everything;

impl Facts for Everything {
    fn host(&self, name: &str) -> Option<Found> {
        let light = !name.ends_with(|last: char| last.is_ascii_digit());
        let partition = PartitionFacts {
            name: "p".to_owned(),
            is_up: true,
            walltime_max: Some(Walltime(86_400)),
            ..PartitionFacts::default()
        };
        let host = HostFacts {
            name: "hpc".to_owned(),
            batch: Some(Flavour::Slurm),
            light,
            shared: vec!["/scratch".to_owned()],
            partitions: vec![partition],
            ..HostFacts::default()
        };
        let way =
            Way { jump: "gw".to_owned(), host_name: Some("h".to_owned()), user: Some("u".to_owned()), port: Some(7) };
        Some(Found { host: Arc::new(host), way: (!light).then_some(way), is_node: false })
    }

    fn here(&self) -> Option<Arc<HostFacts>> {
        let host =
            HostFacts { name: "login".to_owned(), batch: Some(Flavour::Slurm), light: true, ..HostFacts::default() };
        Some(Arc::new(host))
    }

    fn request(&self, _words: &[&str], _host: &str, _cwd: Option<&str>) -> Option<Learned> {
        Some(Learned {
            memory: Some(Bytes::gib(8)),
            walltime: Some(Walltime(7200)),
            cores: Some(4),
            source: "5 runs".to_owned(),
        })
    }

    fn replicas(&self, path: &str, _host: &str) -> Vec<Replica> {
        vec![Replica { host: "nas".to_owned(), path: path.to_owned(), bytes: Some(Bytes(7)), seconds: Some(3) }]
    }

    fn has_program(&self, _name: &str) -> bool {
        true
    }

    fn has_variable(&self, _prefix: &str) -> bool {
        false
    }

    fn batch_script(&self, path: &str) -> Option<String> {
        Some(format!("#!/bin/sh\n#SBATCH -J {path}\npython x.py\n"))
    }
}

/// What an agent sends gets one valid reply or silence, from every agent's point of view.
pub(crate) fn input(bytes: &[u8]) {
    for (agent, _) in Agent::ALL {
        let Some(event) = read(agent, bytes) else { continue };
        let command = event.command.clone().unwrap_or_default();
        let verdict = advise(&command, &event.cwd, Mode::Submit, &Everything);
        let mut rules = Rules::default();
        rules.add_rule(&command);
        rules.add_policy(&command);
        rules.add_prefix_rules(&command);
        rules.fit(&command);
        let reply = Reply { text: words_of(&verdict), command: verdict.rewritten };
        for reply in [None, Some(&reply)] {
            answer(agent, &event, render(agent, &event, reply), reply);
        }
    }
}

fn words_of(verdict: &Verdict) -> String {
    verdict.advice.iter().map(|piece| piece.text.clone()).collect::<Vec<_>>().join("\n")
}

fn answer(agent: Agent, event: &Event, line: Option<String>, reply: Option<&Reply>) {
    let Some(line) = line else { return };
    assert!(!line.contains('\n'), "more than one line: {line}");
    let value: Value = serde_json::from_str(&line).expect("a reply is one JSON value");
    let fields = value.as_object().expect("a reply is an object");
    assert!(reply.is_some() || (agent == Agent::Cursor && fields.is_empty()), "silence is silence: {line}");
    let ran = !matches!(event.moment, Moment::Before | Moment::Start);
    assert!(!ran || fields.is_empty() || agent.is_told_after(), "nobody hears what is said now: {line}");
    for name in ["updatedInput", "tool_input", "modifiedArgs", "updated_input"] {
        let changes = fields.contains_key(name) || value["hookSpecificOutput"].get(name).is_some();
        assert!(!(changes && ran), "what ran is not changed: {line}");
    }
    for name in ["decision", "continue"] {
        assert!(!fields.contains_key(name) && value["hookSpecificOutput"].get(name).is_none(), "{name}: {line}");
    }
    // Codex takes a change with this word alone, and then judges it as any command.
    let specific = &value["hookSpecificOutput"];
    let word = specific.get("permissionDecision").or_else(|| fields.get("permissionDecision"));
    let beside = agent == Agent::Codex && specific.get("updatedInput").is_some();
    assert!(word.is_none_or(|word| beside && word == "allow"), "nothing is allowed: {line}");
    assert!(fields.get("permission").is_none_or(|permission| permission == "ask"), "nothing is allowed: {line}");
}

/// A line is changed in the words that were meant, and in no other byte.
pub(crate) fn line(text: &str) {
    for mode in [Mode::Advise, Mode::Rewrite, Mode::Submit] {
        let verdict = advise(text, "/work", mode, &Everything);
        let Some(changed) = &verdict.rewritten else { continue };
        assert!(mode != Mode::Advise, "advice alone changes nothing: {text}");
        let before = shell::read(text).expect("what is changed was read");
        let after = shell::read(changed).expect("what was changed can be read");
        assert_eq!(before.commands.len(), after.commands.len(), "{text}\n{changed}");
        let mut spans: Vec<(usize, usize)> = Vec::new();
        for splice in &verdict.changes {
            let words = &before.commands[splice.command].words;
            let behind = |word: usize| words[word - 1].span.end;
            let from =
                if splice.words.is_empty() { behind(splice.words.start) } else { words[splice.words.start].span.start };
            spans.push((from, behind(splice.words.end)));
        }
        spans.sort_unstable();
        assert!(keeps(text, changed, &spans), "a byte changed that was not meant to:\n{text}\n{changed}");
    }
}

/// Says whether a line is the other one with some of the spans replaced, each by something.
fn keeps(text: &str, changed: &str, spans: &[(usize, usize)]) -> bool {
    let pieces = kept(text, spans);
    let Some((first, rest)) = pieces.split_first() else { return false };
    let Some(mut left) = changed.strip_prefix(first) else { return false };
    for (index, piece) in rest.iter().enumerate() {
        if index + 1 == rest.len() {
            return left.ends_with(piece);
        }
        let Some(at) = left.find(piece) else { return false };
        left = &left[at + piece.len()..];
    }
    left.is_empty()
}

/// Returns what stands between the spans.
fn kept<'t>(text: &'t str, spans: &[(usize, usize)]) -> Vec<&'t str> {
    let (mut pieces, mut at) = (Vec::new(), 0);
    for (start, end) in spans {
        // One within another is none of its own.
        if let Some(piece) = text.get(at..*start) {
            pieces.push(piece);
            at = *end;
        }
    }
    pieces.push(&text[at..]);
    pieces
}
