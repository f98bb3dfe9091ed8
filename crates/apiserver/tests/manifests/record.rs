//! Writes the verdicts of a real kube-apiserver into the files.

use std::path::Path;

use serde_json::{Value, json};

use super::run::Verdict;

const START: &str = "- case: ";

/// Replaces the verdict of every case, in order, and leaves everything else as it is.
pub(crate) fn rewrite(path: &Path, verdicts: &[Verdict]) {
    let text = std::fs::read_to_string(path).expect("the file can be read");
    let mut out = String::new();
    let mut verdicts = verdicts.iter();
    let mut pending: Option<&Verdict> = None;
    let mut skipping = false;
    for line in text.lines() {
        if line.starts_with(START) {
            if let Some(verdict) = pending.take() {
                out.push_str(&lines(verdict));
            }
            pending = verdicts.next();
            skipping = false;
        } else if ["  refused:", "  accepted:", "  warnings:"].iter().any(|v| line.starts_with(v)) {
            skipping = true;
            continue;
        } else if skipping && line.starts_with("  - ") {
            continue;
        } else if line.trim().is_empty() || !line.starts_with("  ") {
            // A blank line or a comment stands before the next case.
            if let Some(verdict) = pending.take() {
                out.push_str(&lines(verdict));
            }
            skipping = false;
        } else {
            skipping = false;
        }
        out.push_str(line);
        out.push('\n');
    }
    if let Some(verdict) = pending.take() {
        out.push_str(&lines(verdict));
    }
    assert!(verdicts.next().is_none(), "{}: a case does not start with {START:?}", path.display());
    std::fs::write(path, out).expect("the file can be written");
}

fn list(name: &str, texts: &[String]) -> String {
    let items: String = texts.iter().map(|text| format!("  - {}\n", json!(text))).collect();
    format!("  {name}:\n{items}")
}

fn lines(verdict: &Verdict) -> String {
    let mut out = String::new();
    if verdict.refused.is_empty() {
        let change = match &verdict.accepted {
            Value::Null => "null".to_owned(),
            change => change.to_string(),
        };
        out.push_str(&format!("  accepted: {change}\n"));
    } else {
        out.push_str(&list("refused", &verdict.refused));
    }
    if !verdict.warnings.is_empty() {
        out.push_str(&list("warnings", &verdict.warnings));
    }
    out
}
