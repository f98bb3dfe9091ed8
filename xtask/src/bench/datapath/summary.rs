//! From what was measured to the rows and tables of the report.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Size;
use super::proxy::Subject;
use super::{FAST, START};
use crate::bench::dns::client::percentile;
use crate::bench::report::{Measured, Report, Table, median, number};

pub(super) fn process(
    report: &mut Report,
    subject: &Subject,
    size: Size,
    found: &Value,
) -> Result<()> {
    let rows = if subject.peer { &mut report.peer } else { &mut report.measured };
    let mut row = |what: &str, value: f64, unit, aim| {
        let name = format!("{}, {size}: {what}", subject.mode);
        rows.push(Measured::new(name, value, unit, if subject.peer { "" } else { aim }));
    };
    if let Some(gave_up) = found["gave_up_ms"].as_f64() {
        row("start to everything effective, not within", gave_up / 1e3, "s", "");
        report.keep(&format!("process, {}, {size}", subject.name()), found.clone());
        return Ok(());
    }
    let single = |key: &str| found[key].as_f64().with_context(|| format!("no {key}"));
    let most = size.services * size.endpoints >= 240_000;
    if subject.peer {
        row("full sync from empty", single("full_ms")?, "ms", "");
    }
    let aim = if size == START { "< 3" } else { "" };
    row("start to everything effective", single("start_ms")? / 1e3, "s", aim);
    row("resident", single("resident_mib")?, "MiB", "1/5 of the peer's");
    row("peak at the start", single("peak_mib")?, "MiB", "");
    row("kernel memory", single("kernel_mib")?, "MiB", if most { "< 30" } else { "" });
    for (what, key) in [("one endpoint changed", "moved"), ("one Service added", "added")] {
        let list = |key: &str, of: &str| -> Vec<f64> {
            let all = found[key][of].as_array().into_iter().flatten();
            all.filter_map(Value::as_f64).collect()
        };
        let written = list(key, "written_ms");
        let shown = list(key, "shown_ms");
        for (percent, name) in [(50, "p50"), (99, "p99")] {
            if !written.is_empty() {
                row(&format!("{what}, {name}"), percentile(&written, percent), "ms", "");
            }
            if !shown.is_empty() {
                let what = format!("{what}, event to connection, {name}");
                row(
                    &what,
                    percentile(&shown, percent),
                    "ms",
                    if percent == 99 { "< 1" } else { "" },
                );
            }
        }
    }
    report.keep(&format!("process, {}, {size}", subject.name()), found.clone());
    Ok(())
}

/// What is shown of each turn: its key and the column.
const COLUMNS: [(&str, &str); 7] = [
    ("connection_p50", "CONNECT p50 us"),
    ("connection_p99", "p99 us"),
    ("rate_one", "1 IN FLIGHT /s"),
    ("rate_many", "32 IN FLIGHT /s"),
    ("pong_p50", "PING-PONG p50 us"),
    ("pong_p99", "p99 us"),
    ("gbit", "Gbit/s"),
];
/// Of these the ratio to a direct connection is given.
const RATIOS: [&str; 4] = ["rate_one", "rate_many", "pong_p50", "gbit"];
/// What the connection to the pod itself is called beside a subject.
pub(super) const POD_ITSELF: &str = "the pod itself, beside ";
/// What is kept as a figure of its own: a ratio to a subject, and the aims of both fast modes. The
/// ratio to the pod itself, where the same rules are, is what the Service alone costs.
const PROMISED: [(&str, &str, &str, &str, &str); 6] = [
    ("rate of new connections, 1 in flight, of direct", "rate_one", "direct", "> 0.97", "> 0.85"),
    ("rate of new connections, 32 in flight, of direct", "rate_many", "direct", "> 0.97", "> 0.85"),
    ("rate of new connections, 32 in flight, of the pod itself", "rate_many", POD_ITSELF, "", ""),
    ("time of a ping-pong, of direct", "pong_p50", "direct", "1", ""),
    ("time of a ping-pong, of the pod itself", "pong_p50", POD_ITSELF, "", ""),
    ("throughput, of direct", "gbit", "direct", "1", ""),
];

/// Returns what was left out, as the end of a sentence.
pub(super) fn traffic(report: &mut Report, services: usize, found: &Value) -> Result<String> {
    let turns = found["turns"].as_array().context("no turns")?;
    let text = |turn: &Value, key: &str| turn[key].as_str().unwrap_or_default().to_owned();
    let (mut paths, mut subjects) = (Vec::new(), Vec::new());
    for turn in turns {
        for (all, name) in
            [(&mut paths, text(turn, "path")), (&mut subjects, text(turn, "subject"))]
        {
            if !all.contains(&name) {
                all.push(name);
            }
        }
    }
    subjects.sort_by_key(|name| (name != "direct", name.starts_with("kube-proxy")));
    let mut header = vec!["PATH", "SUBJECT"];
    for (key, column) in COLUMNS {
        header.push(column);
        header.extend(RATIOS.contains(&key).then_some("of direct"));
    }
    let values = |path: &str, subject: &str, key: &str| -> Vec<f64> {
        let of = |turn: &&Value| turn["path"] == *path && turn["subject"] == *subject;
        turns.iter().filter(of).filter_map(|turn| turn[key].as_f64()).collect()
    };
    // Of the same round, so that whatever else the machine did counts for both.
    let ratios = |path: &str, subject: &str, to: &str, key: &str| -> Vec<f64> {
        let (own, other) = (values(path, subject, key), values(path, to, key));
        own.iter().zip(&other).map(|(own, other)| own / other).collect()
    };
    let mut rows = Vec::new();
    for path in &paths {
        for subject in &subjects {
            if values(path, subject, "rate_one").is_empty() {
                continue;
            }
            let mut row = vec![path.clone(), subject.clone()];
            for (key, _) in COLUMNS {
                row.push(number(median(values(path, subject, key))));
                if RATIOS.contains(&key) {
                    let all = ratios(path, subject, "direct", key);
                    let (low, high) = bounds(&all);
                    row.push(format!("{:.2} [{low:.2} {high:.2}]", median(all)));
                }
            }
            rows.push(row);
        }
    }
    for path in &paths {
        for mode in FAST {
            for peer in [false, true] {
                let subject = if peer { format!("kube-proxy {mode}") } else { mode.to_owned() };
                let list = if peer { &mut report.peer } else { &mut report.measured };
                for (what, key, to, ebpf, nftables) in PROMISED {
                    let to = if to == "direct" { to.to_owned() } else { format!("{to}{subject}") };
                    let all = ratios(path, &subject, &to, key);
                    if all.is_empty() {
                        continue;
                    }
                    let aim = match (peer, path.starts_with("pod"), mode) {
                        (false, true, "ebpf") => ebpf,
                        (false, true, _) => nftables,
                        _ => "",
                    };
                    let (low, high) = bounds(&all);
                    let name = format!("{mode}, {services} Services, {path}: {what}");
                    list.push(Measured::new(name, median(all), "times", aim).within(low, high));
                }
            }
        }
    }
    report.tables.push(Table { title: format!("{services} Services"), header, rows });
    let left_out: Vec<String> = found["left_out"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|error| Some(error.as_str()?.split(':').next()?.to_owned()))
        .collect();
    report.keep(&format!("traffic, {services} Services"), found.clone());
    let note = left_out.iter().map(|what| format!("; left out: {what}"));
    Ok(note.collect())
}

fn bounds(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    (low, values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

pub(super) fn stalls(report: &mut Report, found: &Value) -> Result<()> {
    for one in found.as_array().into_iter().flatten() {
        let subject = one["subject"].as_str().unwrap_or_default();
        let (mode, peer) = match subject.strip_prefix("kube-proxy ") {
            Some(mode) => (mode, true),
            None => (subject, false),
        };
        let rows = if peer { &mut report.peer } else { &mut report.measured };
        let number = |key: &str| one[key].as_u64().with_context(|| format!("no {key}"));
        let (count, clients) = (number("connections")?, number("clients")?);
        for (what, key, unit, aim) in [
            ("stalled for a second", "stalls", "", "0"),
            ("slowest", "slowest_ms", "ms", ""),
            ("took", "seconds", "s", ""),
        ] {
            let value = one[key].as_f64().with_context(|| format!("no {key}"))?;
            let name =
                format!("{mode}, {count} masqueraded connections, {clients} clients: {what}");
            rows.push(Measured::new(name, value, unit, if peer { "" } else { aim }));
        }
    }
    report.keep("stalls", json!(found));
    Ok(())
}
