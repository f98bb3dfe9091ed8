//! The part of Go's text/template that such records are written with: `{{ .Name }}`,
//! `{{ .Group.a }}`, `{{ index .Match 1 }}`, `{{ parseInt .Group.a 16 8 }}`.

use std::net::IpAddr;

use regex::Captures;

/// What variables stand for.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub(super) zone: String,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) matched: Captures<'a>,
    pub(super) peer: IpAddr,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Plain(String),
    Value(Value),
    /// A number in some base, of some bits, in decimal.
    ParseInt(Value, u32, u32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Zone,
    Name,
    Class,
    Kind,
    Remote,
    Match(usize),
    Group(String),
}

impl Text {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        let mut trim = false;
        while let Some(start) = rest.find("{{") {
            let (before, after) = (&rest[..start], &rest[start + 2..]);
            let end = after.find("}}").ok_or("a \"{{\" is never closed")?;
            let mut inner = &after[..end];
            rest = &after[end + 2..];
            let mut plain = if trim { before.trim_start() } else { before };
            if let Some(shorter) = inner.strip_prefix("- ") {
                (inner, plain) = (shorter, plain.trim_end());
            }
            trim = inner.ends_with(" -");
            inner = inner.strip_suffix(" -").unwrap_or(inner);
            if !plain.is_empty() {
                pieces.push(Piece::Plain(plain.to_owned()));
            }
            pieces.push(piece(inner.trim())?);
        }
        let plain = if trim { rest.trim_start() } else { rest };
        if !plain.is_empty() {
            pieces.push(Piece::Plain(plain.to_owned()));
        }
        Ok(Self(pieces))
    }

    pub(super) fn render(&self, scope: &Scope<'_>) -> Result<String, String> {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Plain(text) => out.push_str(text),
                Piece::Value(value) => out.push_str(&value.of(scope)?),
                Piece::ParseInt(value, base, bits) => {
                    let text = value.of(scope)?;
                    let number = u64::from_str_radix(&text, *base).ok();
                    let fits = number.filter(|number| *bits == 64 || number >> bits == 0);
                    let number = fits.ok_or_else(|| {
                        format!("parseInt: \"{text}\" is no number of {bits} bits in base {base}")
                    })?;
                    out.push_str(&number.to_string());
                }
            }
        }
        Ok(out)
    }
}

fn piece(expression: &str) -> Result<Piece, String> {
    let words: Vec<&str> = expression.split_whitespace().collect();
    match words[..] {
        ["index", ".Match", index] => {
            let index = index.parse().map_err(|_| format!("\"{index}\" is no index"))?;
            Ok(Piece::Value(Value::Match(index)))
        }
        ["index", ".Group", name] => {
            let name = name.trim_matches(['"', '`']);
            Ok(Piece::Value(Value::Group(name.to_owned())))
        }
        ["parseInt", text, base, bits] => {
            let number = |text: &str, range: std::ops::RangeInclusive<u32>| {
                let number = text.parse().ok().filter(|number| range.contains(number));
                number.ok_or_else(|| format!("parseInt: \"{text}\" is out of range"))
            };
            Ok(Piece::ParseInt(value(text)?, number(base, 2..=36)?, number(bits, 1..=64)?))
        }
        [single] => Ok(Piece::Value(value(single)?)),
        _ => Err(unsupported(expression)),
    }
}

fn value(text: &str) -> Result<Value, String> {
    Ok(match text {
        ".Zone" => Value::Zone,
        ".Name" | ".Question.Name" => Value::Name,
        ".Class" => Value::Class,
        ".Type" => Value::Kind,
        ".Remote" => Value::Remote,
        other => match other.strip_prefix(".Group.") {
            Some(name) if !name.is_empty() && !name.contains('.') => Value::Group(name.to_owned()),
            _ => return Err(unsupported(other)),
        },
    })
}

fn unsupported(expression: &str) -> String {
    format!(
        "{{{{ {expression} }}}} is not supported; there are .Name .Zone .Class .Type .Remote \
         .Group.NAME, index .Match N and parseInt"
    )
}

impl Value {
    fn of(&self, scope: &Scope<'_>) -> Result<String, String> {
        let group = |group: Option<regex::Match<'_>>| {
            group.map(|group| group.as_str().to_owned()).unwrap_or_default()
        };
        Ok(match self {
            Self::Zone => scope.zone.clone(),
            Self::Name => scope.name.clone(),
            Self::Class => "IN".to_owned(),
            Self::Kind => scope.kind.clone(),
            Self::Remote => scope.peer.to_string(),
            Self::Match(index) if *index < scope.matched.len() => group(scope.matched.get(*index)),
            Self::Match(index) => return Err(format!("the pattern has no group {index}")),
            Self::Group(name) => match name.parse() {
                Ok(index) => group(scope.matched.get(index)),
                Err(_) => group(scope.matched.name(name)),
            },
        })
    }
}
