//! Running cargo, and finding what it built.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    static ROOT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    ROOT.get_or_init(|| {
        // Set by `cargo run`, so that a moved repository does not need a rebuild.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        manifest.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
    })
}

/// cargo in the repository's root, free of what the running `cargo xtask` set for itself.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command with its outputs on ours.
///
/// # Errors
/// Where it cannot be started or does not end with 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let text = words(command);
    let status = command.status().with_context(|| format!("starting `{text}`"))?;
    ensure!(status.success(), "`{text}` failed ({status})");
    Ok(())
}

/// An executable of the workspace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) package: &'static str,
    pub(crate) name: &'static str,
}

pub(crate) const PORTOLAN: Program = Program { package: "portolan", name: "portolan" };
/// The tests' clients, and the load generator.
pub(crate) const PROBE: Program = Program { package: "portolan-tests", name: "portolan-probe" };

/// Builds executables and returns their paths; `report` hears of every crate built.
///
/// With `PORTOLAN_BIN`, that file is taken for `portolan`, which is then not built.
///
/// # Errors
/// What the compiler said.
pub(crate) fn build<const N: usize>(
    programs: [Program; N],
    profile: &str,
    mut report: impl FnMut(usize, &str),
) -> Result<[PathBuf; N]> {
    let given = std::env::var_os("PORTOLAN_BIN").map(PathBuf::from);
    let mut paths: [Option<PathBuf>; N] =
        programs.map(|program| given.clone().filter(|_| program.name == PORTOLAN.name));
    let mut command = cargo();
    command.args(["build", "--profile", profile, "--message-format=json-render-diagnostics"]);
    for (program, path) in programs.iter().zip(&paths) {
        if path.is_none() {
            command.args(["--package", program.package, "--bin", program.name]);
        }
    }
    if paths.iter().all(Option::is_some) {
        return Ok(paths.map(Option::unwrap_or_default));
    }
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("starting cargo")?;
    let errors = child.stderr.take().context("cargo's standard error")?;
    let errors = std::thread::spawn(move || {
        BufReader::new(errors)
            .lines()
            .map_while(std::result::Result::ok)
            .collect::<Vec<_>>()
            .join("\n")
    });
    let mut count = 0;
    for line in BufReader::new(child.stdout.take().context("cargo's standard output")?).lines() {
        let message: serde_json::Value = serde_json::from_str(&line?).unwrap_or_default();
        if message["reason"] != "compiler-artifact" {
            continue;
        }
        let target = message["target"]["name"].as_str().unwrap_or_default();
        if message["fresh"] == false {
            count += 1;
            report(count, target);
        }
        let Some(executable) = message["executable"].as_str() else { continue };
        for (program, path) in programs.iter().zip(&mut paths) {
            if program.name == target {
                *path = Some(executable.into());
            }
        }
    }
    let status = child.wait()?;
    let errors = errors.join().unwrap_or_default();
    ensure!(status.success(), "the build failed:\n{errors}");
    ensure!(paths.iter().all(Option::is_some), "cargo built no executable");
    Ok(paths.map(Option::unwrap_or_default))
}

fn words(command: &Command) -> String {
    let mut words = vec![
        Path::new(command.get_program())
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
    ];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}
