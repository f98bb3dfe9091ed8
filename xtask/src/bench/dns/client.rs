//! DNS over UDP as far as the benchmark needs it: questions, one at a time, and an upstream.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// A query for a line of dnsperf's: a name and a type.
fn message(line: &str, id: u16) -> Result<Vec<u8>> {
    let (name, kind) = line.split_once(' ').context("a name and a type")?;
    let kind: u8 = match kind {
        "A" => 1,
        "PTR" => 12,
        "SRV" => 33,
        other => anyhow::bail!("type {other} is not known here"),
    };
    let [high, low] = id.to_be_bytes();
    let mut message = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, kind, 0, 1]);
    // An OPT record: answers up to 1,232 octets.
    message.extend_from_slice(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
    Ok(message)
}

fn socket(to: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(socket)
}

/// An answer without the OPT record at its end, so that the last record's data end it.
pub(super) fn query(to: SocketAddr, line: &str) -> Result<Vec<u8>> {
    let socket = socket(to)?;
    socket.send(&message(line, 1)?)?;
    let mut buffer = vec![0; 4096];
    let length = socket.recv(&mut buffer).context("no answer")?;
    buffer.truncate(length.saturating_sub(11));
    Ok(buffer)
}

/// Microseconds from the moment that each of `count` questions was due to its answer, `rate` of
/// them a second whether answers come or not; and how many were never answered.
///
/// The client has a processor of its own and never sleeps, so what is measured is the server and
/// the way there. One that falls behind is not spared: waiting questions count from when they were
/// due.
pub(super) fn paced(
    to: SocketAddr,
    lines: &[String],
    rate: f64,
    count: usize,
) -> Result<(Vec<f64>, usize)> {
    let socket = socket(to)?;
    socket.set_nonblocking(true)?;
    let messages = lines.iter().take(count).map(|line| message(line, 0));
    let mut messages = messages.collect::<Result<Vec<_>>>()?;
    let client = move || -> Result<(Vec<f64>, usize)> {
        let mut processors = nix::sched::CpuSet::new();
        processors.set(1)?;
        nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &processors)?;
        let mut times = vec![f64::NAN; count];
        let (mut sent, mut answered, mut buffer) = (0_usize, 0, [0; 4096]);
        let length = messages.len();
        let due = |n: usize| Duration::from_secs_f64(n as f64 / rate);
        let begun = Instant::now();
        while answered < count && begun.elapsed() < due(count) + Duration::from_secs(2) {
            if sent < count && begun.elapsed() >= due(sent) {
                let message = &mut messages[sent % length];
                message[..2].copy_from_slice(&(sent as u16).to_be_bytes());
                // What the socket has no room for is lost, as it would be on a network.
                let _ = socket.send(message);
                sent += 1;
                continue;
            }
            match socket.recv(&mut buffer) {
                Ok(2..) => {
                    // The last question that had this number.
                    let id = u16::from_be_bytes([buffer[0], buffer[1]]);
                    let back = (sent as u16).wrapping_sub(1).wrapping_sub(id);
                    let Some(n) = sent.checked_sub(1 + usize::from(back)) else { continue };
                    if times[n].is_nan() {
                        times[n] = (begun.elapsed() - due(n)).as_secs_f64() * 1e6;
                        answered += 1;
                    }
                }
                _ => std::hint::spin_loop(),
            }
        }
        times.retain(|time| !time.is_nan());
        Ok((times, count - answered))
    };
    let client = std::thread::spawn(client);
    client.join().map_err(|_| anyhow::anyhow!("the client has panicked"))?
}

/// The value that `percent` of the values do not exceed.
pub(in crate::bench) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// Answers every question with one address.
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
}

impl Upstream {
    pub(super) fn start() -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let address = socket.local_addr()?;
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&answer(&buffer[..length]), peer);
            }
        });
        Ok(Self { address })
    }
}

fn answer(query: &[u8]) -> Vec<u8> {
    let name = query.get(12..).unwrap_or_default();
    let end = 12 + name.iter().position(|octet| *octet == 0).unwrap_or(0) + 5;
    let mut answer = query.get(..end).unwrap_or_default().to_vec();
    if answer.len() > 12 {
        answer[2] |= 0x80;
        answer[3] = 0x80;
        answer[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
        answer.extend_from_slice(b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x0e\x10\x00\x04");
        answer.extend_from_slice(&[198, 51, 100, 7]);
    }
    answer
}
