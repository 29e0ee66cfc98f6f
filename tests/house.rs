//! The walls of the house: who may import whom, what must not be said above the glass floor, how long things may get.
//!
//! The floors stand in [`FLOORS`]; the rooms of a floor stand in the order of the `mod` lines of its `mod.rs`. Whoever imports
//! looks back: at an earlier floor, or at an earlier room of the same one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// The floors, each importing only those before it.
const FLOORS: [&str; 6] = ["model", "language", "decide", "reach", "serve", "cli"];

/// The first floor that may touch the outside; above it lies the glass floor.
const FIRST_OUTSIDE: usize = 3;

/// Words of the outside, which do not occur above the glass floor.
const OUTSIDE: [&str; 27] = [
    "tokio::",
    "sqlx::",
    "axum::",
    "hyper::",
    "rustix::",
    "sysinfo::",
    "walkdir::",
    "wait4::",
    "indicatif::",
    "rand::",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
    "RandomState",
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
];

const OUTSIDE_WHY: &str = "is a word of the outside, above the glass floor";

/// Longest file, in lines.
const FILE_LINES: usize = 700;

/// Longest function that is shipped, in lines.
const FUNCTION_LINES: usize = 80;

/// Nine functions of ten are at most this long.
const FUNCTION_LINES_P90: usize = 35;

/// Something that the house does not allow.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    path: String,
    line: usize,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// A source file: its path below `src/`, its text, and its text with comments and literals blanked out.
struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: blank(text) }
    }

    fn violation(&self, offset: usize, what: impl Into<String>) -> Violation {
        let line = 1 + self.code.get(..offset).unwrap_or_default().matches('\n').count();
        Violation { path: self.path.clone(), line, what: what.into() }
    }

    /// The floor's number and the room's name; none for `lib.rs`, `main.rs` and a floor's own `mod.rs`.
    fn room(&self) -> Option<(usize, &str)> {
        let (floor, rest) = self.path.split_once('/')?;
        let room = rest.split('/').next()?.trim_end_matches(".rs");
        let floor = FLOORS.iter().position(|name| *name == floor)?;
        (room != "mod").then_some((floor, room))
    }

    /// The code without what is compiled for tests alone: from the first test module at the left margin to the end.
    fn shipped(&self) -> &str {
        if self.path.ends_with("/tests.rs") || self.path.contains("/tests/") {
            return "";
        }
        let end = self.code.find("\n#[cfg(test)]\nmod ").unwrap_or(self.code.len());
        self.code.get(..end).unwrap_or_default()
    }
}

/// Replaces the inside of comments, strings and characters by blanks; keeps offsets and line ends.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(text, at);
        if end > at {
            out[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
            at = end;
        } else {
            at += 1;
        }
    }
    String::from_utf8(out).expect("blanks replace whole literals")
}

/// Where the comment or literal that starts here ends; `at` itself where none starts.
fn literal_end(text: &str, at: usize) -> usize {
    let rest = &text.as_bytes()[at..];
    let after_word = at > 0 && is_word(text.as_bytes()[at - 1]);
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => at + block_comment_length(rest),
        [b'"', ..] => at + string_length(rest),
        [b'r', b'"' | b'#', ..] if !after_word => raw_string_length(rest).map_or(at, |length| at + length),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !after_word => {
            raw_string_length(&rest[1..]).map_or(at, |length| at + 1 + length)
        }
        [b'\'', ..] => at + char_length(rest),
        _ => at,
    }
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn block_comment_length(bytes: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_length(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// The length of `r#"..."#`; none where a raw identifier (`r#type`) stands.
fn raw_string_length(bytes: &[u8]) -> Option<usize> {
    let hashes = bytes[1..].iter().take_while(|byte| **byte == b'#').count();
    (bytes.get(1 + hashes) == Some(&b'"')).then(|| {
        let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
        let body = 2 + hashes;
        let length = bytes[body..].windows(close.len()).position(|window| window == close);
        length.map_or(bytes.len(), |length| body + length + close.len())
    })
}

/// The length of a character literal; 0 for a lifetime.
fn char_length(bytes: &[u8]) -> usize {
    let end_from = |from: usize| bytes[from..].iter().take(12).position(|byte| *byte == b'\'').map(|at| from + at + 1);
    match bytes {
        [_, b'\\', ..] => end_from(3).unwrap_or(0),
        [_, first, ..] => {
            let width = match first {
                0..0x80 => 1,
                0x80..0xe0 => 2,
                0xe0..0xf0 => 3,
                _ => 4,
            };
            if bytes.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
        }
        _ => 0,
    }
}

/// The rooms of each floor, in the order of the `mod` lines of its `mod.rs`.
fn rooms(sources: &[Source]) -> BTreeMap<&'static str, Vec<String>> {
    let of = |floor: &str| {
        let path = format!("{floor}/mod.rs");
        let code = sources.iter().find(|source| source.path == path).map_or("", |source| source.shipped());
        code.lines()
            .filter_map(|line| {
                let (visibility, room) = line.strip_suffix(';')?.split_once("mod ")?;
                (visibility.is_empty() || visibility.starts_with("pub")).then(|| room.trim().to_owned())
            })
            .collect()
    };
    FLOORS.into_iter().map(|floor| (floor, of(floor))).collect()
}

/// Every path that starts with `root` (`crate`, `std`), with the groups of its `use` written out, and where it stands.
fn paths(code: &str, root: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for (offset, _) in code.match_indices(&format!("{root}::")) {
        if offset > 0 && (is_word(code.as_bytes()[offset - 1]) || code[..offset].ends_with("::")) {
            continue;
        }
        let mut tails = Vec::new();
        expand(&code[offset + root.len() + 2..], &mut Vec::new(), &mut tails);
        found.extend(tails.into_iter().map(|tail| (offset, tail)));
    }
    found
}

/// Reads `a::b`, `a::{b::c, d}` into whole paths; returns what follows.
fn expand<'code>(mut rest: &'code str, head: &mut Vec<String>, out: &mut Vec<Vec<String>>) -> &'code str {
    let depth = head.len();
    loop {
        rest = rest.trim_start();
        if let Some(mut group) = rest.strip_prefix('{') {
            loop {
                group = expand(group, head, out).trim_start();
                match group.strip_prefix(',') {
                    Some(next) if !next.trim_start().starts_with('}') => group = next,
                    // A comma after the last one.
                    Some(next) => {
                        group = next.trim_start();
                        break;
                    }
                    None => break,
                }
            }
            head.truncate(depth);
            return group.strip_prefix('}').unwrap_or(group);
        }
        let length = rest.bytes().take_while(|byte| is_word(*byte)).count();
        if length > 0 {
            head.push(rest[..length].to_owned());
        }
        rest = &rest[length..];
        match rest.strip_prefix("::") {
            Some(next) if length > 0 => rest = next,
            _ => break,
        }
    }
    out.push(head.clone());
    head.truncate(depth);
    rest
}

/// A function: where its `fn` stands, its name, how many lines it takes.
fn functions(code: &str) -> Vec<(usize, &str, usize)> {
    let mut found = Vec::new();
    for (offset, _) in code.match_indices("fn ") {
        if offset > 0 && is_word(code.as_bytes()[offset - 1]) {
            continue;
        }
        let rest = &code[offset + 3..];
        let name = &rest[..rest.bytes().take_while(|byte| is_word(*byte)).count()];
        if let Some(length) = body_end(rest).filter(|_| !name.is_empty()) {
            found.push((offset, name, 1 + rest[..length].matches('\n').count()));
        }
    }
    found
}

/// Where the body that follows a signature closes; none for a declaration without a body.
fn body_end(rest: &str) -> Option<usize> {
    let (mut round, mut curly) = (0, 0);
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'(' | b'[' => round += 1,
            b')' | b']' => round -= 1,
            b';' if round == 0 && curly == 0 => return None,
            b'{' => curly += 1,
            b'}' if curly == 1 => return Some(at),
            b'}' => curly -= 1,
            _ => {}
        }
    }
    None
}

fn imports(source: &Source, rooms: &BTreeMap<&'static str, Vec<String>>) -> Vec<Violation> {
    let Some((own_floor, own_room)) = source.room() else { return Vec::new() };
    let order = |floor: usize, room: &str| rooms[FLOORS[floor]].iter().position(|name| name == room);
    let mut found = Vec::new();
    let Some(own_order) = order(own_floor, own_room) else {
        return vec![source.violation(0, format!("`{own_room}` has no `mod` line in {}/mod.rs", FLOORS[own_floor]))];
    };
    for (offset, path) in paths(source.shipped(), "crate") {
        // `pub(in crate::cli)` says how far a name is seen.
        if path.len() == 1 && path[0] == FLOORS[own_floor] && source.code[..offset].ends_with("in ") {
            continue;
        }
        let mut complain = |what: String| found.push(source.violation(offset, what));
        let named = path.join("::");
        let Some(floor) = path.first().and_then(|name| FLOORS.iter().position(|floor| floor == name)) else {
            complain(format!("`crate::{named}` names no floor"));
            continue;
        };
        match path.get(1).and_then(|room| order(floor, room)) {
            _ if floor > own_floor => complain(format!("`crate::{named}` is on a later floor")),
            None => complain(format!("`crate::{named}` names no room")),
            Some(order) if floor == own_floor && order > own_order => {
                complain(format!("`crate::{named}` is a later room of this floor"));
            }
            Some(_) => {}
        }
    }
    found
}

fn words(source: &Source) -> Vec<Violation> {
    let shipped = source.shipped();
    let mut found = Vec::new();
    let above_glass = source.path.split('/').next().is_some_and(|floor| FLOORS[..FIRST_OUTSIDE].contains(&floor));
    let mut forbid = |word: &str, why: &str| {
        for (offset, _) in shipped.match_indices(word) {
            if offset == 0 || !is_word(shipped.as_bytes()[offset - 1]) {
                found.push(source.violation(offset, format!("`{word}` {why}")));
            }
        }
    };
    for word in ["todo!", "unimplemented!", "dbg!"] {
        forbid(word, "is not shipped");
    }
    forbid("super::super", "hides a wall: write `crate::floor::room`");
    if above_glass {
        OUTSIDE.iter().filter(|word| !word.starts_with("std::")).for_each(|word| forbid(word, OUTSIDE_WHY));
        for (offset, path) in paths(shipped, "std") {
            let named = format!("std::{}", path.join("::"));
            if OUTSIDE.iter().any(|word| named == *word || named.starts_with(&format!("{word}::"))) {
                found.push(source.violation(offset, format!("`{named}` {OUTSIDE_WHY}")));
            }
        }
    }
    found
}

fn sizes(source: &Source) -> Vec<Violation> {
    let lines = source.text.lines().count();
    let long_file = (lines > FILE_LINES).then(|| source.violation(0, format!("{lines} lines, at most {FILE_LINES}")));
    // Tests are left out: a long table of cases is one function and easy to read.
    let long_functions = functions(source.shipped()).into_iter().filter(|(_, _, lines)| *lines > FUNCTION_LINES).map(
        |(offset, name, lines)| {
            source.violation(offset, format!("`{name}` has {lines} lines, at most {FUNCTION_LINES}"))
        },
    );
    long_file.into_iter().chain(long_functions).collect()
}

/// Everything that the house does not allow in these files.
fn inspect(sources: &[Source]) -> Vec<Violation> {
    let rooms = rooms(sources);
    sources.iter().flat_map(|source| [imports(source, &rooms), words(source), sizes(source)]).flatten().collect()
}

/// The files under a directory of the repository whose names end so.
fn read_below(dir: &str, ends: &[&str]) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
    let mut found: Vec<_> = walkdir::WalkDir::new(&root)
        .into_iter()
        .filter_entry(|entry| !["target", ".git"].iter().any(|name| entry.file_name() == *name))
        .map(|entry| entry.expect("the repository is readable"))
        .filter(|entry| entry.file_type().is_file())
        .filter_map(|entry| {
            let path = entry.path().strip_prefix(&root).expect("walked from there").to_str()?.to_owned();
            let wanted = ends.is_empty() || ends.iter().any(|end| path.ends_with(end));
            wanted.then(|| std::fs::read_to_string(entry.path()).ok().map(|text| (path, text))).flatten()
        })
        .collect();
    found.sort();
    found
}

fn house() -> Vec<Source> {
    read_below("src", &[".rs"]).iter().map(|(path, text)| Source::new(path, text)).collect()
}

fn listed(violations: &[Violation]) -> String {
    violations.iter().map(|violation| format!("src/{violation}")).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_walls_hold() {
    let sources = house();
    assert!(sources.len() > 20, "the house was found");
    let violations = inspect(&sources);
    assert!(violations.is_empty(), "{}", listed(&violations));
}

#[test]
fn functions_stay_short() {
    let sources = house();
    let mut lengths: Vec<usize> =
        sources.iter().flat_map(|source| functions(source.shipped())).map(|(_, _, lines)| lines).collect();
    lengths.sort_unstable();
    let p90 = lengths[lengths.len() * 9 / 10];
    assert!(p90 <= FUNCTION_LINES_P90, "nine of ten functions have up to {p90} lines, at most {FUNCTION_LINES_P90}");
}

#[test]
fn nothing_names_a_machine() {
    // Written in halves, so that this file passes its own test.
    let marks = [["/ro", "ot/"], ["/wo", "rk/"], ["/fa", "rm/"], ["/tmp/", "wt/"], ["/home", "/"]]
        .map(|halves| halves.concat());
    let files = read_below(".", &[]);
    assert!(files.len() > 20, "the repository was found");
    let found: Vec<String> = files
        .iter()
        // Recorded replies name the homes of the clusters they come from.
        .filter(|(path, _)| path != "Cargo.lock" && !path.starts_with("tests/replies/"))
        .flat_map(|(path, text)| text.lines().enumerate().map(move |(number, line)| (path, number + 1, line)))
        .filter(|(_, _, line)| {
            marks.iter().any(|mark| {
                line.match_indices(mark.as_str()).any(|(at, _)| at == 0 || !is_path_byte(line.as_bytes()[at - 1]))
            })
        })
        .map(|(path, number, line)| format!("{path}:{number}: {line}"))
        .collect();
    assert!(found.is_empty(), "paths of a machine:\n{}", found.join("\n"));
}

const fn is_path_byte(byte: u8) -> bool {
    is_word(byte) || matches!(byte, b'.' | b'-' | b'}')
}

#[test]
fn what_is_built_apart_has_the_lints_of_the_house() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lints = |manifest: &str| {
        let text = std::fs::read_to_string(root.join(manifest)).unwrap();
        text.parse::<toml::Table>().unwrap().remove("lints").expect(manifest)
    };
    assert_eq!(lints("frames/Cargo.toml"), lints("Cargo.toml"));
}

/// A small house to plant violations in.
fn inspected(path: &str, text: &str) -> Vec<String> {
    let mut sources = vec![
        Source::new("model/mod.rs", "pub mod id;\n\npub mod job;\n"),
        Source::new("language/mod.rs", "pub mod manifest;\n"),
        Source::new("decide/mod.rs", "pub mod fresh;\n\npub(crate) mod engine;\n"),
        Source::new("reach/mod.rs", "pub mod store;\n"),
        Source::new("serve/mod.rs", "mod api;\n"),
        Source::new("cli/mod.rs", "pub mod submit;\n"),
    ];
    sources.push(Source::new(path, text));
    inspect(&sources).into_iter().map(|violation| format!("{}: {}", violation.line, violation.what)).collect()
}

#[test]
fn planted_imports_are_found() {
    let later_floor = "1: `crate::reach::store::Store` is on a later floor";
    let cases: [(&str, &str, &[&str]); 9] = [
        ("decide/fresh/mod.rs", "use crate::model::job::Outcome;\nuse crate::decide::fresh::memo::Memo;", &[]),
        ("decide/fresh/mod.rs", "use crate::reach::store::Store;", &[later_floor]),
        (
            "decide/fresh/mod.rs",
            "fn f() { crate::reach::store::Store::open() }",
            &["1: `crate::reach::store::Store::open` is on a later floor"],
        ),
        (
            "decide/fresh/mod.rs",
            "\nuse crate::decide::engine::Event;",
            &["2: `crate::decide::engine::Event` is a later room of this floor"],
        ),
        ("decide/engine/mod.rs", "use crate::{model::id::RunId, reach::{store::Store,}};", &[later_floor]),
        (
            "model/id.rs",
            "use crate::model::job::Outcome;",
            &["1: `crate::model::job::Outcome` is a later room of this floor"],
        ),
        ("model/id.rs", "// use crate::reach::store::Store;\nconst A: &str = \"crate::reach::store\";", &[]),
        ("model/unit.rs", "", &["1: `unit` has no `mod` line in model/mod.rs"]),
        (
            "cli/submit.rs",
            "use crate::Thing;\nuse crate::serve::Api;",
            &["1: `crate::Thing` names no floor", "2: `crate::serve::Api` names no room"],
        ),
    ];
    for (path, text, expected) in cases {
        assert_eq!(inspected(path, text), expected, "{path}: {text}");
    }
}

#[test]
fn planted_words_are_found() {
    let outside = |word: &str| format!("1: `{word}` is a word of the outside, above the glass floor");
    let cases = [
        ("decide/engine/mod.rs", "fn f() { std::fs::read(\"x\") }", vec![outside("std::fs::read")]),
        ("language/manifest/mod.rs", "use std::{collections::BTreeMap, env, fmt};", vec![outside("std::env")]),
        ("language/manifest/mod.rs", "use std::io::{self, Read, stdin};", vec![outside("std::io::stdin")]),
        (
            "model/job.rs",
            "fn f() { let now = Instant::now(); println!(\"{now}\") }",
            vec![outside("Instant::now"), outside("println!")],
        ),
        ("model/job.rs", "/// Not `std::fs`.\nfn f() -> &'static str { \"tokio::\" }", vec![]),
        ("model/job.rs", "fn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }", vec![]),
        ("reach/store/mod.rs", "fn f() { std::fs::read(\"x\") }", vec![]),
        ("reach/store/mod.rs", "fn f() { todo!() }", vec!["1: `todo!` is not shipped".to_owned()]),
        (
            "serve/api.rs",
            "use super::super::reach::store;",
            vec!["1: `super::super` hides a wall: write `crate::floor::room`".to_owned()],
        ),
    ];
    for (path, text, expected) in cases {
        assert_eq!(inspected(path, text), expected, "{path}: {text}");
    }
}

#[test]
fn planted_lengths_are_found() {
    let function = |lines: usize| format!("fn long(x: [u8; 3]) -> bool {{{}}}", "\n".repeat(lines - 1));
    assert_eq!(inspected("cli/submit.rs", &function(FUNCTION_LINES)), Vec::<String>::new());
    let too_long = format!("1: `long` has {} lines, at most {FUNCTION_LINES}", FUNCTION_LINES + 1);
    assert_eq!(inspected("cli/submit.rs", &function(FUNCTION_LINES + 1)), [too_long]);
    assert_eq!(inspected("cli/submit.rs", &"\n".repeat(FILE_LINES)), Vec::<String>::new());
    assert_eq!(inspected("cli/submit.rs", &"\n".repeat(FILE_LINES + 1)).len(), 1);
}

#[test]
fn literals_and_comments_are_blanked() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ */ d", "a                 d"),
        (r#"a "b\"c" d"#, "a        d"),
        ("a r#\"b\"c\"# d", "a          d"),
        ("let r#type = 'x';", "let r#type =    ;"),
        ("&'a str, '\\'', 'é'", "&'a str,     ,     "),
        ("b\"{\" br\"}\"", "b          "),
    ] {
        assert_eq!(blank(text).trim_end(), code.trim_end(), "{text}");
    }
}
