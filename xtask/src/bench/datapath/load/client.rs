//! The client: connections one after another, several at a time, ping-pong, and bulk.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::net::sockopt::socket_error;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use serde_json::{Value, json};

use super::{BULK, ONCE, PONG};
use crate::bench::dns::client::percentile;

const PATIENCE: Duration = Duration::from_secs(20);
/// A connection that takes so long has waited for a repeated SYN.
const STALL: Duration = Duration::from_millis(900);

fn dial(to: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(to).with_context(|| format!("dialling {to}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Connect, an octet there, an octet back, and the server closes; one connection at a time.
pub(super) fn one_by_one(to: SocketAddr, count: usize) -> Result<Value> {
    let mut times = Vec::with_capacity(count);
    let all = Instant::now();
    for _ in 0..count {
        let begun = Instant::now();
        let mut stream = TcpStream::connect(to).with_context(|| format!("dialling {to}"))?;
        stream.write_all(&[ONCE])?;
        let mut answer = [0; 8];
        ensure!(stream.read(&mut answer)? == 1, "no answer from {to}");
        ensure!(stream.read(&mut answer)? == 0, "{to} says too much");
        drop(stream);
        times.push(microseconds(begun.elapsed()));
    }
    let rate = count as f64 / all.elapsed().as_secs_f64();
    Ok(json!({"p50": percentile(&times, 50), "p99": percentile(&times, 99), "rate": rate}))
}

/// Octets to and fro on one connection.
pub(super) fn ping_pong(to: SocketAddr, count: usize) -> Result<Value> {
    let mut stream = dial(to)?;
    let mut times = Vec::with_capacity(count);
    let mut octet = [PONG];
    for _ in 0..count {
        let begun = Instant::now();
        stream.write_all(&octet)?;
        stream.read_exact(&mut octet)?;
        times.push(microseconds(begun.elapsed()));
    }
    Ok(json!({"p50": percentile(&times, 50), "p99": percentile(&times, 99)}))
}

/// One stream for so long.
pub(super) fn bulk(to: SocketAddr, length: Duration) -> Result<Value> {
    let mut stream = dial(to)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let block = vec![BULK; 128 << 10];
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < length {
        stream.write_all(&block)?;
        sent += block.len();
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    // The server closes when it has taken in everything.
    ensure!(stream.read(&mut [0; 8])? == 0, "{to} says something");
    Ok(json!({"gbit": sent as f64 * 8e-9 / begun.elapsed().as_secs_f64()}))
}

struct Open {
    socket: OwnedFd,
    begun: Instant,
    asked: bool,
}

/// As [`one_by_one`], with `flight` connections under way at a time.
pub(super) fn at_once(to: SocketAddr, count: usize, flight: usize) -> Result<Value> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut open: Vec<Option<Open>> = Vec::new();
    let (mut done, mut stalls, mut slowest) = (0, 0, Duration::ZERO);
    let start = |slot: usize, open: &mut Vec<Option<Open>>| -> Result<()> {
        let begun = Instant::now();
        let socket = dial_without_waiting(to)?;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&epoll, &socket, EventData::new_u64(slot as u64), flags)?;
        open[slot] = Some(Open { socket, begun, asked: false });
        Ok(())
    };
    let all = Instant::now();
    for slot in 0..flight.min(count) {
        open.push(None);
        start(slot, &mut open)?;
    }
    let mut events = Vec::with_capacity(256);
    let wait = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let mut left = count - flight.min(count);
    while done < count {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), Some(&wait))?;
        ensure!(!events.is_empty(), "{done} of {count} connections to {to} were made");
        for event in events.drain(..) {
            let (slot, flags) = (event.data.u64() as usize, event.flags);
            let Some(connection) = open.get_mut(slot).and_then(Option::as_mut) else { continue };
            if !connection.goes_on(flags)? {
                let took = connection.begun.elapsed();
                stalls += usize::from(took > STALL);
                slowest = slowest.max(took);
                done += 1;
                open[slot] = None;
                if left > 0 {
                    left -= 1;
                    start(slot, &mut open)?;
                }
            }
        }
    }
    let seconds = all.elapsed().as_secs_f64();
    Ok(json!({"rate": count as f64 / seconds, "seconds": seconds, "stalls": stalls,
        "slowest_ms": slowest.as_secs_f64() * 1e3}))
}

fn dial_without_waiting(to: SocketAddr) -> Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    match connect(&socket, &to) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(error) => bail!("dialling {to}: {error}"),
    }
}

impl Open {
    /// Returns whether more is to come.
    fn goes_on(&mut self, flags: EventFlags) -> Result<bool> {
        if flags.contains(EventFlags::ERR) {
            socket_error(&self.socket)??;
        }
        if !self.asked && flags.contains(EventFlags::OUT) {
            self.asked = true;
            rustix::io::write(&self.socket, &[ONCE])?;
        }
        if !flags.contains(EventFlags::IN) {
            return Ok(true);
        }
        let mut answer = [0; 8];
        loop {
            match rustix::io::read(&self.socket, &mut answer) {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(true),
                Err(error) => bail!("a connection breaks: {error}"),
            }
        }
    }
}
