//! Running the emulator, and reading its console.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::init::VERDICT;
use super::kernel::Kernel;

const EMULATOR: &str = "qemu-system-x86_64";
/// Far more than it takes; a machine that does much else meanwhile is slow.
const DEADLINE: Duration = Duration::from_secs(1800);

/// The emulator's name, or why there is none.
pub(super) fn emulator() -> Result<&'static str, String> {
    let there = Command::new(EMULATOR).arg("--version").stdout(Stdio::null()).status();
    match there {
        Ok(status) if status.success() => Ok(EMULATOR),
        _ => Err(format!("{EMULATOR} is not installed (apt-get install qemu-system-x86)")),
    }
}

/// Ends the emulator whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Boots the machine and waits for its verdict; the console is kept in `log`. Returns how many
/// tests passed.
pub(super) fn run(emulator: &str, kernel: &Kernel, archive: &Path, log: &Path) -> Result<usize> {
    let mut child = Command::new(emulator)
        // Emulated, not virtualised: the same everywhere, and no device is needed.
        .args(["-accel", "tcg,thread=multi", "-cpu", "max,la57=off", "-smp", "2", "-m", "1536"])
        .args(["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"])
        // An emulated timer on a busy machine does not pass the kernel's check of it.
        .args(["-append", "console=ttyS0 panic=-1 quiet no_timer_check rdinit=/init"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(archive)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .with_context(|| format!("cannot run {emulator}"))?;
    let console = child.stdout.take().context("the emulator's output")?;
    let _running = Running(child);
    let (tell, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(std::result::Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    let mut file = std::fs::File::create(log)?;
    let (mut all, start) = (vec![], Instant::now());
    loop {
        let left = DEADLINE.saturating_sub(start.elapsed());
        match lines.recv_timeout(left) {
            Ok(line) => {
                writeln!(file, "{line}")?;
                let ended = line.contains(VERDICT);
                all.push(line);
                if ended {
                    break;
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                bail!("no verdict after {DEADLINE:?}; its last words:\n{}", last(&all))
            }
        }
    }
    verdict(&all)
}

/// How many tests passed.
///
/// # Errors
/// Where any failed, was skipped, or nothing says that they ran.
fn verdict(console: &[String]) -> Result<usize> {
    let said = console.iter().find_map(|line| line.split_once(VERDICT));
    let Some((_, code)) = said else {
        bail!("the machine ended without a verdict; its last words:\n{}", last(console));
    };
    ensure!(code.trim() == "0", "tests failed in the virtual machine:\n{}", failures(console));
    if let Some(line) = console.iter().find(|line| line.contains(": skipped: ")) {
        bail!("no test may be skipped in the virtual machine, but: {line}");
    }
    let passed = |line: &String| -> Option<usize> {
        let (_, rest) = line.split_once("test result: ok. ")?;
        rest.split_once(" passed")?.0.parse().ok()
    };
    let counts: Vec<usize> = console.iter().filter_map(passed).collect();
    ensure!(!counts.is_empty() && !counts.contains(&0), "no test ran in the virtual machine");
    Ok(counts.iter().sum())
}

fn last(console: &[String]) -> String {
    console[console.len().saturating_sub(15)..].join("\n")
}

/// What the tests said that failed.
fn failures(console: &[String]) -> String {
    let start = console.iter().position(|line| line.trim() == "failures:");
    match start {
        Some(start) => console[start..].iter().take(60).cloned().collect::<Vec<_>>().join("\n"),
        None => last(console),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn only_a_whole_run_passes() {
        let good = "test result: ok. 1 passed; 0 failed\ntest result: ok. 30 passed; 0 failed\n[   9.1] portolan-vm: verdict 0";
        assert_eq!(verdict(&console(good)).expect("passed"), 31);
        for (bad, why) in [
            (good.replace("verdict 0", "verdict 101"), "failed"),
            (good.replace("portolan-vm: verdict 0", "Kernel panic"), "without a verdict"),
            (good.replace("30 passed", "0 passed"), "no test ran"),
            ("portolan-vm: verdict 0".to_owned(), "no test ran"),
            (format!("a_test: skipped: no IPVS\n{good}"), "may be skipped"),
            (String::new(), "without a verdict"),
        ] {
            let error = verdict(&console(&bad)).expect_err(why);
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[test]
    fn failures_are_shown() {
        let text =
            "x\nfailures:\n---- a ----\nleft: 1\ntest result: FAILED\nportolan-vm: verdict 101";
        let error = verdict(&console(text)).expect_err("failed");
        assert!(error.to_string().contains("left: 1"), "{error}");
    }
}
