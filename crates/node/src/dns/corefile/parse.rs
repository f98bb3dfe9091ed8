//! Blocks, directives and options.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::import::files;
use super::lex::{Word, words};
use super::{CorefileError, Directive, DirectiveOption, ServerBlock};

/// Snippets and files that import each other end here.
const MAX_IMPORTS: usize = 1000;

/// What one Corefile, with the files that it imports, says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) blocks: Vec<ServerBlock>,
    /// The files that were imported.
    pub(crate) imported: Vec<PathBuf>,
}

/// Reads a Corefile; `variable` gives the values of environment variables, and imported files lie
/// relative to `directory`.
pub(crate) fn parse(
    text: &str,
    directory: &Path,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Parsed, CorefileError> {
    let words = words(text, None, variable)?;
    let mut parser = Parser {
        words,
        at: 0,
        snippets: HashMap::new(),
        imports: 0,
        directory,
        variable,
        parsed: Parsed::default(),
    };
    while parser.peek().is_some() {
        if let Some(block) = parser.server_block()? {
            parser.parsed.blocks.push(block);
        }
    }
    Ok(parser.parsed)
}

struct Parser<'a> {
    words: Vec<Word>,
    at: usize,
    /// `(NAME) { … }`: words that `import NAME` puts in its place.
    snippets: HashMap<String, Vec<Word>>,
    imports: usize,
    directory: &'a Path,
    variable: &'a dyn Fn(&str) -> Option<String>,
    parsed: Parsed,
}

impl Parser<'_> {
    /// The next word; imports where a line begins are put in place first.
    fn peek(&mut self) -> Option<&Word> {
        self.words.get(self.at)
    }

    fn next(&mut self) -> Option<Word> {
        let word = self.words.get(self.at).cloned();
        self.at += usize::from(word.is_some());
        word
    }

    /// The words that are left on the line of `first`, up to a brace that stands alone.
    fn rest_of(&mut self, first: &Word) -> Vec<String> {
        let mut rest = Vec::new();
        let mut before = first.clone();
        while let Some(word) = self.peek() {
            if !word.continues(&before) || word.is("{") || word.is("}") {
                break;
            }
            before = word.clone();
            rest.push(before.text.clone());
            self.at += 1;
        }
        rest
    }

    fn at_end(&self, problem: &str) -> CorefileError {
        match self.words.last() {
            Some(last) => last.error(problem),
            None => CorefileError::new(1, problem),
        }
    }

    fn server_block(&mut self) -> Result<Option<ServerBlock>, CorefileError> {
        let Some(first) = self.next() else { return Ok(None) };
        if first.is("import") {
            self.import(&first)?;
            return Ok(None);
        }
        let mut keys = Vec::new();
        let mut word = first.clone();
        let braces = loop {
            if word.is("{") {
                break true;
            }
            if word.is("}") {
                return Err(word.error("a \"}\" closes nothing"));
            }
            keys.extend(word.text.split(',').filter(|key| !key.is_empty()).map(String::from));
            let more = word.text.ends_with(',');
            let Some(next) = self.peek().cloned() else {
                if more {
                    return Err(word.error("a comma promises another zone"));
                }
                break false;
            };
            // A file that serves one block only may go without braces.
            if !more && !next.continues(&word) {
                break false;
            }
            self.at += 1;
            word = next;
        };
        if keys.is_empty() {
            return Err(first.error("a server block names no zone"));
        }
        let snippet = match &keys[..] {
            [only] => only.strip_prefix('(').and_then(|name| name.strip_suffix(')')),
            _ => None,
        };
        if let Some(name) = snippet {
            if !braces {
                return Err(first.error(format!("snippet ({name}) has no \"{{\"")));
            }
            let body = self.snippet()?;
            if self.snippets.insert(name.to_owned(), body).is_some() {
                return Err(first.error(format!("snippet ({name}) is defined twice")));
            }
            return Ok(None);
        }
        if !braces && self.peek().is_none() {
            return Err(first.error("a server block has no \"{\" and no plugins"));
        }
        let directives = self.directives(braces)?;
        Ok(Some(ServerBlock { line: first.line, file: first.file, keys, directives }))
    }

    /// The words up to the "}" that closes the snippet.
    fn snippet(&mut self) -> Result<Vec<Word>, CorefileError> {
        let mut body = Vec::new();
        let mut depth = 0;
        loop {
            let Some(word) = self.next() else {
                return Err(self.at_end("a snippet is never closed"));
            };
            match () {
                () if word.is("}") && depth == 0 => return Ok(body),
                () if word.is("}") => depth -= 1,
                () if word.is("{") => depth += 1,
                () => {}
            }
            body.push(word);
        }
    }

    /// Everything up to the "}" that closes the server block, or to the end of the file.
    fn directives(&mut self, braces: bool) -> Result<Vec<Directive>, CorefileError> {
        let mut directives = Vec::new();
        loop {
            let Some(word) = self.next() else {
                if !braces {
                    return Ok(directives);
                }
                return Err(self.at_end("a server block is never closed"));
            };
            if word.is("}") && braces {
                return Ok(directives);
            }
            if word.is("}") {
                return Err(word.error("a \"}\" closes nothing"));
            }
            if word.is("{") {
                let problem = "a \"{\" opens nothing: it belongs on the line before";
                return Err(word.error(problem));
            }
            if word.is("import") {
                self.import(&word)?;
                continue;
            }
            let args = self.rest_of(&word);
            let opens = self.words.get(self.at.wrapping_sub(1)).cloned();
            let options = match (self.peek(), opens) {
                (Some(open), Some(last)) if open.is("{") && open.continues(&last) => {
                    self.at += 1;
                    self.options(&word.text)?
                }
                _ => Vec::new(),
            };
            directives.push(Directive {
                line: word.line,
                file: word.file,
                name: word.text,
                args,
                options,
            });
        }
    }

    fn options(&mut self, plugin: &str) -> Result<Vec<DirectiveOption>, CorefileError> {
        let of_plugin =
            |error: CorefileError| CorefileError { plugin: Some(plugin.to_owned()), ..error };
        let mut options = Vec::new();
        loop {
            let Some(word) = self.next() else {
                return Err(of_plugin(self.at_end("its block is never closed")));
            };
            if word.is("}") {
                return Ok(options);
            }
            if word.is("import") {
                self.import(&word)?;
                continue;
            }
            let args = self.rest_of(&word);
            let last = self.words.get(self.at.wrapping_sub(1)).cloned();
            let nested = match (self.peek(), last) {
                (Some(next), Some(last)) => next.is("{") && next.continues(&last),
                _ => false,
            };
            if nested || word.is("{") {
                return Err(of_plugin(word.error("blocks within its block are not supported")));
            }
            options.push(DirectiveOption { line: word.line, name: word.text, args });
        }
    }

    /// Puts what `import` names in its place.
    fn import(&mut self, word: &Word) -> Result<(), CorefileError> {
        let args = self.rest_of(word);
        let [name] = &args[..] else {
            return Err(word.error("import takes the name of one snippet or file"));
        };
        self.imports += 1;
        if self.imports > MAX_IMPORTS {
            return Err(word.error(format!("import: {name} imports itself")));
        }
        let imported = match self.snippets.get(name) {
            Some(body) => body.clone(),
            None => {
                let mut imported = Vec::new();
                let here = word.file.as_deref().and_then(Path::parent).unwrap_or(self.directory);
                for (path, text) in files(here, name).map_err(|problem| word.error(problem))? {
                    let file = path.as_path().into();
                    imported.extend(words(&text, Some(&file), self.variable)?);
                    if !self.parsed.imported.contains(&path) {
                        self.parsed.imported.push(path);
                    }
                }
                imported
            }
        };
        self.words.splice(self.at..self.at, imported);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<ServerBlock>, CorefileError> {
        let variable = |name: &str| (name == "PORT").then(|| "1053".to_owned());
        parse(text, Path::new("/nonexistent"), &variable).map(|parsed| parsed.blocks)
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
            (". {\n}\n}", 3, "closes nothing"),
            ("a,\n", 1, "comma"),
            (".\n{\n errors\n}", 2, "line before"),
            ("(a) {\n import a\n}\n. {\n import a\n}", 2, "itself"),
            ("(a) {\n}\n(a) {\n}", 3, "twice"),
            (". {\n import x/*/*.conf\n}", 2, "one wildcard"),
            (". {\n import a b\n}", 2, "takes the name"),
            ("}\n", 1, "closes nothing"),
            ("{\n}\n", 1, "names no zone"),
            (". {\n cache {\n success 1\n", 3, "never closed"),
            (". {\n cache {\n a {\n }\n }\n}", 3, "not supported"),
            (". {\n import nope\n}", 2, "neither"),
            (". {\n log \"x\n}", 2, "quote"),
        ] {
            let error = read(text).expect_err(text);
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn words_are_those_of_caddy() {
        let blocks = read(
            "a.org,\n b.org {\n  log \"x\\\\\" y#z\n  template \"one\n two\" three\n  errors\n}\n",
        )
        .expect("read");
        assert_eq!(blocks[0].keys, ["a.org", "b.org"]);
        let directives = &blocks[0].directives;
        assert_eq!(directives[0].args, ["x\\\\", "y"], "a comment begins within a word too");
        assert_eq!(directives[1].args, ["one\n two", "three"], "the line goes on after a quote");
        assert_eq!((directives[2].line, directives[2].name.as_str()), (6, "errors"));
        // One block may do without braces.
        let blocks = read(".:1053\nerrors\ncache 30 {\n keepttl\n}\n").expect("read");
        assert_eq!(blocks[0].keys, [".:1053"]);
        assert_eq!(blocks[0].directives.len(), 2);
    }

    #[test]
    fn files_are_imported_from_beside_the_corefile() {
        let directory = tempfile::tempdir().expect("a directory");
        let lay = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).expect("written");
        };
        std::fs::create_dir(directory.path().join("d")).expect("a directory");
        lay("d/1.conf", "errors\nimport ../opts.conf\n");
        lay("d/2.conf", "loop\n");
        lay("opts.conf", "log\n");
        lay("bad.conf", "errors\n cache {\n");
        let read = |text: &str| parse(text, directory.path(), &|_| None);
        let parsed = read(". {\n import d/*.conf\n}").expect("read");
        let names: Vec<_> =
            parsed.blocks[0].directives.iter().map(|d| (d.name.as_str(), d.line)).collect();
        assert_eq!(names, [("errors", 1), ("log", 1), ("loop", 1)]);
        assert_eq!(parsed.imported.len(), 3);
        let error = read(". {\n import bad.conf").expect_err("bad");
        assert!(error.to_string().contains("bad.conf line 2"), "{error}");
        let parsed = read("(o) {\n ttl 7\n}\n. {\n hosts {\n import o\n }\n}").expect("read");
        assert_eq!(parsed.blocks[0].directives[0].options[0].args, ["7"]);
        assert!(read(". {\n import none/*.conf\n}").is_ok(), "a pattern may match nothing");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[ \\n{}\"\\\\#a-z.$%()]{0,200}", other: String) {
            let _ = read(&text);
            let _ = read(&other);
        }
    }
}
