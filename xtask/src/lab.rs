//! A lab as the demo and the benchmarks use it: commands with their output as text.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// A lab that goes down when it is dropped, unless it is kept.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) portolan: PathBuf,
    pub(crate) name: String,
    /// Takes the lab down when our end of its pipe closes, so also after Ctrl-C; a line written first calls it off.
    guard: Child,
}

impl Lab {
    /// # Errors
    /// What `portolan lab up` said.
    pub(crate) fn up(portolan: &Path, name: &str, arguments: &[&str]) -> Result<Self> {
        let mut up = Command::new(portolan);
        output(up.args(["lab", "up", "--name", name]).args(arguments))?;
        let guard = Command::new("sh")
            .args(["-c", r#"read -r word || exec "$0" lab down --name "$1""#])
            .arg(portolan)
            .arg(name)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .context("starting sh")?;
        Ok(Self { portolan: portolan.to_owned(), name: name.to_owned(), guard })
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        Path::new("/run/portolan").join(&self.name).join("kubeconfig")
    }

    pub(crate) fn kubectl_command(&self) -> Command {
        let mut command =
            Command::new(std::env::var_os("KUBECTL").unwrap_or_else(|| "kubectl".into()));
        // Another lab's API server may have had the same port: no shared discovery cache.
        let cache = std::env::temp_dir().join(format!("portolan-{}-kubectl", self.name));
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .arg(format!("--cache-dir={}", cache.display()));
        command
    }

    /// # Errors
    /// What kubectl said.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        output(self.kubectl_command().args(arguments))
    }

    pub(crate) fn exec_command(&self, place: &str, words: &[&str]) -> Command {
        let mut command = Command::new(&self.portolan);
        command.args(["lab", "exec", "--name", &self.name, place, "--"]).args(words);
        command
    }

    /// # Errors
    /// What the command said, where it fails.
    pub(crate) fn exec(&self, place: &str, words: &[&str]) -> Result<String> {
        output(&mut self.exec_command(place, words))
    }

    /// Leaves the lab running.
    pub(crate) fn keep(mut self) {
        self.call_off();
    }

    /// # Errors
    /// What `portolan lab down` said.
    pub(crate) fn down(mut self) -> Result<()> {
        output(Command::new(&self.portolan).args(["lab", "down", "--name", &self.name]))?;
        self.call_off();
        Ok(())
    }

    fn call_off(&mut self) {
        if let Some(mut pipe) = self.guard.stdin.take() {
            let _ = pipe.write_all(b"keep\n");
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(
            std::env::temp_dir().join(format!("portolan-{}-kubectl", self.name)),
        );
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// The standard output of a command.
///
/// # Errors
/// Where it does not end with 0, with its standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut words = vec![program.clone()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("starting {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({}): {}", words.join(" "), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
