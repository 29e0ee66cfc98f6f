//! From an instance and its grant to what an executor starts.

use rustix::process::Signal;

use crate::decide::fresh::memos::Hashes;
use crate::language::manifest::{Rendered, absolute, contain, render};
use crate::model::id::{JobKey, PathId};
use crate::model::job::Job;
use crate::model::plan::Plan;
use crate::model::resources::Grant;

/// Makes the job of an attempt. `environment` is the number under which the executor knows the run's environment.
///
/// An input whose content is not known yet is to be hashed by the first job that reads it.
pub fn job(plan: &Plan, key: JobKey, grant: Grant, environment: u32, hashes: &mut Hashes) -> Job {
    let rendered = render(plan, key.instance, &grant, key.attempt);
    let Rendered { invocation, workdir, env, stdin } = contain(plan, &plan.root, key.instance, &grant, rendered, &[]);
    let task = plan.task_of(key.instance);
    let mut input = |&path: &PathId| (absolute(&plan.root, plan.path(path)), task.cache && hashes.ask(path));
    Job {
        key,
        label: plan.label(key.instance),
        invocation,
        workdir,
        environment,
        env,
        stdin,
        grant,
        checkpoint: task.checkpoint.as_ref().and_then(|it| Some((signal(&it.signal)?, it.before))),
        inputs: plan.inputs(key.instance).iter().map(&mut input).collect(),
        outputs: plan.outputs(key.instance).iter().map(|&path| absolute(&plan.root, plan.path(path))).collect(),
    }
}

/// Returns the number of a signal called by its name, with or without `SIG`.
pub fn signal(name: &str) -> Option<i32> {
    let name = name.strip_prefix("SIG").unwrap_or(name);
    let signal = match name {
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "KILL" => Signal::KILL,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "ALRM" => Signal::ALARM,
        "TERM" => Signal::TERM,
        "CONT" => Signal::CONT,
        "URG" => Signal::URG,
        "XCPU" => Signal::XCPU,
        "WINCH" => Signal::WINCH,
        _ => return None,
    };
    Some(signal.as_raw())
}
