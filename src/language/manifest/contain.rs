//! A command, put into its container.

use std::fmt::Write as _;

use crate::language::conda;
use crate::language::container::{Image, Wrapping, bind, make_command, wrap};
use crate::language::manifest::Rendered;
use crate::language::manifest::paths::{is_remote, normal, parent};
use crate::language::manifest::render::{absolute, load};
use crate::language::quote::sh;
use crate::model::host::ContainerRuntime;
use crate::model::id::{InstanceId, PathId};
use crate::model::job::Invocation;
use crate::model::plan::Plan;
use crate::model::resources::Grant;
use crate::model::task::{Settings, Task};

/// Returns the file of a task's image, or of its conda environment, where it lies in the workflow's directory: then it is an input
/// like others, but for `{inputs}`.
pub(super) fn file_of(task: &Settings, root: &str) -> Option<String> {
    let image: Option<Image> = task.container.as_ref().and_then(|image| image.parse().ok());
    let path = match (&image, &task.conda) {
        (Some(image), _) => image.file()?,
        (None, Some(conda)) if conda::is_file(conda) => conda,
        (None, _) => return None,
    };
    let path = normal(Some(path).filter(|path| !path.starts_with('~'))?, root);
    (!path.starts_with('/') && !path.starts_with("../") && !is_remote(&path)).then(|| path.into_owned())
}

/// Returns the file of an instance's image, or of its conda environment, that goes along as its last input.
pub fn own_file(plan: &Plan, instance: InstanceId) -> Option<String> {
    let task = plan.task_of(instance);
    if task.tree { None } else { file_of(task, &plan.root) }
}

/// Returns the inputs that a task declares: all but the file of its image or its environment.
pub(super) fn declared(plan: &Plan, instance: InstanceId) -> &[PathId] {
    let (task, inputs) = (plan.task_of(instance), plan.inputs(instance));
    match inputs.split_last() {
        // A copy of the directory holds it as any other file.
        Some((_, rest)) if !task.tree && file_of(task, &plan.root).is_some() => rest,
        _ => inputs,
    }
}

/// Puts the command of an attempt into the container of its task; the command as it is where there is none. `root` stands for
/// the workflow's directory, and `runtimes` are what runs containers on the host, where that was said.
pub fn contain(
    plan: &Plan,
    root: &str,
    instance: InstanceId,
    grant: &Grant,
    rendered: Rendered,
    runtimes: &[ContainerRuntime],
) -> Rendered {
    let task = plan.task_of(instance);
    let Some(Ok(image)) = task.container.as_ref().map(|image| image.parse::<Image>()) else { return rendered };
    let image = image.at(|path| if path.starts_with("~/") { path.to_owned() } else { absolute(root, path) });
    let wrapping = wrapping(plan, root, instance, grant, &rendered, runtimes);
    let words = wrap(&rendered.invocation, &image, &wrapping);
    if task.modules.is_empty() {
        // Without a shell that would have nothing to do but read it.
        return Rendered { invocation: Invocation::Argv(words), ..rendered };
    }
    let mut script = "set +u\n".to_owned();
    load(&task.modules, &mut script);
    let words: Vec<_> = words.iter().map(|word| sh(word)).collect();
    let _infallible = writeln!(script, "exec {}", words.join(" "));
    Rendered { invocation: Invocation::Script(script), ..rendered }
}

/// Returns the image of an attempt's container and what is shown to it; none where it runs in none.
pub fn contained(
    plan: &Plan,
    root: &str,
    instance: InstanceId,
    grant: &Grant,
    rendered: &Rendered,
) -> Option<(Image, Wrapping)> {
    let image = plan.task_of(instance).container.as_ref()?.parse().ok()?;
    Some((image, wrapping(plan, root, instance, grant, rendered, &[])))
}

/// Returns the script, for bash in strict mode but for variables that are not set, that has ready what an attempt needs before it
/// runs: the image of its container below `images`, of an archive of it where there is one, or its conda environment.
pub fn ready_script(
    plan: &Plan,
    root: &str,
    instance: InstanceId,
    rendered: &Rendered,
    (images, archive, runtimes): (&str, Option<&str>, &[ContainerRuntime]),
) -> Option<String> {
    let task = plan.task_of(instance);
    let mut script = String::new();
    // By these its programs are found.
    for (name, value) in &rendered.env {
        let _infallible = writeln!(script, "export {name}={}", sh(value));
    }
    if !task.modules.is_empty() {
        load(&task.modules, &mut script);
    }
    match (&task.container, &task.conda) {
        (Some(image), _) => script.push_str(&make_command(&image.parse().ok()?, images, archive, runtimes)),
        (None, Some(file)) if conda::is_file(file) => script.push_str(&conda::make(&absolute(root, file), images)),
        (None, _) => return None,
    }
    Some(script)
}

/// Returns the directories of the host that an attempt's container sees, absolute: what it makes lies in one of them.
pub fn shown(plan: &Plan, root: &str, instance: InstanceId) -> Vec<String> {
    let mut all = directories(plan, root, instance);
    let binds = plan.task_of(instance).binds.iter().filter_map(|entry| bind(entry, root).ok());
    all.extend(binds.map(|bind| bind.split(':').next().unwrap_or_default().to_owned()));
    all
}

/// Returns the directories that it may write to.
fn directories(plan: &Plan, root: &str, instance: InstanceId) -> Vec<String> {
    let mut directories = vec![root.to_owned()];
    for path in plan.outputs(instance).iter().map(|path| absolute(root, plan.path(*path))) {
        // Made by whoever runs the job, and where the task writes.
        if let Some(parent) = parent(&path).filter(|parent| !within(parent, root))
            && directories.last().is_none_or(|last| last != parent)
        {
            directories.push(parent.to_owned());
        }
    }
    directories
}

fn wrapping(
    plan: &Plan,
    root: &str,
    instance: InstanceId,
    grant: &Grant,
    rendered: &Rendered,
    runtimes: &[ContainerRuntime],
) -> Wrapping {
    let task: &Task = plan.task_of(instance);
    let whole = |path: &PathId| absolute(root, plan.path(*path));
    let env = task.env.keys().chain(&task.secrets).cloned().collect();
    Wrapping {
        workdir: rendered.workdir.clone(),
        directories: directories(plan, root, instance),
        binds: task.binds.iter().filter_map(|entry| bind(entry, root).ok()).collect(),
        inputs: declared(plan, instance).iter().map(whole).filter(|path| !is_remote(path)).collect(),
        env,
        cpus: grant.cpus,
        memory: grant.is_limited().then_some(grant.mem),
        gpus: grant.gpus,
        runtimes: runtimes.to_vec(),
        label: plan.label(instance),
    }
}

/// Returns whether a path is a directory, or lies in it.
pub fn within(path: &str, root: &str) -> bool {
    let root = format!("{}/", root.trim_end_matches('/'));
    format!("{path}/").starts_with(&root)
}
