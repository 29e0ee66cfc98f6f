//! `csync run --image`: a script in a sandbox, on this machine or on another.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::boxes::{Place, failed};
use crate::cli::command::{Asks, literal, task_name, toml_string};
use crate::cli::context::Context;
use crate::cli::errors::{Exit, Failure, Source};
use crate::cli::follow::interrupts;
use crate::cli::hosts::{Known, owner};
use crate::cli::record::{Record, is_dead};
use crate::cli::submission::{Wishes, WorkflowFile, directory, submission};
use crate::cli::view::words::duration;
use crate::language::container::{Image, Sandbox, inside};
use crate::language::hook::agent_of;
use crate::model::api::ErrorKind;
use crate::model::done::DoneRun;
use crate::model::host::{Agents, HostName};
use crate::model::id::RunId;
use crate::model::job::Outcome;
use crate::model::resources::{Grant, Hold, Meter, Usage};
use crate::model::units::Bytes;
use crate::reach::clock;
use crate::reach::docker::{Confined, Daemon, DockerError, Ending, Given, Order};

/// Most that is given to a sandbox.
const MOST: u64 = 1 << 30;

/// What runs a script of this kind.
const INTERPRETERS: [(&str, &str); 8] = [
    ("py", "python3"),
    ("sh", "sh"),
    ("bash", "bash"),
    ("R", "Rscript"),
    ("r", "Rscript"),
    ("pl", "perl"),
    ("jl", "julia"),
    ("js", "node"),
];

/// What is asked for.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) image: &'a str,
    pub(super) on: Option<&'a str>,
    pub(super) files: &'a [PathBuf],
    pub(super) asks: &'a Asks,
    pub(super) command: &'a [OsString],
}

/// Runs it.
pub(super) fn run(context: &Context, wanted: &Wanted<'_>) -> Result<Exit, Failure> {
    let image: Image = wanted.image.parse().map_err(|error: crate::language::container::BadImage| {
        Failure::usage(format!("`{}` names no image: {error}", wanted.image))
    })?;
    let Image::Registry(image) = image else {
        return Err(Failure::usage("a sandbox is a Docker or Podman container, which runs images by their names")
            .hint(format!("`csync images push {} --on HOST` loads a file; then name what it says", wanted.image)));
    };
    let (command, files) = plan(Path::new("."), wanted.command, wanted.files)?;
    let sandbox = sandbox(wanted.asks);
    let owner = owner(context)?;
    let known = Known::load(context)?;
    let head = head(wanted, (&image, sandbox), &command, &files)?;
    let (confined, run) = context.block_on(async {
        let place = Place::find(context, &known, wanted.on).await?;
        for_whom(&place, &head)?;
        let daemon = place.needed_daemon().await?;
        is_held(&place, &known, &daemon)?;
        let order = Order { image: &image, command: &command, env: &[], files: &files, sandbox, owner: &owner };
        let made = match daemon.prepare(&order).await {
            Err(DockerError::NoImage { .. }) => {
                context.say(&format!("csync: {} pulls {image}", daemon.host()));
                daemon.pull(&image, |_| {}).await.map_err(|error| failed(&error))?;
                daemon.prepare(&order).await
            }
            made => made,
        };
        let made = made.map_err(|error| failed(&error))?;
        let mut record = Record::begin(&context.state_dir()?, head);
        let (confined, left, client) = tokio::join!(
            daemon.follow(&made, &order, printer(context.json(), &mut record), interrupted()?),
            daemon.sweep(|other| is_left(&owner, other)),
            context.reach(),
        );
        // Whatever happened: nothing of it stays, its files included.
        let (gone, kept) = tokio::join!(daemon.discard(&made), record.keep(client, &confined));
        match left {
            Ok(0) => {}
            Ok(left) => {
                context.say(&format!("csync: removed {left} that a csync which died had left on {}", daemon.host()));
            }
            Err(error) => context.say(&format!("csync: {error}")),
        }
        let run = kept.unwrap_or_else(|failure| {
            context.say("csync: it is not kept as a run:");
            context.tell(&failure);
            None
        });
        let confined = confined.map_err(|error| failed(&error))?;
        gone.map_err(|error| failed(&error))?;
        Ok((confined, run))
    })?;
    conclude(context, &confined, (sandbox, run))
}

/// Prints what comes, and keeps it.
fn printer(quiet: bool, record: &mut Record) -> impl FnMut(bool, &[u8]) + Send {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    move |is_error: bool, bytes: &[u8]| {
        // First: whoever hears of it may end this process, and finds it kept.
        record.write(is_error, bytes);
        // Whoever does not want to hear more is not told; with `--json` nothing but the value belongs there.
        let _told = if is_error || quiet {
            err.write_all(bytes).and_then(|()| err.flush())
        } else {
            out.write_all(bytes).and_then(|()| out.flush())
        };
    }
}

/// Waits for Ctrl-C.
fn interrupted() -> Result<impl Future<Output = ()> + Send, Failure> {
    let mut interrupts = interrupts()?;
    Ok(async move {
        interrupts.recv().await;
    })
}

/// Refuses what a coding agent asks for where that is for people to start.
fn for_whom(place: &Place, head: &DoneRun) -> Result<(), Failure> {
    let env = &head.submission.env;
    let agent = agent_of(|name| env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()));
    let (host, agents) = (&place.host, place.host.policy.agents);
    let free = agents == Agents::Allow || (host.name.is_local() && agents == Agents::Ask);
    let Some(agent) = agent.filter(|_| !free) else { return Ok(()) };
    let command = head.submission.command.as_deref().unwrap_or("csync run --image");
    Err(Failure::new(ErrorKind::Conflict, format!("{agent} may not start anything on `{}` by itself", host.name)).hint(
        format!("a person may type it: `{command}`; `agents` in `[hosts.{}.policy]` of hosts.toml says so", host.name),
    ))
}

/// Refuses a daemon whose limits were tried and not held, before anything is pulled there. What a daemon says of itself is found out
/// by each sandbox anew.
fn is_held(place: &Place, known: &Known, daemon: &Daemon) -> Result<(), Failure> {
    let (host, runtime) = (&place.host, daemon.runtime());
    let facts = known.probed.get(&host.name).and_then(|probed| probed.facts.as_ref());
    let mut programs = facts.into_iter().flat_map(|facts| &facts.containers);
    if !programs.any(|program| program.runtime == runtime && program.tried == Some(false)) {
        return Ok(());
    }
    let message = format!("the {runtime} of {} does not hold limits: that was tried", host.name);
    Err(Failure::new(ErrorKind::Conflict, message)
        .hint(format!(
            "`csync route --sandbox --image IMAGE COMMAND` says where it may run; `csync hosts probe {} --limits` tries it again",
            host.name
        ))
        .exiting(Exit::RunFailed))
}

/// Says as what it is kept: the command as a workflow of one task.
fn head(
    wanted: &Wanted<'_>,
    (image, sandbox): (&str, Sandbox),
    command: &[String],
    files: &[Given],
) -> Result<DoneRun, Failure> {
    let root = directory(Path::new("."))?;
    let text = text_of(wanted, (image, sandbox), command, files);
    let file = WorkflowFile { source: Source { name: "<the command>".to_owned(), text }, path: None, root };
    let now = clock::now();
    let grant = Grant { cpus: sandbox.cpus, mem: sandbox.memory, hold: Hold::Limit, time: Some(sandbox.time), gpus: 0 };
    Ok(DoneRun {
        submission: submission(&file, Wishes::default())?,
        host: wanted.on.filter(|on| *on != HostName::LOCAL).and_then(|on| on.parse().ok()),
        grant,
        asked: now,
        started: None,
        ended: now,
        outcome: Outcome::Success,
        usage: Usage { meter: Meter::Cgroup, ..Usage::default() },
        input: files.iter().map(|file| file.content.len() as u64).sum(),
        notes: Vec::new(),
    })
}

/// Writes the command as a workflow.
fn text_of(wanted: &Wanted<'_>, (image, sandbox): (&str, Sandbox), command: &[String], files: &[Given]) -> String {
    // A script is known by its name, and not by what runs it.
    let called = wanted.command.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    let task = task_name(&called.to_string_lossy());
    let list = |words: Vec<String>| words.join(", ");
    let words = list(command.iter().map(|word| toml_string(&literal(word))).collect());
    let plain = |name: &str| name.chars().all(|c| c.is_alphanumeric() || "._-/+ ".contains(c));
    let inputs: Vec<&str> = files.iter().map(|file| file.name.as_str()).filter(|name| plain(name)).collect();
    let inputs = list(inputs.into_iter().map(toml_string).collect());
    let on = wanted.on.map(|on| format!("on = {}\n", toml_string(&literal(on)))).unwrap_or_default();
    format!(
        "name = {}\n\n[tasks.{task}]\ncontainer = {}\nrun = [{words}]\ninputs = [{inputs}]\ncache = false\n{on}\
         resources = {{ cpus = {}, mem = \"{}B\", time = \"{}s\" }}\n",
        toml_string(wanted.asks.name.as_deref().unwrap_or(&task)),
        toml_string(&format!("docker://{}", literal(image))),
        sandbox.cpus,
        sandbox.memory.0,
        sandbox.time.0
    )
}

fn conclude(context: &Context, confined: &Confined, (sandbox, run): (Sandbox, Option<RunId>)) -> Result<Exit, Failure> {
    let (exit, words) = match confined.ending {
        Ending::Exit(code) => (Exit::Command(u8::try_from(code).unwrap_or(u8::MAX)), None),
        Ending::Oom => (Exit::RunFailed, Some(format!("over its memory of {}; `--mem` gives more", sandbox.memory))),
        Ending::Timeout => (Exit::RunFailed, Some(format!("over its time of {}; `--time` gives more", sandbox.time))),
        Ending::Cancelled => (Exit::Interrupted, Some("ended".to_owned())),
    };
    let exit = if confined.ending == Ending::Exit(0) { Exit::Success } else { exit };
    if context.json() {
        context.print_json(&json!({
            "run": run,
            "exit_code": exit.number(),
            "ending": words.as_deref().unwrap_or("exit"),
            "wall": confined.wall.as_secs_f64(),
            "peak_memory": confined.peak.0,
            "cpu": confined.cpu.0 + confined.cpu.1,
            "io": confined.io,
        }))?;
    } else if let Some(words) = words {
        context.say(&format!("csync: {words} (after {})", duration(confined.wall.as_secs_f64())));
    }
    Ok(exit)
}

fn sandbox(asks: &Asks) -> Sandbox {
    let usual = Sandbox::default();
    let memory = asks.mem.unwrap_or(usual.memory);
    Sandbox {
        cpus: asks.cpus.unwrap_or(usual.cpus).max(1),
        memory,
        disk: Bytes(usual.disk.0.min(memory.0)),
        time: asks.time.unwrap_or(usual.time),
        ..usual
    }
}

/// Returns whether another one of this state directory died.
fn is_left(mine: &str, other: &str) -> bool {
    let same = other.split(':').next().is_some_and(|state| mine.split(':').next() == Some(state));
    same && other.split_once(':').is_some_and(|(_, who)| is_dead(who))
}

/// Reads what goes along, and makes the command of a script. `--files` may stand behind the script, up to a `--`.
fn plan(dir: &Path, words: &[OsString], files: &[PathBuf]) -> Result<(Vec<String>, Vec<Given>), Failure> {
    let mut command = Vec::new();
    let mut files = files.to_vec();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(text) = word.to_str() else {
            return Err(Failure::usage(format!("the argument `{}` is not UTF-8", word.display()))
                .hint("give the file a plain name; what is in it may be anything"));
        };
        if text == "--" {
            for word in words.by_ref() {
                command.push(word.to_string_lossy().into_owned());
            }
        } else if text == "--files" && !command.is_empty() {
            let list = words.next().ok_or_else(|| Failure::usage("`--files` names no file"))?;
            files.extend(list.to_string_lossy().split(',').map(PathBuf::from));
        } else if let Some(list) = text.strip_prefix("--files=").filter(|_| !command.is_empty()) {
            files.extend(list.split(',').map(PathBuf::from));
        } else {
            command.push(text.to_owned());
        }
    }
    let mut given = Vec::new();
    if let Some(first) = command.first().cloned()
        && dir.join(&first).is_file()
        && (first.contains('/') || Path::new(&first).extension().is_some())
    {
        let script = read(dir, Path::new(&first))?;
        let kind = Path::new(&script.name).extension().and_then(|kind| kind.to_str()).unwrap_or_default();
        let interpreter = INTERPRETERS.iter().find(|(end, _)| *end == kind).map(|(_, program)| (*program).to_owned());
        let name = format!("./{}", script.name);
        let start = match interpreter {
            Some(program) => vec![program, name],
            None if script.content.starts_with(b"#!") || script.content.starts_with(b"\x7fELF") => vec![name],
            None => {
                return Err(Failure::usage(format!("what runs `{first}` is not clear"))
                    .hint("begin it with a line such as `#!/usr/bin/env python3`, or name the program: `python3 FILE --files FILE`"));
            }
        };
        command.splice(..1, start);
        given.push(Given { executable: true, ..script });
    }
    for file in &files {
        let file = read(dir, file)?;
        if given.iter().all(|other| other.name != file.name) {
            given.push(file);
        }
    }
    let bytes: u64 = given.iter().map(|file| file.content.len() as u64).sum();
    if bytes > MOST {
        return Err(Failure::usage(format!(
            "the files have {}, and a sandbox takes at most {}",
            Bytes(bytes),
            Bytes(MOST)
        ))
        .hint("a task with `container` in a workflow has its inputs staged, whatever their size"));
    }
    Ok((command, given))
}

/// Reads a file that is given to a sandbox. A link that leads out of the directory is refused as a path that does.
fn read(dir: &Path, file: &Path) -> Result<Given, Failure> {
    let shown = file.display();
    let Some(text) = file.to_str() else {
        return Err(Failure::usage(format!("the name of `{shown}` is not UTF-8")));
    };
    let hint = "copy it into this directory: only what is named, and lies here, goes into a sandbox";
    let name = inside(text).map_err(|error| Failure::usage(error.to_string()).hint(hint))?;
    let unreadable = |error: std::io::Error| Failure::usage(format!("`{shown}` cannot be read")).because(&error);
    let whole = dir.join(&name).canonicalize().map_err(unreadable)?;
    let root = dir.canonicalize().map_err(unreadable)?;
    if !whole.starts_with(&root) {
        let failure =
            Failure::usage(format!("`{shown}` is a link that leads out of this directory, to {}", whole.display()));
        return Err(failure.hint(hint));
    }
    let meta = whole.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err(Failure::usage(format!("`{shown}` is no file")).hint("name the files in it"));
    }
    if meta.len() > MOST {
        return Err(Failure::usage(format!(
            "`{shown}` has {}, and a sandbox takes at most {}",
            Bytes(meta.len()),
            Bytes(MOST)
        )));
    }
    let content = std::fs::read(&whole).map_err(unreadable)?;
    Ok(Given { name, content, executable: meta.permissions().mode() & 0o111 != 0 })
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;
    use crate::reach::machine::processes;

    fn planned(dir: &Path, words: &[&str], files: &[&str]) -> Result<(String, Vec<String>), String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        let planned = plan(dir, &words, &files).map_err(|failure| failure.to_json().to_string())?;
        Ok((planned.0.join(" "), planned.1.into_iter().map(|file| file.name).collect()))
    }

    #[test]
    fn a_script_is_run_by_its_program_and_files_go_along() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        std::fs::create_dir(dir.join("sub")).unwrap();
        std::fs::write(dir.join("script.py"), b"print('\xff')").unwrap();
        std::fs::write(dir.join("sub/tool"), "#!/bin/sh\n").unwrap();
        std::fs::write(dir.join("data.csv"), "1").unwrap();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (words, files, command, given) in [
            (&["script.py", "--files", "data.csv"][..], &[][..], "python3 ./script.py", &["script.py", "data.csv"][..]),
            (
                &["script.py", "-x", "--", "--files", "y"],
                &["data.csv"],
                "python3 ./script.py -x --files y",
                &["script.py", "data.csv"],
            ),
            (&["./sub/tool", "1"], &[], "./sub/tool 1", &["sub/tool"]),
            (&["script.py", "--files=data.csv,./data.csv"], &[], "python3 ./script.py", &["script.py", "data.csv"]),
            (&["cat", "data.csv"], &["data.csv"], "cat data.csv", &["data.csv"]),
        ] {
            assert_eq!(planned(dir, words, files), Ok((command.to_owned(), names(given))));
        }
    }

    #[test]
    fn what_leads_out_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        std::os::unix::fs::symlink("/etc/passwd", dir.join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.join("etc")).unwrap();
        std::fs::write(dir.join("odd.data"), "x").unwrap();
        for (files, says) in [
            ("../x", "leads out"),
            ("/etc/passwd", "leads out"),
            ("a/../../x", "leads out"),
            ("link", "is a link that leads out"),
            ("etc/passwd", "is a link that leads out"),
            ("none", "cannot be read"),
            (".", "without a name"),
        ] {
            let refused = planned(dir, &["true"], &[files]).unwrap_err();
            assert!(refused.contains(says), "{files}: {refused}");
        }
        assert!(planned(dir, &["./odd.data"], &[]).unwrap_err().contains("what runs"));
        // What is in a script may be anything; its name is text.
        let odd = OsString::from_vec(b"\xff.py".to_vec());
        let refused = plan(dir, std::slice::from_ref(&odd), &[]).unwrap_err().to_json().to_string();
        assert!(refused.contains("is not UTF-8"), "{refused}");
        let refused = plan(dir, &[OsString::from("true")], &[odd.into()]).unwrap_err().to_json().to_string();
        assert!(refused.contains("is not UTF-8"), "{refused}");
    }

    #[test]
    fn it_is_kept_as_a_workflow_of_one_task() {
        let asks = Asks::default();
        let words = [OsString::from("sub/script.py"), OsString::from("{x}")];
        let wanted = Wanted { image: "python:3", on: Some("lab"), files: &[], asks: &asks, command: &words };
        let file = |name: &str| Given { name: name.to_owned(), content: Vec::new(), executable: false };
        let command = ["python3", "./sub/script.py", "{x}"].map(str::to_owned);
        let text = text_of(&wanted, ("python:3", sandbox(&asks)), &command, &[file("sub/script.py"), file("a*.csv")]);
        insta::assert_snapshot!(text, @r#"
        name = "script-py"

        [tasks.script-py]
        container = "docker://python:3"
        run = ["python3", "./sub/script.py", "{{x}}"]
        inputs = ["sub/script.py"]
        cache = false
        on = "lab"
        resources = { cpus = 2, mem = "4294967296B", time = "600s" }
        "#);
        let (_, mistakes) = crate::language::manifest::read(&text);
        assert!(mistakes.is_empty(), "{mistakes:?}");
    }

    #[test]
    fn only_what_a_dead_one_left_is_swept() {
        let me = rustix::process::getpid();
        let birth = processes::stat(me).unwrap().start;
        let mine = format!("abc:{}:{birth}", me.as_raw_pid());
        assert!(!is_left(&mine, &mine));
        assert!(is_left(&mine, &format!("abc:{}:{}", me.as_raw_pid(), birth + 1)));
        assert!(!is_left(&mine, &format!("other:{}:{}", me.as_raw_pid(), birth + 1)));
        assert!(!is_left(&mine, "abc"));
    }
}
