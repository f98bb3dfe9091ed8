//! Addresses that are delivered to this machine although no link has them.
//!
//! A route of type `local` makes the kernel take packets to an address for its own, without the
//! address showing up as one of the machine's. Such routes carry a protocol number, by which a
//! program knows its own again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use crate::error::Attempt;
use crate::rtnl::{Message, Rtnl, address, attributes, family};

/// An address that is delivered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Local {
    pub ip: IpAddr,
    /// Where programs of this machine dial it from, if they do not say. `None`: from `ip` itself.
    /// The route goes with this address.
    pub source: Option<IpAddr>,
}

/// Where programs of this machine that do not say dial `ip` from; nothing is sent.
pub fn source_towards(ip: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((ip, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

impl Rtnl {
    /// Has packets to an address delivered here. One that is there already is no error.
    pub fn add_local(&self, local: Local, protocol: u8) -> Attempt<()> {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        match self.write_local(
            libc::RTM_NEWROUTE,
            flags,
            local,
            protocol,
            "deliver here what is for",
        ) {
            Err(error) if error.exists() => Ok(()),
            other => other,
        }
    }

    /// Undoes [`Rtnl::add_local`]. One that is not there is no error.
    pub fn delete_local(&self, ip: IpAddr, protocol: u8) -> Attempt<()> {
        match self.write_local(
            libc::RTM_DELROUTE,
            0,
            Local { ip, source: None },
            protocol,
            "stop to deliver here what is for",
        ) {
            Err(error) if error.missing() => Ok(()),
            other => other,
        }
    }

    fn write_local(
        &self,
        kind: u16,
        flags: i32,
        Local { ip, source }: Local,
        protocol: u8,
        what: &str,
    ) -> Attempt<()> {
        // struct rtmsg: family, lengths, tos, table, protocol, scope, type, flags.
        let mut fixed = [0; 12];
        fixed[0] = family(ip);
        fixed[1] = if ip.is_ipv4() { 32 } else { 128 };
        fixed[4] = libc::RT_TABLE_LOCAL;
        fixed[5] = protocol;
        fixed[6] = if ip.is_ipv4() { libc::RT_SCOPE_HOST } else { libc::RT_SCOPE_UNIVERSE };
        fixed[7] = libc::RTN_LOCAL;
        let mut message = Message::new(kind, flags, &fixed);
        message.address(libc::RTA_DST, ip);
        message.number(libc::RTA_OIF, self.index("lo")?);
        if let Some(source) = source {
            message.address(libc::RTA_PREFSRC, source);
        }
        self.request(message, || format!("{what} {ip}"))
    }

    /// The addresses that [`Rtnl::add_local`] was given with that protocol.
    pub fn locals(&self, protocol: u8) -> Attempt<Vec<Local>> {
        let mut found = Vec::new();
        self.dump(Message::new(libc::RTM_GETROUTE, 0, &[0; 12]), "list routes", |_, body| {
            let Some(rest) = body.get(12..) else { return };
            if (body[4], body[5], body[7]) != (libc::RT_TABLE_LOCAL, protocol, libc::RTN_LOCAL) {
                return;
            }
            let of = |wanted| {
                attributes(rest)
                    .find_map(|(kind, value)| (kind == wanted).then(|| address(value)).flatten())
            };
            found.extend(of(libc::RTA_DST).map(|ip| Local { ip, source: of(libc::RTA_PREFSRC) }));
        })?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::netns::{self, NetNs};

    #[test]
    fn packets_to_an_address_of_no_link_arrive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ns");
        let ns = NetNs::create(&path).unwrap();
        ns.run(|| {
            let rtnl = Rtnl::open().unwrap();
            let own = ["192.0.2.5", "2001:db8::5"].map(|ip| ip.parse::<IpAddr>().unwrap());
            own.into_iter().for_each(|ip| rtnl.add_address("lo", ip.into()).unwrap());
            let locals = ["10.96.0.9", "fd00:10:96::9"].map(|ip| ip.parse().unwrap());
            let locals = [0, 1].map(|at| Local { ip: locals[at], source: Some(own[at]) });
            let bare = Local { ip: "10.96.0.10".parse().unwrap(), source: None };
            for local in [locals[0], bare, locals[1]] {
                rtnl.add_local(local, 77).unwrap();
                rtnl.add_local(local, 77).unwrap();
            }
            assert_eq!(rtnl.locals(77).unwrap(), [locals[0], bare, locals[1]]);
            assert!(rtnl.locals(78).unwrap().is_empty());
            let listener = TcpListener::bind("10.96.0.9:80").unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            assert_eq!(client.local_addr().unwrap().ip(), own[0]);
            for Local { ip, source } in [locals[0], bare, locals[1]] {
                assert_eq!(source_towards(ip), Some(source.unwrap_or(ip)));
            }
            for Local { ip, .. } in [locals[0], bare, locals[1]] {
                rtnl.delete_local(ip, 77).unwrap();
                rtnl.delete_local(ip, 77).unwrap();
            }
            assert!(rtnl.locals(77).unwrap().is_empty());
        })
        .unwrap();
        netns::remove(&path).unwrap();
    }
}
