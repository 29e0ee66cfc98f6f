//! Every value that holds for a task, and who said it: built-in, `[defaults]` or the task itself.

use serde_json::json;

use crate::language::manifest::draft::{Draft, Origin, Sweep, Workflow};
use crate::language::manifest::keys::{ResourceKey, RetryKey, SettingKey};
use crate::language::manifest::template::Template;
use crate::model::id::TaskId;
use crate::model::resources::{Amount, Request};
use crate::model::task::{OnError, RetryOn};
use crate::model::units::{Bytes, Walltime};

/// A value that holds for a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// Its key: `retry.max`, `resources.mem`, `env.PATH`.
    pub key: String,
    /// Its value as TOML, placeholders as they are written.
    pub value: String,
    /// Who said it.
    pub origin: Origin,
}

/// Returns every value that holds for a task, those that were said by somebody and those that were not; none when the
/// workflow has no such task.
pub fn explain(workflow: &Workflow, task: &str) -> Option<Vec<Effective>> {
    let index = workflow.task_names().position(|name| name == task)?;
    explain_at(workflow, TaskId(index as u32))
}

/// Returns every value that holds for a task, by its position in the file.
pub fn explain_at(workflow: &Workflow, task: TaskId) -> Option<Vec<Effective>> {
    let index = task.index();
    let task = workflow.tasks.get(index)?;
    let draft = workflow.settings.get(task.settings as usize)?;
    let sweep = task.sweep.and_then(|sweep| workflow.sweeps.get(sweep as usize));
    let words = Words { workflow, matrix: sweep.map_or_else(Vec::new, Sweep::matrix_keys) };
    let mut all = words.of_draft(draft);
    for effective in &mut all {
        // Settings are shared by tasks that say the same: their places are those of the first.
        if let Origin::Task(span) = &mut effective.origin
            && draft.first_task != index as u32
        {
            *span = task.span;
        }
    }
    Some(all)
}

/// Writes values as TOML.
struct Words<'a> {
    workflow: &'a Workflow,
    matrix: Vec<String>,
}

impl Words<'_> {
    fn of_draft(&self, draft: &Draft) -> Vec<Effective> {
        let mut all = Vec::new();
        for key in SettingKey::ALL {
            match key {
                SettingKey::Resources => resources(draft, &mut all),
                SettingKey::Retry => retry(draft, &mut all),
                // `retry.max` says it.
                SettingKey::Retries => {}
                SettingKey::Env => {
                    for (name, value) in &draft.env {
                        push(draft, &mut all, format!("env.{name}"), self.text(*value));
                    }
                }
                SettingKey::Slurm | SettingKey::Pbs | SettingKey::Sge => {
                    let flags = draft.batch.iter().filter(|(flag, _)| flag.split('.').next() == Some(key.text()));
                    for (flag, value) in flags.filter(|(flag, _)| flag.contains('.')) {
                        push(draft, &mut all, flag.clone(), self.text(*value));
                    }
                }
                _ => {
                    if let Some(value) = self.simple(draft, *key) {
                        push(draft, &mut all, key.text().to_owned(), value);
                    }
                }
            }
        }
        all
    }

    fn text(&self, template: Template) -> String {
        json!(self.workflow.templates.source(template, &self.workflow.params, &self.matrix)).to_string()
    }

    fn texts(&self, templates: &[Template]) -> String {
        let all: Vec<String> = templates.iter().map(|template| self.text(*template)).collect();
        format!("[{}]", all.join(", "))
    }

    /// Writes a value that is one key; none where nothing holds.
    fn simple(&self, draft: &Draft, key: SettingKey) -> Option<String> {
        let one = |template: Option<Template>| template.map(|template| self.text(template));
        let many = |templates: &[Template]| (!templates.is_empty()).then(|| self.texts(templates));
        let words = |words: &[String]| (!words.is_empty()).then(|| json!(words).to_string());
        match key {
            SettingKey::OnError => Some(match draft.on_error {
                OnError::Finish => "\"finish\"".to_owned(),
                OnError::Stop => "\"stop\"".to_owned(),
                OnError::Ignore => "\"ignore\"".to_owned(),
            }),
            SettingKey::Cache => Some(draft.cache.to_string()),
            SettingKey::Priority => Some(draft.priority.to_string()),
            SettingKey::MaxParallel => draft.max_parallel.map(|most| most.to_string()),
            SettingKey::Workdir => one(draft.workdir),
            SettingKey::Stdin => one(draft.stdin),
            SettingKey::Conda => one(draft.conda),
            SettingKey::Container => one(draft.container),
            SettingKey::Binds => many(&draft.binds),
            SettingKey::Modules => many(&draft.modules),
            SettingKey::Setup => many(&draft.setup),
            SettingKey::On => Some(many(&draft.on).unwrap_or_else(|| "\"any\"".to_owned())),
            SettingKey::Secrets => words(&draft.secrets),
            SettingKey::Tags => words(&draft.tags),
            SettingKey::Account | SettingKey::Partition | SettingKey::Qos | SettingKey::Constraint => {
                one(draft.batch.get(key.text()).copied())
            }
            SettingKey::Checkpoint => draft.checkpoint.as_ref().map(|checkpoint| {
                format!("{{ signal = \"{}\", before = \"{}\" }}", checkpoint.signal, Walltime(checkpoint.before))
            }),
            SettingKey::Resources
            | SettingKey::Retries
            | SettingKey::Retry
            | SettingKey::Env
            | SettingKey::Slurm
            | SettingKey::Pbs
            | SettingKey::Sge => None,
        }
    }
}

fn push(draft: &Draft, all: &mut Vec<Effective>, key: String, value: String) {
    let origin = draft.origins.get(&key).copied().unwrap_or_default();
    all.push(Effective { key, value, origin });
}

/// Writes `resources`; where there are alternatives, a value for each.
fn resources(draft: &Draft, all: &mut Vec<Effective>) {
    for key in ResourceKey::ALL {
        if *key == ResourceKey::Internet {
            if let Some(internet) = draft.internet {
                push(draft, all, format!("resources.{}", key.text()), internet.to_string());
            }
            continue;
        }
        let values: Vec<String> = draft.resources.iter().filter_map(|request| resource(request, *key)).collect();
        let value = match values.as_slice() {
            [] => continue,
            [value] => value.clone(),
            _ => values.join(" or "),
        };
        push(draft, all, format!("resources.{}", key.text()), value);
    }
}

fn resource(request: &Request, key: ResourceKey) -> Option<String> {
    match key {
        ResourceKey::Cpus => Some(amount(request.cpus, |cpus| cpus.to_string())),
        ResourceKey::Mem => Some(amount(request.mem, |mem: Bytes| format!("\"{mem}\""))),
        ResourceKey::Time => Some(amount(request.time, |time: Walltime| format!("\"{time}\""))),
        ResourceKey::Gpus => Some(request.gpus.to_string()),
        ResourceKey::Disk => request.disk.map(|disk| format!("\"{disk}\"")),
        ResourceKey::Nodes => request.nodes.map(|nodes| nodes.to_string()),
        ResourceKey::Processes => request.processes.map(|processes| processes.to_string()),
        ResourceKey::Internet => None,
    }
}

fn amount<T: Copy>(amount: Amount<T>, write: impl Fn(T) -> String) -> String {
    match amount {
        Amount::Auto => "\"auto\"".to_owned(),
        Amount::Exact(value) => write(value),
        Amount::Range { min, max } => {
            let end = |name: &str, value: Option<T>| value.map(|value| format!("{name} = {}", write(value)));
            let ends: Vec<String> = [end("min", min), end("max", max)].into_iter().flatten().collect();
            format!("{{ {} }}", ends.join(", "))
        }
    }
}

fn retry(draft: &Draft, all: &mut Vec<Effective>) {
    let retry = &draft.retry;
    let seconds = |seconds: f64| format!("\"{}\"", Walltime(seconds as u64));
    for key in RetryKey::ALL {
        let value = match key {
            RetryKey::Max => retry.max.to_string(),
            RetryKey::On => json!(retry.on.iter().copied().map(cause).collect::<Vec<_>>()).to_string(),
            RetryKey::Mem => retry.mem.to_string(),
            RetryKey::Time => retry.time.to_string(),
            RetryKey::Factor => retry.factor.to_string(),
            RetryKey::Delay => seconds(retry.delay),
            RetryKey::MaxDelay => seconds(retry.max_delay),
        };
        push(draft, all, format!("retry.{}", key.text()), value);
    }
}

fn cause(cause: RetryOn) -> String {
    match cause {
        RetryOn::Oom => "oom".to_owned(),
        RetryOn::Timeout => "timeout".to_owned(),
        RetryOn::NodeFail => "node_fail".to_owned(),
        RetryOn::Preempted => "preempted".to_owned(),
        RetryOn::Stage => "stage".to_owned(),
        RetryOn::Spawn => "spawn".to_owned(),
        RetryOn::Exit(None) => "exit".to_owned(),
        RetryOn::Exit(Some(code)) => format!("exit:{code}"),
    }
}
