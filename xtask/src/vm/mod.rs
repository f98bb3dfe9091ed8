//! The tests of proxy modes `ipvs` and `ebpf` in a virtual machine with Debian's kernel: the kernel
//! of the machine that tests run on often has no IPVS, and checks BPF programs in its own way.
//!
//! Nothing is installed: the kernel's package is unpacked below `target/vm`, and the machine's
//! whole file system is an archive in memory that is made here. Its first process is this very
//! program (see [`init`]), which loads modules and runs the test binary of `portolan-node`.

mod image;
mod init;
mod kernel;
mod machine;
mod modules;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cargo::{cargo, root};
use crate::steps::seconds;

pub(crate) use init::{init, is_init};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The test binary of portolan-node to run; built if not given
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Only tests with one of these in their names
    filters: Vec<String>,
}

/// The random events of `./x test`, whose time is short; `./x vm` takes others each time, or those of
/// `PORTOLAN_SEED`. These once left a virtual server for a mark that no frontend gave.
const SEED: u64 = 3_610_300_378_765_303_448;

/// What became of the virtual machine.
enum Outcome {
    Passed(String),
    /// There can be no such machine here, and why.
    Skipped(String),
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let seed = std::env::var("PORTOLAN_SEED").ok().and_then(|text| text.parse().ok());
    match attempt(arguments.binary.as_deref(), &arguments.filters, seed)? {
        Outcome::Passed(said) => {
            println!("{said}");
            Ok(())
        }
        Outcome::Skipped(why) => bail!("there can be no virtual machine here: {why}"),
    }
}

/// The step of `./x test`: where the machine cannot be had it says so, and fails only where no
/// test may be skipped.
pub(crate) fn step() -> Result<()> {
    match attempt(None, &[], Some(SEED))? {
        Outcome::Passed(said) => eprintln!("  {said}"),
        Outcome::Skipped(why) if std::env::var_os("PORTOLAN_TESTS_REQUIRED").is_some() => {
            bail!("the virtual machine may not be skipped here: {why}")
        }
        Outcome::Skipped(why) => eprintln!("  skipped: {why}"),
    }
    Ok(())
}

fn attempt(binary: Option<&Path>, filters: &[String], seed: Option<u64>) -> Result<Outcome> {
    let folder = root().join("target/vm");
    std::fs::create_dir_all(&folder)?;
    let emulator = match machine::emulator() {
        Ok(emulator) => emulator,
        Err(why) => return Ok(Outcome::Skipped(why)),
    };
    let kernel = match kernel::get(&folder.join("kernel")) {
        Ok(kernel) => kernel,
        Err(why) => return Ok(Outcome::Skipped(format!("{why:#}"))),
    };
    let binary = match binary {
        Some(path) => path.to_owned(),
        None => test_binary()?,
    };
    let started = Instant::now();
    let archive = image::make(&folder, &kernel, &binary, filters, seed)?;
    let log = folder.join("console.log");
    let count = machine::run(emulator, &kernel, &archive, &log)
        .with_context(|| format!("the virtual machine's console is in {}", log.display()))?;
    let took = seconds(started.elapsed());
    Ok(Outcome::Passed(format!("{count} tests passed on {} in {took}", kernel.name)))
}

/// The unit tests of portolan-node, as the step before built them: another selection of packages
/// would build half of everything anew, with other features.
fn test_binary() -> Result<PathBuf> {
    let mut command = cargo();
    command.args([
        "test",
        "--workspace",
        "--exclude",
        "portolan-tests",
        "--no-run",
        "--message-format=json-render-diagnostics",
    ]);
    let output = command.stderr(std::process::Stdio::inherit()).output()?;
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = lines.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let wanted = message["reason"] == "compiler-artifact"
            && message["target"]["name"] == "portolan_node"
            && message["profile"]["test"] == true;
        message["executable"].as_str().filter(|_| wanted).map(PathBuf::from)
    });
    found.context("cargo built no tests of portolan-node")
}
