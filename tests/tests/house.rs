//! The house rules that the compiler does not know: crate walls, where `unsafe` may be, what
//! files may say. Each rule is stated where it is checked.

#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Longer than this is shown, so that somebody looks; a table may be long, a mind may not.
const SHOWN_LINES: usize = 250;
/// Longer than this fails,
const MOST_LINES: usize = 900;
/// but for these, which are tables.
const TABLES: [&str; 2] = ["schema/types.rs", "protobuf/messages.rs"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Files that people write, below the repository's root.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    walk(&root(), &mut files);
    assert!(files.len() > 20, "only {} files found in {}", files.len(), root().display());
    files
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let Ok(kind) = entry.file_type() else { continue };
        if name == ".git" {
            continue;
        }
        if kind.is_dir() && !name.starts_with("target") {
            walk(&path, files);
        } else if kind.is_file() && name != "Cargo.lock" {
            files.push(path);
        }
    }
}

fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn sources() -> impl Iterator<Item = (PathBuf, String)> {
    let rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    files()
        .into_iter()
        .filter(rust)
        .filter_map(|path| std::fs::read_to_string(&path).ok().map(|text| (path, text)))
}

fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

/// The ordinary dependencies of a package (those for its tests may be anything).
fn dependencies(package: &Value) -> BTreeSet<String> {
    let all = package["dependencies"].as_array().into_iter().flatten();
    all.filter(|dependency| dependency["kind"].is_null())
        .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned))
        .collect()
}

/// Lines point down: nothing points up, and the two halves of a cluster meet only in API objects.
#[test]
fn crates_depend_only_downwards() {
    let allowed = |package: &str| -> &[&str] {
        match package {
            "portolan-model" | "portolan-linux" => &[],
            "portolan-apiserver" | "portolan-controllers" => &["portolan-model"],
            "portolan-node" => &["portolan-model", "portolan-linux"],
            "portolan" => &[
                "portolan-model",
                "portolan-linux",
                "portolan-apiserver",
                "portolan-controllers",
                "portolan-node",
            ],
            "portolan-tests" | "xtask" => &[],
            other => panic!("a package that no rule names: {other}"),
        }
    };
    for package in packages() {
        let name = package["name"].as_str().expect("a name");
        for dependency in dependencies(&package).iter().filter(|name| name.starts_with("portolan"))
        {
            assert!(
                allowed(name).contains(&dependency.as_str()),
                "{name} may not depend on {dependency}"
            );
        }
    }
}

/// `anyhow` and `clap` are for programs; libraries have errors that a caller can tell apart.
#[test]
fn anyhow_and_clap_only_in_programs() {
    for package in packages() {
        let name = package["name"].as_str().expect("a name");
        if ["portolan", "portolan-tests", "xtask"].contains(&name) {
            continue;
        }
        for banned in ["anyhow", "clap"] {
            assert!(!dependencies(&package).contains(banned), "{name} may not depend on {banned}");
        }
    }
}

/// The model is values and functions: no runtime, no sockets, no clock, no randomness.
#[test]
fn the_model_is_pure() {
    let banned = [
        "tokio", "futures", "hyper", "kube", "rand", "socket2", "rustix", "nix", "libc", "tracing",
    ];
    let packages = packages();
    let model = packages
        .iter()
        .find(|package| package["name"] == "portolan-model")
        .expect("portolan-model");
    for dependency in dependencies(model) {
        assert!(
            !banned.contains(&dependency.as_str()),
            "portolan-model may not depend on {dependency}"
        );
    }
    for (path, text) in sources().filter(|(path, _)| short(path).starts_with("crates/model/src")) {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for words in [
            "std::net::Tcp",
            "std::net::Udp",
            "std::fs::",
            "SystemTime::now",
            "Instant::now",
            "std::thread",
        ] {
            assert!(!code.contains(words), "{}: {words} in the model", short(&path));
        }
    }
}

/// The compiler denies `unsafe` everywhere; only `portolan-linux` may ask for an exception.
#[test]
fn unsafe_only_in_linux() {
    let lint = ["unsafe", "code"].join("_");
    for package in packages() {
        let manifest = PathBuf::from(package["manifest_path"].as_str().expect("a path"));
        let text = std::fs::read_to_string(&manifest).expect("a manifest");
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{} lacks the workspace's lints",
            short(&manifest)
        );
    }
    for (path, text) in sources() {
        let may = short(&path).starts_with("crates/linux/");
        assert!(
            may || !text.contains(&lint),
            "{}: an exception for unsafe code outside portolan-linux",
            short(&path)
        );
    }
}

/// Nothing names the machine or the directory in which it happened to be written.
#[test]
fn no_machine_paths() {
    // In pieces, for this file is read too.
    let banned = [["/wo", "rk/"], ["/ho", "me/"], ["/ro", "ot/"], ["/Use", "rs/"]]
        .map(|parts| parts.concat());
    for path in files() {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for (number, line) in text.lines().enumerate() {
            for words in &banned {
                // A path of its own, not the end of another such as /proc/PID/….
                let begins = |at: usize| {
                    !line[..at].ends_with(|end: char| end.is_alphanumeric() || end == '}')
                };
                let found = line.match_indices(words.as_str()).any(|(at, _)| begins(at));
                assert!(!found, "{}:{}: {line}", short(&path), number + 1);
            }
        }
    }
}

/// Files stay of a size that a reader can hold in mind.
#[test]
fn files_are_of_readable_size() {
    let mut long: Vec<(usize, String)> = sources()
        .map(|(path, text)| (text.lines().count(), short(&path)))
        .filter(|(lines, _)| *lines > SHOWN_LINES)
        .collect();
    long.sort_unstable_by(|left, right| right.cmp(left));
    for (lines, path) in &long {
        println!("{lines:>6} lines  {path}");
    }
    let table = |path: &str| TABLES.iter().any(|table| path.ends_with(table));
    let too_long: Vec<_> =
        long.iter().filter(|(lines, path)| *lines > MOST_LINES && !table(path)).collect();
    assert!(too_long.is_empty(), "split these: {too_long:?}");
}

/// Every promise that is kept today has a test named after its number.
#[test]
fn every_promise_has_a_test() {
    let promises = (1..=15).chain(20..=26).chain([28, 29]).chain(40..=45);
    let tests: String = sources()
        .filter(|(path, _)| short(path).starts_with("tests/tests/"))
        .map(|(_, text)| text)
        .collect();
    for number in promises {
        assert!(
            tests.contains(&format!("fn promise_{number:02}_")),
            "promise {number} has no test"
        );
    }
}

/// A script that everybody starts with must be readable in one sitting, and executable.
#[test]
fn the_entry_points_are_executable() {
    use std::os::unix::fs::PermissionsExt;
    for name in ["x", ".ci/run"] {
        let mode = std::fs::metadata(root().join(name)).expect(name).permissions().mode();
        assert!(mode & 0o111 == 0o111, "{name} is not executable");
    }
}
