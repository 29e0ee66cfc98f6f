//! A script's simple commands, read plainly: enough for what is learned, not for what is run. `shell` reads a line for sure or not
//! at all, and short ones alone; a script of any length, of any shell, must have a signature, and the same one tomorrow.

/// Splits a script into simple commands, each a list of words with the quotes removed. Substitutions, loops and here-documents
/// are read as the words that they are.
pub fn commands(script: &str) -> Vec<Vec<String>> {
    let mut reading = Reading::default();
    let mut chars = script.chars().peekable();
    while let Some(c) = chars.next() {
        match (reading.quote, c) {
            (Some(quote), _) if c == quote => reading.quote = None,
            (Some('"') | None, '\\') => match chars.next() {
                Some('\n') | None => {}
                Some(next) => reading.take(next),
            },
            (None, '\'' | '"') => {
                reading.quote = Some(c);
                reading.begun = true;
            }
            (None, '#') if !reading.begun => while chars.next_if(|next| *next != '\n').is_some() {},
            (None, '\n' | ';' | '|' | '&' | '(' | ')' | '{' | '}') => reading.end_command(),
            (None, '<' | '>') => {
                reading.end_word();
                while chars.next_if(|next| matches!(next, '<' | '>' | '&' | ' ' | '\t')).is_some() {}
                // What comes next is a file, not a word of the command.
                reading.skip = true;
            }
            (None, _) if c.is_whitespace() => reading.end_word(),
            _ => reading.take(c),
        }
    }
    reading.end_command();
    reading.commands
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    commands: Vec<Vec<String>>,
    words: Vec<String>,
    word: String,
    begun: bool,
    skip: bool,
    quote: Option<char>,
}

impl Reading {
    fn take(&mut self, c: char) {
        self.word.push(c);
        self.begun = true;
    }

    fn end_word(&mut self) {
        if !self.begun {
            return;
        }
        let word = std::mem::take(&mut self.word);
        if !std::mem::take(&mut self.skip) {
            self.words.push(word);
        }
        self.begun = false;
    }

    fn end_command(&mut self) {
        self.end_word();
        self.skip = false;
        if !self.words.is_empty() {
            self.commands.push(std::mem::take(&mut self.words));
        }
    }
}
