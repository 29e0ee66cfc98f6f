//! The command of one attempt.

use std::borrow::Cow;

use crate::language::conda;
use crate::language::manifest::Rendered;
use crate::language::manifest::contain::declared;
use crate::language::manifest::paths::{is_remote, part};
use crate::language::quote::{self, sh};
use crate::model::id::{InstanceId, PathId};
use crate::model::job::Invocation;
use crate::model::plan::Plan;
use crate::model::resources::Grant;
use crate::model::task::{Command, Hole, Part, PathPart, Quote, Template};

/// Where `module` is made known when the shell does not know it: Environment Modules and Lmod.
const FIND_MODULE: &str = "\
if ! type module >/dev/null 2>&1; then
  for csync_init in \"${MODULESHOME:-/usr/share/modules}/init/bash\" \"${LMOD_PKG:-/usr/share/lmod/lmod}/init/bash\" \\
      /etc/profile.d/modules.sh /etc/profile.d/lmod.sh; do
    if [ -r \"$csync_init\" ]; then . \"$csync_init\"; break; fi
  done
fi
";

/// Writes what loads modules.
pub(super) fn load(modules: &[String], script: &mut String) {
    script.push_str(FIND_MODULE);
    script.push_str("module load");
    for module in modules {
        script.push(' ');
        script.push_str(&sh(module));
    }
    script.push('\n');
}

/// Renders the command of one attempt, as it runs in its container where it has one. A value that cannot be quoted where it stands was refused by
/// [`expand`](super::expand()).
pub fn render(plan: &Plan, instance: InstanceId, grant: &Grant, attempt: u32) -> Rendered {
    render_at(plan, &plan.root, instance, grant, attempt)
}

/// Renders the command of one attempt for a host where another directory, absolute, stands for the workflow's.
pub fn render_at(plan: &Plan, root: &str, instance: InstanceId, grant: &Grant, attempt: u32) -> Rendered {
    let task = plan.task_of(instance);
    let job = Filling { plan, root, instance, grant, attempt, absolute: task.workdir.is_some() };
    let workdir = task.workdir.as_ref().map_or_else(|| root.to_owned(), |dir| absolute(root, &job.text(dir)));
    Rendered {
        invocation: job.invocation(),
        workdir,
        env: task.env.iter().map(|(name, value)| (name.clone(), job.text(value))).collect(),
        stdin: task.stdin.as_ref().map(|path| absolute(root, &job.text(path))),
    }
}

/// Returns a path of the workflow as an absolute one.
pub fn absolute(root: &str, path: &str) -> String {
    if path.starts_with('/') || is_remote(path) {
        return path.to_owned();
    }
    let root = root.trim_end_matches('/');
    match path.strip_prefix("./").unwrap_or(path) {
        "." | "" => {
            if root.is_empty() {
                "/".to_owned()
            } else {
                root.to_owned()
            }
        }
        rest => format!("{root}/{rest}"),
    }
}

/// Fills in the texts of one attempt.
struct Filling<'a> {
    plan: &'a Plan,
    /// The workflow's directory where the command runs.
    root: &'a str,
    instance: InstanceId,
    grant: &'a Grant,
    attempt: u32,
    /// Whether files are named by absolute paths: the command runs elsewhere than in the workflow's directory.
    absolute: bool,
}

impl Filling<'_> {
    fn invocation(&self) -> Invocation {
        let task = self.plan.task_of(self.instance);
        let mut script = String::new();
        self.prepare(&mut script);
        match &*task.command {
            Command::Shell(template) => {
                self.fill(template, &mut script);
                Invocation::Script(script)
            }
            Command::Argv(words) => {
                let words: Vec<String> = words.iter().flat_map(|word| self.words(word)).collect();
                if script.is_empty() {
                    return Invocation::Argv(words);
                }
                script.push_str("exec");
                for word in &words {
                    script.push(' ');
                    script.push_str(&sh(word));
                }
                script.push('\n');
                Invocation::Script(script)
            }
        }
    }

    /// Writes what comes before the command: modules, conda, setup lines.
    fn prepare(&self, script: &mut String) {
        let task = self.plan.task_of(self.instance);
        // Modules are the host's: with a container they are loaded around it.
        let modules = if task.container.is_some() { &[] } else { task.modules.as_slice() };
        if !modules.is_empty() || task.conda.is_some() {
            // The shell functions behind these read variables that are not set.
            script.push_str("set +u\n");
            if !modules.is_empty() {
                load(modules, script);
            }
            match &task.conda {
                None => {}
                // An image's shell need not be bash.
                Some(name) if task.container.is_some() => {
                    script.push_str("eval \"$(conda shell.bash hook)\"\nconda activate ");
                    script.push_str(&sh(name));
                    script.push('\n');
                }
                Some(file) if conda::is_file(file) => script.push_str(&conda::activate(&absolute(self.root, file))),
                Some(name) => script.push_str(&conda::activate(name)),
            }
            script.push_str("set -u\n");
        }
        for line in &task.setup {
            self.fill(line, script);
            script.push('\n');
        }
    }

    fn text(&self, template: &Template) -> String {
        let mut text = String::new();
        self.fill(template, &mut text);
        text
    }

    /// Returns the arguments that one element of an argument list stands for: `"{inputs}"` alone is one per file.
    fn words(&self, template: &Template) -> Vec<String> {
        match template.parts.as_slice() {
            [Part::Hole(Hole::Inputs(None, of), _)] => {
                self.files(declared(self.plan, self.instance), *of).map(Cow::into_owned).collect()
            }
            [Part::Hole(Hole::Outputs(None, of), _)] => {
                self.files(self.plan.outputs(self.instance), *of).map(Cow::into_owned).collect()
            }
            _ => vec![self.text(template)],
        }
    }

    fn fill(&self, template: &Template, to: &mut String) {
        for part in &template.parts {
            match part {
                Part::Text(text) => to.push_str(text),
                Part::Hole(hole, quote) => self.hole(hole, *quote, to),
            }
        }
    }

    fn hole(&self, hole: &Hole, quote: Quote, to: &mut String) {
        const MIB: u64 = 1 << 20;
        const GIB: u64 = 1 << 30;
        let number = match *hole {
            Hole::Name => return quote::push(&self.plan.task_of(self.instance).name, quote, to),
            Hole::Column(column, of) => return quote::push(part(self.plan.cell(self.instance, column), of), quote, to),
            Hole::Inputs(index, of) => return self.list(declared(self.plan, self.instance), index, of, quote, to),
            Hole::Outputs(index, of) => return self.list(self.plan.outputs(self.instance), index, of, quote, to),
            Hole::Cpus => u64::from(self.grant.cpus),
            Hole::MemMb => self.grant.mem.0 / MIB,
            Hole::MemGb => (self.grant.mem.0 / GIB).max(1),
            Hole::MemBytes => self.grant.mem.0,
            Hole::Gpus => u64::from(self.grant.gpus),
            Hole::TimeS => self.grant.time.map_or(0, |time| time.0),
            Hole::Attempt => u64::from(self.attempt),
        };
        to.push_str(&number.to_string());
    }

    fn list(&self, all: &[PathId], index: Option<u32>, of: PathPart, quote: Quote, to: &mut String) {
        let chosen = match index {
            Some(index) => all.get(index as usize..=index as usize).unwrap_or_default(),
            None => all,
        };
        for (at, file) in self.files(chosen, of).enumerate() {
            if at > 0 {
                to.push(' ');
            }
            quote::push(&file, quote, to);
        }
    }

    /// Returns the names of files as the command sees them.
    fn files<'p>(&'p self, paths: &'p [PathId], of: PathPart) -> impl Iterator<Item = Cow<'p, str>> {
        paths.iter().map(move |path| {
            let path = self.plan.path(*path);
            if matches!(of, PathPart::Stem | PathPart::Ext) {
                return Cow::Borrowed(part(path, of));
            }
            let path = if self.absolute { Cow::Owned(absolute(self.root, path)) } else { Cow::Borrowed(path) };
            let path = match path {
                Cow::Borrowed(path) => Cow::Borrowed(part(path, of)),
                Cow::Owned(path) => Cow::Owned(part(&path, of).to_owned()),
            };
            // To most commands, a name that begins with `-` is an option.
            if path.starts_with('-') { Cow::Owned(format!("./{path}")) } else { path }
        })
    }
}
