//! UDP lines, each from a socket (and so a source port) of its own or all from one.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::tally::Tally;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The address to send to
    address: SocketAddr,
    /// The line to send
    #[arg(default_value = "hostname")]
    line: String,
    /// Send this many and end; without it, until standard input closes
    #[arg(long)]
    count: Option<u64>,
    /// All from one socket, so that connection tracking sees one flow
    #[arg(long)]
    one_socket: bool,
    /// Milliseconds from one line to the next
    #[arg(long, default_value_t = 10)]
    interval_ms: u64,
    /// Milliseconds after which a line counts as lost
    #[arg(long, default_value_t = 2000)]
    timeout_ms: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let timeout = Duration::from_millis(arguments.timeout_ms);
    let shared = arguments.one_socket.then(|| socket(arguments.address, timeout)).transpose()?;
    let request = || {
        let own = if shared.is_none() { Some(socket(arguments.address, timeout)?) } else { None };
        let socket = own.as_ref().or(shared.as_ref()).context("no socket")?;
        ask(socket, &arguments.line)
    };
    let mut tally = Tally::new();
    match arguments.count {
        None => tally.until_input_closes(Duration::from_millis(arguments.interval_ms), request),
        Some(count) => {
            for _ in 0..count {
                let before = Instant::now();
                tally.count(request(), before.elapsed());
            }
            tally.print()
        }
    }
}

fn socket(address: SocketAddr, timeout: Duration) -> Result<UdpSocket> {
    let any: SocketAddr = if address.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(timeout))?;
    socket.connect(address)?;
    Ok(socket)
}

fn ask(socket: &UdpSocket, line: &str) -> Result<String> {
    socket.send(format!("{line}\n").as_bytes()).context("sending")?;
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer).context("receiving")?;
    Ok(String::from_utf8_lossy(&buffer[..length]).trim().to_owned())
}
