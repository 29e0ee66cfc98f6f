//! The real Codex CLI, Qwen Code, Gemini CLI and Copilot CLI with csync's hook as `csync hook install` puts it in, against a
//! stand-in for their APIs, on the test bed's laptop: nothing leaves the machine. `tests/run --clients` fetches the programs.

use std::path::Path;

use serde_json::{Value, json};

use crate::bed::Bed;

/// Starts the stand-in, tells the client its port, and waits until the client is over.
const SESSION: &str = r#"
set -u
cd "$WORK"
rm -f port log.jsonl
python3 "$MOCK" port commands.json log.jsonl &
mock=$!
for _ in $(seq 600); do [ -e port ] && break; sleep 0.1; done
port=$(cat port)
for file in $CONFIG; do sed -i "s/@PORT@/$port/" "$file"; done
timeout 240 env "${@//@PORT@/$port}" </dev/null >out 2>err
echo "exit $?"
kill $mock
"#;

/// What only works with the jump host, and a loop that asks again and again until there is no such program.
const COMMANDS: [&str; 2] = [
    "ssh -o BatchMode=yes -o ConnectTimeout=5 lab 'hostname; echo \"a  b\"'",
    "while no-such-squeue || squeue; do sleep 1; done",
];

/// What the first command prints where it got its jump host.
const REACHED: &str = "inner\\na  b";

fn program(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("tests/run sets {variable}"))
}

/// The settings of every Codex here.
const CODEX: &str = "model = \"m\"\nmodel_provider = \"mock\"\n[model_providers.mock]\nname = \"mock\"\n\
    base_url = \"http://127.0.0.1:@PORT@/v1\"\nwire_api = \"responses\"\n";

/// A client: its word, its settings (with `@PORT@` in them), and how it is started.
struct Client {
    agent: &'static str,
    file: &'static str,
    settings: String,
    command: Vec<String>,
}

impl Client {
    fn codex() -> Self {
        let settings = format!("approval_policy = \"never\"\nsandbox_mode = \"danger-full-access\"\n{CODEX}");
        let codex = program("CSYNC_CODEX_BIN");
        let command = [
            "OPENAI_API_KEY=dummy",
            &codex,
            "exec",
            "--skip-git-repo-check",
            "--dangerously-bypass-hook-trust",
            "--json",
        ];
        Self::new("codex", "../.codex/config.toml", settings, &[&command[..], &["go"]].concat())
    }

    /// At a terminal, with a person who answers as the steps say.
    fn codex_with_person(bed: &Bed, steps: &Value) -> Self {
        let work = bed.path("").display().to_string();
        let known = format!("[projects.\"{}\"]\ntrust_level = \"trusted\"\n", work.trim_end_matches('/'));
        let settings = format!("approval_policy = \"on-request\"\nsandbox_mode = \"workspace-write\"\n{CODEX}{known}");
        bed.write("steps.json", steps.to_string());
        let person = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/person.py");
        let codex = program("CSYNC_CODEX_BIN");
        let vars = ["OPENAI_API_KEY=dummy", "TERM=xterm-256color"];
        let command = ["python3", person, "steps.json", "screen.txt", &codex, "--dangerously-bypass-hook-trust", "go"];
        Self::new("codex", "../.codex/config.toml", settings, &[&vars[..], &command].concat())
    }

    fn gemini() -> Self {
        let settings = json!({"security": {"auth": {"selectedType": "gemini-api-key"}, "folderTrust": {"enabled": false}},
            "general": {"enableAutoUpdate": false}, "privacy": {"usageStatisticsEnabled": false}});
        let bundle = program("CSYNC_GEMINI_JS");
        let command = ["GEMINI_API_KEY=dummy", "GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:@PORT@", "node", &bundle];
        let rest = ["--yolo", "-m", "gemini-2.5-pro", "-p", "go"];
        Self::new("gemini", "../.gemini/settings.json", settings.to_string(), &[&command[..], &rest].concat())
    }

    fn qwen() -> Self {
        let settings = json!({"security": {"auth": {"selectedType": "openai"}, "folderTrust": {"enabled": false}},
            "general": {"enableAutoUpdate": false}, "privacy": {"usageStatisticsEnabled": false}});
        let cli = program("CSYNC_QWEN_JS");
        let vars = ["OPENAI_API_KEY=dummy", "OPENAI_BASE_URL=http://127.0.0.1:@PORT@/v1", "OPENAI_MODEL=m"];
        let command = ["node", &cli, "--yolo", "-p", "go"];
        Self::new("qwen", "../.qwen/settings.json", settings.to_string(), &[&vars[..], &command].concat())
    }

    fn copilot(more: &[&str]) -> Self {
        let vars = [
            "COPILOT_OFFLINE=true",
            "COPILOT_AUTO_UPDATE=false",
            "COPILOT_PROVIDER_BASE_URL=http://127.0.0.1:@PORT@/v1",
            "COPILOT_PROVIDER_API_KEY=dummy",
            "COPILOT_MODEL=m",
        ];
        let copilot = program("CSYNC_COPILOT_BIN");
        let command = [copilot.as_str(), "-p", "go", "--allow-all-tools"];
        Self::new("copilot", "../.copilot/settings.json", "{}".to_owned(), &[&vars[..], &command, more].concat())
    }

    fn new(agent: &'static str, file: &'static str, settings: String, command: &[&str]) -> Self {
        Self { agent, file, settings, command: command.iter().map(|word| (*word).to_owned()).collect() }
    }
}

/// A laptop whose csync knows of a host behind a jump host.
fn laptop() -> Bed {
    let bed = Bed::shared();
    bed.write("../.config/csync/hosts.toml", "[hosts.lab]\nssh = \"inner\"\nbatch = \"none\"\n");
    assert_eq!(bed.csync(&["hook", "refresh"]).code, 0);
    bed
}

/// Runs a client with the hook installed, all that may be changed; returns all that its model was sent.
fn told(bed: &Bed, client: &Client) -> String {
    told_of(bed, client, &json!(COMMANDS))
}

/// The same, of a client whose model wants these commands.
fn told_of(bed: &Bed, client: &Client, commands: &Value) -> String {
    let home = bed.home().display();
    let csync = Path::new(env!("CARGO_BIN_EXE_csync")).parent().unwrap().display();
    let vars = [
        format!("PATH={csync}:/usr/local/bin:/usr/bin:/bin"),
        format!("CSYNC_STATE={home}/state"),
        // No client is told by how busy the machine is.
        "CSYNC_HOOK_DEADLINE_MS=8000".to_owned(),
        format!("MOCK={}/tests/clients/mock_models.py", env!("CARGO_MANIFEST_DIR")),
        format!("WORK={home}/work"),
        format!("CONFIG={}", client.file),
        format!("CSYNC_SSH_CONFIG={home}/.ssh/config"),
    ];
    let run = |words: &[&str]| {
        let mut all = vec!["env"];
        all.extend(vars.iter().map(String::as_str));
        all.extend(words);
        let output = bed.laptop(&all).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{words:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    };
    bed.write(client.file, &client.settings);
    bed.write("commands.json", commands.to_string());
    bed.write("session.sh", SESSION);
    run(&["csync", "hook", "install", "--agent", client.agent, "--rewrite", "--yes"]);
    let mut words = vec!["bash", "session.sh"];
    words.extend(client.command.iter().map(String::as_str));
    let said = run(&words);
    assert!(said.contains("exit 0"), "{said}{}{}", bed.read("out"), bed.read("err"));
    // Whatever came back from the client, in the order in which it did.
    let requests = bed.read("log.jsonl");
    let last =
        requests.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).max_by_key(|line| line.len());
    last.unwrap_or_else(|| panic!("no request came: {}{}", bed.read("out"), bed.read("err"))).to_owned()
}

fn is_told(told: &str) {
    assert!(told.contains("is reached through"), "{told}");
    assert!(told.contains("This loop asks"), "{told}");
}

fn is_changed(told: &str) {
    assert!(told.contains(REACHED), "the changed command ran: {told}");
}

fn is_left(told: &str) {
    assert!(!told.contains(REACHED) && !told.contains("the command was changed"), "what was typed ran: {told}");
}

#[test]
fn codex_runs_what_was_changed_unless_a_rule_is_about_it() {
    let bed = laptop();
    let changed = told(&bed, &Client::codex());
    is_told(&changed);
    is_changed(&changed);
    // Codex judges what runs, and would no longer see what this rule is about.
    bed.write("../.codex/rules/own.rules", "prefix_rule(pattern=[\"ssh\", \"-o\"], decision=\"forbidden\")\n");
    let forbidden = told(&bed, &Client::codex());
    is_left(&forbidden);
    assert!(forbidden.contains("policy forbids"), "{forbidden}");
}

/// The word that Codex wants beside a changed command takes none of its questions away: a person is asked about what would run.
#[test]
fn codex_asks_a_person_about_what_would_run() {
    let bed = laptop();
    let outside = json!([[COMMANDS[0], "it needs the network"]]);
    let asked = "Would you like to run the following command?";
    let seen = |bed: &Bed| bed.read("screen.txt").split_whitespace().collect::<String>();
    let yes = json!([[asked, "y"], ["Worked for", "\u{4}"]]);
    let told = told_of(&bed, &Client::codex_with_person(&bed, &yes), &outside);
    assert!(seen(&bed).contains("ssh-Jgate-oHostName="), "{}", seen(&bed));
    is_changed(&told);
    let no = json!([[asked, "\u{1b}"], ["Conversation interrupted", "\u{4}"]]);
    let told = told_of(&bed, &Client::codex_with_person(&bed, &no), &outside);
    assert!(seen(&bed).contains("ssh-Jgate-oHostName="), "{}", seen(&bed));
    assert!(!told.contains("function_call_output") && !told.contains(REACHED), "nothing ran: {told}");
    // What the person wants to be asked about is asked about as it was typed.
    bed.write("../.codex/rules/own.rules", "prefix_rule(pattern=[\"ssh\", \"-o\"], decision=\"prompt\")\n");
    let told = told_of(&bed, &Client::codex_with_person(&bed, &yes), &outside);
    assert!(!seen(&bed).contains("-Jgate"), "{}", seen(&bed));
    is_left(&told);
}

#[test]
fn gemini_runs_what_was_changed_unless_a_rule_is_about_it() {
    let bed = laptop();
    let changed = told(&bed, &Client::gemini());
    is_changed(&changed);
    assert!(changed.contains("This loop asks"), "{changed}");
    bed.write(
        "../.gemini/policies/own.toml",
        "[[rule]]\ntoolName = \"run_shell_command\"\ncommandPrefix = \"ssh -o\"\ndecision = \"deny\"\npriority = 900\n",
    );
    is_left(&told(&bed, &Client::gemini()));
}

#[test]
fn qwen_is_told_with_the_result() {
    let told = told(&laptop(), &Client::qwen());
    is_told(&told);
    is_left(&told);
}

#[test]
fn copilot_runs_what_was_changed_unless_a_rule_is_about_it() {
    let bed = laptop();
    let changed = told(&bed, &Client::copilot(&[]));
    is_told(&changed);
    is_changed(&changed);
    let denied = told(&bed, &Client::copilot(&["--deny-tool", "shell(ssh)"]));
    is_left(&denied);
    assert!(denied.contains("denied due to the following rules"), "{denied}");
}
