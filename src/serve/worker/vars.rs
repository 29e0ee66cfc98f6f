//! The environment of a run, in the form in which the system wants it: made once, used by each of its jobs.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::Access;

use crate::reach::executor::wire::Environment;

/// Where programs are looked for when there is no `PATH`, as shells do.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// How long a program that was found is not looked for again. Shells remember it for their whole life.
const REMEMBERED: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Vars {
    /// `NAME=value`, each name once, with the length of the name.
    block: Vec<(CString, usize)>,
    path: Option<String>,
    pub(super) umask: u32,
    found: Mutex<HashMap<String, (PathBuf, Instant)>>,
}

impl Vars {
    /// Prepares an environment. A variable that no process can have (a zero byte, an empty name, `=` in it) is left out.
    pub(super) fn new(environment: Environment) -> Self {
        // The last of a name counts.
        let mut vars: BTreeMap<_, _> = environment.vars.into_iter().collect();
        // As the wrapper does on other hosts: what Python prints is seen when it is printed.
        vars.entry("PYTHONUNBUFFERED".to_owned()).or_insert_with(|| "1".to_owned());
        let path = vars.get("PATH").cloned();
        let block = vars.iter().filter_map(|(name, value)| Some((entry(name, value)?, name.len()))).collect();
        Self { block, path, umask: environment.umask, found: Mutex::default() }
    }

    /// Returns the block of a job: this environment, but for the variables that the job sets itself.
    pub(super) fn with<'a>(&'a self, own: &'a Own) -> Vec<&'a CStr> {
        let is_free = |name: &[u8]| !own.0.iter().any(|(var, len)| var.as_bytes().get(..*len) == Some(name));
        let base = self.block.iter().filter(|(var, len)| is_free(var.as_bytes().get(..*len).unwrap_or_default()));
        base.chain(&own.0).map(|(var, _)| var.as_c_str()).collect()
    }

    /// Finds a program as a shell would: by its path, or in the directories of `PATH` (the job's own, if it has one). The
    /// error is a message for people.
    pub(super) fn find(&self, program: &str, own_path: Option<&str>, workdir: &str) -> Result<PathBuf, String> {
        if program.is_empty() {
            return Err("the command's first word is empty".to_owned());
        }
        if program.contains('/') {
            return Ok(Path::new(workdir).join(program));
        }
        if let Some(path) = own_path {
            return search(program, path, workdir).map(|(found, _)| found);
        }
        let mut remembered = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((found, at)) = remembered.get(program)
            && at.elapsed() < REMEMBERED
        {
            return Ok(found.clone());
        }
        let (found, anywhere) = search(program, self.path.as_deref().unwrap_or(DEFAULT_PATH), workdir)?;
        if anywhere {
            remembered.insert(program.to_owned(), (found.clone(), Instant::now()));
        }
        Ok(found)
    }

    /// Forgets where programs were found.
    pub(super) fn forget_programs(&self) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Variables of one job.
#[derive(Debug, Default)]
pub(super) struct Own(Vec<(CString, usize)>);

impl Own {
    /// Sets a variable; what cannot be one is left out.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.0.retain(|(var, len)| var.as_bytes().get(..*len) != Some(name.as_bytes()));
        self.0.extend(entry(name, value).map(|var| (var, name.len())));
    }
}

fn entry(name: &str, value: &str) -> Option<CString> {
    if name.is_empty() || name.contains('=') {
        return None;
    }
    let mut text = String::with_capacity(name.len() + value.len() + 2);
    text.push_str(name);
    text.push('=');
    text.push_str(value);
    CString::new(text).ok()
}

/// Looks for a program; says too whether it would be found from any directory.
fn search(program: &str, path: &str, workdir: &str) -> Result<(PathBuf, bool), String> {
    let mut denied = None;
    let mut anywhere = true;
    for dir in path.split(':') {
        // An empty entry is the working directory.
        anywhere &= dir.starts_with('/');
        let candidate = Path::new(workdir).join(dir).join(program);
        match rustix::fs::access(&candidate, Access::EXEC_OK) {
            Ok(()) if candidate.is_file() => return Ok((candidate, anywhere)),
            Err(rustix::io::Errno::ACCESS) if denied.is_none() && candidate.is_file() => denied = Some(candidate),
            _ => {}
        }
    }
    Err(match denied {
        Some(file) => format!("permission denied: {} is not executable", file.display()),
        None => format!("command not found: {program} (PATH is {path})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(vars: &[(&str, &str)]) -> Vars {
        let vars = vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Vars::new(Environment { number: 1, vars, umask: 0o22 })
    }

    fn block(vars: &Vars, own: &Own) -> Vec<String> {
        vars.with(own).into_iter().map(|var| var.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_job_sets_variables_over_those_of_its_run() {
        let base = vars(&[("A", "1"), ("AB", "2"), ("A", "3"), ("", "x"), ("N", "a\0b"), ("C=D", "4")]);
        let mut own = Own::default();
        assert_eq!(block(&base, &own), ["A=3", "AB=2", "PYTHONUNBUFFERED=1"]);
        own.set("AB", "=x");
        own.set("Z", "");
        own.set("Z", "5");
        assert_eq!(block(&base, &own), ["A=3", "PYTHONUNBUFFERED=1", "AB==x", "Z=5"]);
        own.set("PYTHONUNBUFFERED", "");
        assert_eq!(block(&base, &own), ["A=3", "AB==x", "Z=5", "PYTHONUNBUFFERED="]);
        assert_eq!(block(&vars(&[("PYTHONUNBUFFERED", "")]), &Own::default()), ["PYTHONUNBUFFERED="]);
    }

    #[test]
    fn programs_are_found_as_shells_find_them() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        let make = |name: &str, mode: u32| {
            use std::os::unix::fs::OpenOptionsExt as _;
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(mode).open(path).unwrap();
        };
        make("a/plain", 0o644);
        make("b/plain", 0o755);
        make("b/tool", 0o755);
        make("b/dir/inside", 0o755);
        make("c/text", 0o644);
        let base = vars(&[("PATH", &format!("{root}/a:{root}/b:{root}/c:"))]);
        let find = |program| base.find(program, None, root);
        assert_eq!(find("plain"), Ok(dir.path().join("b/plain")));
        assert_eq!(find("tool"), Ok(dir.path().join("b/tool")));
        assert_eq!(find("./b/tool"), Ok(dir.path().join("./b/tool")));
        assert_eq!(base.find("tool", Some("b"), root), Ok(dir.path().join("b/tool")));
        for (program, says) in
            [("text", "is not executable"), ("dir", "command not found"), ("none", "command not found")]
        {
            let error = find(program).unwrap_err();
            assert!(error.contains(says), "{program}: {error}");
        }
        // Remembered for a moment, and forgotten when told.
        std::fs::remove_file(dir.path().join("b/tool")).unwrap();
        base.forget_programs();
        assert!(find("tool").is_err());
    }
}
