//! Debian's kernel for clouds: its package is fetched and unpacked, never installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Depends on the current kernel's package.
const METAPACKAGE: &str = "linux-image-cloud-amd64";

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    pub(super) name: String,
    pub(super) image: PathBuf,
    /// Below which its modules lie.
    pub(super) modules: PathBuf,
}

/// The current kernel, from the folder if it is there already; without a package archive at hand,
/// the newest that is there.
///
/// # Errors
/// Why there is none: no test can be run then, which is no failure of theirs.
pub(super) fn get(folder: &Path) -> Result<Kernel> {
    ensure!(cfg!(target_arch = "x86_64"), "the kernel is for x86_64 only");
    std::fs::create_dir_all(folder)?;
    let fresh = current().and_then(|name| {
        let place = folder.join(&name);
        if !place.is_dir() {
            fetch(&name, folder)
                .with_context(|| format!("cannot fetch Debian's package {name}"))?;
        }
        open(&place)
    });
    fresh.or_else(|why| newest(folder).ok_or(why))
}

/// The name of the current kernel's package.
fn current() -> Result<String> {
    let told = text(Command::new("apt-cache").args(["depends", METAPACKAGE]))
        .context("no apt-cache here to ask for Debian's kernel")?;
    named(&told).with_context(|| format!("apt knows no package {METAPACKAGE}"))
}

fn named(told: &str) -> Option<String> {
    let names = told.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.map(str::trim).find(|name| name.starts_with("linux-image-")).map(str::to_owned)
}

fn fetch(name: &str, folder: &Path) -> Result<()> {
    let work = tempfile::tempdir_in(folder)?;
    let download = || text(Command::new("apt-get").current_dir(&work).args(["download", name]));
    if download().is_err() {
        // The lists may be older than the archive.
        text(Command::new("apt-get").arg("update"))?;
        download()?;
    }
    let mut files = std::fs::read_dir(&work)?.filter_map(|entry| Some(entry.ok()?.path()));
    let package = files.find(|path| path.extension().is_some_and(|it| it == "deb"));
    let package = package.context("apt-get download left no file")?;
    let unpacked = work.path().join("unpacked");
    text(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&unpacked))?;
    // Whole or not at all.
    Ok(std::fs::rename(unpacked, folder.join(name))?)
}

fn open(place: &Path) -> Result<Kernel> {
    let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let release = name.trim_start_matches("linux-image-").to_owned();
    let kernel = Kernel {
        image: place.join("boot").join(format!("vmlinuz-{release}")),
        modules: place.join("lib/modules").join(&release).join("kernel"),
        name: release,
    };
    ensure!(kernel.image.is_file(), "there is no {}", kernel.image.display());
    ensure!(kernel.modules.is_dir(), "there is no {}", kernel.modules.display());
    Ok(kernel)
}

fn newest(folder: &Path) -> Option<Kernel> {
    let age = |path: &PathBuf| path.metadata().and_then(|meta| meta.modified()).ok();
    let all = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut all: Vec<PathBuf> = all.filter(|path| path.is_dir()).collect();
    all.sort_by_key(age);
    all.iter().rev().find_map(|place| open(place).ok())
}

/// What a program prints; an error with what it said if it fails.
pub(super) fn text(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}", said.lines().last().unwrap_or("it failed"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metapackage_names_the_kernel() {
        let told =
            "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-57-cloud-amd64\n  Suggests: x\n";
        assert_eq!(named(told).as_deref(), Some("linux-image-6.1.0-57-cloud-amd64"));
        assert_eq!(named("linux-image-cloud-amd64\n"), None);
    }
}
