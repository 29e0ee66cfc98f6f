//! The real Claude Code with csync's hook, against a stand-in for its API, on the test bed's laptop: nothing leaves the machine.
//! `tests/run --clients` fetches the program; it is not ours to ship.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::bed::Bed;

/// Runs a session: the stand-in, then the client as the arguments say, until it is over.
const SESSION: &str = r#"
set -u
cd "$WORK"
rm -f port
python3 "$MOCK" port "$WORK/turns.json" "$WORK/log.jsonl" &
mock=$!
for _ in $(seq 600); do [ -e port ] && break; sleep 0.1; done
export ANTHROPIC_BASE_URL=http://127.0.0.1:$(cat port)
timeout 280 "$@" </dev/null >"$WORK/out.jsonl" 2>"$WORK/err"
echo "exit $?"
kill $mock
"#;

fn client() -> PathBuf {
    std::env::var_os("CSYNC_CLAUDE_BIN").map(PathBuf::from).expect("tests/run sets CSYNC_CLAUDE_BIN")
}

/// The client on the laptop of the bed, with csync beside it.
struct Session {
    bed: Bed,
    state: String,
}

/// What came of the calls of a session.
struct Came {
    /// What the client told the model about each call, in their order.
    results: Vec<String>,
    /// All that was sent to the model.
    told: String,
    /// The commands as the model remembers them.
    commands: Vec<String>,
}

impl Session {
    fn new() -> Self {
        let bed = Bed::shared();
        bed.write("../.config/csync/hosts.toml", "[hosts.lab]\nssh = \"inner\"\nbatch = \"none\"\n");
        let session = Self { state: format!("CSYNC_STATE={}", bed.home().join("state").display()), bed };
        let made = session.bed.csync(&["hook", "refresh"]);
        assert_eq!(made.code, 0, "{made:?}");
        session
    }

    /// Lets the model call Bash with the commands of each turn; several of a turn run at once.
    fn run(&self, settings: &Value, turns: &[&[&str]]) -> Came {
        let turns: Vec<Vec<Value>> = turns
            .iter()
            .map(|turn| turn.iter().map(|command| json!({"command": command, "description": "x"})).collect())
            .collect();
        self.run_tools(settings, &json!(turns), &["--allowedTools", "Bash"])
    }

    /// Lets the model call tools, with more options of the client.
    fn run_tools(&self, settings: &Value, turns: &Value, more: &[&str]) -> Came {
        let client = client();
        let print = ["-p", "go", "--settings", "settings.json", "--output-format", "stream-json", "--verbose"];
        self.start(settings, turns, &[&[client.to_str().unwrap()], &print[..], more].concat());
        self.came()
    }

    /// Lets the model call Bash once, with a person at a terminal who answers as the steps say; returns what the person saw, without
    /// blanks.
    fn run_at_terminal(&self, settings: &Value, command: &str, steps: &Value) -> String {
        let work = self.bed.path("").to_str().unwrap().trim_end_matches('/').to_owned();
        // All that the client would ask a new person.
        let known = json!({"hasCompletedOnboarding": true, "customApiKeyResponses": {"approved": ["dummy"], "rejected": []},
            "projects": {work: {"hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true}}});
        self.bed.write("claude/.claude.json", known.to_string());
        self.bed.write("steps.json", steps.to_string());
        let person = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/person.py");
        let client = client();
        let words = ["env", "TERM=xterm-256color", "python3", person.to_str().unwrap(), "steps.json", "screen.txt"];
        let manual = [client.to_str().unwrap(), "go", "--permission-mode", "default", "--settings", "settings.json"];
        self.start(settings, &json!([[{"command": command, "description": "x"}]]), &[&words[..], &manual].concat());
        self.bed.read("screen.txt").split_whitespace().collect()
    }

    /// Starts a client with the settings, and waits until it is over.
    fn start(&self, settings: &Value, turns: &Value, command: &[&str]) {
        let work = self.bed.path("");
        let work = work.to_str().unwrap().trim_end_matches('/').to_owned();
        drop(std::fs::remove_file(self.bed.path("log.jsonl")));
        self.bed.write("turns.json", turns.to_string());
        self.bed.write("settings.json", settings.to_string());
        self.bed.write("session.sh", SESSION);
        let mock = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/mock_anthropic.py");
        let csync = Path::new(env!("CARGO_BIN_EXE_csync")).parent().unwrap().to_owned();
        let vars = [
            format!("WORK={work}"),
            format!("MOCK={}", mock.display()),
            format!("PATH={}:/usr/local/bin:/usr/bin:/bin", csync.display()),
            "ANTHROPIC_API_KEY=dummy".to_owned(),
            format!("CLAUDE_CONFIG_DIR={work}/claude"),
            "IS_SANDBOX=1".to_owned(),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1".to_owned(),
            "DISABLE_AUTOUPDATER=1".to_owned(),
            "CSYNC_HOOK_DEADLINE_MS=4000".to_owned(),
            self.state.clone(),
        ];
        let mut args = vec!["env"];
        args.extend(vars.iter().map(String::as_str));
        args.extend(["bash", "session.sh"]);
        args.extend(command);
        let output = self.bed.laptop(&args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let err = std::fs::read_to_string(self.bed.path("err")).unwrap_or_default();
        assert!(said.contains("exit 0"), "{said}\n{err}\n{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Reads the last request: it holds the whole conversation.
    fn came(&self) -> Came {
        let log = self.bed.read("log.jsonl");
        let mut entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let messages = entries.rfind(|entry| entry["messages"].as_array().is_some_and(|all| all.len() > 1)).unwrap();
        let blocks: Vec<Value> = messages["messages"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|message| message["content"].as_array().cloned().unwrap_or_default())
            .collect();
        let of = |kind: &str| blocks.iter().filter(|block| block["type"] == kind).cloned().collect::<Vec<Value>>();
        let text = |value: &Value| {
            value.as_str().map_or_else(|| value[0]["text"].as_str().unwrap_or_default().to_owned(), str::to_owned)
        };
        let calls = of("tool_use");
        let results = of("tool_result");
        let result = |call: &Value| {
            results.iter().find(|result| result["tool_use_id"] == call["id"]).map(|result| text(&result["content"]))
        };
        Came {
            results: calls.iter().map(|call| result(call).unwrap_or_default()).collect(),
            commands: calls
                .iter()
                .map(|call| call["input"]["command"].as_str().unwrap_or_default().to_owned())
                .collect(),
            told: messages["messages"].to_string(),
        }
    }
}

fn with_hook(command: &str, args: &[&str], permissions: &Value) -> Value {
    let hook = json!({"type": "command", "command": command, "args": args, "timeout": 10});
    json!({"hooks": {"PreToolUse": [{"matcher": "Bash", "hooks": [hook]}]}, "permissions": permissions})
}

fn csync(args: &[&str], permissions: &Value) -> Value {
    with_hook("csync", &[&["hook", "claude"], args].concat(), permissions)
}

/// What only works with the jump host.
const TYPED: &str = "ssh -o BatchMode=yes -o ConnectTimeout=5 lab 'hostname; echo \"a  b\"'";

#[test]
fn a_changed_ssh_reaches_the_host_behind_its_jump_host() {
    let session = Session::new();
    let advised = session.run(&csync(&[], &json!({})), &[&[TYPED]]);
    assert!(!advised.results[0].contains("a  b"), "advice alone changes nothing: {}", advised.results[0]);
    assert!(advised.told.contains("-J gate"), "the model is told: {}", advised.told);
    let changed = session.run(&csync(&["--rewrite"], &json!({})), &[&[TYPED, "echo plain"]]);
    assert!(changed.results[0].contains("inner\na  b"), "{:?}", changed.results);
    assert_eq!(changed.results[1], "plain");
    assert_eq!(changed.commands[0], TYPED, "the model remembers what it wrote");
    assert!(changed.told.contains("the command was changed from"), "{}", changed.told);
}

#[test]
fn what_people_denied_stays_denied_and_what_they_want_to_be_asked_about_is_asked() {
    let session = Session::new();
    for rules in [json!({"deny": ["Bash(ssh *)"]}), json!({"ask": ["Bash(ssh -o BatchMode=yes *)"]})] {
        let came = session.run(&csync(&["--rewrite"], &rules), &[&[TYPED]]);
        assert!(!came.results[0].contains("inner"), "{rules}: {:?}", came.results);
        assert!(!came.told.contains("-J gate"), "{rules}: silence");
    }
}

/// What Claude Code asks a person is about the changed command, and the person decides; what an `ask` rule is about stays as it was
/// typed, and is asked about as that.
#[test]
fn a_person_is_asked_about_what_would_run() {
    let session = Session::new();
    let (leaves, reached) = (["again to exit", "\u{3}"], "inner\na  b");
    let yes = json!([["Do you want to proceed?", "\r"], ["done", "\u{3}"], leaves]);
    let seen = session.run_at_terminal(&csync(&["--rewrite"], &json!({})), TYPED, &yes);
    assert!(seen.contains("ssh-Jgate-oHostName="), "{seen}");
    assert!(session.came().results[0].contains(reached), "{:?}", session.came().results);
    let no = json!([["Do you want to proceed?", "\u{1b}"], ["What should Claude do", "\u{3}"], leaves]);
    let seen = session.run_at_terminal(&csync(&["--rewrite"], &json!({})), TYPED, &no);
    assert!(seen.contains("ssh-Jgate-oHostName=") && seen.contains("Interrupted"), "{seen}");
    assert!(!session.bed.read("log.jsonl").contains("tool_result"), "nothing ran");
    let ask = json!({"ask": ["Bash(ssh -o BatchMode=yes *)"], "allow": ["Bash(ssh *)"]});
    let seen = session.run_at_terminal(&csync(&["--rewrite"], &ask), TYPED, &yes);
    assert!(!seen.contains("-Jgate"), "{seen}");
    assert!(!session.came().results[0].contains(reached), "what was typed ran");
}

#[test]
fn a_hook_that_is_missing_broken_or_slow_changes_nothing() {
    let session = Session::new();
    session.bed.write("garbage.sh", "#!/bin/sh\necho '{'\n");
    for settings in [
        with_hook("csync-is-not-here", &[], &json!({})),
        with_hook("false", &[], &json!({})),
        with_hook("sh", &["garbage.sh"], &json!({})),
        with_hook("env", &["CSYNC_HOOK_DEADLINE_MS=0", "csync", "hook", "claude", "--rewrite"], &json!({})),
        with_hook("env", &["CSYNC_STATE=/dev/null/x", "csync", "hook", "claude", "--rewrite"], &json!({})),
    ] {
        let came = session.run(&settings, &[&["echo it runs"]]);
        assert_eq!(came.results, ["it runs"], "{settings}");
    }
}

/// Puts `echo by the other` in front of every command.
const OTHER: &str = "import json, sys
event = json.load(sys.stdin)
command = {**event['tool_input'], 'command': 'echo by the other; ' + event['tool_input']['command']}
print(json.dumps({'hookSpecificOutput': {'hookEventName': 'PreToolUse', 'updatedInput': command}}))
";

#[test]
fn behind_another_hook_both_change_a_command() {
    let session = Session::new();
    session.bed.write("other.py", OTHER);
    let other = session.bed.path("other.py").display().to_string();
    let hook = json!({"type": "command", "command": format!("python3 {other}"), "timeout": 10});
    let before = json!({"hooks": {"PreToolUse": [{"matcher": "Bash", "hooks": [hook]}]}}).to_string();
    std::fs::create_dir_all(session.bed.path("claude")).unwrap();
    session.bed.write("claude/settings.json", &before);
    let config = format!("CLAUDE_CONFIG_DIR={}", session.bed.path("claude").display());
    let state = session.state.clone();
    let csync = |args: &[&str]| {
        let program = env!("CARGO_BIN_EXE_csync");
        let all = [&["env", &config, &state, program, "--quiet", "hook"], args].concat();
        assert!(session.bed.laptop(&all).status().unwrap().success(), "{args:?}");
    };
    csync(&["install", "--yes", "--rewrite", "--chain"]);
    let came = session.run(&json!({}), &[&[TYPED]]);
    assert!(came.results[0].contains("by the other") && came.results[0].contains("inner\na  b"), "{:?}", came.results);
    assert!(came.told.contains("the command was changed from"), "{}", came.told);
    csync(&["uninstall", "--yes"]);
    let after: Value = serde_json::from_str(&session.bed.read("claude/settings.json")).unwrap();
    assert_eq!(after, serde_json::from_str::<Value>(&before).unwrap(), "the other is there as it was");
}

#[test]
fn its_tools_are_the_commands_and_keep_to_the_policy_of_hosts() {
    let session = Session::new();
    let (name, state) = session.state.split_once('=').unwrap();
    let servers = json!({"mcpServers": {"csync": {"command": "csync", "args": ["mcp"], "env": {name: state}}}});
    session.bed.write("mcp.json", servers.to_string());
    session.bed.write("w.toml", "name = \"w\"\n[tasks.t]\non = \"lab\"\nrun = \"true\"\n");
    let submit = json!({"__tool": "mcp__csync__submit", "workflow": "w.toml"});
    let turns = json!([[{"__tool": "mcp__csync__hosts"}], [submit], [{"__tool": "mcp__csync__why", "run": "1"}]]);
    let came =
        session.run_tools(&json!({}), &turns, &["--mcp-config", "mcp.json", "--allowedTools", "Bash", "mcp__csync"]);
    assert!(came.results[0].contains("lab"), "{:?}", came.results);
    assert!(came.results[1].contains("may not start anything on `lab`"), "{:?}", came.results);
    assert!(came.results[2].contains("<untrusted "), "{:?}", came.results);
}

#[test]
fn large_commands_and_several_at_once_come_through() {
    let session = Session::new();
    // Longer than the kernel lets an argument be: with the hook it fails as it does without.
    let large = format!("echo large # {}", "x".repeat(1 << 20));
    let without = session.run(&json!({}), &[&[&large]]);
    let with = session.run(&csync(&["--rewrite"], &json!({})), &[&[&large]]);
    assert_eq!(with.results, without.results);
    let many: Vec<String> = (0..6).map(|number| format!("{TYPED}; echo call {number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let came = session.run(&csync(&["--rewrite"], &json!({})), &[&many]);
    for (number, result) in came.results.iter().enumerate() {
        assert!(result.contains("inner\na  b") && result.contains(&format!("call {number}")), "{number}: {result}");
    }
}

#[test]
fn the_plugin_is_valid_and_installs() {
    let session = Session::new();
    let root = env!("CARGO_MANIFEST_DIR");
    let plugin = format!("{root}/plugin");
    let config = format!("CLAUDE_CONFIG_DIR={}", session.bed.path("claude").display());
    let claude = |args: &[&str]| {
        let client = client();
        let all =
            [&["env", &config, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", client.to_str().unwrap(), "plugin"], args]
                .concat();
        let output = session.bed.laptop(&all).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {text}");
        text
    };
    claude(&["validate", &plugin]);
    claude(&["validate", root]);
    claude(&["marketplace", "add", root]);
    claude(&["install", "csync@csync"]);
    assert!(claude(&["list"]).contains("csync"));
}
