//! `ssh` to a host that only others lead to.

use crate::decide::advise::facts::{Facts, Found, Way};
use crate::decide::advise::walk::{At, Line, Step, host_of};
use crate::decide::advise::{Advice, Kind, Mode};
use crate::language::shell::{Input, Opt, Output, Splice, SshCall, ssh};

/// Options that say how to get there, or that ask for something else than a command.
const OTHERWISE: [&str; 13] = ["J", "W", "N", "O", "F", "G", "Q", "V", "D", "L", "R", "w", "S"];

/// Looks for `ssh` without its jump hosts.
pub(super) fn look(line: &Line<'_>, facts: &impl Facts, advice: &mut Vec<Advice>) {
    let own = line.steps.iter().filter(|step| step.own && step.at == At::Here && !step.many && !step.as_other);
    advice.extend(own.filter_map(|step| judge(line, step, facts)));
}

fn judge(line: &Line<'_>, step: &Step, facts: &impl Facts) -> Option<Advice> {
    let call = ssh(&step.words, step.head)?;
    let destination = step.words.get(call.destination)?.fixed()?;
    if is_otherwise(&call) {
        return None;
    }
    let stands = line.command(step)?.stands;
    if stands.in_heredoc || stands.substituted || stands.in_function || stands.output == Output::Captured {
        return None;
    }
    let name = host_of(destination);
    let Found { host, way, .. } = facts.host(name)?;
    let way = way?;
    // Whoever is inside needs no way in.
    if facts.here().is_some_and(|here| here.name == host.name) {
        return None;
    }
    let with = options(&way, &call, destination);
    let shown = with.join(" ");
    let text = format!(
        "`{name}` is reached through {}, which `ssh` is not told here: `ssh {shown} {destination}` is the way csync knows.",
        way.jump
    );
    // With standard input from elsewhere the options are the same; an `ssh` in a pipe reads what it is given.
    let changes = stands.in_loop.is_none() || stands.input == Input::Inherited;
    let splice = Splice { command: step.command, words: step.head + 1..step.head + 1, with };
    Some(Advice { kind: Kind::Jump, text, command: step.command, change: changes.then_some((Mode::Rewrite, splice)) })
}

/// Says whether a call already says how to get there, or is no call that runs something there.
fn is_otherwise(call: &SshCall<'_>) -> bool {
    call.call.has(&OTHERWISE)
        || call.call.options.iter().filter(|option| option.name == "o").any(|option| {
            let keys = ["proxyjump", "proxycommand", "hostname", "controlpath", "proxyusefdpass", "hostkeyalias"];
            !option.known || keys.iter().any(|key| is_key(option, key))
        })
}

/// Says whether an `-o` sets a keyword: `Port=22`, `port 22`, ` Port = 22`.
fn is_key(option: &Opt<'_>, wanted: &str) -> bool {
    let value = option.value.unwrap_or_default().trim_start();
    value.split(['=', ' ', '\t', '"']).next().unwrap_or_default().eq_ignore_ascii_case(wanted)
}

/// Returns the options that lead there, without those that the call gives itself.
fn options(way: &Way, call: &SshCall<'_>, destination: &str) -> Vec<String> {
    // Of two values `ssh` takes the first: what the person says must not come second.
    let says = |wanted: &str| {
        call.call.options.iter().filter(|option| option.name == "o").any(|option| is_key(option, wanted))
    };
    let mut with = vec!["-J".to_owned(), way.jump.clone()];
    if let Some(name) = &way.host_name {
        with.extend(["-o".to_owned(), format!("HostName={name}")]);
    }
    let says_user = destination.contains('@') || call.call.has(&["l"]) || says("user");
    if let Some(user) = way.user.as_ref().filter(|_| !says_user) {
        with.extend(["-l".to_owned(), user.clone()]);
    }
    let says_port = destination.starts_with("ssh://") || call.call.has(&["p"]) || says("port");
    if let Some(port) = way.port.filter(|_| !says_port) {
        with.extend(["-p".to_owned(), port.to_string()]);
    }
    with
}
