//! Edits of an agent's settings: members are put into JSON and taken out of it, and no other byte changes.

use std::ops::Range;

/// Why a text was not edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotEdited {
    /// It is no JSON object.
    #[error("it is no JSON object")]
    NoObject,
    /// What is on the way is something else.
    #[error("what stands there already is of another kind")]
    OtherKind,
}

/// Appends an element to the array that `path` leads to; objects and the array are made where they are not there.
///
/// # Errors
/// [`NotEdited`].
pub fn append(text: &str, path: &[&str], element: &str) -> Result<String, NotEdited> {
    let text = if text.trim().is_empty() { "{}\n" } else { text };
    check(text)?;
    let mut at = value(text, 0).ok_or(NotEdited::NoObject)?;
    for (depth, name) in path.iter().enumerate() {
        if !text.get(at.start..).is_some_and(|rest| rest.starts_with('{')) {
            return Err(NotEdited::OtherKind);
        }
        let Some(found) = member(text, &at, name) else {
            let made = nested(path.get(depth + 1..).unwrap_or_default(), element, depth + 2);
            return Ok(add(text, &at, &format!("\"{name}\": {made}"), depth + 1));
        };
        at = found.value;
    }
    if !text.get(at.start..).is_some_and(|rest| rest.starts_with('[')) {
        return Err(NotEdited::OtherKind);
    }
    Ok(add(text, &at, &indented(element, path.len() + 1), path.len() + 1))
}

/// Takes the elements that `ours` knows out of the array that `path` leads to, and with them what is empty then.
///
/// # Errors
/// [`NotEdited`].
pub fn remove(text: &str, path: &[&str], ours: impl Fn(&str) -> bool) -> Result<String, NotEdited> {
    check(text)?;
    let mut text = text.to_owned();
    while let Some(gone) = find(&text, path).and_then(|array| {
        let items = items(&text, &array);
        items.into_iter().find(|item| text.get(item.clone()).is_some_and(&ours))
    }) {
        text = without(&text, &gone);
    }
    for depth in (1..=path.len()).rev() {
        let (parents, name) = path.split_at(depth - 1);
        let Some(object) = find(&text, parents) else { continue };
        let Some(found) = name.first().and_then(|name| member(&text, &object, name)) else { continue };
        if items(&text, &found.value).is_empty() {
            text = without(&text, &found.whole);
        }
    }
    Ok(text)
}

/// Returns the elements of the array that `path` leads to.
pub fn elements<'t>(text: &'t str, path: &[&str]) -> Vec<&'t str> {
    let Some(array) = find(text, path).filter(|_| check(text).is_ok()) else { return Vec::new() };
    items(text, &array).into_iter().filter_map(|item| text.get(item)).collect()
}

/// What is checked here, the scanning below relies on.
fn check(text: &str) -> Result<(), NotEdited> {
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::Object(_)) => Ok(()),
        _ => Err(NotEdited::NoObject),
    }
}

fn find(text: &str, path: &[&str]) -> Option<Range<usize>> {
    let mut at = value(text, 0)?;
    for name in path {
        at = member(text, &at, name)?.value;
    }
    Some(at)
}

/// A member of an object.
struct Member {
    whole: Range<usize>,
    value: Range<usize>,
}

fn member(text: &str, object: &Range<usize>, name: &str) -> Option<Member> {
    if !text.get(object.clone())?.starts_with('{') {
        return None;
    }
    items(text, object).into_iter().find_map(|whole| {
        let key = value(text, whole.start)?;
        let is_it = serde_json::from_str::<String>(text.get(key.clone())?).ok()? == name;
        let colon = key.end + text.get(key.end..)?.find(':')?;
        is_it.then(|| value(text, colon + 1)).flatten().map(|value| Member { whole, value })
    })
}

/// Returns what stands between the commas of an object or array.
fn items(text: &str, at: &Range<usize>) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let (mut items, mut from) = (Vec::new(), at.start + 1);
    while let Some(first) = value(text, from).filter(|first| first.end < at.end) {
        let mut end = first.end;
        // A key has its value behind it.
        if let Some(b':') = text.get(end..).and_then(|rest| rest.trim_start().as_bytes().first()) {
            let colon = end + text.get(end..).and_then(|rest| rest.find(':')).unwrap_or_default();
            let Some(inner) = value(text, colon + 1) else { break };
            end = inner.end;
        }
        items.push(first.start..end);
        let rest = bytes.get(end..).unwrap_or_default();
        match rest.iter().position(|byte| !byte.is_ascii_whitespace()).map(|at| end + at) {
            Some(comma) if bytes.get(comma) == Some(&b',') => from = comma + 1,
            _ => break,
        }
    }
    items
}

/// Returns where the value stands that begins at or behind an offset.
fn value(text: &str, from: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let start = from + bytes.get(from..)?.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    for (at, byte) in bytes.iter().enumerate().skip(start) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => {
                quoted = !quoted;
                if !quoted && depth == 0 {
                    return Some(start..at + 1);
                }
            }
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth <= 1 => {
                return if depth == 1 { Some(start..at + 1) } else { (at > start).then_some(start..at) };
            }
            b'}' | b']' => depth -= 1,
            b',' | b':' if depth == 0 => return (at > start).then_some(start..at),
            byte if byte.is_ascii_whitespace() && depth == 0 => return Some(start..at),
            _ => {}
        }
    }
    None
}

/// Puts an item at the end of an object or array.
fn add(text: &str, into: &Range<usize>, item: &str, depth: usize) -> String {
    let pad = "  ".repeat(depth);
    let (at, before) = match items(text, into).last() {
        Some(last) => (last.end, format!(",\n{pad}")),
        None => (into.start + 1, format!("\n{pad}")),
    };
    // What was `{}` gets a line for its end.
    let closes = text.get(at..into.end - 1).is_some_and(|rest| !rest.contains('\n'));
    let after = if closes { format!("\n{}", "  ".repeat(depth - 1)) } else { String::new() };
    let head = text.get(..at).unwrap_or_default();
    let tail = text.get(at..).unwrap_or_default();
    format!("{head}{before}{item}{after}{}", if closes { tail.trim_start_matches(' ') } else { tail })
}

/// Takes an item out, with the comma that it needs no more.
fn without(text: &str, item: &Range<usize>) -> String {
    let head = text.get(..item.start).unwrap_or_default();
    let tail = text.get(item.end..).unwrap_or_default();
    let trimmed = head.trim_end();
    if let Some(head) = trimmed.strip_suffix(',') {
        return format!("{head}{tail}");
    }
    match tail.trim_start().strip_prefix(',') {
        Some(rest) => format!("{head}{}", rest.trim_start()),
        None => format!("{trimmed}{}", tail.trim_start()),
    }
}

fn nested(path: &[&str], element: &str, depth: usize) -> String {
    let (pad, end) = ("  ".repeat(depth), "  ".repeat(depth - 1));
    match path.split_first() {
        None => format!("[\n{pad}{}\n{end}]", indented(element, depth)),
        Some((name, rest)) => format!("{{\n{pad}\"{name}\": {}\n{end}}}", nested(rest, element, depth + 1)),
    }
}

fn indented(element: &str, depth: usize) -> String {
    element.replace('\n', &format!("\n{}", "  ".repeat(depth)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELEMENT: &str = "{\n  \"matcher\": \"Bash\"\n}";
    const PATH: [&str; 2] = ["hooks", "PreToolUse"];

    #[test]
    fn what_is_put_in_can_be_taken_out_again() {
        for before in [
            "{\n  \"a\": [1, 2.50],\n  \"b\": \"}\\\"\"\n}\n",
            "{\"a\":1}",
            "{\n  \"hooks\": {\n    \"Stop\": [ {} ]\n  }\n}",
            "{\n  \"hooks\": {\n    \"PreToolUse\": [\n      {\"matcher\": \"Edit\"}\n    ]\n  },\n  \"z\": null\n}\n",
        ] {
            let after = append(before, &PATH, ELEMENT).unwrap();
            assert_eq!(
                elements(&after, &PATH).last().unwrap().replace(char::is_whitespace, ""),
                "{\"matcher\":\"Bash\"}"
            );
            let kept: serde_json::Value = serde_json::from_str(&after).unwrap();
            let old: serde_json::Value = serde_json::from_str(before).unwrap();
            for (key, value) in old.as_object().unwrap().iter().filter(|(key, _)| *key != "hooks") {
                assert_eq!(&kept[key], value);
            }
            let again = remove(&after, &PATH, |item| item.contains("\"Bash\"")).unwrap();
            assert_eq!(serde_json::from_str::<serde_json::Value>(&again).unwrap(), old, "{again}");
        }
        let made = append("", &PATH, ELEMENT).unwrap();
        assert_eq!(
            made,
            "{\n  \"hooks\": {\n    \"PreToolUse\": [\n      {\n        \"matcher\": \"Bash\"\n      }\n    ]\n  }\n}\n"
        );
        assert_eq!(remove(&made, &PATH, |_| true).unwrap().replace(char::is_whitespace, ""), "{}");
    }

    #[test]
    fn what_is_of_another_kind_is_left() {
        for (text, why) in [
            ("[]", NotEdited::NoObject),
            ("{ // x\n}", NotEdited::NoObject),
            ("{\"hooks\": 1}", NotEdited::OtherKind),
            ("{\"hooks\": {\"PreToolUse\": {}}}", NotEdited::OtherKind),
        ] {
            assert_eq!(append(text, &PATH, ELEMENT), Err(why), "{text}");
        }
        assert_eq!(elements("{\"hooks\": 1}", &PATH), Vec::<&str>::new());
        assert_eq!(remove("{\"a\": 1}", &PATH, |_| true).unwrap(), "{\"a\": 1}");
    }
}
