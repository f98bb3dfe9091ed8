//! HTTP requests, each on a connection of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::tally::Tally;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The address to connect to
    address: SocketAddr,
    /// The path to ask for
    #[arg(default_value = "/hostname")]
    path: String,
    /// Milliseconds from the start of one request to the start of the next
    #[arg(long, default_value_t = 10)]
    interval_ms: u64,
    /// Milliseconds after which a request counts as lost
    #[arg(long, default_value_t = 5000)]
    timeout_ms: u64,
    /// Make this many requests and end
    #[arg(long)]
    count: Option<u64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let timeout = Duration::from_millis(arguments.timeout_ms);
    let request = || get(arguments.address, &arguments.path, timeout);
    let mut tally = Tally::new();
    match arguments.count {
        None => tally.until_input_closes(Duration::from_millis(arguments.interval_ms), request),
        Some(count) => {
            for _ in 0..count {
                let before = std::time::Instant::now();
                tally.count(request(), before.elapsed());
            }
            tally.print()
        }
    }
}

/// The body of a 200 answer; anything else is an error that says which step failed.
fn get(address: SocketAddr, path: &str, timeout: Duration) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, timeout).context("connecting")?;
    stream.set_read_timeout(Some(timeout))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).context("writing the request")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("reading the answer")?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) =
        answer.split_once("\r\n\r\n").with_context(|| format!("cut short: {answer:?}"))?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.contains(" 200"), "{status}");
    Ok(body.trim().to_owned())
}
