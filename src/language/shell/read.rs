//! From text to commands, by tree-sitter's grammar of bash. Each word is read a second time by `word`: where
//! the two do not agree about its bytes, nothing is read.

use std::borrow::Cow;
use std::cell::RefCell;

use tree_sitter::{Node, Parser};

use crate::language::shell::script::{Command, Document, File, Input, Loop, LoopKind, Output, Script, Span, Stands};
use crate::language::shell::word::{Means, Word, word};

/// Longest text that is read: what a person or an agent types is shorter, and reading takes time.
pub const LONGEST: usize = 8 << 10;

/// Words that begin or end something where a command may stand: a command of such a name is a mistake that the grammar passes over.
const RESERVED: [&str; 16] = [
    "case", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "select", "then", "until", "while",
    "{", "}",
];

/// Deepest nesting that is followed.
const DEEPEST: u32 = 120;

thread_local! {
    static PARSER: RefCell<Option<Parser>> = RefCell::new(parser());
}

fn parser() -> Option<Parser> {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_bash::LANGUAGE.into()).ok()?;
    Some(parser)
}

/// Returns a text with lines that end as Unix has it. What bash makes of others nobody meant, and some shells take them off: it
/// may be spoken of, but not changed.
pub fn unix_lines(text: &str) -> Cow<'_, str> {
    if text.contains('\r') {
        text.replace("\r\n", "\n").trim_end_matches('\r').to_owned().into()
    } else {
        Cow::Borrowed(text)
    }
}

/// Reads a text. None where it is no bash, too long, or more than is understood for sure.
pub fn read(text: &str) -> Option<Script> {
    // Other control characters do not come from people, and the readers may differ on them.
    let odd = |byte: u8| (byte < b' ' && !matches!(byte, b'\n' | b'\t')) || byte == 0x7f;
    if text.len() > LONGEST || text.bytes().any(odd) {
        return None;
    }
    let seen = masked(text);
    let tree = PARSER.with_borrow_mut(|parser| parser.as_mut()?.parse(seen.as_ref(), None))?;
    let root = tree.root_node();
    if root.has_error() {
        return None;
    }
    let mut reader = Reader { text, script: Script { text: text.to_owned(), ..Script::default() } };
    reader.visit(root, Stands::default(), 0)?;
    let mut script = reader.script;
    script.commands.sort_by_key(|command| command.span.start);
    // What stands behind a redirection is come by twice.
    script.commands.dedup_by(|one, other| one.span == other.span);
    script.files.sort_by_key(|file| file.word.span.start);
    script.files.dedup_by(|one, other| one.word.span == other.word.span);
    script.documents.sort_by_key(|document| document.span.start);
    script.documents.dedup_by(|one, other| one.span == other.span);
    Some(script)
}

/// Returns what the grammar is shown: the grammar's own code looks letters up in tables that end at 255, and reads what lies
/// behind them. To bash any other letter is one that words are made of, as `%` is, and no part of a name.
fn masked(text: &str) -> Cow<'_, [u8]> {
    if text.is_ascii() {
        return Cow::Borrowed(text.as_bytes());
    }
    text.bytes().map(|byte| if byte.is_ascii() { byte } else { b'%' }).collect::<Vec<_>>().into()
}

struct Reader<'t> {
    text: &'t str,
    script: Script,
}

impl<'t> Reader<'t> {
    fn slice(&self, node: Node<'_>) -> &'t str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }

    fn visit(&mut self, node: Node<'_>, stands: Stands, depth: u32) -> Option<()> {
        if depth > DEEPEST {
            return None;
        }
        let depth = depth + 1;
        match node.kind() {
            "command" | "declaration_command" | "unset_command" => self.command(node, stands, &[], depth),
            "redirected_statement" => self.redirected(node, stands, depth),
            "pipeline" => self.pipeline(node, stands, depth),
            "list" => self.list(node, stands, depth),
            "while_statement" | "for_statement" | "c_style_for_statement" => self.looped(node, stands, depth),
            "if_statement" | "case_statement" | "elif_clause" | "else_clause" => {
                self.children(node, Stands { conditional: true, ..stands }, depth)
            }
            "function_definition" => {
                let name = node.child_by_field_name("name").map(|name| self.slice(name).to_owned());
                self.script.defines.extend(name);
                self.children(node, Stands { in_function: true, ..stands }, depth)
            }
            "subshell" => self.children(node, Stands { apart: true, ..stands }, depth),
            "command_substitution" => {
                let inside = Stands { substituted: true, apart: true, output: Output::Captured, ..stands };
                self.children(node, inside, depth)
            }
            "process_substitution" => {
                let is_read = self.slice(node).starts_with('<');
                let (input, output) =
                    if is_read { (stands.input, Output::Captured) } else { (Input::Pipe, stands.output) };
                self.children(node, Stands { substituted: true, apart: true, input, output, ..stands }, depth)
            }
            "heredoc_body" => self.children(node, Stands { in_heredoc: true, ..stands }, depth),
            _ => self.children(node, stands, depth),
        }
    }

    /// Visits every child; what a `&` follows runs in the background.
    fn children(&mut self, node: Node<'_>, stands: Stands, depth: u32) -> Option<()> {
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            if child.is_named() {
                let behind = child.next_sibling().is_some_and(|next| next.kind() == "&");
                self.visit(child, Stands { apart: stands.apart || behind, ..stands }, depth)?;
            }
        }
        Some(())
    }

    fn list(&mut self, node: Node<'_>, stands: Stands, depth: u32) -> Option<()> {
        let mut cursor = node.walk();
        for (index, child) in node.children(&mut cursor).filter(Node::is_named).enumerate() {
            self.visit(child, Stands { conditional: stands.conditional || index > 0, ..stands }, depth)?;
        }
        Some(())
    }

    fn pipeline(&mut self, node: Node<'_>, stands: Stands, depth: u32) -> Option<()> {
        let mut cursor = node.walk();
        let parts: Vec<Node<'_>> = node.children(&mut cursor).filter(Node::is_named).collect();
        let last = parts.len().checked_sub(1)?;
        for (index, part) in parts.into_iter().enumerate() {
            let input = if index > 0 { Input::Pipe } else { stands.input };
            let output = if index < last { Output::Pipe } else { stands.output };
            self.visit(part, Stands { input, output, apart: true, ..stands }, depth)?;
        }
        Some(())
    }

    fn looped(&mut self, node: Node<'_>, stands: Stands, depth: u32) -> Option<()> {
        let kind = match node.kind() {
            "while_statement" => LoopKind::Condition,
            "for_statement" => LoopKind::Words,
            _ => LoopKind::Counting,
        };
        let index = self.script.loops.len();
        self.script.loops.push(Loop { span: node.byte_range(), kind, outer: stands.in_loop });
        self.children(node, Stands { in_loop: Some(index), ..stands }, depth)
    }

    /// A statement with redirections behind it. Words that follow the name of a file belong to the command again, which the
    /// grammar takes for more names.
    fn redirected(&mut self, node: Node<'_>, mut stands: Stands, depth: u32) -> Option<()> {
        let outer = stands;
        let body = node.child_by_field_name("body");
        let mut strays = Vec::new();
        let mut pipes = false;
        let mut cursor = node.walk();
        for redirect in node.children_by_field_name("redirect", &mut cursor) {
            strays.extend(self.redirect(redirect, &mut stands, &last_of(body.unwrap_or(node)).byte_range())?);
            pipes |= redirect.kind() == "heredoc_redirect" && has_child(redirect, "pipeline");
        }
        if pipes {
            stands.output = Output::Pipe;
        }
        match body {
            Some(body) if matches!(body.kind(), "command" | "declaration_command") => {
                self.command(body, stands, &strays, depth)?;
            }
            _ if !strays.is_empty() => return None,
            Some(body) => self.visit(body, stands, depth)?,
            None => {}
        }
        let mut cursor = node.walk();
        for redirect in node.children_by_field_name("redirect", &mut cursor) {
            if redirect.kind() == "heredoc_redirect" {
                self.heredoc(redirect, stands, outer, depth)?;
            } else {
                self.children(redirect, Stands { output: Output::Inherited, ..stands }, depth)?;
            }
        }
        Some(())
    }

    /// What stands behind `<<EOF` in its line, and what is substituted in the text.
    fn heredoc(&mut self, node: Node<'_>, stands: Stands, outer: Stands, depth: u32) -> Option<()> {
        let right = node.child_by_field_name("right");
        let mut cursor = node.walk();
        for child in node.children(&mut cursor).filter(Node::is_named) {
            let around = match child.kind() {
                _ if right == Some(child) => Stands { conditional: true, ..outer },
                "pipeline" => Stands { input: Input::Pipe, redirected: true, apart: true, ..outer },
                _ => Stands { output: Output::Inherited, ..stands },
            };
            self.visit(child, around, depth)?;
        }
        Some(())
    }

    /// Takes a redirection in; returns words that follow its file and are none of it.
    fn redirect<'n>(&mut self, node: Node<'n>, stands: &mut Stands, of: &Span) -> Option<Vec<Node<'n>>> {
        let own = |stands: &Stands| stands.output == Output::Captured;
        match node.kind() {
            "heredoc_redirect" => {
                stands.input = Input::Here;
                // `<<EOF word`: the grammar mixes it up.
                if node.child_by_field_name("argument").is_some() || !self.ends_as_bash_has_it(node) {
                    return None;
                }
                self.document(node, of);
                let mut strays = Vec::new();
                let mut cursor = node.walk();
                for inner in node.children_by_field_name("redirect", &mut cursor) {
                    strays.extend(self.redirect(inner, stands, of)?);
                }
                Some(strays)
            }
            "herestring_redirect" => {
                stands.input = Input::Here;
                let word = node.named_child(0).filter(|child| child.kind() != "file_descriptor");
                if let Some(word) = word.and_then(|word| self.word(word)) {
                    let (text, known) = (word.shown().to_owned(), word.fixed().is_some());
                    self.script.documents.push(Document { span: word.span, text, known, of: of.clone() });
                }
                Some(Vec::new())
            }
            "file_redirect" => {
                let descriptor = node.child_by_field_name("descriptor").map(|node| self.slice(node).to_owned());
                let text = self.slice(node).trim_start_matches(|letter: char| letter.is_ascii_digit());
                match (text.starts_with('<'), descriptor.as_deref()) {
                    (true, None | Some("0")) => stands.input = Input::File,
                    (false, None | Some("1")) if !own(stands) => stands.output = Output::File,
                    (_, Some("2")) => {}
                    _ => stands.redirected = true,
                }
                let mut cursor = node.walk();
                let mut behind = node.children_by_field_name("destination", &mut cursor);
                // What no word is made of is no name that is known.
                if let Some(word) = behind.next().and_then(|name| self.word(name)) {
                    let is_written = !text.starts_with('<');
                    self.script.files.push(File { word, is_written, span: of.clone(), stands: *stands });
                }
                Some(behind.collect())
            }
            _ => None,
        }
    }

    /// Says whether a here-document ends where bash ends it: at a line that is its word and nothing else. The grammar takes one with
    /// blanks behind it, too, and what follows would be text that it reads as commands.
    fn ends_as_bash_has_it(&self, node: Node<'_>) -> bool {
        let mut cursor = node.walk();
        let (mut start, mut end) = (None, None);
        for child in node.children(&mut cursor) {
            match child.kind() {
                "heredoc_start" => start = Some(self.slice(child)),
                "heredoc_end" => end = Some(child),
                _ => {}
            }
        }
        let (Some(start), Some(end)) = (start, end) else { return false };
        let word: String = start.chars().filter(|letter| !matches!(letter, '"' | '\'' | '\\')).collect();
        let line = self.text.get(..end.start_byte()).unwrap_or_default().rsplit('\n').next().unwrap_or_default();
        let tabs = self.slice(node).trim_start_matches(|digit: char| digit.is_ascii_digit()).starts_with("<<-");
        let begins = line.is_empty() || (tabs && line.bytes().all(|byte| byte == b'\t'));
        let behind = self.text.as_bytes().get(end.end_byte());
        begins && matches!(behind, None | Some(b'\n')) && self.slice(end).trim_start_matches('\t') == word
    }

    /// Takes in what a here-document hands to standard input.
    fn document(&mut self, node: Node<'_>, of: &Span) {
        let mut cursor = node.walk();
        let mut find = |kind: &str| node.children(&mut cursor).find(|child| child.kind() == kind);
        let (start, body) = (find("heredoc_start"), find("heredoc_body"));
        let (Some(start), Some(body), None) = (start, body, node.child_by_field_name("descriptor")) else { return };
        let quoted = self.slice(start).contains(['"', '\'', '\\']);
        let mut holes = Vec::new();
        if !quoted {
            find_holes(body, &mut holes);
        }
        let span = body.byte_range();
        let text = self.slice(body);
        let known = quoted || !text.contains(['$', '`']);
        let text = if quoted { text.to_owned() } else { unescaped(self.text, &span, &holes) };
        let strips = self.slice(node).starts_with("<<-");
        let stripped = || text.lines().map(|line| line.trim_start_matches('\t')).collect::<Vec<_>>().join("\n");
        let text = if strips { stripped() } else { text };
        self.script.documents.push(Document { span, text, known, of: of.clone() });
    }

    fn command(&mut self, node: Node<'_>, stands: Stands, strays: &[Node<'_>], depth: u32) -> Option<()> {
        let (mut stands, mut assigns, mut words) = (stands, Vec::new(), Vec::new());
        if node.kind() != "command" {
            words.push(self.keyword(node)?);
        }
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            match child.kind() {
                "variable_assignment" if node.kind() == "command" => {
                    // `A=(b)c` is no assignment to bash.
                    if !ends_words(self.text.as_bytes().get(child.end_byte()).copied()) {
                        return None;
                    }
                    let name = child.child_by_field_name("name")?;
                    assigns.push(self.slice(name).to_owned());
                }
                "file_redirect" | "herestring_redirect" => {
                    let behind = self.redirect(child, &mut stands, &node.byte_range())?;
                    if !behind.is_empty() {
                        return None;
                    }
                }
                "subshell" => {}
                _ if child.is_named() => words.push(self.word(child)?),
                _ if words.len() == 1 && node.kind() != "command" => {}
                // A `$` alone, and what else the grammar has no name for.
                _ => return None,
            }
        }
        for stray in strays {
            words.push(self.word(*stray)?);
        }
        let start = node.start_byte();
        self.push_command(start, assigns, words, stands)?;
        // What is substituted inside of it does not have its streams.
        let inside = Stands { input: stands.input, output: Output::Inherited, redirected: false, ..stands };
        let mut cursor = node.walk();
        for child in node.children(&mut cursor).filter(Node::is_named) {
            self.visit(child, inside, depth)?;
        }
        strays.iter().try_for_each(|stray| self.visit(*stray, inside, depth))
    }

    fn push_command(&mut self, start: usize, assigns: Vec<String>, mut words: Vec<Word>, stands: Stands) -> Option<()> {
        words.sort_by_key(|word| word.span.start);
        // `time` is a word of the shell, not a program, where it stands alone.
        let is_time = |word: &Word| word.fixed() == Some("time") && !word.quoted;
        if assigns.is_empty() && words.first().is_some_and(is_time) {
            words.remove(0);
            while words.first().and_then(Word::fixed).is_some_and(|text| matches!(text, "-p" | "--")) {
                words.remove(0);
            }
        }
        let Some(last) = words.last() else { return Some(()) };
        let is_reserved = |word: &Word| !word.quoted && word.fixed().is_some_and(|text| RESERVED.contains(&text));
        if assigns.is_empty() && words.first().is_some_and(is_reserved) {
            return None;
        }
        let start = if assigns.is_empty() { words.first().map_or(start, |word| word.span.start) } else { start };
        if words.first().and_then(Word::fixed) == Some("alias") {
            let names = words.iter().skip(1).filter_map(|word| word.text.split('=').next());
            self.script.defines.extend(names.map(str::to_owned));
        }
        self.script.commands.push(Command { span: start..last.span.end, assigns, words, stands });
        Some(())
    }

    /// The word in front of `declare` and its kin, which the grammar does not name.
    fn keyword(&self, node: Node<'_>) -> Option<Word> {
        let first = node.child(0)?;
        word(self.text, first.byte_range(), &[])
    }

    fn word(&self, node: Node<'_>) -> Option<Word> {
        let span = node.byte_range();
        if !ends_words(self.before(&span))
            || self.is_behind_escaped_blank(&span)
            || !ends_words(self.text.as_bytes().get(span.end).copied())
        {
            return None;
        }
        if matches!(node.kind(), "variable_assignment" | "array") {
            // Arrays have brackets that the reader of words does not know; nobody edits them.
            let text = self.slice(node).split(['=', '(']).next().unwrap_or_default().to_owned();
            let shape = format!("{text}$_");
            return Some(Word { span, text, means: Means::AnyWords, shape, quoted: false });
        }
        let mut holes = Vec::new();
        find_holes(node, &mut holes);
        word(self.text, span, &holes)
    }

    /// Says whether a blank that is a word, or the end of one, stands in front: the grammar takes it for nothing.
    fn is_behind_escaped_blank(&self, span: &Span) -> bool {
        let mut before = self.text.get(..span.start).unwrap_or_default();
        loop {
            let word = before.trim_end_matches([' ', '\t']);
            let slashes = word.len() - word.trim_end_matches('\\').len();
            if word.len() < before.len() && slashes % 2 == 1 {
                return true;
            }
            // A line that goes on is a blank, too.
            let Some(line) = word.strip_suffix("\\\n") else { return false };
            before = line;
        }
    }

    /// The byte in front of a word; a line that goes on counts as a blank.
    fn before(&self, span: &Span) -> Option<u8> {
        span.start.checked_sub(1).and_then(|at| self.text.as_bytes().get(at)).copied()
    }
}

/// Says whether a byte, or the end of the text, may stand beside a word.
const fn ends_words(byte: Option<u8>) -> bool {
    matches!(byte, None | Some(b' ' | b'\t' | b'\n' | b';' | b'|' | b'&' | b'<' | b'>' | b'(' | b')' | b'`'))
}

/// Returns what a here-document means whose end is not quoted, with `$_` in the place of what is substituted in it.
fn unescaped(text: &str, span: &Span, holes: &[Span]) -> String {
    let mut meant = String::with_capacity(span.len());
    let mut at = span.start;
    while let Some(letter) = text.get(at..span.end).and_then(|rest| rest.chars().next()) {
        if let Some(hole) = holes.iter().find(|hole| hole.start == at && !hole.is_empty()) {
            meant.push_str("$_");
            at = hole.end;
            continue;
        }
        at += letter.len_utf8();
        let next = text.get(at..span.end).and_then(|rest| rest.chars().next());
        match next.filter(|next| letter == '\\' && matches!(next, '$' | '`' | '\\' | '\n')) {
            Some(next) => {
                at += 1;
                meant.extend(Some(next).filter(|next| *next != '\n'));
            }
            None => meant.push(letter),
        }
    }
    meant
}

/// Collects the outermost substitutions below a node.
fn find_holes(node: Node<'_>, holes: &mut Vec<Span>) {
    if matches!(node.kind(), "command_substitution" | "process_substitution") {
        holes.push(node.byte_range());
    } else {
        let mut cursor = node.walk();
        node.children(&mut cursor).filter(Node::is_named).for_each(|child| find_holes(child, holes));
    }
}

/// Returns the statement that a redirection behind this one belongs to: to bash, the last of a list.
fn last_of(mut node: Node<'_>) -> Node<'_> {
    while let Some(last) = matches!(node.kind(), "list" | "pipeline")
        .then(|| node.named_child_count().checked_sub(1))
        .flatten()
        .and_then(|last| node.named_child(last as u32))
    {
        node = last;
    }
    node
}

fn has_child(node: Node<'_>, kind: &str) -> bool {
    let mut cursor = node.walk();
    node.children(&mut cursor).any(|child| child.kind() == kind)
}
