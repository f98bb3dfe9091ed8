//! `./x lint` and `./x test`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Result;

use crate::cargo::{PORTOLAN, PROBE, build, cargo, root, run};
use crate::steps::{seconds, style};

/// The profile of the binary that the end-to-end tests and the demo drive: the one that the unit
/// tests' crates are built in anyhow, with checks of overflow and debug assertions. Optimisation
/// costs minutes of building and gains less than a second in a lab's start.
pub(crate) const TESTED_PROFILE: &str = "dev";

/// End-to-end tests wait more than they compute: more at a time than there are cores.
const THREADS: &str = "4";

#[derive(clap::Args)]
pub(crate) struct TestArguments {
    /// Only the end-to-end tests
    #[arg(long)]
    e2e: bool,
    /// Passed to the end-to-end tests' harness (part of a test's name, --nocapture, …)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    harness: Vec<String>,
}

pub(crate) fn lint() -> Result<()> {
    step("formatting", "cargo fmt --check");
    run(cargo().args(["fmt", "--all", "--check"]))?;
    step("lints", "cargo clippy, warnings are errors");
    run(cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "--deny",
        "warnings",
    ]))?;
    step("house rules", "crate walls, file sizes, paths");
    run(cargo().args(["test", "--quiet", "--package", "portolan-tests", "--test", "house"]))?;
    deny()
}

pub(crate) fn test(arguments: &TestArguments) -> Result<()> {
    let started = Instant::now();
    if !arguments.e2e {
        step("formatting", "cargo fmt --check");
        run(cargo().args(["fmt", "--all", "--check"]))?;
        step("lints", "cargo clippy, warnings are errors");
        run(cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "--deny",
            "warnings",
        ]))?;
        deny()?;
        step("unit tests", "every crate's own tests");
        run(cargo().args([
            "test",
            "--workspace",
            "--exclude",
            "portolan-tests",
            "--no-fail-fast",
        ]))?;
        step("virtual machine", "modes ipvs and ebpf on another kernel");
        crate::vm::step()?;
    }
    step("build", &format!("portolan, profile {TESTED_PROFILE}"));
    let [portolan, probe] = build([PORTOLAN, PROBE], TESTED_PROFILE, |_, _| {})?;
    step("end to end", "labs of several nodes, the real kubectl, packets and DNS");
    eprintln!(
        "  (after {} of formatting, lints, unit tests and building)",
        seconds(started.elapsed())
    );
    let mut command = cargo();
    command
        .args(["test", "--package", "portolan-tests", "--no-fail-fast", "--"])
        .args(&arguments.harness);
    let visible = VisibleToPods::copy(&probe)?;
    command.env("PORTOLAN_BIN", portolan).env("PORTOLAN_PROBE", visible.0.join(PROBE.name));
    command.env("PORTOLAN_TESTS_REQUIRED", "1");
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        command.env("RUST_TEST_THREADS", THREADS);
    }
    run(&mut command)
}

/// A directory with the probe that pods see too, wherever this checkout lies: they have a `/tmp`
/// and a `/run` of their own. Removed in the end.
struct VisibleToPods(PathBuf);

impl VisibleToPods {
    fn copy(probe: &Path) -> Result<Self> {
        let directory = PathBuf::from(format!("/var/tmp/portolan-tests-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let copy = Self(directory);
        std::fs::copy(probe, copy.0.join(PROBE.name))?;
        Ok(copy)
    }
}

impl Drop for VisibleToPods {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Licences, advisories and banned crates, where cargo-deny is installed.
fn deny() -> Result<()> {
    let installed = Command::new("cargo-deny")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !installed.is_ok_and(|status| status.success()) {
        step("dependencies", "skipped: cargo-deny is not installed (cargo install cargo-deny)");
        return Ok(());
    }
    step("dependencies", "cargo deny check");
    run(Command::new("cargo-deny")
        .current_dir(root())
        .args(["check", "bans", "licenses", "sources"]))
}

fn step(name: &str, what: &str) {
    eprintln!("{} {what}", style("1", &format!("== {name}:")));
}
