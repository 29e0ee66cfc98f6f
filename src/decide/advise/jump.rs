//! `ssh` to a host that only others lead to, and its kin that copy.

use crate::decide::advise::facts::{Facts, Found, Way};
use crate::decide::advise::walk::{At, Line, Step, host_of};
use crate::decide::advise::{Advice, Kind, Mode};
use crate::language::quote::is_plain;
use crate::language::shell::{
    Call, Input, Means, Opt, Output, Place, Splice, Stands, Word, call, guessed_ssh, place, ssh,
};

/// Options that say how to get there, or that ask for something else than a command.
const OTHERWISE: [&str; 13] = ["J", "W", "N", "O", "F", "G", "Q", "V", "D", "L", "R", "w", "S"];

/// The same for `scp`, `sftp` and `rsync`, whose options have other meanings.
const COPIES_OTHERWISE: [&str; 6] = ["J", "F", "S", "D", "rsh", "daemon"];

/// Looks for `ssh` without its jump hosts.
pub(super) fn look(line: &Line<'_>, facts: &impl Facts, advice: &mut Vec<Advice>) {
    let here = line.steps.iter().filter(|step| step.at == At::Here && !step.many && !step.as_other);
    advice.extend(here.filter_map(|step| login(line, step, facts).or_else(|| copies(line, step, facts))));
}

/// Returns how a command stands, where its words may be changed at all.
fn stands(line: &Line<'_>, step: &Step) -> Option<Stands> {
    let stands = line.command(step)?.stands;
    let apart = stands.in_heredoc || stands.substituted || stands.in_function || stands.output == Output::Captured;
    (!apart).then_some(stands)
}

/// Returns what the way to a host lacks, and the host's facts; none from inside of it.
fn lacks(name: &str, facts: &impl Facts) -> Option<Way> {
    let Found { host, way, .. } = facts.host(name)?;
    let way = way?;
    // Whoever is inside needs no way in.
    facts.here().is_none_or(|here| here.name != host.name).then_some(way)
}

fn advice(line: &Line<'_>, step: &Step, text: String, with: Vec<String>, sure: bool) -> Option<Advice> {
    let stands = stands(line, step)?;
    // With standard input from elsewhere the options are the same; an `ssh` in a pipe reads what it is given.
    let changes = sure && step.own && !step.again && (stands.in_loop.is_none() || stands.input == Input::Inherited);
    let splice = Splice { command: step.command, words: step.head + 1..step.head + 1, with };
    Some(Advice { kind: Kind::Jump, text, command: step.command, change: changes.then_some((Mode::Rewrite, splice)) })
}

fn login(line: &Line<'_>, step: &Step, facts: &impl Facts) -> Option<Advice> {
    let sure = ssh(&step.words, step.head).is_some();
    let call = guessed_ssh(&step.words, step.head)?;
    let destination = step.words.get(call.destination)?.fixed()?;
    if is_otherwise(&call.call, &OTHERWISE) {
        return None;
    }
    let name = host_of(destination);
    let way = lacks(name, facts)?;
    let said = Said {
        user: destination.contains('@') || call.call.has(&["l"]),
        port: destination.starts_with("ssh://") || call.call.has(&["p"]),
    };
    let with = options(&way, &call.call, &said);
    let shown = with.join(" ");
    let text = format!(
        "`{name}` is reached through {}, which `ssh` is not told here: `ssh {shown} {destination}` is the way csync knows.",
        way.jump
    );
    advice(line, step, text, with, sure)
}

/// `scp`, `sftp` and `rsync` with one host among their operands.
fn copies(line: &Line<'_>, step: &Step, facts: &impl Facts) -> Option<Advice> {
    let program = step.program().filter(|program| matches!(*program, "scp" | "sftp" | "rsync"))?;
    let (call, readable) = match call(&step.words, step.head) {
        Some(call) => (call, true),
        None => (guessed(step, program)?, false),
    };
    if is_otherwise(&call, &COPIES_OTHERWISE)
        || facts.has_variable("RSYNC_RSH")
        || line.script.text.contains("RSYNC_RSH")
    {
        return None;
    }
    let (name, user, sure) = only_host(line, step, &call)?;
    let sure = sure && readable;
    let way = lacks(name, facts)?;
    let said = Said { user, port: call.has(&["P"]) && program != "rsync" };
    let mut with = options(&way, &call, &said);
    let shown = with.join(" ");
    let known = match program {
        "rsync" => {
            // It is split at blanks again.
            if !with.iter().all(|word| is_plain(word) || word.split('=').all(is_plain)) {
                return None;
            }
            with = vec!["-e".to_owned(), format!("ssh {shown}")];
            format!("rsync -e 'ssh {shown}' ...")
        }
        _ => format!("{program} {shown} ..."),
    };
    let text = format!(
        "`{name}` is reached through {}, which `{program}` is not told here: `{known}` is the way csync knows.",
        way.jump
    );
    advice(line, step, text, with, sure)
}

/// Reads a call with words that may become options, for advice alone: only what names a place is looked at, and nothing may say
/// how to get there.
fn guessed<'s>(step: &'s Step, program: &'s str) -> Option<Call<'s>> {
    let says =
        |word: &Word| ["-J", "-o", "-F", "-S", "-D", "-e", "--rsh"].iter().any(|option| word.text.starts_with(option));
    // What is split into words may hold options too; a pattern does not.
    let splits = |word: &Word| word.means == Means::AnyWords && step.written(word).contains(['$', '`']);
    if step.arguments().iter().any(|word| says(word) || splits(word)) {
        return None;
    }
    let is_place = |at: &usize| step.words.get(*at).is_some_and(|word| !word.text.starts_with('-'));
    let operands = (step.head + 1..step.words.len()).filter(is_place).collect();
    Some(Call { program, head: step.head, options: Vec::new(), operands, command: None })
}

/// Returns the one host that operands name, whether one of them says who, and whether that is all there can be.
fn only_host<'s>(line: &Line<'_>, step: &'s Step, call: &Call<'_>) -> Option<(&'s str, bool, bool)> {
    let (mut found, mut says, mut sure) = (None, false, true);
    let count = if call.program == "sftp" { 1 } else { call.operands.len() };
    for word in call.operands.iter().take(count).filter_map(|at| step.words.get(*at)) {
        let text = word.text.as_str();
        if text.contains("://") || text.contains("::") {
            return None;
        }
        let (user, host) = match place(text) {
            Place::There { user, host, .. } => (user, host),
            Place::Here(_) if call.program == "sftp" && word.means == Means::Itself => {
                text.rsplit_once('@').map_or((None, text), |(user, host)| (Some(user), host))
            }
            Place::Here(_) => {
                // What a variable holds may be another host's.
                sure &= word.means == Means::Itself || !expands(line, word);
                continue;
            }
        };
        if found.is_some_and(|other| other != host) {
            return None;
        }
        found = Some(host);
        says |= user.is_some();
    }
    Some((found?, says, sure))
}

/// Says whether a word holds a variable, a substitution or a choice in braces, not only a pattern.
fn expands(line: &Line<'_>, word: &Word) -> bool {
    line.script.slice(&word.span).contains(['$', '`', '{'])
}

/// Says whether a call already says how to get there, or is no call that runs something there.
fn is_otherwise(call: &Call<'_>, names: &[&str]) -> bool {
    call.has(names)
        || call.options.iter().filter(|option| option.name == "o").any(|option| {
            let keys = ["proxyjump", "proxycommand", "hostname", "controlpath", "proxyusefdpass", "hostkeyalias"];
            !option.known || keys.iter().any(|key| is_key(option, key))
        })
}

/// Says whether an `-o` sets a keyword: `Port=22`, `port 22`, ` Port = 22`.
fn is_key(option: &Opt<'_>, wanted: &str) -> bool {
    let value = option.value.unwrap_or_default().trim_start();
    value.split(['=', ' ', '\t', '"']).next().unwrap_or_default().eq_ignore_ascii_case(wanted)
}

/// What a call says itself.
struct Said {
    user: bool,
    port: bool,
}

/// Returns the options that lead there, without those that the call gives itself.
fn options(way: &Way, call: &Call<'_>, said: &Said) -> Vec<String> {
    // Of two values `ssh` takes the first: what the person says must not come second. To `rsync`, `-o` means something else.
    let is_copy = call.program != "ssh";
    let says = |wanted: &str| {
        call.program != "rsync"
            && call.options.iter().filter(|option| option.name == "o").any(|option| is_key(option, wanted))
    };
    let mut with = vec!["-J".to_owned(), way.jump.clone()];
    let mut set = |key: &str, value: &str| with.extend(["-o".to_owned(), format!("{key}={value}")]);
    if let Some(name) = &way.host_name {
        set("HostName", name);
    }
    let user = way.user.as_ref().filter(|_| !said.user && !says("user"));
    let port = way.port.filter(|_| !said.port && !says("port"));
    if is_copy {
        if let Some(user) = user {
            set("User", user);
        }
        if let Some(port) = port {
            set("Port", &port.to_string());
        }
    } else {
        with.extend(user.into_iter().flat_map(|user| ["-l".to_owned(), user.clone()]));
        with.extend(port.into_iter().flat_map(|port| ["-p".to_owned(), port.to_string()]));
    }
    with
}
