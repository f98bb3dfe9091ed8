//! What this machine has: the binary under test, the programs, the rights.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The programs that the tests drive.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The `portolan` under test: `PORTOLAN_BIN`, else the newest one in the target directory.
    pub portolan: PathBuf,
    /// `KUBECTL`, else `kubectl` on the PATH.
    pub kubectl: PathBuf,
    /// `PORTOLAN_PROBE`, else `portolan-probe` of this package. Pods have a `/tmp` and a `/run` of
    /// their own: to run in them it must lie elsewhere.
    pub probe: PathBuf,
}

impl Environment {
    /// The environment, or `None` after saying on standard error why the calling test is skipped.
    ///
    /// # Panics
    /// With `PORTOLAN_TESTS_REQUIRED=1`, instead of skipping.
    pub fn find() -> Option<&'static Self> {
        static FOUND: OnceLock<Result<Environment, String>> = OnceLock::new();
        match FOUND.get_or_init(Self::look) {
            Ok(environment) => Some(environment),
            Err(why) => {
                skip(why);
                None
            }
        }
    }

    fn look() -> Result<Self, String> {
        if !is_root() {
            return Err("network namespaces need root".into());
        }
        for program in ["nft", "ip", "dig", "curl", "unshare", "conntrack"] {
            on_path(program)
                .ok_or_else(|| format!("{program} is not installed (./x installs it)"))?;
        }
        let kubectl = match std::env::var_os("KUBECTL") {
            Some(path) => PathBuf::from(path),
            None => on_path("kubectl").ok_or("kubectl is not installed (./x installs it)")?,
        };
        let probe = match std::env::var_os("PORTOLAN_PROBE") {
            Some(path) => PathBuf::from(path),
            None => beside_the_test("portolan-probe")
                .ok_or("portolan-probe was not built (cargo build -p portolan-tests)")?,
        };
        let portolan = match std::env::var_os("PORTOLAN_BIN") {
            Some(path) => PathBuf::from(path),
            None => beside_the_test("portolan")
                .ok_or("portolan was not built (cargo build -p portolan, or set PORTOLAN_BIN)")?,
        };
        if !portolan.is_file() {
            return Err(format!("there is no {}", portolan.display()));
        }
        Ok(Self { portolan, kubectl, probe })
    }
}

/// Says that the calling test is skipped; fails it where every test is required.
///
/// # Panics
/// With `PORTOLAN_TESTS_REQUIRED=1`.
#[track_caller]
pub fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    assert!(
        std::env::var_os("PORTOLAN_TESTS_REQUIRED").is_none(),
        "{test} may not be skipped here: {why}"
    );
    // Not eprintln!: libtest would swallow it.
    let _ = writeln!(std::io::stderr(), "{test}: skipped: {why}");
}

pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// The path of `program`, looked for on the PATH and where Debian keeps administrators' programs.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

/// The newest `name` in the profiles' directories of the target directory this test was built into.
fn beside_the_test(name: &str) -> Option<PathBuf> {
    let executable = std::env::current_exe().ok()?;
    let profile = executable.parent()?.parent()?;
    let own = profile.join(name);
    let candidates = [own, sibling(profile, "ci", name), sibling(profile, "release", name)];
    let age = |file: &PathBuf| file.metadata().and_then(|metadata| metadata.modified()).ok();
    candidates.into_iter().filter(|file| file.is_file()).max_by_key(age)
}

fn sibling(profile: &Path, name: &str, file: &str) -> PathBuf {
    profile.with_file_name(name).join(file)
}
