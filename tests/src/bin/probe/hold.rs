//! One TCP connection to the echo image's line protocol, which must never break.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::tally::Tally;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The address to connect to
    address: SocketAddr,
    /// Milliseconds between two lines
    #[arg(long, default_value_t = 10)]
    interval_ms: u64,
    /// Milliseconds after which a line counts as lost
    #[arg(long, default_value_t = 10000)]
    timeout_ms: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let timeout = Duration::from_millis(arguments.timeout_ms);
    let stream = TcpStream::connect_timeout(&arguments.address, timeout).context("connecting")?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let host = exchange(&mut writer, &mut reader, "hostname")?;
    let mut number = 0_u64;
    Tally::new().until_input_closes(Duration::from_millis(arguments.interval_ms), || {
        number += 1;
        let answer = exchange(&mut writer, &mut reader, &format!("echo {number}"))?;
        ensure!(answer == number.to_string(), "asked for {number}, got {answer:?}");
        Ok(host.clone())
    })
}

fn exchange(writer: &mut TcpStream, reader: &mut impl BufRead, line: &str) -> Result<String> {
    writer.write_all(format!("{line}\n").as_bytes()).context("writing a line")?;
    let mut answer = String::new();
    let read = reader.read_line(&mut answer).context("reading a line")?;
    ensure!(read > 0, "the connection was closed");
    Ok(answer.trim().to_owned())
}
