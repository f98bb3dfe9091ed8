//! Words and lines.

use super::CorefileError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) line: usize,
    /// A quoted brace is no brace.
    pub(super) quoted: bool,
}

impl Word {
    pub(super) fn is(&self, text: &str) -> bool {
        !self.quoted && self.text == text
    }
}

/// Splits into words: white space parts them, `"…"` keeps them whole (`\"` is a quote within), `#`
/// at a word's start begins a comment. `{$NAME}` and `{%NAME%}` become what `variable` says.
pub(super) fn words(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Word>, CorefileError> {
    let mut words = Vec::new();
    let mut line = 1;
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text).chars().peekable();
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
            let start = line;
            let mut word = String::new();
            loop {
                match rest.next() {
                    None => return Err(CorefileError::new(start, "a quote is never closed")),
                    Some('"') => break,
                    Some('\\') if rest.peek() == Some(&'"') => {
                        word.push('"');
                        rest.next();
                    }
                    Some(c) => {
                        line += usize::from(c == '\n');
                        word.push(c);
                    }
                }
            }
            words.push(Word { text: expand(&word, variable), line: start, quoted: true });
        } else {
            let mut word = String::new();
            while let Some(c) = rest.next_if(|c| !c.is_whitespace()) {
                word.push(c);
            }
            words.push(Word { text: expand(&word, variable), line, quoted: false });
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
