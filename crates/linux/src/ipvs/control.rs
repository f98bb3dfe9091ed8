//! The handle: reading, and writing in batches.

use std::process::{Command, Stdio};

use super::wire::{self, Step};
use super::{IpvsError, RealServer, ServerKey, Timeouts, VirtualServer, is_ready};
use crate::netlink::{Encoder, NetlinkError, Socket, flags};

/// IPVS in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Ipvs {
    socket: Socket,
    family: u16,
}

/// Steps go to the kernel in datagrams of about that size.
const DATAGRAM: usize = 48 * 1024;

impl Ipvs {
    /// Opens a handle; the kernel's module is loaded if need be.
    ///
    /// # Errors
    /// [`IpvsError::Missing`] where the kernel has no IPVS.
    pub fn open() -> Result<Self, IpvsError> {
        if let Some(ipvs) = Self::resolve()? {
            return Ok(ipvs);
        }
        // No kernel loads it by itself when its family is asked for.
        let _ = Command::new("modprobe")
            .args(["--quiet", "ip_vs"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        Self::resolve()?.ok_or(IpvsError::Missing)
    }

    /// Opens a handle only if IPVS is in use already: whatever there is to find, this finds it.
    pub fn open_if_ready() -> Result<Option<Self>, IpvsError> {
        if is_ready() { Self::resolve() } else { Ok(None) }
    }

    fn resolve() -> Result<Option<Self>, IpvsError> {
        let mut socket = Socket::generic()?;
        let mut encoder = Encoder::default();
        wire::get_family(&mut encoder, socket.next_sequence());
        match socket.ask(encoder.as_bytes(), wire::read_family) {
            Ok(family) => Ok(family.map(|family| Self { socket, family })),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// All virtual servers, in the kernel's order.
    pub fn servers(&mut self) -> Result<Vec<VirtualServer>, IpvsError> {
        let mut encoder = Encoder::default();
        wire::get_servers(&mut encoder, self.family, self.socket.next_sequence());
        let mut found = Vec::new();
        self.socket.dump(
            encoder.as_bytes(),
            &mut found,
            |found, message| found.extend(wire::read_server(message)),
            Vec::clear,
        )?;
        Ok(found)
    }

    /// The real servers of a virtual server; none where that does not exist.
    pub fn reals(&mut self, key: &ServerKey) -> Result<Vec<RealServer>, IpvsError> {
        let mut encoder = Encoder::default();
        wire::get_reals(&mut encoder, self.family, self.socket.next_sequence(), key);
        let mut found = Vec::new();
        let result = self.socket.dump(
            encoder.as_bytes(),
            &mut found,
            |found: &mut Vec<RealServer>, message| {
                found.extend(wire::read_real(message, key.is_ipv6()));
            },
            Vec::clear,
        );
        match result {
            Ok(()) => Ok(found),
            Err(error) if is_absent(&error) => Ok(vec![]),
            Err(error) => Err(error.into()),
        }
    }

    /// Sets for how long silent connections are remembered.
    pub fn set_timeouts(&mut self, timeouts: Timeouts) -> Result<(), IpvsError> {
        if timeouts == Timeouts::default() {
            return Ok(());
        }
        let mut encoder = Encoder::default();
        wire::set_timeouts(&mut encoder, self.family, self.socket.next_sequence(), timeouts);
        Ok(self.socket.transact(encoder.as_bytes())?)
    }

    /// Starts a list of changes.
    pub fn edit(&mut self) -> Edit<'_> {
        Edit { ipvs: self, steps: Vec::new() }
    }
}

/// `ESRCH` for a virtual server, `ENOENT` for a real one.
fn is_absent(error: &NetlinkError) -> bool {
    matches!(error.refusal(), Some(libc::ESRCH | libc::ENOENT))
}

/// Changes to be made one after the other: unlike nftables, IPVS knows no transactions.
#[derive(Debug)]
pub struct Edit<'i> {
    ipvs: &'i mut Ipvs,
    steps: Vec<Step>,
}

impl Edit<'_> {
    pub fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Makes the changes, in order. Returns how many.
    ///
    /// # Errors
    /// The first that the kernel refused; others may have been made, before and after it.
    pub fn commit(self) -> Result<usize, IpvsError> {
        let mut rest = &self.steps[..];
        while !rest.is_empty() {
            let mut encoder = Encoder::default();
            let first = self.ipvs.socket.next_sequence();
            let mut sequence = first;
            let mut sent = 0;
            while let Some(step) = rest.get(sent) {
                sent += 1;
                // The last one is acknowledged; what fails is told of anyway.
                let last = sent == rest.len() || encoder.len() > DATAGRAM;
                let how = if last { flags::ACK } else { 0 };
                wire::step(&mut encoder, self.ipvs.family, how, sequence, step);
                if last {
                    break;
                }
                sequence = self.ipvs.socket.next_sequence();
            }
            if let Err(error) = self.ipvs.socket.transact(encoder.as_bytes()) {
                return Err(explained(error, first, rest));
            }
            rest = &rest[sent..];
        }
        Ok(self.steps.len())
    }
}

/// Names the step that was refused.
fn explained(error: NetlinkError, first: u32, steps: &[Step]) -> IpvsError {
    let NetlinkError::Refused { sequence, .. } = error else { return error.into() };
    match steps.get(sequence.wrapping_sub(first) as usize) {
        Some(Step::Create(server) | Step::Change(server)) if error.is_not_found() => {
            IpvsError::Scheduler(server.scheduler.clone())
        }
        Some(step) => IpvsError::Step(step.to_string(), error),
        None => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refused_step_is_named() {
        let refused = |number: i32, sequence| NetlinkError::Refused {
            sequence,
            source: std::io::Error::from_raw_os_error(number),
        };
        let key = ServerKey::Mark { mark: 7, ipv6: false };
        let server =
            VirtualServer { key, scheduler: "mh".to_owned(), persistent: false, timeout: 0 };
        let real = "10.244.0.2:8080".parse().unwrap();
        let steps = [Step::Create(server), Step::Remove(key, real)];
        let error = explained(refused(libc::ENOENT, 40), 40, &steps);
        assert!(matches!(&error, IpvsError::Scheduler(name) if name == "mh"), "{error}");
        let error = explained(refused(libc::ENOENT, 41), 40, &steps);
        assert_eq!(error.to_string(), "cannot take real server 10.244.0.2:8080 from FWM 7");
    }

    /// Needs no IPVS: either there is one, or its absence is no error but an answer.
    #[test]
    fn a_kernel_is_asked_without_changing_it() {
        match Ipvs::resolve().unwrap() {
            Some(mut ipvs) => drop(ipvs.servers().unwrap()),
            None => assert!(!is_ready()),
        }
        assert!(IpvsError::Missing.to_string().contains("CONFIG_IP_VS"));
    }
}
