//! One case against one API server.

use std::net::IpAddr;

use http::{Method, Request};
use http_body_util::BodyExt as _;
use ipnet::IpNet;
use serde_json::{Value, json};

use super::case::{Action, Case, Group, difference, merge, without_empty};

/// What the server made of a case.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) refused: Vec<String>,
    pub(crate) accepted: Value,
    pub(crate) warnings: Vec<String>,
}

/// What is told of a server that does not answer.
pub(crate) const BROKEN: &str = "the server broke the connection";

pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) body: Value,
    pub(crate) warnings: Vec<String>,
}

pub(crate) struct Api {
    pub(crate) client: kube::Client,
}

impl Api {
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        media: &str,
        body: &Value,
    ) -> Answer {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media)
            .body(kube::client::Body::from(bytes))
            .expect("a request");
        let Ok(response) = self.client.send(request).await else {
            // kube-apiserver 1.36.3 panics on some updates, and breaks the connection.
            return Answer { code: 0, body: json!({"message": BROKEN}), warnings: Vec::new() };
        };
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let warnings = parts.headers.get_all("warning").into_iter().map(warning).collect();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { code: parts.status.as_u16(), body, warnings }
    }

    async fn json(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.send(method, path, "application/json", body).await
    }

    /// Makes what pods need and a controller would make.
    pub(crate) async fn prepare(&self) {
        let path = "/api/v1/namespaces/default/serviceaccounts";
        let account = json!({"metadata": {"name": "default"}});
        let answer = self.json(Method::POST, path, &account).await;
        assert!(matches!(answer.code, 201 | 409), "{}", answer.body);
    }

    /// Runs the case and leaves nothing behind.
    pub(crate) async fn run(&self, group: &Group, case: &Case) -> Verdict {
        let mut made = Vec::new();
        let verdict = self.judge(group, case, &mut made).await;
        for path in made.iter().rev() {
            let options = json!({"gracePeriodSeconds": 0});
            let answer = self.json(Method::DELETE, path, &options).await;
            let gone = answer.code == 200 || answer.code == 404;
            assert!(gone, "{}: deleting {path}: {}", case.case, answer.body);
        }
        verdict
    }

    async fn judge(&self, group: &Group, case: &Case, made: &mut Vec<String>) -> Verdict {
        for other in &case.beside {
            let answer = self.json(Method::POST, &other.path, &other.object).await;
            assert_eq!(answer.code, 201, "{}: beside: {}", case.case, answer.body);
            made.push(format!("{}/{}", other.path, name(&answer.body)));
        }
        let mut existing = Value::Null;
        if let Some(given) = &case.given {
            let object = based(group, given);
            let answer = self.json(Method::POST, &group.path, &object).await;
            assert_eq!(answer.code, 201, "{}: given: {}", case.case, answer.body);
            existing = answer.body;
            made.push(format!("{}/{}", group.path, name(&existing)));
        }
        let (action, change) = case.action();
        let own = format!("{}/{}", group.path, name(&existing));
        let mut changed = existing.clone();
        merge(&mut changed, change);
        let (sent, answer) = match action {
            Action::Create => {
                let object = based(group, change);
                let answer = self.json(Method::POST, &group.path, &object).await;
                if answer.code == 201 {
                    made.push(format!("{}/{}", group.path, name(&answer.body)));
                }
                (object, answer)
            }
            Action::Replace => {
                let object = based(group, change);
                let path = format!("{}/{}", group.path, name(&object));
                let answer = self.json(Method::PUT, &path, &object).await;
                if answer.code == 201 {
                    made.push(path);
                }
                (object, answer)
            }
            Action::Update => {
                let answer = self.json(Method::PUT, &own, &changed).await;
                (changed, answer)
            }
            Action::Status => {
                let path = format!("{own}/status");
                let answer = self.json(Method::PUT, &path, &changed).await;
                (changed, answer)
            }
            Action::Patch => {
                let media = "application/merge-patch+json";
                let answer = self.send(Method::PATCH, &own, media, change).await;
                (changed, answer)
            }
        };
        let warnings = answer.warnings;
        if !(200..300).contains(&answer.code) {
            let prefix = sent["metadata"]["generateName"].as_str();
            let refused = complaints(answer.code, &answer.body)
                .into_iter()
                .map(|text| prefix.map_or(text.clone(), |prefix| hide_generated(&text, prefix)))
                .collect();
            return Verdict { refused, accepted: Value::Null, warnings };
        }
        let (before, after) = (body_of(&sent), body_of(&answer.body));
        let stored = body_of(&existing);
        let literal = case_values(case);
        let hide = |value: &Value| {
            let mut value = value.clone();
            hide_allocated(&mut value, "", &literal, &stored, &mut Vec::new());
            without_empty(&value)
        };
        let accepted = difference(&hide(&before), &hide(&after));
        Verdict { refused: Vec::new(), accepted, warnings }
    }
}

/// The base with a change, named `x` unless that is said otherwise.
fn based(group: &Group, change: &Value) -> Value {
    let mut object = json!({"metadata": {"name": "x"}});
    merge(&mut object, &group.base);
    merge(&mut object, change);
    object
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The object without what identifies and dates it.
fn body_of(object: &Value) -> Value {
    let mut body = object.clone();
    if let Value::Object(map) = &mut body {
        for field in ["apiVersion", "kind", "metadata"] {
            map.remove(field);
        }
    }
    body
}

/// `299 - "text"`, with the quoting undone.
fn warning(value: &http::HeaderValue) -> String {
    let text = value.to_str().unwrap_or_default();
    let quoted = text.strip_prefix("299 - \"").and_then(|rest| rest.strip_suffix('"'));
    let quoted = quoted.unwrap_or_else(|| panic!("not a warning of code 299: {text}"));
    let mut out = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => out.extend(characters.next()),
            other => out.push(other),
        }
    }
    out
}

/// The causes of a refusal, each once and sorted; the message where there are none.
fn complaints(code: u16, status: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let causes = status["details"]["causes"].as_array();
    let mut all: Vec<String> = match causes {
        Some(causes) if code == 422 => causes
            .iter()
            .map(|cause| format!("{}: {}", text(&cause["field"]), text(&cause["message"])))
            .collect(),
        _ => vec![format!("{code} {}: {}", text(&status["reason"]), text(&status["message"]))],
    };
    all.sort();
    all.dedup();
    all
}

/// Writes a word for the random end of a generated name.
fn hide_generated(text: &str, prefix: &str) -> String {
    let mut parts = text.split(prefix);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(prefix);
        let random = part.get(..5).is_some_and(|s| s.bytes().all(|b| b.is_ascii_alphanumeric()));
        out.push_str(if random { "(random)" } else { "" });
        out.push_str(if random { &part[5..] } else { part });
    }
    out
}

/// Everything that the case itself says.
fn case_values(case: &Case) -> Value {
    let (_, change) = case.action();
    json!([change, case.given])
}

fn ranges() -> [IpNet; 2] {
    ["10.96.0.0/16", "fd00:10:96::/112"].map(|range| range.parse().expect("a range"))
}

fn is_allocated(value: &Value, key: &str) -> bool {
    match value {
        Value::String(text) => {
            let ip = text.parse::<IpAddr>();
            ip.is_ok_and(|ip| ranges().iter().any(|range| range.contains(&ip)))
        }
        Value::Number(number) => {
            let port = matches!(key, "nodePort" | "healthCheckNodePort");
            port && number.as_i64().is_some_and(|n| (30_000..=32_767).contains(&n))
        }
        _ => false,
    }
}

fn contains(haystack: &Value, needle: &Value) -> bool {
    match haystack {
        Value::Array(list) => list.iter().any(|value| contains(value, needle)),
        Value::Object(map) => map.values().any(|value| contains(value, needle)),
        other => other == needle,
    }
}

/// Writes a word for what the server chose at random; `seen` are the values met so far, so that
/// different ones get different words.
fn hide_allocated(
    value: &mut Value,
    key: &str,
    literal: &Value,
    stored: &Value,
    seen: &mut Vec<Value>,
) {
    match value {
        Value::Array(list) => {
            list.iter_mut().for_each(|value| hide_allocated(value, key, literal, stored, seen));
        }
        Value::Object(map) => {
            map.iter_mut()
                .for_each(|(key, value)| hide_allocated(value, key, literal, stored, seen));
        }
        _ if is_allocated(value, key) && !contains(literal, value) => {
            if !seen.contains(value) {
                seen.push(value.clone());
            }
            let same_kind = seen.iter().filter(|other| other.is_string() == value.is_string());
            let nth = same_kind.take_while(|other| *other != value).count();
            let word = if contains(stored, value) { "kept" } else { "allocated" };
            *value = match nth {
                0 => format!("({word})").into(),
                nth => format!("({word} {})", nth + 1).into(),
            };
        }
        _ => {}
    }
}
