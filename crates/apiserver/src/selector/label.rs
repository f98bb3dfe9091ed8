//! Selectors of labels, equality- and set-based.

use serde_json::{Map, Value};

use super::SelectorError;
use crate::resource::names;
use crate::resource::value::ValueExt;

/// A conjunction of requirements on labels; the empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    /// `=`, `==` and `in`.
    In(Vec<String>),
    /// `!=` and `notin`: also true where the label is missing.
    NotIn(Vec<String>),
    Exists,
    Absent,
    GreaterThan(i64),
    LessThan(i64),
}

impl LabelSelector {
    /// Reads the text of `labelSelector=`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let tokens = lex(text);
        let mut parser = Parser { tokens, at: 0 };
        let mut requirements = Vec::new();
        loop {
            match parser.peek_value() {
                Token::Word(_) | Token::Symbol("!") => {
                    let requirement = parser
                        .requirement()
                        .map_err(|e| SelectorError(format!("unable to parse requirement: {e}")))?;
                    requirements.push(requirement);
                    match parser.next_value() {
                        Token::End => break,
                        Token::Symbol(",") => match parser.peek_value() {
                            Token::Word(_) | Token::Symbol("!") => {}
                            other => {
                                return Err(SelectorError(format!(
                                    "found '{other}', expected: identifier after ','"
                                )));
                            }
                        },
                        other => {
                            return Err(SelectorError(format!(
                                "found '{other}', expected: ',' or 'end of string'"
                            )));
                        }
                    }
                }
                Token::End => break,
                other => {
                    return Err(SelectorError(format!(
                        "found '{other}', expected: !, identifier, or 'end of string'"
                    )));
                }
            }
        }
        Ok(Self { requirements })
    }

    /// Reads a `LabelSelector` object (`matchLabels`, `matchExpressions`), as workloads and
    /// delete options carry it. An operator that does not exist selects nothing.
    pub fn from_object(selector: &Value) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for (key, value) in selector.fields("matchLabels").into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            requirements.push(Requirement { key: key.clone(), test: Test::In(vec![value]) });
        }
        for expression in selector.list("matchExpressions") {
            let values: Vec<String> =
                expression.texts("values").into_iter().map(str::to_owned).collect();
            let test = match expression.text("operator") {
                "In" => Test::In(values),
                "NotIn" => Test::NotIn(values),
                "Exists" => Test::Exists,
                "DoesNotExist" => Test::Absent,
                other => {
                    return Err(SelectorError(format!(
                        "\"{other}\" is not a valid label selector operator"
                    )));
                }
            };
            requirements.push(Requirement { key: expression.text("key").to_owned(), test });
        }
        Ok(Self { requirements })
    }

    /// Reads a plain map of labels, as Services and ReplicationControllers carry it.
    pub fn from_map(map: &Map<String, Value>) -> Self {
        let requirements = map
            .iter()
            .map(|(key, value)| Requirement {
                key: key.clone(),
                test: Test::In(vec![value.as_str().unwrap_or_default().to_owned()]),
            })
            .collect();
        Self { requirements }
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object with these labels (`metadata.labels`, null where it has none) is selected.
    pub fn matches(&self, labels: &Value) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = labels.get(&requirement.key).and_then(Value::as_str);
            match (&requirement.test, value) {
                (Test::In(values), Some(value)) => values.iter().any(|v| v == value),
                (Test::NotIn(values), Some(value)) => values.iter().all(|v| v != value),
                (Test::NotIn(_) | Test::Absent, None) => true,
                (Test::Exists, Some(_)) => true,
                (Test::GreaterThan(bound), Some(value)) => {
                    value.parse::<i64>().is_ok_and(|v| v > *bound)
                }
                (Test::LessThan(bound), Some(value)) => {
                    value.parse::<i64>().is_ok_and(|v| v < *bound)
                }
                _ => false,
            }
        })
    }
}

/// One word or sign of a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Symbol(&'static str),
    End,
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Word(word) => f.write_str(word),
            Self::Symbol(symbol) => f.write_str(symbol),
            Self::End => Ok(()),
        }
    }
}

fn lex(text: &str) -> Vec<Token> {
    const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        if rest.is_empty() {
            return tokens;
        }
        if let Some(symbol) = SYMBOLS.into_iter().find(|s| rest.starts_with(s)) {
            tokens.push(Token::Symbol(symbol));
            rest = &rest[symbol.len()..];
            continue;
        }
        let end = rest
            .find(|c| {
                matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<' | ' ' | '\t' | '\r' | '\n')
            })
            .unwrap_or(rest.len());
        tokens.push(Token::Word(rest[..end].to_owned()));
        rest = &rest[end..];
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek_value(&self) -> Token {
        self.tokens.get(self.at).cloned().unwrap_or(Token::End)
    }

    fn next_value(&mut self) -> Token {
        let token = self.peek_value();
        self.at += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let mut token = self.next_value();
        let negated = token == Token::Symbol("!");
        if negated {
            token = self.next_value();
        }
        let Token::Word(key) = token else {
            return Err(format!("found '{token}', expected: identifier"));
        };
        let complaints = names::qualified_name(&key);
        if !complaints.is_empty() {
            return Err(format!("<nil>: Invalid value: {key:?}: {}", complaints.join("; ")));
        }
        if matches!(self.peek_value(), Token::End | Token::Symbol(",")) {
            let test = if negated { Test::Absent } else { Test::Exists };
            return Ok(Requirement { key, test });
        }
        if negated {
            // `!key` stands alone; whatever follows is the caller's complaint.
            return Ok(Requirement { key, test: Test::Absent });
        }
        let operator = self.next_value();
        let test = match operator {
            Token::Symbol("=" | "==") => Test::In(vec![self.exact_value(&key)?]),
            Token::Symbol("!=") => Test::NotIn(vec![self.exact_value(&key)?]),
            Token::Symbol(">") => Test::GreaterThan(self.number(&key)?),
            Token::Symbol("<") => Test::LessThan(self.number(&key)?),
            Token::Word(word) if word == "in" => Test::In(self.values(&key)?),
            Token::Word(word) if word == "notin" => Test::NotIn(self.values(&key)?),
            other => {
                return Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt"));
            }
        };
        Ok(Requirement { key, test })
    }

    fn exact_value(&mut self, key: &str) -> Result<String, String> {
        if matches!(self.peek_value(), Token::End | Token::Symbol(",")) {
            return Ok(String::new());
        }
        match self.next_value() {
            Token::Word(value) => {
                check_value(key, &value, 0)?;
                Ok(value)
            }
            other => Err(format!("found '{other}', expected: identifier")),
        }
    }

    fn number(&mut self, key: &str) -> Result<i64, String> {
        let value = self.exact_value(key)?;
        value.parse().map_err(|_| {
            format!(
                "values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
            )
        })
    }

    fn values(&mut self, key: &str) -> Result<Vec<String>, String> {
        let open = self.next_value();
        if open != Token::Symbol("(") {
            return Err(format!("found '{open}' expected: '('"));
        }
        let mut values = Vec::new();
        match self.peek_value() {
            Token::Symbol(")") => values.push(String::new()),
            Token::Word(_) | Token::Symbol(",") => self.value_list(&mut values)?,
            other => return Err(format!("found '{other}', expected: ',', ')' or identifier")),
        }
        let close = self.next_value();
        if close != Token::Symbol(")") {
            return Err(format!("found '{close}', expected: ')'"));
        }
        values.sort();
        values.dedup();
        for (i, value) in values.iter().enumerate() {
            check_value(key, value, i)?;
        }
        Ok(values)
    }

    fn value_list(&mut self, values: &mut Vec<String>) -> Result<(), String> {
        loop {
            match self.next_value() {
                Token::Word(value) => {
                    values.push(value);
                    match self.peek_value() {
                        Token::Symbol(",") => {}
                        Token::Symbol(")") => return Ok(()),
                        other => return Err(format!("found '{other}', expected: ',' or ')'")),
                    }
                }
                Token::Symbol(",") => {
                    if values.is_empty() {
                        values.push(String::new());
                    }
                    match self.peek_value() {
                        Token::Symbol(")") => {
                            values.push(String::new());
                            return Ok(());
                        }
                        Token::Symbol(",") => {
                            self.next_value();
                            values.push(String::new());
                        }
                        _ => {}
                    }
                }
                other => return Err(format!("found '{other}', expected: ',', or identifier")),
            }
        }
    }
}

fn check_value(key: &str, value: &str, index: usize) -> Result<(), String> {
    let complaints = names::label_value(value);
    if complaints.is_empty() {
        return Ok(());
    }
    Err(format!("values[{index}][{key}]: Invalid value: {value:?}: {}", complaints.join("; ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_select() {
        let labels = json!({"app": "blue", "tier": "web", "n": "5", "empty": ""});
        let cases = [
            ("", true),
            ("app", true),
            ("!app", false),
            ("!gone", true),
            ("app=blue", true),
            ("app==blue,tier=web", true),
            ("app!=blue", false),
            ("gone!=x", true),
            ("app in (red, blue)", true),
            ("app in (red)", false),
            ("app notin (red)", true),
            ("gone notin (red)", true),
            ("gone in (red)", false),
            ("empty=", true),
            ("empty in ()", true),
            ("n>4", true),
            ("n>5", false),
            ("n<6", true),
            ("app>1", false),
            (" app = blue , tier ", true),
            ("in=x", false),
        ];
        for (text, expected) in cases {
            let selector = LabelSelector::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(selector.matches(&labels), expected, "{text}");
        }
        assert!(!LabelSelector::parse("app").unwrap().matches(&Value::Null));
    }

    #[test]
    fn labels_complain() {
        let cases = [
            ("a=b=c", "found '=', expected: ',' or 'end of string'"),
            ("a=b,", "found '', expected: identifier after ','"),
            (",a", "found ',', expected: !, identifier, or 'end of string'"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a=(", "unable to parse requirement: found '(', expected: identifier"),
            (
                "a>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
            ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ];
        for (text, expected) in cases {
            assert_eq!(LabelSelector::parse(text).unwrap_err().0, expected, "{text}");
        }
        assert!(LabelSelector::parse("a/b/c=d").unwrap_err().0.starts_with(
            "unable to parse requirement: <nil>: Invalid value: \"a/b/c\": a valid label key must consist"
        ));
    }

    #[test]
    fn objects_are_selectors_too() {
        let selector = LabelSelector::from_object(&json!({
            "matchLabels": {"a": "1"},
            "matchExpressions": [
                {"key": "b", "operator": "NotIn", "values": ["2"]},
                {"key": "c", "operator": "Exists"},
            ],
        }))
        .unwrap();
        assert!(selector.matches(&json!({"a": "1", "c": "x"})));
        assert!(!selector.matches(&json!({"a": "1", "c": "x", "b": "2"})));
        assert!(
            LabelSelector::from_object(&json!({"matchExpressions": [{"operator": "Is"}]})).is_err()
        );
    }
}
