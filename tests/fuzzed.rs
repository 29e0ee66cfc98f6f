//! The checks of the fuzz targets (`fuzz/`), in every test run: on lines that are made up and spoiled, and on what agents would
//! send of them.

#[path = "../fuzz/checks.rs"]
mod checks;

use proptest::prelude::*;
use serde_json::json;

use crate::lines::{Dice, line, spoiled};

/// Events of every agent, around a command.
fn events(command: &str) -> Vec<String> {
    let arguments = json!({"command": command, "n": 1}).to_string();
    [
        json!({"session_id": "s", "cwd": "/c", "hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_use_id": "t",
            "tool_input": {"command": command, "timeout": 5, "new": [1, {"a": null}]}}),
        json!({"hook_event_name": "BeforeTool", "tool_name": "run_shell_command", "tool_input": {"command": command}}),
        json!({"cwd": "/", "toolName": "bash", "toolArgs": arguments}),
        json!({"hook_event_name": "preToolUse", "tool_name": "Shell", "tool_input": {"command": command}}),
        json!({"hook_event_name": "beforeShellExecution", "command": command, "cwd": "/"}),
        json!({"hook_event_name": "PostToolUse", "tool_name": "Bash", "tool_input": {"command": command}, "tool_response": {}}),
    ]
    .map(|event| event.to_string())
    .to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_byte_changes_but_those_that_were_meant_to(seed in any::<u64>(), depth in 0..4_usize, odd in ".{0,40}") {
        let mut dice = Dice::new(seed);
        let whole = line(&mut dice, depth);
        checks::line(&whole);
        checks::line(&spoiled(&mut dice, &whole));
        checks::line(&format!("ssh h1 {odd}"));
        checks::line(&odd);
    }

    #[test]
    fn every_input_gets_one_valid_reply_or_none(
        seed in any::<u64>(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        noise in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut dice = Dice::new(seed);
        let command = line(&mut dice, 1);
        for event in events(&command) {
            checks::input(event.as_bytes());
            let mut bytes = event.into_bytes();
            for (at, byte) in &cuts {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            checks::input(&bytes);
        }
        checks::input(&noise);
    }
}
