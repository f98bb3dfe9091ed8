//! The BPF object: built by us once, committed, and reproduced byte for byte by whoever doubts.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cargo::root;

/// Byte for byte holds for one compiler only: Debian 12's.
const CLANG: &str = "clang-14";
const STRIP: &str = "llvm-strip-14";

/// Where the sources are, and the object beside them.
fn folder() -> PathBuf {
    root().join("crates/node/src/proxy/datapath/ebpf/bpf")
}

const SOURCE: &str = "socket.bpf.c";
const OBJECT: &str = "socket.bpf.o";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only compare what the compiler makes with what is committed
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let committed = folder().join(OBJECT);
    if !arguments.check {
        build(&committed)?;
        println!("built {}", committed.display());
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let fresh = directory.path().join(OBJECT);
    build(&fresh)?;
    ensure!(
        std::fs::read(&fresh)? == std::fs::read(&committed)?,
        "{} is not what {SOURCE} gives; run: cargo xtask bpf",
        committed.display()
    );
    println!("{} is what {SOURCE} gives", committed.display());
    Ok(())
}

/// Whether the one compiler is here.
fn compiler() -> Result<()> {
    for program in [CLANG, STRIP] {
        let found = Command::new(program).arg("--version").output();
        ensure!(
            found.is_ok_and(|output| output.status.success()),
            "{program} is missing; install Debian's packages clang-14 and llvm-14"
        );
    }
    Ok(())
}

fn build(to: &Path) -> Result<()> {
    compiler()?;
    let folder = folder().canonicalize().context("the folder of the BPF sources")?;
    crate::cargo::run(
        Command::new(CLANG)
            .current_dir(&folder)
            .args(["-target", "bpf", "-mcpu=v3", "-g", "-O2", "-Wall", "-Wextra", "-Werror"])
            .args(["-fdebug-compilation-dir=.", "-c", SOURCE])
            .arg(format!("-ffile-prefix-map={}=.", folder.display()))
            .arg("-o")
            .arg(to),
    )?;
    // BTF stays, which maps and functions need.
    crate::cargo::run(Command::new(STRIP).arg("-g").arg(to))
}
