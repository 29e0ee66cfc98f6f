//! `csync hook` as agents call it: the real binary, one process a call.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::world::{World, until};

/// A cluster and a workstation behind it.
const HOSTS: &str = "[hosts.hpc]\nbatch = \"slurm\"\n[hosts.lab]\nssh = \"inner\"\nbatch = \"none\"\n";
const SSH: &str = "Host hpc\n  HostName hpc.example.org\nHost inner\n  HostName 10.0.0.9\n  ProxyJump gate\n";

struct Hook {
    world: World,
}

impl Hook {
    fn new() -> Self {
        let hook = Self { world: World::new() };
        for dir in ["config", ".ssh", ".claude", "project/.claude"] {
            std::fs::create_dir_all(hook.world.path(dir)).unwrap();
        }
        hook.world.write("config/hosts.toml", HOSTS);
        hook.world.write(".ssh/config", SSH);
        assert!(hook.csync(&["--quiet", "hook", "refresh"], "").1.success(), "the index is made");
        hook
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.world.command(args);
        let home = self.world.path("");
        command.env("HOME", &home).env("CSYNC_CONFIG", home.join("config"));
        // No test is told by how busy the machine is.
        command.env("CSYNC_HOOK_DEADLINE_MS", "20000");
        for name in ["CLAUDE_CONFIG_DIR", "CLAUDE_PROJECT_DIR", "CLAUDE_PID", "CSYNC_SSH_CONFIG"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs csync with an input; returns what it printed.
    fn csync(&self, args: &[&str], input: impl AsRef<[u8]>) -> (String, std::process::ExitStatus) {
        let mut child =
            self.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // One that has heard enough does not listen any more.
        drop(child.stdin.take().unwrap().write_all(input.as_ref()));
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr).trim_end(), "", "{args:?}");
        (String::from_utf8(output.stdout).unwrap(), output.status)
    }

    /// Calls a tool of `csync mcp`; returns whether that went well, and what came back.
    fn csync_mcp(&self, call: &Value) -> (bool, String) {
        let client = json!({"name": "test", "version": "1"});
        let params = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client});
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params});
        let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call});
        let (out, status) = self.csync(&["mcp"], format!("{hello}\n{call}\n"));
        assert!(status.success());
        let answer: Value = serde_json::from_str(out.lines().nth(1).unwrap()).unwrap();
        let result = &answer["result"];
        (result["isError"] == false, result["content"][0]["text"].as_str().unwrap().to_owned())
    }

    fn claude(&self, args: &[&str], command: &str) -> Option<Value> {
        let (out, status) = self.csync(&[&["hook", "claude"], args].concat(), event(command).to_string());
        assert!(status.success());
        (!out.is_empty()).then(|| {
            assert!(out.ends_with("}\n") && out.lines().count() == 1, "{out}");
            serde_json::from_str(&out).unwrap()
        })
    }

    fn state(&self, name: &str) -> std::path::PathBuf {
        self.world.state().join(name)
    }
}

fn event(command: &str) -> Value {
    json!({
        "session_id": "s1", "cwd": "/nowhere", "hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_use_id": "t1",
        "tool_input": {"command": command, "timeout": 5000, "description": "x"}, "permission_mode": "default",
    })
}

#[test]
fn advice_is_given_and_commands_are_changed_only_where_that_was_asked_for() {
    let hook = Hook::new();
    assert_eq!(hook.claude(&[], "ls -la"), None);
    let advice = hook.claude(&[], "ssh lab hostname").unwrap();
    let specific = &advice["hookSpecificOutput"];
    assert_eq!(specific["hookEventName"], "PreToolUse");
    assert!(specific["additionalContext"].as_str().unwrap().contains("-J gate -o HostName=10.0.0.9"), "{advice}");
    assert_eq!(specific.get("updatedInput"), None);
    assert_eq!(specific.get("permissionDecision"), None);
    let changed = hook.claude(&["--rewrite"], "ssh lab hostname").unwrap();
    assert_eq!(
        changed["hookSpecificOutput"]["updatedInput"],
        json!({"command": "ssh -J gate -o HostName=10.0.0.9 lab hostname", "timeout": 5000, "description": "x"})
    );
    assert!(!changed.to_string().contains("permissionDecision"));
    assert_eq!(hook.claude(&["--rewrite=submit"], "ssh inner hostname"), None, "ssh knows that one");
    let text = hook.claude(&["--some-new-option"], "ssh hpc python x.py").unwrap().to_string();
    assert!(text.contains("csync submit --on hpc"), "{text}");
    for (args, expected) in [(vec![], 1), (vec!["--rewrite"], 2)] {
        let args: Vec<&str> = [vec!["hook", "test", "ssh lab id"], args].concat();
        let (out, _) = hook.csync(&args, "");
        assert_eq!(out.lines().count(), expected, "{out}");
    }
    for (agent, expected) in [
        ("claude", "before: {\"hookSpecificOutput\":{\"hookEventName\":\"PreToolUse\",\"updatedInput\""),
        ("codex", "\"permissionDecision\":\"allow\",\"updatedInput\""),
        ("qwen", "qwen before: no answer\nqwen after: {\"hookSpecificOutput\""),
        ("gemini", "\"tool_input\":{\"command\":\"ssh -J gate"),
        ("copilot", "before: {\"modifiedArgs\":{\"command\":\"ssh -J gate"),
        ("cursor", "\"permission\":\"ask\",\"updated_input\""),
    ] {
        let (out, _) = hook.csync(&["hook", "test", "--rewrite", "--agent", agent, "ssh lab id"], "");
        assert!(out.contains(expected), "{agent}: {out}");
        let (out, _) = hook.csync(&["--json", "hook", "test", "--agent", agent, "ls"], "");
        let value: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["before"], if agent == "cursor" { json!({}) } else { Value::Null }, "{agent}: {out}");
    }
}

#[test]
fn rules_of_every_layer_keep_it_silent() {
    let hook = Hook::new();
    let line = "timeout 5 ssh lab id";
    let said = || hook.claude(&["--rewrite"], line).is_some();
    assert!(said());
    for (file, rule) in [
        (".claude/settings.json", json!({"permissions": {"deny": ["Bash(ssh *)"]}})),
        (".claude/settings.json", json!({"permissions": {"ask": ["Bash(ssh lab:*)"]}})),
        (".claude/settings.json", json!("broken")),
    ] {
        hook.world.write(file, &rule.to_string());
        assert!(!said(), "{rule}");
    }
    hook.world.write(
        ".claude/settings.json",
        &json!({"permissions": {"allow": ["Bash(ssh *)"], "deny": ["Bash(rm *)"]}}).to_string(),
    );
    assert!(said());
    // The project's own, above the session's directory.
    let project = hook.world.path("project/sub");
    std::fs::create_dir_all(&project).unwrap();
    hook.world
        .write("project/.claude/settings.local.json", &json!({"permissions": {"deny": ["Bash(ssh *)"]}}).to_string());
    let mut inside = event(line);
    inside["cwd"] = json!(project);
    assert_eq!(hook.csync(&["hook", "claude", "--rewrite"], inside.to_string()).0, "");
}

#[test]
fn whatever_is_wrong_it_is_silent_and_well() {
    let hook = Hook::new();
    let silent = |input: &[u8]| {
        let (out, status) = hook.csync(&["hook", "claude", "--rewrite"], input);
        assert_eq!(
            (out.as_str(), status.code()),
            ("", Some(0)),
            "{}",
            String::from_utf8_lossy(&input[..input.len().min(80)])
        );
    };
    for input in [
        "",
        "{",
        "[]",
        "null",
        "{}",
        "\u{feff}{}",
        "{\"hook_event_name\":\"FromTheFuture\"}",
        "not json",
        "{\"tool_input\":{\"command\":1}}",
    ] {
        silent(input.as_bytes());
    }
    silent(b"\xff\xfe{}");
    silent(event(&"x".repeat(1 << 20)).to_string().as_bytes());
    silent(event(&format!("ssh lab '{}'", "x".repeat(1 << 20))).to_string().as_bytes());
    silent(event(&"(".repeat(30_000)).to_string().as_bytes());
    silent(&vec![b'{'; 9 << 20]);
    assert_eq!(hook.csync(&["hook", "cursor"], "{}").0, "{}\n", "this one takes no silence");
    let index = hook.state("advice.idx");
    let whole = std::fs::read(&index).unwrap();
    let damages: [&[u8]; 3] =
        [&whole[..whole.len() / 2], &[], b"something else, and longer than a header of thirty-two bytes"];
    for (number, damaged) in damages.into_iter().enumerate() {
        // Each in a place of its own: behind the call it is made anew.
        let state = hook.world.path(&format!("state{number}"));
        std::fs::create_dir(&state).unwrap();
        std::fs::write(state.join("advice.idx"), damaged).unwrap();
        let mut command = hook.command(&["hook", "claude", "--rewrite"]);
        command.env("CSYNC_STATE", &state).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        write!(child.stdin.take().unwrap(), "{}", event("ssh lab id")).unwrap();
        assert_eq!(child.wait_with_output().unwrap().stdout, b"");
        until("the index is made anew", || {
            std::fs::read(state.join("advice.idx")).is_ok_and(|bytes| bytes.len() == whole.len())
        });
    }
    std::fs::remove_file(&index).unwrap();
    silent(event("ssh lab id").to_string().as_bytes());
    // It is made anew behind it.
    until("the index is made anew", || index.exists());
    until("it is whole", || std::fs::read(&index).is_ok_and(|bytes| bytes.len() == whole.len()));
    // What cannot be written is not missed.
    let calls = hook.state("advice.jsonl");
    drop(std::fs::remove_file(&calls));
    std::os::unix::fs::symlink("/dev/full", &calls).unwrap();
    assert!(hook.claude(&[], "ssh lab id").is_some());
}

#[test]
fn it_answers_before_the_stream_ends_and_leaves_at_its_deadline() {
    let hook = Hook::new();
    let mut child = hook.command(&["hook", "claude"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    write!(stdin, "{}", event("ssh lab id")).unwrap();
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert!(out.contains("gate") && child.wait().unwrap().success(), "{out}");
    drop(stdin);
    let mut late = hook.command(&["hook", "claude"]);
    late.env("CSYNC_HOOK_DEADLINE_MS", "30").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = late.spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    assert!(child.wait().unwrap().success(), "nothing came, and nobody closed the stream");
    drop(stdin);
    until("the log says so", || {
        std::fs::read_to_string(hook.state("hook.log")).is_ok_and(|log| log.contains("deadline"))
    });
}

#[test]
fn what_came_of_it_is_counted_once() {
    let hook = Hook::new();
    hook.claude(&["--rewrite"], "ssh lab id").unwrap();
    hook.claude(&["--rewrite"], "ssh lab id").unwrap();
    let mut after = event("ssh -J gate -o HostName=10.0.0.9 lab id");
    after["hook_event_name"] = json!("PostToolUseFailure");
    after["error"] = json!("Exit code 255\nsecret words");
    for _ in 0..2 {
        assert_eq!(hook.csync(&["hook", "claude"], after.to_string()).0, "");
    }
    let mut other = after.clone();
    other["tool_use_id"] = json!("t2");
    hook.csync(&["hook", "claude"], other.to_string());
    let (out, _) = hook.csync(&["--json", "hook", "stats"], "");
    let stats: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        stats["kinds"]["jump"],
        json!({"given": 1, "changed": 1, "taken": 1, "well": 0, "failed": 1}),
        "{stats}"
    );
    assert_eq!(stats["codes"], json!({"255": 1}));
    // In another session, another call; and a person may have changed the command.
    let mut own = event("ssh lab id");
    own["session_id"] = json!("s2");
    assert_ne!(hook.csync(&["hook", "claude", "--rewrite"], own.to_string()).0, "");
    own["hook_event_name"] = json!("PostToolUse");
    assert_eq!(hook.csync(&["hook", "claude"], own.to_string()).0, "");
    let (out, _) = hook.csync(&["--json", "hook", "stats"], "");
    let stats: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        stats["kinds"]["jump"],
        json!({"given": 2, "changed": 2, "taken": 1, "well": 1, "failed": 1}),
        "{stats}"
    );
    let kept = std::fs::read_to_string(hook.state("advice.jsonl")).unwrap();
    for secret in ["lab", "gate", "10.0.0.9", "secret", "nowhere", "t1"] {
        assert!(!kept.contains(secret), "{secret}: {kept}");
    }
}

#[test]
fn it_is_put_in_and_taken_out_again() {
    let hook = Hook::new();
    let before = "{\n  \"model\": \"x\",\n  \"hooks\": {\n    \"PreToolUse\": [\n      {\"matcher\": \"Edit\", \"hooks\": []}\n    ]\n  }\n}\n";
    hook.world.write(".claude/settings.json", before);
    let path = hook.world.path(".claude/settings.json");
    let quiet = |args: &[&str]| hook.csync(&[&["--quiet", "hook"], args].concat(), "").1.success();
    assert!(quiet(&["install", "--dry-run"]));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    assert!(quiet(&["install", "--yes"]));
    assert!(quiet(&["install", "--yes", "--rewrite"]), "again, of another kind");
    let settings: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let hooks = settings["hooks"]["PreToolUse"].as_array().unwrap();
    assert_eq!((hooks.len(), &hooks[1]["hooks"][0]["args"]), (2, &json!(["hook", "claude", "--rewrite"])));
    assert_eq!(settings["model"], "x");
    let backups = std::fs::read_dir(path.parent().unwrap()).unwrap();
    let backups: Vec<_> = backups.map(|entry| entry.unwrap().path()).filter(|path| is_backup(path)).collect();
    assert_eq!(backups.len(), 2);
    assert!(backups.iter().any(|path| std::fs::read_to_string(path).unwrap() == before));
    assert!(quiet(&["uninstall", "--yes"]));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before, "byte for byte");
    for agent in ["codex", "qwen", "gemini", "copilot", "cursor"] {
        assert!(quiet(&["install", "--agent", agent, "--yes", "--project"]), "{agent}");
        assert!(quiet(&["uninstall", "--agent", agent, "--yes", "--project"]), "{agent}");
    }
}

#[test]
fn it_needs_no_environment() {
    let hook = Hook::new();
    for agent in ["claude", "codex", "qwen", "gemini", "copilot", "cursor"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_csync"));
        command.env_clear().args(["hook", agent, "--rewrite"]).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(write!(child.stdin.take().unwrap(), "{}", event("ssh lab id")));
        let output = child.wait_with_output().unwrap();
        let silence = if agent == "cursor" { "{}\n" } else { "" };
        assert_eq!(String::from_utf8_lossy(&output.stdout), silence, "{agent}: nothing is known of any host");
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{agent}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_csync"));
    let state = hook.state("");
    command.env_clear().env("CSYNC_STATE", &state).env("CSYNC_HOOK_DEADLINE_MS", "20000").args(["hook", "claude"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    drop(write!(child.stdin.take().unwrap(), "{}", event("ssh lab id")));
    let out = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(out.contains("-J gate"), "where it is told where to look, it knows: {out}");
}

#[test]
fn it_stands_behind_another_hook() {
    let hook = Hook::new();
    // It prefixes every command, and allows what it is told to.
    hook.world.write(
        "other.sh",
        "#!/bin/sh\nread -r event\ncase $event in *forbidden*) echo because >&2; exit 2 ;; *silent*) exit 0 ;;\n\
         *agreed*) echo '{\"hookSpecificOutput\":{\"hookEventName\":\"PreToolUse\",\"permissionDecision\":\"allow\"}}' ;;\n\
         *) echo '{\"hookSpecificOutput\":{\"hookEventName\":\"PreToolUse\",\"updatedInput\":{\"command\":\"time ssh lab id\",\"timeout\":5000}}}' ;;\nesac\n",
    );
    let other = format!(
        "{{\"matcher\": \"Bash\", \"hooks\": [{{\"type\": \"command\", \"command\": \"sh {}\"}}]}}",
        hook.world.path("other.sh").display()
    );
    let before = format!("{{\n  \"hooks\": {{\n    \"PreToolUse\": [\n      {other}\n    ]\n  }}\n}}\n");
    hook.world.write(".claude/settings.json", &before);
    let path = hook.world.path(".claude/settings.json");
    let settings = || serde_json::from_str::<Value>(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let quiet = |args: &[&str]| hook.csync(&[&["--quiet", "hook"], args].concat(), "").1.success();
    assert!(quiet(&["install", "--yes", "--rewrite", "--chain"]));
    assert!(quiet(&["install", "--yes", "--rewrite", "--chain"]), "again");
    let installed = settings()["hooks"]["PreToolUse"].clone();
    assert_eq!(installed.as_array().unwrap().len(), 1, "{installed}");
    let args: Vec<String> = serde_json::from_value(installed[0]["hooks"][0]["args"].clone()).unwrap();
    let call = |command: &str| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut child = hook.command(&args);
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        drop(writeln!(child.stdin.take().unwrap(), "{}", event(command)));
        let output = child.wait_with_output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (out, code, _) = call("anything");
    let specific = serde_json::from_str::<Value>(&out).unwrap()["hookSpecificOutput"].clone();
    assert_eq!(
        specific["updatedInput"],
        json!({"command": "time ssh -J gate -o HostName=10.0.0.9 lab id", "timeout": 5000})
    );
    assert_eq!(code, Some(0));
    let (out, _, _) = call("ssh lab agreed");
    assert!(out.contains("\"allow\"") && out.contains("-J gate") && !out.contains("updatedInput"), "{out}");
    assert_eq!(call("ssh lab forbidden"), (String::new(), Some(2), "because\n".to_owned()));
    assert_eq!(call("ls silent").0, "");
    // At csync's own deadline what the other said is the answer, and silence where it said nothing.
    let late = |command: &str| {
        let mut child = hook.command(&args.iter().map(String::as_str).collect::<Vec<_>>());
        child.env("CSYNC_HOOK_DEADLINE_MS", "0").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = child.spawn().unwrap();
        drop(writeln!(child.stdin.take().unwrap(), "{}", event(command)));
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(late("anything").contains("time ssh") && late("ssh lab agreed").contains("allow"));
    assert!(late("ssh lab silent").lines().count() < 2);
    assert!(call("ssh lab silent").0.contains("-J gate"));
    assert!(quiet(&["uninstall", "--yes"]));
    assert_eq!(settings(), serde_json::from_str::<Value>(&before).unwrap(), "the other is there as it was");
    hook.world.write(".claude/settings.json", "{}");
    assert!(!quiet_failure(&hook, &["install", "--yes", "--chain"]), "there is none");
}

/// Runs a command of `csync hook` whose complaint is not of interest; says whether it went well.
fn quiet_failure(hook: &Hook, args: &[&str]) -> bool {
    let mut command = hook.command(&[&["--quiet", "hook"], args].concat());
    command.output().unwrap().status.success()
}

fn is_backup(path: &Path) -> bool {
    path.to_string_lossy().contains("before-csync")
}

#[test]
fn what_agents_start_on_a_host_is_for_its_policy_to_say() {
    let hook = Hook::new();
    hook.world.write(
        "config/hosts.toml",
        "[hosts.far]\nbatch = \"none\"\n[hosts.shut]\nbatch = \"none\"\n[hosts.shut.policy]\nagents = \"deny\"\n",
    );
    let submit = |host: &str, agent: Option<&str>| {
        let on = if host.is_empty() { String::new() } else { format!("on = \"{host}\"\n") };
        hook.world.write("workflow.toml", &format!("name = \"w\"\n[tasks.t]\n{on}run = \"true\"\n"));
        let mut command = hook.command(&["--json", "submit"]);
        agent.map(|name| command.env(name, "1"));
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    assert!(submit("", Some("CLAUDECODE")).0, "here the agent's own permissions hold");
    for (host, word) in [("far", "&& csync submit` in a terminal"), ("shut", "agents = ")] {
        let (well, said) = submit(host, Some("CLAUDECODE"));
        assert!(!well && said.contains("Claude Code may not start anything") && said.contains(word), "{said}");
    }
    let (_, said) = hook.csync_mcp(&json!({"name": "submit", "arguments": {"workflow": "workflow.toml"}}));
    assert!(said.contains("may not start anything on `shut`"), "{said}");
    let (well, said) = hook.csync_mcp(&json!({"name": "hosts"}));
    assert!(well && said.contains("far"), "{said}");
    let (well, said) = hook.csync_mcp(&json!({"name": "why", "arguments": {"run": "77"}}));
    assert!(!well && said.contains("error"), "{said}");
}

/// Each batch system counts bare numbers in its own way.
#[test]
fn what_a_submission_asks_for_is_read_as_its_batch_system_reads_it() {
    let hook = Hook::new();
    let of = |name: &str, batch: &str, queue: &str| {
        format!(
            "[hosts.{name}]\nbatch = \"{batch}\"\n[hosts.{name}.partitions.{queue}]\nwalltime = \"24h\"\ncores = 32\nmemory = \"64G\"\n"
        )
    };
    let hosts = [of("pb", "pbs", "workq"), of("sg", "sge", "short"), of("sl", "slurm", "short")].concat();
    hook.world.write("config/hosts.toml", &hosts);
    assert!(hook.csync(&["--quiet", "hook", "refresh"], "").1.success());
    let said = |line: &str| hook.claude(&[], line).map(|said| said.to_string()).unwrap_or_default();
    for (fits, beyond) in [
        ("ssh pb 'qsub -q workq -l walltime=36000 -- /bin/x'", "ssh pb 'qsub -q workq -l walltime=90000 -- /bin/x'"),
        ("ssh sg 'qsub -q short -l h_rt=36000 -b y /bin/x'", "ssh sg 'qsub -q short -l h_rt=90000 -b y /bin/x'"),
        ("ssh sl 'sbatch -p short -t 600 --wrap /bin/x'", "ssh sl 'sbatch -p short -t 1500 --wrap /bin/x'"),
    ] {
        assert_eq!(said(fits), "", "{fits}");
        assert!(said(beyond).contains("allows 1d, and 1d1h is asked for"), "{beyond}: {}", said(beyond));
    }
}

/// What runs teach comes into the index while the engine is up, sealed; and is gone when it is forgotten.
#[test]
fn what_runs_teach_is_asked_for() {
    let hook = Hook::new();
    let line = "ssh hpc 'srun python3 work.py'";
    assert_eq!(hook.claude(&[], line), None, "nothing is known yet");
    hook.world.write("work.py", "import time; time.sleep(1.05)\n");
    hook.world.write("workflow.toml", "name = \"w\"\n[tasks.t]\nforeach = [1, 2, 3, 4]\nrun = \"python3 work.py\"\n");
    let (said, status) = hook.csync(&["--quiet", "submit", "workflow.toml"], "");
    assert!(status.success(), "{said}");
    // The last of them may come in a moment after the others.
    let said = || hook.claude(&[], line).map(|said| said.to_string()).unwrap_or_default();
    until("the hook knows what the four of them needed", || said().contains("4 runs on other hosts"));
    assert!(said().contains("srun --mem="), "{}", said());
    let index = std::fs::read(hook.state("advice.idx")).unwrap();
    for secret in ["python3", "work.py"] {
        assert!(!index.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} stands in the index");
    }
    let before = hook.claude(&[], line);
    assert!(hook.csync(&["--quiet", "hook", "refresh"], "").1.success());
    assert_eq!(hook.claude(&[], line), before, "made anew it says the same");
    let (_, profile) = hook.csync_mcp(&json!({"name": "profile", "arguments": {"command": ["python3", "work.py"]}}));
    assert!(profile.contains("memory"), "{profile}");
    let (well, route) = hook.csync_mcp(&json!({"name": "route", "arguments": {"command": ["python3", "work.py"]}}));
    assert!(well && route.contains("places"), "{route}");
    assert!(hook.csync(&["--quiet", "profile", "forget", "--all"], "").1.success());
    assert_eq!(hook.claude(&[], line), None);
    // What a command says itself is known all the same.
    let told = hook.claude(&[], "ssh hpc 'srun bwa mem -t 8 ref.fa'").map(|said| said.to_string()).unwrap_or_default();
    assert!(told.contains("srun --cpus-per-task=8") && told.contains("its own options"), "{told}");
}

/// What agents ran themselves teaches how long it takes: once for each call, and nothing where the time is not the command's.
#[test]
fn what_agents_ran_is_learned_from() {
    let hook = Hook::new();
    let line = "ssh hpc 'srun ./simulate --steps 9'";
    assert!(hook.csync(&["--quiet", "hook", "install", "--yes"], "").1.success());
    let ran = |id: u32, command: &str, more: Value| {
        let mut after = event(command);
        after["hook_event_name"] = json!("PostToolUse");
        after["tool_use_id"] = json!(format!("t{id}"));
        after["duration_ms"] = json!(600_000);
        after.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(hook.csync(&["hook", "claude"], after.to_string()).0, "");
    };
    for id in 0..4 {
        ran(id, "cd x && ./simulate --steps 10", json!({}));
        ran(id, "cd x && ./simulate --steps 10", json!({}));
    }
    for (id, command, more) in [
        (10, "./simulate --steps 1", json!({"duration_ms": 900})),
        (11, "./simulate --steps 1", json!({"tool_response": {"backgroundTaskId": "b"}})),
        (12, "./simulate --steps 1", json!({"tool_response": {"timedOutAfterMs": 600_000}})),
        (13, "./simulate --steps 1", json!({"hook_event_name": "PostToolUseFailure", "error": "Exit code 1"})),
        (14, "./simulate --steps 1; echo over", json!({})),
        (15, "srun ./simulate --steps 1", json!({})),
    ] {
        ran(id, command, more);
    }
    let kept = std::fs::read(hook.state("learned.spool")).unwrap();
    for secret in ["simulate", "steps", "s1"] {
        assert!(!kept.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} stands there");
    }
    assert_eq!(hook.claude(&[], line), None, "it is not taken in yet");
    assert!(hook.csync(&["--quiet", "hook", "refresh"], "").1.success());
    let said = hook.claude(&[], line).unwrap().to_string();
    assert!(
        said.contains("srun --time=") && said.contains("4 runs on other hosts") && !said.contains("--mem"),
        "{said}"
    );
    assert!(!hook.state("learned.spool").exists());
    assert!(hook.csync(&["--quiet", "profile", "forget", "--all"], "").1.success());
    assert_eq!(hook.claude(&[], line), None);
}

#[test]
fn the_doctor_looks_at_every_agent() {
    let hook = Hook::new();
    let findings = || {
        let output = hook.command(&["--json", "hook", "doctor"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(findings().contains("not installed for Claude Code"));
    for agent in ["claude", "codex", "cursor"] {
        assert!(hook.csync(&["--quiet", "hook", "install", "--yes", "--agent", agent], "").1.success());
    }
    let other =
        json!({"hooks": {"PreToolUse": [{"matcher": "B.sh", "hooks": [{"type": "command", "command": "other-one"}]}]}});
    hook.world.write("project/.claude/settings.json", &other.to_string());
    let codex = hook.world.path(".codex/hooks.json");
    let text = std::fs::read_to_string(&codex).unwrap();
    std::fs::write(
        &codex,
        text.replacen("[\n", "[\n{\"matcher\": \"Bash\", \"hooks\": [{\"command\": \"codex-one\"}]},\n", 1),
    )
    .unwrap();
    let found = findings();
    for word in ["is installed for Claude Code", "installed for codex", "installed for cursor", "codex-one"] {
        assert!(found.contains(word), "{word}: {found}");
    }
    let inside = hook.command(&["--json", "hook", "doctor"]).current_dir(hook.world.path("project")).output().unwrap();
    assert!(String::from_utf8_lossy(&inside.stdout).contains("other-one"));
    let plugin = json!({"enabledPlugins": {"csync@csync": true}, "disableAllHooks": true});
    hook.world.write(".claude/settings.json", &plugin.to_string());
    let found = findings();
    assert!(found.contains("is installed for Claude Code") && found.contains("switches all hooks off"), "{found}");
}

#[test]
fn past_sessions_are_looked_through() {
    let hook = Hook::new();
    std::fs::create_dir_all(hook.world.path(".claude/projects/p")).unwrap();
    let call = |id: &str, command: &str| json!({"cwd": "/p", "timestamp": "2026-01-01T00:00:00Z", "message": {"content": [{"type": "tool_use", "id": id, "name": "Bash", "input": {"command": command}}]}});
    let failed = json!({"timestamp": "2026-01-01T00:01:30Z", "message": {"content": [{"type": "tool_result", "tool_use_id": "a", "is_error": true}]}});
    let lines = [call("a", "ssh lab id"), call("b", "ls"), failed, call("c", "while squeue; do sleep 1; done")]
        .map(|line| line.to_string());
    hook.world.write(".claude/projects/p/s.jsonl", &lines.join("\n"));
    let (out, status) = hook.csync(&["--json", "discover"], "");
    let found: Value = serde_json::from_str(&out).unwrap();
    assert!(status.success());
    assert_eq!((&found["sessions"], &found["commands"]), (&json!(1), &json!(3)));
    assert_eq!(
        (&found["advice"]["jump"]["failed"], &found["advice"]["poll"]["count"]),
        (&json!(1), &json!(1)),
        "{found}"
    );
    assert_eq!(found["advice"]["jump"]["saved_seconds"], 90.0);
    let (out, _) = hook.csync(&["discover"], "");
    assert!(out.contains("1m30s of that would have been saved"), "{out}");
}
