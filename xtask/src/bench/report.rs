//! What a benchmark found: a table for people, a JSON file to keep.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use crate::cargo::root;
use crate::lab::output;
use crate::show;

/// One measured number and what the project aims at.
pub(super) struct Measured {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    /// Empty where nothing is promised.
    pub(super) aim: &'static str,
    /// The least and the most that was seen, where there were several turns.
    spread: Option<(f64, f64)>,
}

impl Measured {
    pub(super) fn new(
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        aim: &'static str,
    ) -> Self {
        Self { name: name.into(), value, unit, aim, spread: None }
    }

    pub(super) fn within(mut self, low: f64, high: f64) -> Self {
        self.spread = Some((low, high));
        self
    }
}

/// One run over one subject.
pub(super) struct Report {
    /// The benchmark's name on the command line.
    pub(super) subject: &'static str,
    pub(super) measured: Vec<Measured>,
    /// The same measurements of another program in the same run, by the same names.
    pub(super) peer: Vec<Measured>,
    /// For people only.
    pub(super) tables: Vec<Table>,
    /// Whatever else is kept.
    details: serde_json::Map<String, Value>,
    load_before: String,
}

/// What does not fit into one column of numbers.
pub(super) struct Table {
    pub(super) title: String,
    pub(super) header: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Report {
    pub(super) fn new(subject: &'static str) -> Self {
        Self {
            subject,
            measured: Vec::new(),
            peer: Vec::new(),
            tables: Vec::new(),
            details: serde_json::Map::new(),
            load_before: load(),
        }
    }

    /// Keeps everything of which the measured numbers are a digest.
    pub(super) fn keep(&mut self, name: &str, details: Value) {
        self.details.insert(name.into(), details);
    }

    /// What a row is compared with: of the same name, or of the mode that is beneath `ebpf`.
    fn beside(&self, row: &Measured) -> Option<&Measured> {
        let beneath = row.name.strip_prefix("ebpf").map(|rest| format!("nftables{rest}"));
        let named = |name: &str| self.peer.iter().find(|other| other.name == name);
        named(&row.name).or_else(|| named(&beneath?))
    }

    pub(super) fn print(&self) {
        for table in &self.tables {
            println!("\n{}", table.title);
            show::table(&table.header, &table.rows);
        }
        let mut rows: Vec<Vec<String>> = self
            .measured
            .iter()
            .map(|row| {
                let mut cells =
                    vec![row.name.clone(), number(row.value), row.unit.into(), row.aim.into()];
                if let Some(other) = self.beside(row) {
                    cells.push(number(other.value));
                    cells.extend((row.value != 0.0).then(|| number(other.value / row.value)));
                }
                cells
            })
            .collect();
        let own = |name: &str| self.measured.iter().any(|row| row.name == name);
        rows.extend(self.peer.iter().filter(|row| !own(&row.name)).map(|row| {
            let empty = String::new;
            vec![row.name.clone(), empty(), row.unit.into(), empty(), number(row.value)]
        }));
        println!();
        show::table(&["WHAT", "MEASURED", "UNIT", "AIM", "PEER", "PEER / OURS"], &rows);
    }

    /// Keeps the run as `DATE-SUBJECT.json`.
    pub(super) fn write(&self, runs: &Path) -> Result<()> {
        let values = |rows: &[Measured]| -> Value {
            rows.iter()
                .map(|row| {
                    let mut value = json!({"value": row.value, "unit": row.unit, "aim": row.aim});
                    if let Some((low, high)) = row.spread {
                        (value["low"], value["high"]) = (json!(low), json!(high));
                    }
                    (row.name.clone(), value)
                })
                .collect()
        };
        let now = jiff::Zoned::now();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let commit =
            output(Command::new("git").current_dir(root()).args(["rev-parse", "--short", "HEAD"]))
                .unwrap_or_default();
        let run = json!({
            "subject": self.subject,
            "date": now.timestamp().to_string(),
            "commit": commit.trim(),
            "kernel": kernel.trim(),
            "cores": cores,
            "load average at the start": self.load_before,
            "load average at the end": load(),
            "portolan": values(&self.measured),
            "peer": values(&self.peer),
            "details": self.details,
        });
        let directory = root().join(runs);
        std::fs::create_dir_all(&directory)?;
        let name = format!("{}-{}.json", now.strftime("%Y-%m-%d-%H%M%S"), self.subject);
        let file = directory.join(name);
        std::fs::write(&file, format!("{}\n", serde_json::to_string_pretty(&run)?))?;
        println!("\nwritten: {}", file.strip_prefix(root()).unwrap_or(&file).display());
        Ok(())
    }
}

/// Of the last minute.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

pub(super) fn number(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
