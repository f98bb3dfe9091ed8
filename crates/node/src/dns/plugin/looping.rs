//! `loop`: notices when queries that are forwarded come back to this server.

use std::sync::atomic::{AtomicU32, Ordering};

use portolan_model::names::{RecordType, to_wire};

use super::super::wire::Query;
use super::super::zone::Zone;

const HINFO: RecordType = RecordType(13);

/// Recognizes one query that nobody else would ask.
#[derive(Debug)]
pub(crate) struct LoopProbe {
    name: Vec<u8>,
    seen: AtomicU32,
}

impl LoopProbe {
    /// A probe for `zone`, made unique by `nonce`.
    pub(crate) fn new(zone: &Zone, nonce: u64) -> Self {
        let mut name =
            to_wire(&format!("{}.{}", nonce >> 32, nonce & 0xffff_ffff)).unwrap_or_default();
        name.extend_from_slice(zone.wire());
        Self { name, seen: AtomicU32::new(0) }
    }

    /// The probe as a message: `HINFO NONCE.NONCE.ZONE`.
    pub(crate) fn message(&self, id: u16) -> Vec<u8> {
        let mut message = id.to_be_bytes().to_vec();
        message.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        message.extend_from_slice(&self.name);
        message.extend_from_slice(&[0, 0, HINFO.0 as u8, 0, 1]);
        message
    }

    /// Takes note of a query that is about to be forwarded; true once the probe has come back.
    pub(crate) fn notice(&self, query: &Query<'_>) -> bool {
        if query.kind != HINFO || query.name() != self.name {
            return false;
        }
        self.seen.fetch_add(1, Ordering::Relaxed);
        self.is_loop()
    }

    /// CoreDNS's measure: the probe itself, a retransmission of it, and then it is a loop.
    pub(crate) fn is_loop(&self) -> bool {
        self.seen.load(Ordering::Relaxed) > 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::wire::Transport;

    #[test]
    fn the_probe_is_known_again() {
        let zone = Zone::parse("example.org").expect("a zone").remove(0);
        let probe = LoopProbe::new(&zone, u64::MAX / 3);
        let message = probe.message(7);
        let query = Query::parse(&message, Transport::Udp).expect("a query");
        assert!(!probe.notice(&query) && !probe.notice(&query));
        assert!(probe.notice(&query) && probe.is_loop());
    }
}
