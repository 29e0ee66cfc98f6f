//! What a task says besides its command and files, laid over what `[defaults]` says.

use crate::language::document::{KeySet, Kind, NodeId, Reading, did_you_mean};
use crate::language::manifest::amounts::{checkpoint, resources, retry};
use crate::language::manifest::check::Check;
use crate::language::manifest::draft::{Draft, Origin};
use crate::language::manifest::keys::{SettingKey, TaskKey};
use crate::language::manifest::names::{Known, Scope};
use crate::language::manifest::template::{Syntax, Template};
use crate::model::task::OnError;

/// The keys of a task or of `[defaults]`, and who says them.
pub(super) struct Layer<'s> {
    pub(super) scope: Scope<'s>,
    /// The table in words, for messages.
    pub(super) table: &'s str,
    /// Whether it is a task, or `[defaults]`.
    pub(super) of_task: bool,
}

/// Keys that both a task and `[defaults]` take, and those that only a task takes.
#[derive(Clone, Copy)]
enum Either {
    Setting(SettingKey),
    Task(TaskKey),
}

impl KeySet for Either {
    fn texts() -> Vec<&'static str> {
        let mut texts = TaskKey::texts();
        texts.extend(SettingKey::texts());
        texts
    }

    fn of(text: &str) -> Option<Self> {
        SettingKey::find(text).map(Self::Setting).or_else(|| TaskKey::find(text).map(Self::Task))
    }
}

/// Lays the settings of a table over a draft. `own` takes the keys that only a task has and returns whether it did.
pub(super) fn apply(
    check: &mut Check<'_, '_>,
    table: NodeId,
    layer: &Layer<'_>,
    draft: &mut Draft,
    mut own: impl FnMut(&mut Check<'_, '_>, TaskKey, NodeId) -> bool,
) {
    let tree = check.tree;
    if let (Some(retries), Some(retry)) = (tree.get(table, "retries"), tree.get(table, "retry"))
        && let Some(max) = (tree.kind(retry) == Kind::Table).then(|| tree.get(retry, "max")).flatten()
    {
        let message = "`retries` and `retry.max` say the same";
        check.error(tree.key_span(max), message, "keep one of them");
        check.relate_last(tree.key_span(retries), "the other");
    }
    check.keys::<Either>(table, layer.table, |check, key, id| match key {
        Either::Setting(key) => setting(check, key, id, layer, draft),
        Either::Task(key) => {
            if !own(check, key, id) {
                let message = format!("`{}` differs from task to task", key.text());
                check.error(tree.key_span(id), message, "write it in the tasks");
            }
        }
    });
}

fn setting(check: &mut Check<'_, '_>, key: SettingKey, id: NodeId, layer: &Layer<'_>, draft: &mut Draft) {
    let span = check.tree.key_span(id);
    let origin = if layer.of_task { Origin::Task(span) } else { Origin::Defaults(span) };
    let name = key.text();
    let count = |check: &mut Check<'_, '_>, least: i64| check.integer(id, name, least, i64::from(i32::MAX));
    match key {
        SettingKey::Resources => return resources(check, id, origin, draft),
        SettingKey::Retry => return retry(check, id, origin, draft),
        SettingKey::Env => return env(check, id, layer, origin, draft),
        SettingKey::Slurm | SettingKey::Pbs | SettingKey::Sge => return flags(check, name, id, layer, origin, draft),
        SettingKey::Account | SettingKey::Partition | SettingKey::Qos | SettingKey::Constraint => {
            if let Some(text) = check.constant(id, name, layer) {
                draft.batch.insert(name.to_owned(), text);
            }
        }
        SettingKey::Retries => {
            draft.origins.insert("retry.max".to_owned(), origin);
            draft.retry.max = count(check, 0).map_or(draft.retry.max, |max| max as u32);
            return;
        }
        SettingKey::OnError => draft.on_error = on_error(check, id).unwrap_or(draft.on_error),
        SettingKey::Cache => draft.cache = check.boolean(id, name).unwrap_or(draft.cache),
        SettingKey::Workdir => draft.workdir = path(check, id, name, layer, Known::Row),
        SettingKey::Stdin => draft.stdin = path(check, id, name, layer, Known::Attempt),
        SettingKey::Conda => draft.conda = check.constant(id, name, layer),
        SettingKey::Container => draft.container = container(check, id, layer),
        SettingKey::Modules => draft.modules = check.constants(id, name, layer),
        SettingKey::Binds => draft.binds = check.constants(id, name, layer),
        SettingKey::On => draft.on = places(check, id, layer),
        SettingKey::Setup => {
            let lines = check.strings(id, name, true);
            draft.setup =
                lines.into_iter().map(|(id, line)| check.template(id, line, Syntax::Shell, &layer.scope)).collect();
        }
        SettingKey::Secrets => draft.secrets = variables(check, id, name),
        SettingKey::Tags => {
            draft.tags = check.strings(id, name, false).into_iter().map(|(_, tag)| tag.to_owned()).collect();
        }
        SettingKey::Priority => {
            let (least, most) = (i64::from(i32::MIN), i64::from(i32::MAX));
            draft.priority = check.integer(id, name, least, most).map_or(draft.priority, |priority| priority as i32);
        }
        SettingKey::MaxParallel => draft.max_parallel = count(check, 1).map(|most| most as u32),
        SettingKey::Checkpoint => draft.checkpoint = checkpoint(check, id),
    }
    draft.origins.insert(name.to_owned(), origin);
}

impl Check<'_, '_> {
    /// Compiles a text in which only params may stand.
    fn constant(&mut self, id: NodeId, key: &str, layer: &Layer<'_>) -> Option<Template> {
        let text = self.string(id, key)?;
        // An empty partition says something: the site's own default.
        if text.trim().is_empty() && !(text.is_empty() && key == SettingKey::Partition.text()) {
            self.mistakes.error(self.tree.span(id), format!("`{key}` is empty"));
            return None;
        }
        Some(self.template(id, text, Syntax::Plain, &Scope { known: Known::Params, ..layer.scope }))
    }

    /// The same for a string or an array of them.
    fn constants(&mut self, id: NodeId, key: &str, layer: &Layer<'_>) -> Vec<Template> {
        let scope = Scope { known: Known::Params, ..layer.scope };
        let texts = self.strings(id, key, true);
        texts.into_iter().map(|(id, text)| self.template(id, text, Syntax::Plain, &scope)).collect()
    }
}

fn path(check: &mut Check<'_, '_>, id: NodeId, key: &str, layer: &Layer<'_>, known: Known) -> Option<Template> {
    let text = check.string(id, key)?;
    if text.is_empty() {
        check.mistakes.error(check.tree.span(id), format!("`{key}` is empty"));
        return None;
    }
    Some(check.template(id, text, Syntax::Plain, &Scope { known, ..layer.scope }))
}

fn container(check: &mut Check<'_, '_>, id: NodeId, layer: &Layer<'_>) -> Option<Template> {
    check.constant(id, "container", layer)
}

/// Reads where a task may run.
fn places(check: &mut Check<'_, '_>, id: NodeId, layer: &Layer<'_>) -> Vec<Template> {
    let scope = Scope { known: Known::Params, ..layer.scope };
    let mut places = Vec::new();
    for (id, place) in check.strings(id, "on", true) {
        let span = check.tree.span(id);
        match place.strip_prefix("near:") {
            None | Some("inputs") => {}
            Some(near) if near.starts_with("data:") => check.dataset(near, span),
            Some(_) => {
                check.error(span, format!("`{place}` is near nothing"), "write `near:inputs` or `near:data:NAME`");
            }
        }
        places.push(check.template(id, place, Syntax::Plain, &scope));
    }
    places
}

fn on_error(check: &mut Check<'_, '_>, id: NodeId) -> Option<OnError> {
    let words = ["finish", "stop", "ignore"];
    let text = check.string(id, "on_error")?;
    match text {
        "finish" => return Some(OnError::Finish),
        "stop" => return Some(OnError::Stop),
        "ignore" => return Some(OnError::Ignore),
        _ => {}
    }
    let help = match text {
        "continue" => {
            "csync calls it `ignore` (go on as if it had succeeded) or `finish` (run what does not depend on it)"
                .to_owned()
        }
        "terminate" | "abort" | "fail" => "csync calls it `stop`".to_owned(),
        "retry" => "write `retries = 2`".to_owned(),
        _ => did_you_mean(text, words).unwrap_or_else(|| "write `finish`, `stop` or `ignore`".to_owned()),
    };
    check.error(check.tree.span(id), format!("`{text}` is no way to go on after a failure"), help);
    None
}

/// Returns whether a text can name an environment variable.
fn is_variable(name: &str) -> bool {
    let first = name.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn variables(check: &mut Check<'_, '_>, id: NodeId, key: &str) -> Vec<String> {
    let names = check.strings(id, key, false);
    for (id, name) in &names {
        if !is_variable(name) {
            let help = "a letter or `_`, then letters, digits and `_`";
            check.error(check.tree.span(*id), format!("`{}` cannot name a variable", name.escape_debug()), help);
        }
    }
    names.into_iter().map(|(_, name)| name.to_owned()).collect()
}

fn env(check: &mut Check<'_, '_>, id: NodeId, layer: &Layer<'_>, origin: Origin, draft: &mut Draft) {
    let tree = check.tree;
    if tree.kind(id) != Kind::Table {
        check.wrong(id, "env", "a table");
        check.help_last("write `env = { NAME = \"value\" }`");
        return;
    }
    for child in tree.children(id) {
        let name = tree.key(child);
        if !is_variable(name) {
            let help = "a letter or `_`, then letters, digits and `_`";
            check.error(tree.key_span(child), format!("`{}` cannot name a variable", name.escape_debug()), help);
        }
        let Some(text) = tree.scalar(child) else {
            check.wrong(child, name, "a string, a number or a boolean");
            continue;
        };
        let template = check.template(child, &text, Syntax::Plain, &layer.scope);
        draft.env.insert(name.to_owned(), template);
        draft.origins.insert(format!("env.{name}"), origin.at(tree.key_span(child)));
    }
}

/// Reads raw flags for a batch system: `[tasks.X.slurm]` with `"gpus-per-node" = 2`.
fn flags(check: &mut Check<'_, '_>, system: &str, id: NodeId, layer: &Layer<'_>, origin: Origin, draft: &mut Draft) {
    let tree = check.tree;
    if tree.kind(id) != Kind::Table {
        check.wrong(id, system, "a table of flags");
        check.help_last(format!("write `{system} = {{ \"flag\" = \"value\" }}`, or `true` for a flag without a value"));
        return;
    }
    for child in tree.children(id) {
        let flag = tree.key(child);
        let trimmed = flag.trim_start_matches('-');
        let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || byte == b'.';
        if trimmed.is_empty() || !trimmed.bytes().all(good) {
            check.error(
                tree.key_span(child),
                format!("`{}` is no flag", flag.escape_debug()),
                "write its name: `exclusive = true`",
            );
        }
        let Some(text) = tree.scalar(child) else {
            check.wrong(child, flag, "a string, a number or a boolean");
            continue;
        };
        let scope = Scope { known: Known::Params, ..layer.scope };
        let template = check.template(child, &text, Syntax::Plain, &scope);
        draft.batch.insert(format!("{system}.{trimmed}"), template);
        draft.origins.insert(format!("{system}.{trimmed}"), origin.at(tree.key_span(child)));
    }
}
