use super::{Reader, SUBSYSTEM, TableFamily, message};
use crate::netlink::{Message, NetlinkError, Socket};

/// `NFNLGRP_NFTABLES`.
const GROUP: u32 = 7;

/// Hears of every transaction in the network namespace in which it was opened, and counts those of
/// others that concern some tables.
#[derive(Debug)]
pub struct Listener {
    tables: &'static [&'static str],
    socket: Option<Socket>,
    others: u64,
}

impl Listener {
    /// Starts to listen for changes of IPv4 and IPv6 tables of these names. Needs `CAP_NET_ADMIN`
    /// in the namespace.
    pub fn open(tables: &'static [&'static str]) -> Result<Self, NetlinkError> {
        let socket = Some(Socket::of_netfilter_group(GROUP)?);
        Ok(Self { tables, socket, others: 0 })
    }

    /// A number that moves whenever somebody else has changed one of the tables.
    ///
    /// Changes by the sockets with the ports `own` do not count, if nobody asked in between.
    pub fn others(&mut self, own: &[u32]) -> Result<u64, NetlinkError> {
        let Some(socket) = &mut self.socket else {
            // It could not be opened again. What went by unheard may have been anything.
            self.socket = Some(Socket::of_netfilter_group(GROUP)?);
            self.others += 1;
            return Ok(self.others);
        };
        let mut others = 0;
        let complete = socket.hear(|message| {
            let foreign = concerns(message, self.tables) && !own.contains(&message.header.port);
            others += u64::from(foreign);
        })?;
        // What was lost may have been anything.
        self.others += others + u64::from(!complete);
        Ok(self.others)
    }

    /// Has transactions of the socket with the port `own` made without listening to them: while
    /// somebody listens, the kernel writes a message about every element that changes. `work`
    /// returns how many it made. If there were others meanwhile, that counts as a change of others.
    pub fn unheard<T>(
        &mut self,
        own: u32,
        work: impl FnOnce() -> (Result<T, NetlinkError>, u32),
    ) -> Result<T, NetlinkError> {
        let mut asking = Socket::netfilter()?;
        let mut asking = Reader::new(&mut asking);
        let before = asking.generation()?;
        self.others(&[own])?;
        self.socket = None;
        let (result, made) = work();
        self.socket = Some(Socket::of_netfilter_group(GROUP)?);
        // The kernel skips 0.
        let expected = before.checked_add(made).unwrap_or_else(|| before.wrapping_add(made) + 1);
        self.others += u64::from(asking.generation()? != expected);
        result
    }
}

fn concerns(message: Message<'_>, tables: &[&str]) -> bool {
    /// `NFTA_TABLE_NAME`, and the table's name in messages about all that tables hold.
    const TABLE: u16 = 1;
    let kind = message.header.kind;
    let families = [TableFamily::Ipv4, TableFamily::Ipv6].map(TableFamily::number);
    kind >> 8 == SUBSYSTEM
        && families.contains(&message.family())
        // It ends a transaction, and is about no table.
        && kind & 0xFF != message::NEW_GENERATION
        && message.attributes().find(TABLE).is_none_or(|name| tables.contains(&name.text()))
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, Data, run_nft};
    use super::*;
    use crate::netns::NetNs;

    fn in_a_namespace(test: impl FnOnce() + Send) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ns");
        let ns = NetNs::create(&path).unwrap();
        ns.run(test).unwrap();
        drop(ns);
        crate::netns::remove(&path).unwrap();
    }

    fn change(socket: &mut Socket, table: &str, key: u8) {
        let mut batch = Batch::new(socket);
        batch.add(TableFamily::Ipv4, table, "s", &[10, 0, 0, key], None, Data::None);
        batch.commit().unwrap();
    }

    #[test]
    fn others_changes_are_told_from_our_own() {
        in_a_namespace(|| {
            let mut listener = Listener::open(&["ours"]).unwrap();
            let set = "{ set s { type ipv4_addr; }; }";
            let child = run_nft(&format!("table ip ours {set}\ntable ip other {set}\n")).unwrap();
            assert_eq!(listener.others(&[child]).unwrap(), 0);
            let (mut own, mut other) = (Socket::netfilter().unwrap(), Socket::netfilter().unwrap());
            let ports = [own.port()];
            change(&mut other, "other", 1);
            run_nft("table inet ours { chain c { }; }\n").unwrap();
            Reader::new(&mut other).elements(TableFamily::Ipv4, "ours", "s").unwrap();
            change(&mut own, "ours", 1);
            assert_eq!(listener.others(&ports).unwrap(), 0, "other tables, who reads, and we");
            change(&mut other, "ours", 2);
            change(&mut own, "ours", 3);
            assert_eq!(listener.others(&ports).unwrap(), 1);
            assert_eq!(listener.others(&ports).unwrap(), 1);
            run_nft("flush ruleset\n").unwrap();
            assert!(listener.others(&ports).unwrap() > 1);
        });
    }

    #[test]
    fn what_could_not_be_heard_counts() {
        in_a_namespace(|| {
            run_nft("table ip other { set s { type ipv4_addr; }; }\n").unwrap();
            let mut listener = Listener::open(&["ours"]).unwrap();
            let mut other = Socket::netfilter().unwrap();
            let mut batch = Batch::new(&mut other);
            for number in 0..200_000_u32 {
                let key = number.to_be_bytes();
                batch.add(TableFamily::Ipv4, "other", "s", &key, None, Data::None);
            }
            batch.commit().unwrap();
            assert_eq!(listener.others(&[]).unwrap(), 1);
            assert_eq!(listener.others(&[]).unwrap(), 1);
        });
    }

    #[test]
    fn others_are_noticed_beside_a_transaction_that_is_not_heard() {
        in_a_namespace(|| {
            run_nft("table ip ours { set s { type ipv4_addr; }; }\n").unwrap();
            let mut listener = Listener::open(&["ours"]).unwrap();
            let (mut own, mut other) = (Socket::netfilter().unwrap(), Socket::netfilter().unwrap());
            let port = own.port();
            let commit = |own: &mut Socket, table, key| {
                let mut batch = Batch::new(own);
                batch.add(TableFamily::Ipv4, table, "s", &[10, 0, 0, key], None, Data::None);
                let result = batch.commit();
                let made = u32::from(result.is_ok());
                (result, made)
            };
            listener.unheard(port, || commit(&mut own, "ours", 1)).unwrap();
            listener.unheard(port, || commit(&mut own, "nobody's", 1)).unwrap_err();
            assert_eq!(listener.others(&[port]).unwrap(), 0);
            let both = || {
                change(&mut other, "ours", 2);
                commit(&mut own, "ours", 3)
            };
            listener.unheard(port, both).unwrap();
            assert_eq!(listener.others(&[port]).unwrap(), 1);
            change(&mut other, "ours", 4);
            assert_eq!(listener.others(&[port]).unwrap(), 2, "it listens again");
            // As if it could not.
            listener.socket = None;
            assert_eq!(listener.others(&[port]).unwrap(), 3);
            change(&mut other, "ours", 5);
            assert_eq!(listener.others(&[port]).unwrap(), 4);
        });
    }
}
