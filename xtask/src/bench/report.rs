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
}

impl Measured {
    pub(super) fn new(
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        aim: &'static str,
    ) -> Self {
        Self { name: name.into(), value, unit, aim }
    }
}

/// One run over one subject.
pub(super) struct Report {
    /// The benchmark's name on the command line.
    pub(super) subject: &'static str,
    pub(super) measured: Vec<Measured>,
    /// The same measurements of another program in the same run, by the same names.
    pub(super) peer: Vec<Measured>,
}

impl Report {
    pub(super) fn print(&self) {
        let rows: Vec<Vec<String>> = self
            .measured
            .iter()
            .map(|row| {
                let other = self.peer.iter().find(|other| other.name == row.name);
                let other = other.map_or_else(String::new, |other| number(other.value));
                vec![row.name.clone(), number(row.value), row.unit.into(), row.aim.into(), other]
            })
            .collect();
        println!();
        show::table(&["WHAT", "MEASURED", "UNIT", "AIM", "PEER"], &rows);
    }

    /// Keeps the run as `DATE-SUBJECT.json`.
    pub(super) fn write(&self, runs: &Path) -> Result<()> {
        let values = |rows: &[Measured]| -> Value {
            rows.iter()
                .map(|row| {
                    let value = json!({"value": row.value, "unit": row.unit, "aim": row.aim});
                    (row.name.clone(), value)
                })
                .collect()
        };
        let now = jiff::Zoned::now();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
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
            "load average at the end": load.split_whitespace().next(),
            "portolan": values(&self.measured),
            "peer": values(&self.peer),
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

fn number(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
