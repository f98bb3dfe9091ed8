//! Kernel parameters under `/proc/sys`.
//!
//! Those under `net` are the calling thread's network namespace's: use them inside
//! [`crate::netns::NetNs::run`].

use std::{fs, path::PathBuf};

use crate::error::{Attempt, Attempted};

/// The file of a parameter. Dots separate, slashes may stand for dots inside a name
/// (`net/ipv4/conf/eth0.100/forwarding`), as sysctl(8) has it.
fn path(name: &str) -> PathBuf {
    let name = if name.contains('/') { name.to_owned() } else { name.replace('.', "/") };
    PathBuf::from("/proc/sys").join(name)
}

/// Sets a parameter, such as `net.ipv4.ip_forward`.
pub fn set(name: &str, value: &str) -> Attempt<()> {
    fs::write(path(name), value).attempted(|| format!("set sysctl {name}={value}"))
}

/// Reads a parameter, without the newline at its end.
pub fn get(name: &str) -> Attempt<String> {
    let text = fs::read_to_string(path(name)).attempted(|| format!("read sysctl {name}"))?;
    Ok(text.trim_end().to_owned())
}

/// Sets several parameters; those that this kernel does not have are passed over.
///
/// Returns the names that do not exist here.
pub fn set_present<'a>(pairs: &[(&'a str, &str)]) -> Attempt<Vec<&'a str>> {
    let mut missing = Vec::new();
    for (name, value) in pairs {
        match set(name, value) {
            Err(e) if e.missing() => missing.push(*name),
            other => other?,
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::{self, NetNs};

    #[test]
    fn parameters_belong_to_the_namespace() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ns");
        let ns = NetNs::create(&path).unwrap();
        let outside = get("net.ipv4.ip_forward").unwrap();
        ns.run(|| {
            assert_eq!(get("net.ipv4.ip_forward").unwrap(), "0");
            set("net/ipv4/ip_forward", "1").unwrap();
            assert_eq!(get("net.ipv4.ip_forward").unwrap(), "1");
            assert_eq!(set_present(&[("net.ipv4.no_such", "1")]).unwrap(), ["net.ipv4.no_such"]);
        })
        .unwrap();
        assert_eq!(get("net.ipv4.ip_forward").unwrap(), outside);
        netns::remove(&path).unwrap();
    }
}
