//! Addresses that are delivered to this machine although no link has them.
//!
//! A route of type `local` makes the kernel take packets to an address for its own, without the
//! address showing up as one of the machine's. Such routes carry a protocol number, by which a
//! program knows its own again.

use std::net::IpAddr;

use crate::error::Attempt;
use crate::rtnl::{Message, Rtnl, address, attributes, family};

impl Rtnl {
    /// Has packets to `ip` delivered here. One that is there already is no error.
    pub fn add_local(&self, ip: IpAddr, protocol: u8) -> Attempt<()> {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        match self.write_local(libc::RTM_NEWROUTE, flags, ip, protocol, "deliver here what is for")
        {
            Err(error) if error.exists() => Ok(()),
            other => other,
        }
    }

    /// Undoes [`Rtnl::add_local`]. One that is not there is no error.
    pub fn delete_local(&self, ip: IpAddr, protocol: u8) -> Attempt<()> {
        match self.write_local(
            libc::RTM_DELROUTE,
            0,
            ip,
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
        ip: IpAddr,
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
        self.request(message, || format!("{what} {ip}"))
    }

    /// The addresses that [`Rtnl::add_local`] was given with that protocol.
    pub fn locals(&self, protocol: u8) -> Attempt<Vec<IpAddr>> {
        let mut found = Vec::new();
        self.dump(Message::new(libc::RTM_GETROUTE, 0, &[0; 12]), "list routes", |_, body| {
            let Some(rest) = body.get(12..) else { return };
            if (body[4], body[5], body[7]) != (libc::RT_TABLE_LOCAL, protocol, libc::RTN_LOCAL) {
                return;
            }
            let of = |(kind, value)| (kind == libc::RTA_DST).then(|| address(value)).flatten();
            found.extend(attributes(rest).filter_map(of));
        })?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use crate::netns::{self, NetNs};
    use crate::rtnl::Rtnl;

    #[test]
    fn packets_to_an_address_of_no_link_arrive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ns");
        let ns = NetNs::create(&path).unwrap();
        ns.run(|| {
            let rtnl = Rtnl::open().unwrap();
            let ips = ["10.96.0.9", "fd00:10:96::9"].map(|ip| ip.parse().unwrap());
            for ip in ips {
                rtnl.add_local(ip, 77).unwrap();
                rtnl.add_local(ip, 77).unwrap();
            }
            assert_eq!(rtnl.locals(77).unwrap(), ips);
            assert!(rtnl.locals(78).unwrap().is_empty());
            let listener = TcpListener::bind("10.96.0.9:80").unwrap();
            TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            for ip in ips {
                rtnl.delete_local(ip, 77).unwrap();
                rtnl.delete_local(ip, 77).unwrap();
            }
            assert!(rtnl.locals(77).unwrap().is_empty());
        })
        .unwrap();
        netns::remove(&path).unwrap();
    }
}
