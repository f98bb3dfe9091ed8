//! Words and lines, as the lexer of Caddy 1 finds them, which CoreDNS reads its Corefile with.

use std::path::Path;
use std::sync::Arc;

use super::CorefileError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) line: usize,
    /// How many line breaks a quoted word holds: what follows on its last line belongs to it.
    pub(super) breaks: usize,
    /// The file that it stands in, when that is not the Corefile itself.
    pub(super) file: Option<Arc<Path>>,
    /// A quoted brace is no brace.
    pub(super) quoted: bool,
}

impl Word {
    pub(super) fn is(&self, text: &str) -> bool {
        !self.quoted && self.text == text
    }

    pub(super) fn error(&self, problem: impl Into<String>) -> CorefileError {
        CorefileError { file: self.file.clone(), ..CorefileError::new(self.line, problem) }
    }

    /// Whether this word continues the line that `before` ends on.
    pub(super) fn continues(&self, before: &Self) -> bool {
        self.file == before.file && self.line == before.line + before.breaks
    }
}

/// Splits into words: white space parts them, `"…"` keeps them whole (`\"` is a quote within, any
/// other backslash is itself), `#` begins a comment wherever it stands outside of quotes.
/// `{$NAME}` and `{%NAME%}` become what `variable` says.
pub(super) fn words(
    text: &str,
    file: Option<&Arc<Path>>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Word>, CorefileError> {
    let mut words: Vec<Word> = Vec::new();
    let mut line = 1;
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
    let file = || file.cloned();
    while let Some(&next) = rest.peek() {
        if next == '\n' {
            line += 1;
            rest.next();
        } else if next.is_whitespace() {
            rest.next();
        } else if next == '#' {
            while rest.next_if(|c| *c != '\n').is_some() {}
        } else if next == '"' {
            rest.next();
            let mut word =
                Word { text: String::new(), line, breaks: 0, file: file(), quoted: true };
            loop {
                match rest.next() {
                    None => return Err(word.error("a quote is never closed")),
                    Some('"') => break,
                    Some('\\') => match rest.next() {
                        Some('"') => word.text.push('"'),
                        Some(other) => {
                            word.breaks += usize::from(other == '\n');
                            word.text.extend(['\\', other]);
                        }
                        None => return Err(word.error("a quote is never closed")),
                    },
                    Some(c) => {
                        word.breaks += usize::from(c == '\n');
                        word.text.push(c);
                    }
                }
            }
            line += word.breaks;
            word.text = expand(&word.text, variable);
            words.push(word);
        } else {
            let mut text = String::new();
            while let Some(c) = rest.next_if(|c| !c.is_whitespace() && *c != '#') {
                text.push(c);
            }
            let text = expand(&text, variable);
            words.push(Word { text, line, breaks: 0, file: file(), quoted: false });
        }
    }
    Ok(words)
}

/// Replaces variables; one that is not set becomes nothing, as in CoreDNS.
fn expand(word: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some(start) = rest.find("{$").into_iter().chain(rest.find("{%")).min() {
        let close = if rest[start..].starts_with("{$") { "}" } else { "%}" };
        let Some(length) = rest[start + 2..].find(close) else { break };
        out.push_str(&rest[..start]);
        let name = &rest[start + 2..start + 2 + length];
        out.push_str(&variable(name).unwrap_or_default());
        rest = &rest[start + 2 + length + close.len()..];
    }
    out.push_str(rest);
    out
}
