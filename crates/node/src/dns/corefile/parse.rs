//! Blocks, directives and options.

use std::collections::HashMap;

use super::lex::{Word, words};
use super::{CorefileError, Directive, DirectiveOption, ServerBlock};

/// Reads a Corefile; `variable` gives the values of environment variables.
pub(crate) fn parse(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<ServerBlock>, CorefileError> {
    let words = words(text, variable)?;
    let mut parser = Parser { words: &words, at: 0, snippets: HashMap::new() };
    let mut blocks = Vec::new();
    while parser.peek().is_some() {
        blocks.extend(parser.server_block()?);
    }
    Ok(blocks)
}

struct Parser<'a> {
    words: &'a [Word],
    at: usize,
    /// `(NAME) { … }`: directives that `import NAME` puts in its place.
    snippets: HashMap<String, Vec<Directive>>,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Word> {
        self.words.get(self.at)
    }

    fn next(&mut self) -> Option<&'a Word> {
        let word = self.peek();
        self.at += usize::from(word.is_some());
        word
    }

    /// The words that are left on `line`, up to a brace.
    fn rest_of(&mut self, line: usize) -> Vec<&'a Word> {
        let mut rest = Vec::new();
        while let Some(word) = self.peek() {
            if word.line != line || word.is("{") || word.is("}") {
                break;
            }
            rest.push(word);
            self.at += 1;
        }
        rest
    }

    fn last_line(&self) -> usize {
        self.words.last().map_or(1, |word| word.line)
    }

    fn server_block(&mut self) -> Result<Option<ServerBlock>, CorefileError> {
        let line = self.peek().map_or(1, |word| word.line);
        let mut keys = Vec::new();
        loop {
            let Some(word) = self.next() else {
                let problem = "a server block has no \"{\"";
                return Err(CorefileError::new(self.last_line(), problem));
            };
            if word.is("{") {
                break;
            }
            if word.is("}") {
                return Err(CorefileError::new(word.line, "a \"}\" closes nothing"));
            }
            keys.extend(word.text.split(',').filter(|key| !key.is_empty()).map(String::from));
        }
        if keys.is_empty() {
            return Err(CorefileError::new(line, "a server block names no zone"));
        }
        let directives = self.directives()?;
        let snippet = match &keys[..] {
            [only] => only.strip_prefix('(').and_then(|name| name.strip_suffix(')')),
            _ => None,
        };
        if let Some(name) = snippet {
            if self.snippets.insert(name.to_owned(), directives).is_some() {
                let problem = format!("snippet ({name}) is defined twice");
                return Err(CorefileError::new(line, problem));
            }
            return Ok(None);
        }
        Ok(Some(ServerBlock { line, keys, directives }))
    }

    /// Everything up to the "}" that closes the server block.
    fn directives(&mut self) -> Result<Vec<Directive>, CorefileError> {
        let mut directives = Vec::new();
        loop {
            let Some(word) = self.next() else {
                let problem = "a server block is never closed";
                return Err(CorefileError::new(self.last_line(), problem));
            };
            if word.is("}") {
                return Ok(directives);
            }
            if word.is("{") {
                return Err(CorefileError::new(word.line, "a \"{\" opens nothing"));
            }
            let args = self.rest_of(word.line);
            if word.is("import") {
                directives.extend(self.import(word, &args)?);
                continue;
            }
            let options = match self.peek() {
                Some(open) if open.is("{") && open.line == word.line => {
                    self.at += 1;
                    self.options(&word.text)?
                }
                _ => Vec::new(),
            };
            directives.push(Directive {
                line: word.line,
                name: word.text.clone(),
                args: args.into_iter().map(|arg| arg.text.clone()).collect(),
                options,
            });
        }
    }

    fn options(&mut self, plugin: &str) -> Result<Vec<DirectiveOption>, CorefileError> {
        let error = |line, problem: &str| CorefileError {
            line,
            plugin: Some(plugin.to_owned()),
            problem: problem.to_owned(),
        };
        let mut options = Vec::new();
        loop {
            let Some(word) = self.next() else {
                return Err(error(self.last_line(), "its block is never closed"));
            };
            if word.is("}") {
                return Ok(options);
            }
            let args = self.rest_of(word.line);
            let nested = self.peek().is_some_and(|next| next.is("{") && next.line == word.line);
            if nested || word.is("{") {
                return Err(error(word.line, "blocks within its block are not supported"));
            }
            options.push(DirectiveOption {
                line: word.line,
                name: word.text.clone(),
                args: args.into_iter().map(|arg| arg.text.clone()).collect(),
            });
        }
    }

    fn import(&self, word: &Word, args: &[&Word]) -> Result<Vec<Directive>, CorefileError> {
        let [name] = args else {
            return Err(CorefileError::new(word.line, "import takes the name of one snippet"));
        };
        self.snippets.get(&name.text).cloned().ok_or_else(|| {
            let problem = format!(
                "import: no snippet ({}) is defined above; importing files is not supported",
                name.text
            );
            CorefileError::new(word.line, problem)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<ServerBlock>, CorefileError> {
        parse(text, &|name| (name == "PORT").then(|| "1053".to_owned()))
    }

    #[test]
    fn blocks_directives_and_options_keep_their_lines() {
        let blocks = read(
            "# a comment\n.:53 example.org:{$PORT} {\n    errors\n    health { lameduck 5s }\n    \
             forward . 1.1.1.1 \"a b\" # more\n    kubernetes cluster.local {\n        pods \
             insecure\n        fallthrough\n    }\n}\n",
        )
        .expect("a Corefile");
        let [block] = &blocks[..] else { panic!("one block: {blocks:?}") };
        assert_eq!(
            (block.line, &block.keys[..]),
            (2, &[".:53".into(), "example.org:1053".into()][..])
        );
        let shown: Vec<_> = block
            .directives
            .iter()
            .map(|d| format!("{}:{} {:?} {}", d.line, d.name, d.args, d.options.len()))
            .collect();
        assert_eq!(
            shown,
            [
                "3:errors [] 0",
                "4:health [] 1",
                "5:forward [\".\", \"1.1.1.1\", \"a b\"] 0",
                "6:kubernetes [\"cluster.local\"] 2"
            ]
        );
        assert_eq!(block.directives[3].options[1].line, 8);
        assert_eq!(block.directives[1].options[0].args, ["5s"]);
    }

    #[test]
    fn snippets_are_put_in_place() {
        let blocks = read("(common) {\n errors\n log\n}\n. {\n import common\n}").expect("read");
        let names: Vec<_> = blocks[0].directives.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["errors", "log"]);
    }

    #[test]
    fn mistakes_have_a_place() {
        for (text, line, words) in [
            (". {\n errors\n", 2, "never closed"),
            (".", 1, "no \"{\""),
            ("}\n", 1, "closes nothing"),
            ("{\n}\n", 1, "names no zone"),
            (". {\n cache {\n success 1\n", 3, "never closed"),
            (". {\n cache {\n a {\n }\n }\n}", 3, "not supported"),
            (". {\n import nope\n}", 2, "no snippet"),
            (". {\n log \"x\n}", 2, "quote"),
        ] {
            let error = read(text).expect_err(text);
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ \\n{}\"\\\\#a-z.$%()]{0,200}", other: String) {
            let _ = read(&text);
            let _ = read(&other);
        }
    }
}
