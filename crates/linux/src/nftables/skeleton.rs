use std::io::{self, Write};
use std::process::{Command, Stdio};

use super::TableFamily;

/// `nft` could not be run, or refused the text.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    #[error("cannot run nft; it comes with the package nftables")]
    Run(#[source] io::Error),
    #[error("nft refuses the rules: {0}")]
    Refused(String),
}

/// Gives `text` to `nft -f -`, which makes one transaction of it, in this thread's network
/// namespace. Returns the process ID that `nft` had.
pub fn run_nft(text: &str) -> Result<u32, NftError> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(NftError::Run)?;
    // A program that fails early closes its input; what it says about that is on stderr.
    if let Some(mut input) = child.stdin.take() {
        let _ = input.write_all(text.as_bytes());
    }
    let id = child.id();
    let output = child.wait_with_output().map_err(NftError::Run)?;
    if output.status.success() {
        return Ok(id);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<_> = said.lines().filter(|line| line.contains("Error")).take(5).collect();
    if errors.is_empty() {
        // It did not come as far as an error of its own.
        let first = said.lines().next().unwrap_or_default();
        return Err(NftError::Refused(format!("{}: {first}", output.status)));
    }
    Err(NftError::Refused(errors.join("; ")))
}

/// Removes a table with all it holds; one that is not there is no error.
/// Returns the process ID that `nft` had.
pub fn delete_table(family: TableFamily, table: &str) -> Result<u32, NftError> {
    let family = family.keyword();
    run_nft(&format!("table {family} {table}\ndelete table {family} {table}\n"))
}

/// Removes the empty chain `note` from a table that has it, and the table too when nothing else is
/// left in it but the kernel's own chains, accepting everything, as iptables leaves behind. Without
/// `nft`, they stay: they do nothing.
pub fn delete_table_if_unused(family: TableFamily, table: &str, note: &str) {
    let family = family.keyword();
    let listed = Command::new("nft").args(["list", "table", family, table]).output();
    let Ok(listed) = listed else { return };
    let text = String::from_utf8_lossy(&listed.stdout);
    let noted = format!("\tchain {note} {{\n\t}}\n");
    if !listed.status.success() || !text.contains(&noted) {
        return;
    }
    let what = if is_unused(&text.replace(&noted, "")) {
        format!("table {family} {table}")
    } else {
        format!("chain {family} {table} {note}")
    };
    let _ = run_nft(&format!("delete {what}\n"));
}

fn is_unused(listed: &str) -> bool {
    let mut lines = listed.lines().map(str::trim).filter(|line| !line.is_empty());
    let plain = |line: &str| {
        line == "}"
            || (line.starts_with("chain ") && line.ends_with('{'))
            || (line.starts_with("type ")
                && line.contains(" hook ")
                && line.ends_with("policy accept;"))
    };
    let head = |line: &str| line.starts_with("table ") || line.starts_with('#');
    // A chain without a hook is somebody's, if only for later.
    listed.matches("chain ").count() == listed.matches(" hook ").count()
        && lines.all(|line| plain(line) || head(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_nothing_is_unused() {
        let chain =
            "\tchain INPUT {\n\t\ttype filter hook input priority filter; policy accept;\n\t}\n";
        let table = |inside: &str| format!("table ip filter {{\n{inside}}}\n");
        assert!(is_unused(&table("")) && is_unused(&table(chain)));
        for used in [
            chain.replace("accept", "drop"),
            chain.replace("accept;", "accept;\n\t\tcounter accept"),
            "\tchain mine {\n\t}\n".to_owned(),
            "\tset s {\n\t\ttype ipv4_addr\n\t}\n".to_owned(),
        ] {
            assert!(!is_unused(&table(&used)), "{used}");
        }
    }
}
