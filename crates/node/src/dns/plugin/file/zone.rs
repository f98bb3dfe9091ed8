//! A zone in memory.

use std::collections::BTreeMap;
use std::ops::Bound;

use portolan_model::names::RecordType;

use crate::dns::record::{DNAME, Record, parse};
use crate::dns::zone::Zone;

/// The records of one zone by their owners.
#[derive(Debug)]
pub(crate) struct ZoneData {
    pub(super) apex: Vec<u8>,
    /// In an order in which names below another follow it.
    nodes: BTreeMap<Vec<u8>, Vec<Record>>,
    serial: u32,
}

/// Labels from the root down, each with its length in front, in lower case: what is below a name
/// begins with its key.
pub(super) fn key(name: &[u8]) -> Vec<u8> {
    let mut labels = Vec::new();
    let mut rest = name;
    while let Some((length, tail)) = rest.split_first() {
        let length = usize::from(*length);
        labels.push(&rest[..=length]);
        rest = tail.get(length..).unwrap_or_default();
    }
    labels.iter().rev().flat_map(|label| label.to_ascii_lowercase()).collect()
}

impl ZoneData {
    pub(super) fn parse(zone: &Zone, text: &str) -> Result<Self, String> {
        let records = parse(text, zone.wire()).map_err(|error| error.to_string())?;
        let mut nodes: BTreeMap<Vec<u8>, Vec<Record>> = BTreeMap::new();
        let mut serial = None;
        for record in records {
            let owner = record.owner.to_ascii_lowercase();
            let shown = || portolan_model::names::to_text(&record.owner);
            if zone.relative(&owner).is_none() {
                return Err(format!("{} lies outside of it", shown()));
            }
            if record.kind == RecordType::SOA {
                if owner != zone.wire() {
                    return Err(format!("{} has an SOA record, and is not its apex", shown()));
                }
                if serial.is_some() {
                    return Err("it has more than one SOA record".into());
                }
                let at = record.data.len().checked_sub(20);
                let bytes = at.and_then(|at| record.data.get(at..at + 4)?.try_into().ok());
                serial = Some(bytes.map(u32::from_be_bytes).ok_or("its SOA record is too short")?);
            }
            let node = nodes.entry(key(&owner)).or_default();
            // RFC 2181, 10.1 and RFC 6672, 2.4: an alias stands alone, but for signatures.
            let alone = |kind| kind == RecordType::CNAME;
            let signs = |kind: RecordType| matches!(kind.0, 46 | 47);
            if node.iter().any(|other| {
                (alone(other.kind) || alone(record.kind))
                    && !signs(other.kind)
                    && !signs(record.kind)
                    && (other.kind != record.kind || other.data != record.data)
            }) {
                return Err(format!("{} has a CNAME record and others", shown()));
            }
            if record.kind == DNAME && node.iter().any(|other| other.kind == DNAME) {
                return Err(format!("{} has more than one DNAME record", shown()));
            }
            if !node.contains(&record) {
                node.push(record);
            }
        }
        let serial = serial.ok_or("it has no SOA record")?;
        Ok(Self { apex: zone.wire().to_vec(), nodes, serial })
    }

    pub(crate) fn serial(&self) -> u32 {
        self.serial
    }

    pub(super) fn node(&self, key: &[u8]) -> Option<&[Record]> {
        self.nodes.get(key).map(Vec::as_slice)
    }

    /// Whether there are names below this one.
    pub(super) fn has_below(&self, key: &[u8]) -> bool {
        let after = (Bound::Excluded(key), Bound::Unbounded);
        self.nodes.range::<[u8], _>(after).next().is_some_and(|(next, _)| next.starts_with(key))
    }

    pub(super) fn records<'a>(
        &'a self,
        key: &[u8],
        kind: RecordType,
    ) -> impl Iterator<Item = &'a Record> {
        self.node(key).unwrap_or_default().iter().filter(move |record| record.kind == kind)
    }

    pub(crate) fn soa(&self) -> Option<Record> {
        self.records(&key(&self.apex), RecordType::SOA).next().cloned()
    }

    /// All records as a transfer has them: the SOA record first and last (RFC 5936, 2.2).
    pub(crate) fn transfer(&self) -> Vec<Record> {
        let soa = self.soa();
        let others = self.nodes.values().flatten();
        let others = others.filter(|record| record.kind != RecordType::SOA).cloned();
        soa.iter().cloned().chain(others).chain(soa.clone()).collect()
    }
}
