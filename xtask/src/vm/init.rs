//! The first process of the virtual machine: mounts, loads modules, runs tests, and ends it.

use std::ffi::CStr;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, mount};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::system::{RebootCommand, finit_module, reboot};

/// What it does, one step a line: `load FILE`, `run ARGUMENTS…`.
pub(super) const PLAN: &str = "/plan";
/// The test binary.
pub(super) const TESTS: &str = "/tests";
/// With this a line of the console begins that says how it ended.
pub(super) const VERDICT: &str = "portolan-vm: verdict";

/// Whether this process is the machine's first.
pub(crate) fn is_init() -> bool {
    std::process::id() == 1 && Path::new(PLAN).is_file()
}

/// Never returns while the machine runs.
pub(crate) fn init() -> ! {
    let code = match work() {
        Ok(code) => code,
        Err(error) => {
            println!("portolan-vm: {error:#}");
            100
        }
    };
    println!("{VERDICT} {code}");
    loop {
        let _ = reboot(RebootCommand::PowerOff);
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

fn work() -> Result<i32> {
    const NONE: Option<&CStr> = None;
    for (kind, place) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/tmp"),
        ("tmpfs", "/run"),
    ] {
        mount(kind, place, kind, MountFlags::empty(), NONE)
            .with_context(|| format!("cannot mount {kind}"))?;
    }
    mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MountFlags::empty(), NONE)
        .context("cannot mount cgroup2")?;
    // Tests leave sockets and namespaces open for as long as they run.
    let many = Some(1 << 16);
    setrlimit(Resource::Nofile, Rlimit { current: many, maximum: many })
        .context("cannot allow many open files")?;
    let plan = std::fs::read_to_string(PLAN)?;
    let (mut code, mut seed) = (0, None);
    for line in plan.lines() {
        match line.split_once(' ') {
            Some(("load", path)) => load(path)?,
            Some(("seed", number)) => seed = Some(number),
            Some(("run", arguments)) => {
                let ended = tests(arguments, seed)?;
                println!("portolan-vm: run ended with {ended}");
                code = if code == 0 { ended } else { code };
            }
            _ => bail!("the plan says {line:?}"),
        }
    }
    Ok(code)
}

fn load(path: &str) -> Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open {path}"))?;
    match finit_module(&file, c"", 0) {
        Err(rustix::io::Errno::EXIST) => Ok(()),
        other => other.with_context(|| format!("cannot load {path}")),
    }
}

fn tests(arguments: &str, seed: Option<&str>) -> Result<i32> {
    let status = Command::new(TESTS)
        .envs(seed.map(|seed| ("PORTOLAN_SEED", seed)))
        .args(arguments.split_whitespace())
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("RUST_BACKTRACE", "1")
        .env("RUST_TEST_THREADS", "2")
        .env("PORTOLAN_TESTS_IPVS_REQUIRED", "1")
        // There is no hurry in an emulator.
        .env("PORTOLAN_TESTS_PATIENCE", "1500")
        .status()
        .context("cannot run the tests")?;
    Ok(status.code().unwrap_or(101))
}
