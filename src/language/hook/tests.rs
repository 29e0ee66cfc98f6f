//! Every agent's words in, every agent's words out, and rules.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const CLAUDE: &str = r#"{"session_id":"s","transcript_path":"/t","cwd":"/c","permission_mode":"default","hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"timeout":1e3,"command":"ssh n ls","description":"é","new":[1, 2.50]},"tool_use_id":"t1","more":{}}"#;

fn reply() -> Reply {
    Reply { text: "why".to_owned(), command: Some("ssh -J g n ls".to_owned()) }
}

fn answer(agent: Agent, input: &str) -> Option<Value> {
    let event = read(agent, input.as_bytes()).unwrap();
    render(agent, &event, Some(&reply())).map(|line| serde_json::from_str(&line).unwrap())
}

#[test]
fn claude_gets_every_field_back_as_it_came() {
    let event = read(Agent::Claude, CLAUDE.as_bytes()).unwrap();
    assert_eq!((event.moment, event.command.as_deref(), event.cwd.as_str()), (Moment::Before, Some("ssh n ls"), "/c"));
    assert_eq!((event.session.as_str(), event.call.as_str()), ("s", "t1"));
    let line = render(Agent::Claude, &event, Some(&reply())).unwrap();
    assert_eq!(
        line,
        r#"{"hookSpecificOutput":{"hookEventName":"PreToolUse","updatedInput":{"command":"ssh -J g n ls","description":"é","new":[1, 2.50],"timeout":1e3},"additionalContext":"why"}}"#
    );
    let advice = Reply { text: "a".repeat(20_000), command: None };
    let line = render(Agent::Claude, &event, Some(&advice)).unwrap();
    assert!(line.len() < 10_000 && !line.contains("updatedInput") && !line.contains("permission"));
    assert_eq!(render(Agent::Claude, &event, None), None);
}

#[test]
fn every_agent_gets_its_own_words() {
    let codex = answer(Agent::Codex, CLAUDE).unwrap();
    let specific = &codex["hookSpecificOutput"];
    assert_eq!(specific["permissionDecision"], "allow", "without it the change is dropped");
    assert_eq!(specific["updatedInput"]["command"], "ssh -J g n ls");
    let event = read(Agent::Codex, CLAUDE.as_bytes()).unwrap();
    let advice = render(Agent::Codex, &event, Some(&Reply { command: None, ..reply() })).unwrap();
    assert_eq!(advice, r#"{"hookSpecificOutput":{"hookEventName":"PreToolUse","additionalContext":"why"}}"#);
    let gemini =
        r#"{"hook_event_name":"BeforeTool","tool_name":"run_shell_command","tool_input":{"command":"x"},"cwd":"/"}"#;
    assert_eq!(
        answer(Agent::Gemini, gemini).unwrap(),
        json!({"hookSpecificOutput": {"hookEventName": "BeforeTool", "tool_input": {"command": "ssh -J g n ls"}}, "systemMessage": "why"})
    );
    let after = gemini.replace("BeforeTool", "AfterTool");
    let told = |event: &str| json!({"hookSpecificOutput": {"hookEventName": event, "additionalContext": "why"}});
    assert_eq!(answer(Agent::Gemini, &after).unwrap(), told("AfterTool"), "its model hears of it with the result");
    let qwen = CLAUDE.replace("\"Bash\"", "\"run_shell_command\"");
    assert_eq!(answer(Agent::Qwen, &qwen), None, "it drops what is said before");
    assert_eq!(answer(Agent::Qwen, &qwen.replace("PreToolUse", "PostToolUse")).unwrap(), told("PostToolUse"));
    let copilot = r#"{"timestamp":1,"cwd":"/","toolName":"bash","toolArgs":"{\"command\":\"x\",\"n\":1}"}"#;
    let changed = json!({"modifiedArgs": {"command": "ssh -J g n ls", "n": 1}, "additionalContext": "why"});
    assert_eq!(answer(Agent::Copilot, copilot).unwrap(), changed);
    let result = r#""toolResult":{"resultType":"failure"},"toolName""#;
    let after = read(Agent::Copilot, copilot.replace("\"toolName\"", result).as_bytes()).unwrap();
    assert_eq!(
        (after.moment, render(Agent::Copilot, &after, Some(&reply()))),
        (Moment::After { well: false, unknown: false }, None)
    );
    let start = read(Agent::Copilot, br#"{"sessionId":"s","cwd":"/","source":"new"}"#).unwrap();
    assert_eq!((start.moment, start.command), (Moment::Other, None));
    let named = answer(Agent::Copilot, CLAUDE).unwrap();
    assert_eq!(
        named["hookSpecificOutput"]["updatedInput"]["command"], "ssh -J g n ls",
        "its editor speaks as Claude Code"
    );
    let cursor = r#"{"hook_event_name":"preToolUse","tool_name":"Shell","tool_input":{"command":"x"},"cwd":"/"}"#;
    assert_eq!(
        answer(Agent::Cursor, cursor).unwrap(),
        json!({"permission": "ask", "updated_input": {"command": "ssh -J g n ls"}, "agent_message": "why"})
    );
    let event = read(Agent::Cursor, cursor.as_bytes()).unwrap();
    let advice = Reply { command: None, ..reply() };
    for silent in [None, Some(&advice)] {
        assert_eq!(render(Agent::Cursor, &event, silent).unwrap(), "{}", "its model hears nothing before a command");
    }
    let after = cursor.replace("preToolUse", "postToolUse");
    assert_eq!(answer(Agent::Cursor, &after).unwrap(), json!({"additional_context": "why"}));
    let shell = |event: &str| format!(r#"{{"hook_event_name":"{event}","command":"x","cwd":"/"}}"#);
    for event in ["beforeShellExecution", "afterShellExecution"] {
        assert_eq!(answer(Agent::Cursor, &shell(event)).unwrap(), json!({}), "{event} takes neither");
    }
    for (agent, _) in Agent::ALL {
        let event = read(agent, CLAUDE.as_bytes()).unwrap();
        let line = render(agent, &event, Some(&reply())).unwrap_or_default();
        assert!((agent == Agent::Codex || !line.contains("allow")) && !line.contains('\n'), "{line}");
        assert_eq!(Agent::named(agent.name()), Some(agent));
    }
}

/// Events as the documents of Cursor have them, with every field that they name.
#[test]
fn cursor_is_read_as_its_documents_have_it() {
    let event = |name: &str, more: &Value| {
        let mut event = json!({"conversation_id": "c", "generation_id": "g", "model": "m", "model_id": "m",
            "model_params": [{"id": "effort", "value": "max"}], "hook_event_name": name, "cursor_version": "1.7.2",
            "workspace_roots": ["/project"], "user_email": null, "transcript_path": null, "tool_name": "Shell",
            "tool_input": {"command": "ssh n ls", "working_directory": "/project/sub"}, "tool_use_id": "t", "cwd": ""});
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        read(Agent::Cursor, event.to_string().as_bytes()).unwrap()
    };
    let before = event("preToolUse", &json!({"agent_message": "x"}));
    assert_eq!((before.session.as_str(), before.call.as_str(), before.cwd.as_str()), ("c", "t", "/project/sub"));
    let line = render(Agent::Cursor, &before, Some(&reply())).unwrap();
    let updated = r#""updated_input":{"command":"ssh -J g n ls","working_directory":"/project/sub"}"#;
    assert!(line.contains(updated), "every field as it came: {line}");
    let output =
        |code: i32| json!({"tool_output": json!({"exitCode": code, "output": ""}).to_string(), "duration": 54.5});
    let well = event("postToolUse", &output(0));
    assert_eq!((well.moment, well.took), (Moment::After { well: true, unknown: false }, Some(54.5)));
    let failed = event("postToolUse", &output(3));
    assert_eq!((failed.moment, failed.code), (Moment::After { well: false, unknown: false }, Some(3)));
    for (kind, unknown) in [("error", false), ("timeout", true), ("permission_denied", true)] {
        let failed =
            event("postToolUseFailure", &json!({"failure_type": kind, "error_message": "x", "is_interrupt": false}));
        assert_eq!(failed.moment, Moment::After { well: false, unknown }, "{kind}");
        assert_eq!(render(Agent::Cursor, &failed, Some(&reply())).unwrap(), "{}", "it takes no words");
    }
    let elsewhere = event("preToolUse", &json!({"tool_input": {"command": "ls"}}));
    assert_eq!(elsewhere.cwd, "/project");
}

#[test]
fn odd_input_is_taken_or_left() {
    assert_eq!(Scanner::default().feed(b" {\"a\":\"}\\\"\"} {"), Some(12));
    let mut scanner = Scanner::default();
    assert_eq!((scanner.feed(b"{\"a\":["), scanner.feed(b"1]"), scanner.feed(b" } x")), (None, None, Some(10)));
    let claude = |text: &str| read(Agent::Claude, text.as_bytes());
    assert!(claude("\u{feff}{\"hook_event_name\":\"X\"}").is_some_and(|event| event.moment == Moment::Other));
    assert!(claude("{} trailing").is_some());
    for bad in ["", "[]", "{\"cwd\":1}", "{\"a\":}", "null"] {
        assert!(claude(bad).is_none(), "{bad}");
    }
    let command = |input: &str| {
        let text = format!(r#"{{"hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{input}}}"#);
        claude(&text).and_then(|event| event.command)
    };
    for none in ["1", "{}", "{\"command\":1}", "null", "[]"] {
        assert_eq!(command(none), None, "{none}");
    }
    assert_eq!(command(r#"{"command":"a","command":"b"}"#).as_deref(), Some("b"));
    let other = CLAUDE.replace("\"Bash\"", "\"Edit\"");
    assert_eq!(claude(&other).unwrap().command, None);
    let after = CLAUDE
        .replace("PreToolUse", "PostToolUse")
        .replace("\"more\":{}", "\"tool_response\":{\"backgroundTaskId\":\"b\"}");
    assert_eq!(claude(&after).unwrap().moment, Moment::After { well: true, unknown: true });
    for response in ["{\"timedOutAfterMs\":120000}", "{\"interrupted\":true}"] {
        let after = CLAUDE
            .replace("PreToolUse", "PostToolUse")
            .replace("\"more\":{}", &format!("\"tool_response\":{response}"));
        assert_eq!(claude(&after).unwrap().moment, Moment::After { well: true, unknown: true }, "{response}");
    }
    let failed = CLAUDE.replace("PreToolUse", "PostToolUseFailure");
    let failed = failed.replace("\"more\":{}", "\"error\":\"Exit code 2\\nExit code 3\"");
    let event = claude(&failed).unwrap();
    assert_eq!((event.moment, event.code), (Moment::After { well: false, unknown: false }, Some(2)));
    let stopped = claude(&failed.replace("\"error\":", "\"is_interrupt\":true,\"error\":")).unwrap();
    assert_eq!(stopped.moment, Moment::After { well: false, unknown: true });
    assert_eq!(render(Agent::Claude, &claude(&failed).unwrap(), Some(&reply())), None, "what ran is not changed");
}

#[test]
fn rules_fit_what_they_forbid_however_it_is_wrapped() {
    let rules = |list: &[&str]| {
        let mut rules = Rules::default();
        rules.add(&json!({"permissions": {"deny": list, "allow": ["Bash"]}, "x": 1}).to_string());
        rules
    };
    let ssh = rules(&["Bash(ssh *)", "Edit(*)"]);
    for line in [
        "ssh n ls",
        "ssh",
        "echo x && ssh n",
        "timeout 5 ssh n",
        "sudo -u x ssh n",
        "/usr/bin/ssh n",
        "bash -c 'ssh n'",
        "x=$(ssh n id)",
        "s''sh n",
        "A=1 ssh n",
        "for i in 1; do ssh n; done",
        "unknown-wrapper ssh n",
        "ssh (",
        "bash -c \"cd $D && ssh n\"",
        "bash -s <<EOF\nssh n\nEOF",
        "ssh n\r\n",
    ] {
        assert!(ssh.fit(line), "{line}");
    }
    for line in ["scp a b", "ls", "echo 'ssh-keygen'", "cat > x <<EOF\nssh n\nEOF", "scp a b\r\n"] {
        assert!(!ssh.fit(line), "{line}");
    }
    assert!(rules(&["Bash(git push --force:*)"]).fit("ssh h 'git push --force x'"));
    assert!(rules(&["Bash(git push *)"]).fit("ssh h \"cd $D && git push -f\""));
    assert!(rules(&["Bash(npm run build)"]).fit("cd x; npm run build"));
    assert!(!rules(&["Bash(npm run build)"]).fit("npm run build-all"));
    assert!(rules(&["Bash(* --force*)"]).fit("git push --force-with-lease"));
    assert!(rules(&["Bash"]).fit("ls") && rules(&["*"]).fit("ls") && rules(&["Bash(:*)"]).fit("ls"));
    assert!(rules(&[]).is_empty() && rules(&["mcp__x__*", "Read"]).is_empty());
    let mut broken = Rules::default();
    broken.add("{");
    assert!(broken.fit("ls"), "a file that is not understood may forbid anything");
    let arguments = [
        "claude",
        "-p",
        "--disallowedTools",
        "Bash(ssh a, b),Edit",
        "Read",
        "--settings={\"a\":1}",
        "--settings",
        "f.json",
    ];
    let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
    let found = from_arguments(Agent::Claude, &arguments);
    assert_eq!(found.rules, ["Bash(ssh a, b)", "Edit", "Read"]);
    assert_eq!(found.settings, ["{\"a\":1}", "f.json"]);
}

#[test]
fn every_agent_has_its_own_way_to_forbid() {
    let fit = |rules: &Rules, fitting: &[&str], others: &[&str]| {
        for line in fitting {
            assert!(rules.fit(line), "{line}: {rules:?}");
        }
        for line in others {
            assert!(!rules.fit(line), "{line}: {rules:?}");
        }
    };
    let of = |add: fn(&mut Rules, &str), text: &str| {
        let mut rules = Rules::default();
        add(&mut rules, text);
        rules
    };
    let arguments = |agent, words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        from_arguments(agent, &words)
    };
    let started =
        arguments(Agent::Copilot, &["copilot", "--deny-tool", "shell(git push)", "write", "--deny-tool=shell(ssh:*)"]);
    let mut copilot = Rules::default();
    for rule in &started.rules {
        copilot.add_rule(rule);
    }
    fit(&copilot, &["git push -f", "cd x && ssh n ls"], &["git pull", "scp a b"]);
    let started = arguments(Agent::Gemini, &["gemini", "--policy", "p", "--admin-policy=q.toml", "--deny-tool", "x"]);
    assert_eq!((started.policies, started.rules), (vec!["p".to_owned(), "q.toml".to_owned()], vec![]));
    let cursor =
        of(Rules::add, r#"{"permissions": {"allow": ["Shell(ls)"], "deny": ["Shell(ssh)", "Shell(git:push *)"]}}"#);
    fit(&cursor, &["ssh n ls", "git pull"], &["ls", "scp a b"]);
    fit(&of(Rules::add, r#"{"tools": {"exclude": ["run_shell_command(ssh)"]}}"#), &["ssh n"], &["ls"]);
    fit(&of(Rules::add, r#"{"excludeTools": ["ShellTool(ssh n)"]}"#), &["ssh n ls"], &["ssh m"]);
    fit(&of(Rules::add, r#"{"tools": {"confirmationRequired": ["run_shell_command"]}}"#), &["ls"], &[]);
    let policy = "[[rule]]\ntoolName = \"run_shell_command\"\ncommandPrefix = [\"ssh n\", \"git\"]\ndecision = \"deny\"\n\
                  [[rule]]\ntoolName = \"run_shell_command\"\ncommandPrefix = \"ls\"\ndecision = \"allow\"\n\
                  [[rule]]\ntoolName = [\"write_file\"]\ndecision = \"ask_user\"\n";
    fit(&of(Rules::add_policy, policy), &["ssh n ls", "git pull"], &["ssh m", "ls"]);
    let regex = "[[rule]]\ntoolName = \"run_shell_command\"\ncommandRegex = \"x+\"\ndecision = \"ask_user\"\n";
    fit(&of(Rules::add_policy, regex), &["ls"], &[]);
    fit(&of(Rules::add_policy, "[[rule"), &["ls"], &[]);
    let codex = "# prefix_rule(pattern=[\"cd\"], decision=\"forbidden\")\nprefix_rule(pattern=[\"ls\"], decision=\"allow\")\n\
                 prefix_rule(\n  pattern = [[\"ssh\", \"scp\"], \"n\"],\n  decision = \"prompt\",\n)\nprefix_rule(decision=\"forbidden\", pattern=[\"rm\"])\n";
    fit(&of(Rules::add_prefix_rules, codex), &["ssh m", "scp a b", "cd x; rm y"], &["ls", "cd x"]);
    fit(&of(Rules::add_prefix_rules, "prefix_rule(pattern=P, decision=\"forbidden\")"), &["ls"], &[]);
}

#[test]
fn agents_are_known_by_their_environment() {
    let agent = |set: &'static [(&'static str, &'static str)]| {
        agent_of(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| *value))
    };
    assert_eq!(agent(&[("CLAUDECODE", "1"), ("HOME", "/h")]), Some("Claude Code"));
    assert_eq!(agent(&[("CSYNC_AGENT", "mcp")]), Some("a coding agent"));
    assert_eq!(agent(&[("CLAUDECODE", ""), ("GEMINI_CLI", "0")]), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_comes_in_one_valid_line_or_nothing_goes_out(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        whole in any::<bool>(),
        command in any::<String>(),
    ) {
        let mut bytes = CLAUDE.replace("\"ssh n ls\"", &json!(command).to_string()).into_bytes();
        if !whole {
            for (at, byte) in cuts {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        for (agent, _) in Agent::ALL {
            let Some(event) = read(agent, &bytes) else { prop_assert!(!whole); continue };
            if let Some(line) = render(agent, &event, Some(&reply())) {
                prop_assert!(!line.contains('\n'));
                prop_assert!(serde_json::from_str::<Value>(&line).unwrap().is_object());
            }
            if whole && agent == Agent::Claude {
                prop_assert_eq!(event.command, Some(command.clone()));
            }
        }
        let mut rules = Rules::default();
        rules.add(&String::from_utf8_lossy(&bytes));
        rules.add_policy(&command);
        rules.add_prefix_rules(&format!("prefix_rule({command})"));
        rules.add_rule(&command);
        drop(rules.fit(&command).to_string());
    }
}
