//! Finding and running iptables' programs.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::{Saved, Table};
use crate::nftables::TableFamily;

/// iptables could not be run, or refused.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("there is no iptables here; it comes with the package iptables")]
    Absent,
    #[error("cannot run {program}")]
    Run {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("{program} failed: {said}")]
    Failed { program: String, said: String },
    #[error("{program} failed: {said}; this kernel lacks {}", lacking.join(", "))]
    Lacking { program: String, said: String, lacking: Vec<String> },
}

/// Where iptables keeps its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// In nf_tables.
    Nft,
    /// In tables of its own.
    Legacy,
}

/// One kind of iptables, as installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    pub kind: Kind,
    /// What the programs' names have after `iptables`: `-nft`, `-legacy` or nothing.
    suffix: &'static str,
    version: (u32, u32, u32),
}

/// Chains by which a kubelet or an earlier proxy tells which kind it uses.
const HINTS: [&str; 2] = ["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"];

impl Programs {
    /// Every kind that is installed here, nf_tables' first.
    pub fn installed() -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for suffix in ["-nft", "-legacy", ""] {
            let Some(path) = find(&format!("iptables{suffix}")) else { continue };
            let Ok(output) = Command::new(path).arg("--version").output() else { continue };
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let Some((kind, version)) = read_version(&text) else { continue };
            if !found.iter().any(|known| known.kind == kind) {
                found.push(Self { kind, suffix, version });
            }
        }
        found
    }

    /// The kind to use in the network namespace of the calling thread: where a kubelet left its
    /// hint, else where `chain` of the table `nat` is already, else the first.
    pub fn choose(chain: &str) -> Result<Self, RestoreError> {
        let installed = Self::installed();
        let hinted = installed.iter().find(|programs| {
            let saved = programs.look(TableFamily::Ipv4, Table::Mangle);
            HINTS.iter().any(|hint| saved.has(hint))
        });
        let used = || installed.iter().find(|it| it.look(TableFamily::Ipv4, Table::Nat).has(chain));
        hinted.or_else(used).or(installed.first()).cloned().ok_or(RestoreError::Absent)
    }

    /// Whether `MASQUERADE` takes `--random-fully`.
    pub fn has_random_fully(&self) -> bool {
        self.version >= (1, 6, 2)
    }

    fn program(&self, family: TableFamily, what: &str) -> String {
        let stem = match family {
            TableFamily::Ipv4 => "iptables",
            TableFamily::Ipv6 => "ip6tables",
        };
        format!("{stem}{}{what}", self.suffix)
    }

    /// What the program printed, and the process ID that it had.
    fn run(
        &self,
        program: &str,
        arguments: &[&str],
        input: &str,
    ) -> Result<(Output, u32), RestoreError> {
        let failed = |source| RestoreError::Run { program: program.to_owned(), source };
        let path = find(program).ok_or(RestoreError::Absent)?;
        let mut child = Command::new(path)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        // A program that fails early closes its input; what it says about that is on stderr.
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(input.as_bytes());
        }
        let id = child.id();
        let output = child.wait_with_output().map_err(failed)?;
        if output.status.success() {
            return Ok((output, id));
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let lines = text.lines().map(str::trim).filter(|line| {
            !line.is_empty() && !line.starts_with('#') && !line.starts_with("Try `")
        });
        let mut said = lines.take(4).collect::<Vec<_>>().join("; ");
        if said.is_empty() {
            said = output.status.to_string();
        }
        Err(RestoreError::Failed { program: program.to_owned(), said })
    }

    /// What a table holds, in the network namespace of the calling thread.
    pub fn save(&self, family: TableFamily, table: Table) -> Result<Saved, RestoreError> {
        let (output, _) = self.run(&self.program(family, "-save"), &["-t", table.name()], "")?;
        Ok(Saved::new(String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// As [`Programs::save`], but neither fails nor makes a legacy table only to look at it.
    pub fn look(&self, family: TableFamily, table: Table) -> Saved {
        if self.kind == Kind::Legacy {
            let names = match family {
                TableFamily::Ipv4 => "/proc/thread-self/net/ip_tables_names",
                TableFamily::Ipv6 => "/proc/thread-self/net/ip6_tables_names",
            };
            let names = fs::read_to_string(names).unwrap_or_default();
            if !names.lines().any(|line| line == table.name()) {
                return Saved::default();
            }
        }
        self.save(family, table).unwrap_or_default()
    }

    /// Changes the chains that `text` names and leaves all others as they are; each table of it
    /// at once. Returns the process ID that the program had. On failure, says which extensions of
    /// `text` the kernel does not have.
    pub fn restore(&self, family: TableFamily, text: &str) -> Result<u32, RestoreError> {
        let name = self.program(family, "-restore");
        match self.run(&name, &["-w", "5", "--noflush", "--counters"], text) {
            Ok((_, id)) => Ok(id),
            Err(RestoreError::Failed { program, said }) => {
                let lacking = self.lacking(&name, text);
                Err(match lacking.is_empty() {
                    true => RestoreError::Failed { program, said },
                    false => RestoreError::Lacking { program, said, lacking },
                })
            }
            Err(other) => Err(other),
        }
    }

    /// Which matches and targets used in `text` cannot be had: each is tried in a chain of its
    /// own, which is gone afterwards.
    fn lacking(&self, program: &str, text: &str) -> Vec<String> {
        let used: BTreeSet<&Extension> = EXTENSIONS
            .iter()
            .filter(|extension| text.contains(&format!("{} {}", extension.option, extension.name)))
            .collect();
        let mut lacking = Vec::new();
        for extension in used {
            let Extension { table, option, name, example } = extension;
            let trial = format!(
                "*{table}\n:PORTOLAN-TRIAL - [0:0]\n-A PORTOLAN-TRIAL {example}\nCOMMIT\n*{table}\n:PORTOLAN-TRIAL - [0:0]\n-X PORTOLAN-TRIAL\nCOMMIT\n"
            );
            if self.run(program, &["-w", "5", "--noflush"], &trial).is_err() {
                let what = if *option == "-m" { "match" } else { "target" };
                lacking.push(format!("the {what} {name}"));
                let clean =
                    format!("*{table}\n:PORTOLAN-TRIAL - [0:0]\n-X PORTOLAN-TRIAL\nCOMMIT\n");
                let _ = self.run(program, &["-w", "5", "--noflush"], &clean);
            }
        }
        // All of them at once: then it is not about any of them.
        if lacking.len() == EXTENSIONS.len() {
            lacking.clear();
        }
        lacking
    }
}

/// A part of iptables that a kernel may be without.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Extension {
    table: &'static str,
    option: &'static str,
    name: &'static str,
    example: &'static str,
}

const fn extension(
    table: &'static str,
    option: &'static str,
    name: &'static str,
    example: &'static str,
) -> Extension {
    Extension { table, option, name, example }
}

const EXTENSIONS: [Extension; 12] = [
    extension("filter", "-m", "comment", "-m comment --comment trial"),
    extension("filter", "-m", "conntrack", "-m conntrack --ctstate NEW"),
    extension("filter", "-m", "addrtype", "-m addrtype --dst-type LOCAL"),
    extension("filter", "-m", "mark", "-m mark --mark 0x1/0x1"),
    extension("filter", "-m", "tcp", "-p tcp -m tcp --dport 1"),
    extension("filter", "-m", "udp", "-p udp -m udp --dport 1"),
    extension("nat", "-m", "statistic", "-m statistic --mode random --probability 0.5"),
    extension("nat", "-m", "recent", "-m recent --set --name PORTOLAN-TRIAL --rsource"),
    extension("filter", "-j", "REJECT", "-j REJECT"),
    extension("nat", "-j", "MARK", "-j MARK --set-xmark 0x1/0x1"),
    extension("nat", "-j", "MASQUERADE", "-j MASQUERADE"),
    extension("nat", "-j", "DNAT", "-p tcp -m tcp -j DNAT --to-destination :1"),
];

/// Looks along `PATH`, and where administrators' programs are, which a service's may not name.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// Reads `iptables v1.8.9 (nf_tables)`.
fn read_version(text: &str) -> Option<(Kind, (u32, u32, u32))> {
    let mut words = text.split_whitespace().skip(1);
    let mut numbers = words.next()?.strip_prefix('v')?.split('.').map(|n| n.parse().ok());
    let version = (numbers.next()??, numbers.next()??, numbers.next().flatten().unwrap_or(0));
    // Before 1.8 there was only one kind, and no word for it.
    let kind = if words.next() == Some("(nf_tables)") { Kind::Nft } else { Kind::Legacy };
    Some((kind, version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::{self, NetNs};

    #[test]
    fn versions_are_read() {
        assert_eq!(read_version("iptables v1.8.9 (nf_tables)"), Some((Kind::Nft, (1, 8, 9))));
        assert_eq!(read_version("iptables v1.8.10 (legacy)\n"), Some((Kind::Legacy, (1, 8, 10))));
        assert_eq!(read_version("iptables v1.6.1"), Some((Kind::Legacy, (1, 6, 1))));
        assert_eq!(read_version("bash: no"), None);
    }

    fn inside(work: impl FnOnce() + Send) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ns");
        NetNs::create(&path).unwrap().run(work).unwrap();
        netns::remove(&path).unwrap();
    }

    #[test]
    fn both_kinds_keep_what_they_are_given_and_nothing_else_changes() {
        let installed = Programs::installed();
        if installed.is_empty() {
            eprintln!("skipped: iptables is not installed");
            return;
        }
        for programs in installed {
            for family in [TableFamily::Ipv4, TableFamily::Ipv6] {
                inside(|| {
                    assert!(!programs.look(family, Table::Nat).has("OURS"));
                    let text = "*nat\n:OURS - [0:0]\n:THEIRS - [0:0]\n-A THEIRS -j RETURN\n-I OUTPUT -j THEIRS\nCOMMIT\n";
                    programs.restore(family, text).unwrap();
                    let change = "*nat\n:OURS - [0:0]\n-A OURS -m comment --comment \"a b\" -j RETURN\nCOMMIT\n";
                    programs.restore(family, change).unwrap();
                    let saved = programs.look(family, Table::Nat);
                    assert!(
                        saved
                            .holds("OURS", &[crate::iptables::Rule::jump("RETURN").comment("a b")])
                    );
                    assert!(saved.holds("THEIRS", &[crate::iptables::Rule::jump("RETURN")]));
                    assert!(saved.holds("OUTPUT", &[crate::iptables::Rule::jump("THEIRS")]));
                });
            }
        }
    }

    #[test]
    fn the_kind_in_use_is_the_kind_chosen() {
        let installed = Programs::installed();
        if installed.len() < 2 {
            eprintln!("skipped: not both kinds of iptables are installed");
            return;
        }
        for programs in &installed {
            inside(|| {
                assert_eq!(Programs::choose("MINE").unwrap(), installed[0], "none is in use");
                programs.restore(TableFamily::Ipv4, "*nat\n:MINE - [0:0]\nCOMMIT\n").unwrap();
                assert_eq!(&Programs::choose("MINE").unwrap(), programs);
            });
            inside(|| {
                let hint = "*mangle\n:KUBE-IPTABLES-HINT - [0:0]\nCOMMIT\n";
                programs.restore(TableFamily::Ipv4, hint).unwrap();
                assert_eq!(&Programs::choose("MINE").unwrap(), programs);
            });
        }
    }

    #[test]
    fn a_refusal_says_what_and_why() {
        let Some(programs) = Programs::installed().into_iter().next() else {
            eprintln!("skipped: iptables is not installed");
            return;
        };
        inside(|| {
            let text = "*nat\n-A NOWHERE -j RETURN\nCOMMIT\n";
            let error = programs.restore(TableFamily::Ipv4, text).unwrap_err().to_string();
            assert!(error.contains("iptables") && error.contains("-restore"), "{error}");
            assert!(!error.contains("lacks"), "{error}");
        });
    }

    #[test]
    fn sizes_tell_of_changes_to_legacy_tables() {
        let installed = Programs::installed();
        let Some(programs) = installed.iter().find(|it| it.kind == Kind::Legacy) else {
            eprintln!("skipped: the legacy kind of iptables is not installed");
            return;
        };
        for family in [TableFamily::Ipv4, TableFamily::Ipv6] {
            inside(|| {
                programs.restore(family, "*nat\n:OURS - [0:0]\nCOMMIT\n").unwrap();
                let sizes = super::super::Sizes::open(family).unwrap();
                let before = sizes.of(Table::Nat).unwrap();
                programs.restore(family, "*nat\n-A OURS -j RETURN\nCOMMIT\n").unwrap();
                assert_ne!(sizes.of(Table::Nat).unwrap(), before);
            });
        }
    }
}
