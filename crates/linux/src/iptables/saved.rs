//! What `iptables-save` prints of one table.

use std::collections::BTreeMap;

use super::Rule;

/// The chains of one table, with their rules as text.
///
/// Rules are read when asked for: a table may hold a million of other people's.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    text: String,
    /// Where the lines of each chain are.
    chains: BTreeMap<String, Vec<std::ops::Range<usize>>>,
}

impl Saved {
    /// Reads the output of `iptables-save -t TABLE`.
    pub fn new(text: String) -> Self {
        let mut chains: BTreeMap<String, Vec<std::ops::Range<usize>>> = BTreeMap::new();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            let start = at;
            at += line.len();
            if let Some(name) =
                line.strip_prefix(':').and_then(|rest| rest.split_whitespace().next())
            {
                chains.entry(name.to_owned()).or_default();
            } else if let Some(rest) = line.strip_prefix("-A ") {
                let name = rest.split_whitespace().next().unwrap_or_default();
                let from = start + "-A ".len() + name.len();
                chains.entry(name.to_owned()).or_default().push(from..at);
            }
        }
        Self { text, chains }
    }

    /// The names of all chains.
    pub fn chains(&self) -> impl Iterator<Item = &str> {
        self.chains.keys().map(String::as_str)
    }

    pub fn has(&self, chain: &str) -> bool {
        self.chains.contains_key(chain)
    }

    /// The rules of a chain; none if it is not there.
    pub fn rules(&self, chain: &str) -> impl Iterator<Item = Rule> {
        self.lines(chain).map(Rule::read)
    }

    /// The rules of a chain as they are printed.
    pub fn lines(&self, chain: &str) -> impl Iterator<Item = &str> {
        let lines = self.chains.get(chain).into_iter().flatten();
        lines.map(|range| self.text[range.clone()].trim())
    }

    /// Whether the chain is there and holds just these rules.
    pub fn holds(&self, chain: &str, rules: &[Rule]) -> bool {
        self.chains.get(chain).is_some_and(|lines| lines.len() == rules.len())
            && self.rules(chain).zip(rules).all(|(is, should)| is.is_like(should))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_and_rules_are_found() {
        let text = "# Generated\n*nat\n:PREROUTING ACCEPT [0:0]\n:A - [1:2]\n:EMPTY - [0:0]\n-A PREROUTING -j A\n-A A -d 10.0.0.1/32 -j RETURN\n-A A -j B\nCOMMIT\n";
        let saved = Saved::new(text.to_owned());
        assert_eq!(saved.chains().collect::<Vec<_>>(), ["A", "EMPTY", "PREROUTING"]);
        assert!(saved.has("EMPTY") && !saved.has("B"));
        let one = Rule::jump("RETURN").to("10.0.0.1/32".parse().unwrap());
        assert!(saved.holds("A", &[one.clone(), Rule::jump("B")]));
        assert!(!saved.holds("A", std::slice::from_ref(&one)));
        assert!(!saved.holds("A", &[Rule::jump("B"), one]));
        assert!(saved.holds("EMPTY", &[]) && !saved.holds("B", &[]));
    }
}
