//! What is asked of a person at a real terminal, and what becomes of the answers.

use std::fs;
use std::process::Stdio;

use serde_json::json;

use crate::bed::Bed;
use crate::far::configure;
use crate::world::{Done, until};

/// A person at a terminal of the laptop, who runs csync there and types what the steps say where their words come up. Returns what
/// came up.
#[track_caller]
fn at_terminal(bed: &Bed, steps: &[(&str, &str)], args: &[&str]) -> String {
    let (script, screen) = (bed.home().join("steps.json"), bed.home().join("screen.txt"));
    fs::write(&script, json!(steps).to_string()).unwrap();
    let person = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/person.py");
    let state = format!("CSYNC_STATE={}", bed.home().join("state").display());
    let env = ["env", &state, "CSYNC_CPUS=2", "CSYNC_GRACE=1s", "TERM=xterm", "python3", person];
    let files = [script.to_str().unwrap(), screen.to_str().unwrap(), env!("CARGO_BIN_EXE_csync")];
    let done: Done = bed.laptop(&[&env[..], &files, args].concat()).stdin(Stdio::null()).output().unwrap().into();
    let came = fs::read_to_string(&screen).unwrap_or_default();
    assert_eq!(done.code, 0, "{}\nthe screen:\n{came}", done.err);
    fs::remove_file(script).unwrap();
    came
}

/// Asserts that an answer is nowhere: not shown, not in a file of this home, not in what a process of the laptop was started with.
#[track_caller]
fn is_kept_nowhere(bed: &Bed, answer: &str) {
    let found = bed.laptop(&["grep", "-rlaF", "-e", answer, bed.home().to_str().unwrap()]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "`{answer}` is kept");
    // The one that looks has it as an argument.
    let look =
        "for p in /proc/[0-9]*; do [ $p = /proc/$$ ] || cat $p/cmdline $p/environ; done 2>/dev/null | tr '\\0' '\\n'";
    let processes = bed.laptop(&["sh", "-c", look]).output().unwrap();
    let text = String::from_utf8_lossy(&processes.stdout);
    assert!(text.contains("csync") && !text.contains(answer), "`{answer}` is in the memory of a process: {text}");
}

#[test]
fn a_login_asks_at_the_terminal_one_thing_after_the_other_and_keeps_no_answer() {
    let bed = Bed::own(&[]);
    configure(
        &bed,
        "[hosts.code]\nssh = \"station-code\"\nbatch = \"none\"\n[hosts.both]\nssh = \"station-both\"\nbatch = \"none\"\n",
    );
    for host in ["code", "both"] {
        bed.csync(&["submit", "--yes", "--detach", "--on", host, "--", "sh", "-c", "hostname; echo $USER"]).exits(0);
        let command = format!("csync login {host}");
        until("it waits", || bed.csync(&["status"]).exits(0).out.contains(&command));
    }
    // A code, wrong at first; then, for the next host, the passphrase of a key, wrong at first, and another code. Nobody names a
    // host: those are meant that wait.
    let (wrong, code, other, passphrase) = ("000000", "111111", "222222", "open sesame");
    let key = "(both) Passphrase of the key";
    let steps = [
        ("(coder@station) Password:", format!("{wrong}\r")),
        ("(coder@station) Password:", format!("{code}\r")),
        (key, "open barley\r".to_owned()),
        (key, format!("{passphrase}\r")),
        ("(both@station) Password:", format!("{other}\r")),
    ];
    let steps: Vec<(&str, &str)> = steps.iter().map(|(words, keys)| (*words, keys.as_str())).collect();
    let screen = at_terminal(&bed, &steps, &["login", "code", "both"]);
    for words in ["code is open.", "both is open."] {
        assert!(screen.contains(words), "`{words}` is missing: {screen}");
    }
    for run in ["1", "2"] {
        bed.csync(&["wait", run]).exits(0);
    }
    assert_eq!(bed.csync(&["logs", "--stdout", "1"]).exits(0).out, "station\ncoder\n");
    assert_eq!(bed.csync(&["logs", "--stdout", "2"]).exits(0).out, "station\nboth\n");
    for answer in [wrong, code, other, passphrase, "open barley"] {
        is_kept_nowhere(&bed, answer);
    }
    // Whoever comes next is asked for nothing: each connection is there.
    let screen = at_terminal(&bed, &[], &["login", "code", "both"]);
    assert!(!screen.contains("Password") && !screen.contains(key), "{screen}");
    assert!(screen.contains("code is open.") && screen.contains("both is open."), "{screen}");
}

#[test]
fn a_login_that_is_broken_off_leaves_the_host_waiting() {
    let bed = Bed::own(&[]);
    configure(&bed, "[hosts.code]\nssh = \"station-code\"\nbatch = \"none\"\n");
    let screen = at_terminal(&bed, &[("Password:", "\u{3}")], &["login", "code"]);
    assert!(!screen.contains("is open"), "{screen}");
    bed.csync(&["submit", "--yes", "--detach", "--on", "code", "--", "hostname"]).exits(0);
    until("it waits", || bed.csync(&["status"]).exits(0).out.contains("csync login code"));
    at_terminal(&bed, &[("Password:", "111111\r")], &["login"]);
    bed.csync(&["wait", "last"]).exits(0);
    assert_eq!(bed.csync(&["logs", "--stdout"]).exits(0).out, "station\n");
}

#[test]
fn an_import_asks_which_hosts_are_meant() {
    let bed = Bed::own(&[]);
    let file = bed.home().join(".config/csync/hosts.toml");
    let listed = bed.csync(&["hosts", "import"]).exits(0).out;
    let number = |host: &str| {
        let line = listed.lines().find(|line| line.split_whitespace().nth(1) == Some(host));
        line.unwrap_or_else(|| panic!("{host}: {listed}")).split_whitespace().next().unwrap().to_owned()
    };
    // Nothing is nobody.
    let screen = at_terminal(&bed, &[("Which?", "\r")], &["hosts", "import"]);
    assert!(screen.contains("nothing new was chosen") && !file.exists(), "{screen}");
    // An answer that makes no sense is asked for again.
    let answer = format!("{},{}\r", number("grid"), number("station-code"));
    let screen = at_terminal(&bed, &[("Which?", "999\r"), ("Which?", &answer)], &["hosts", "import"]);
    assert!(screen.contains("`999` is none of 1 to") && screen.contains("2 hosts were added"), "{screen}");
    let hosts = bed.csync(&["hosts", "--json"]).exits(0).json();
    let names: Vec<_> = hosts["hosts"].as_array().unwrap().iter().map(|host| host["name"].clone()).collect();
    assert_eq!(names, ["local", "grid", "station-code"]);
    // The end of the input, and Ctrl-C, choose nothing.
    let before = fs::read_to_string(&file).unwrap();
    for keys in ["\u{4}", "\u{3}"] {
        let screen = at_terminal(&bed, &[("Which?", keys)], &["hosts", "import"]);
        assert!(screen.contains("known already") && !screen.contains("added"), "{screen}");
        assert_eq!(fs::read_to_string(&file).unwrap(), before);
    }
}
