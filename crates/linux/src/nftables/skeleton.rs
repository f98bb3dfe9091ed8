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
/// namespace.
pub fn run_nft(text: &str) -> Result<(), NftError> {
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
    let output = child.wait_with_output().map_err(NftError::Run)?;
    if output.status.success() {
        return Ok(());
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
pub fn delete_table(family: TableFamily, table: &str) -> Result<(), NftError> {
    let family = family.keyword();
    run_nft(&format!("table {family} {table}\ndelete table {family} {table}\n"))
}
