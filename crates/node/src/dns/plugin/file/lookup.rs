//! Answers from a zone: aliases, delegations, wildcards (RFC 1034, 4.3.2; RFC 4592; RFC 6672).

use portolan_model::names::RecordType;

use super::zone::{ZoneData, key};
use crate::dns::record::{DNAME, DS, Parts, Record};
use crate::dns::wire::Rcode;

/// How many aliases are followed within a zone.
const MAX_ALIASES: usize = 8;

/// What a zone has to say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) parts: Parts,
    /// The answer is an alias that leads to this name, outside of the zone.
    pub(crate) chase: Option<Vec<u8>>,
}

impl ZoneData {
    /// Answers for a name of this zone, in wire form and lower case.
    pub(crate) fn lookup(&self, name: &[u8], kind: RecordType) -> Found {
        let mut found = Found::default();
        found.parts.authoritative = true;
        let mut name = name.to_vec();
        for _ in 0..=MAX_ALIASES {
            match self.step(&name, kind, &mut found.parts) {
                Some(target) if self.holds(&target) => name = target,
                Some(target) => {
                    found.chase = Some(target);
                    return found;
                }
                None => return found,
            }
        }
        // A circle: what there is of it is the answer.
        found
    }

    fn holds(&self, name: &[u8]) -> bool {
        let lower = name.to_ascii_lowercase();
        key(&lower).starts_with(&key(&self.apex))
    }

    /// One name; returns what it is an alias for, if anything.
    fn step(&self, name: &[u8], kind: RecordType, parts: &mut Parts) -> Option<Vec<u8>> {
        let whole = key(&name.to_ascii_lowercase());
        let apex = key(&self.apex);
        // From the apex down: a delegation or DNAME above the name rules it.
        let mut encloser = apex.len();
        let mut end = apex.len();
        loop {
            let here = &whole[..end];
            let node = self.node(here);
            let last = end == whole.len();
            if node.is_some() || self.has_below(here) {
                encloser = end;
            }
            if end > apex.len() && !(last && kind == DS) {
                let delegation: Vec<_> = self.records(here, RecordType::NS).cloned().collect();
                if !delegation.is_empty() {
                    self.refer(delegation, parts);
                    return None;
                }
            }
            if last {
                break;
            }
            if let Some(dname) = self.records(here, DNAME).next() {
                return substitute(name, dname, kind, parts);
            }
            end += 1 + usize::from(whole[end]);
        }
        if let Some(node) = self.node(&whole) {
            return self.answer(node, None, kind, parts);
        }
        if self.has_below(&whole) {
            self.deny(Rcode::NOERROR, parts);
            return None;
        }
        let wildcard = [&whole[..encloser], b"\x01*"].concat();
        match self.node(&wildcard) {
            Some(node) => self.answer(node, Some(name), kind, parts),
            None if self.has_below(&wildcard) => {
                self.deny(Rcode::NOERROR, parts);
                None
            }
            None => {
                self.deny(Rcode::NXDOMAIN, parts);
                None
            }
        }
    }

    /// Answers from one node, whose records are owned by `owner` when a wildcard made them.
    fn answer(
        &self,
        node: &[Record],
        owner: Option<&[u8]>,
        kind: RecordType,
        parts: &mut Parts,
    ) -> Option<Vec<u8>> {
        let owned = |record: &Record| Record {
            owner: owner.map_or_else(|| record.owner.clone(), <[u8]>::to_vec),
            ..record.clone()
        };
        let alias = node.iter().find(|record| record.kind == RecordType::CNAME);
        if let Some(alias) = alias.filter(|_| kind != RecordType::CNAME) {
            parts.sections[0].push(owned(alias));
            return alias.target().map(<[u8]>::to_vec);
        }
        let records: Vec<_> = node.iter().filter(|record| record.kind == kind).map(owned).collect();
        if records.is_empty() {
            self.deny(Rcode::NOERROR, parts);
            return None;
        }
        self.add_addresses(&records, &mut parts.sections[2]);
        parts.sections[0].extend(records);
        // CoreDNS names the zone's servers with every answer; `minimal` leaves them out.
        if kind != RecordType::NS || node.iter().all(|record| record.kind != RecordType::SOA) {
            parts.sections[1].extend(self.records(&key(&self.apex), RecordType::NS).cloned());
        }
        None
    }

    fn refer(&self, delegation: Vec<Record>, parts: &mut Parts) {
        // Whoever asks has to go elsewhere: this is no authoritative answer.
        parts.authoritative = !parts.sections[0].is_empty();
        self.add_addresses(&delegation, &mut parts.sections[2]);
        parts.sections[1].extend(delegation);
    }

    fn deny(&self, rcode: Rcode, parts: &mut Parts) {
        parts.rcode = rcode;
        parts.sections[1].extend(self.soa());
    }

    /// The addresses, as far as this zone has them, of what records lead to.
    fn add_addresses(&self, records: &[Record], additional: &mut Vec<Record>) {
        for record in records {
            if !matches!(record.kind, RecordType::NS | RecordType::MX | RecordType::SRV) {
                continue;
            }
            let Some(target) = record.target().filter(|target| self.holds(target)) else {
                continue;
            };
            let at = key(&target.to_ascii_lowercase());
            for kind in [RecordType::A, RecordType::AAAA] {
                for address in self.records(&at, kind) {
                    if !additional.contains(address) {
                        additional.push(address.clone());
                    }
                }
            }
        }
    }
}

/// The alias that a DNAME record makes of `name`.
fn substitute(name: &[u8], dname: &Record, kind: RecordType, parts: &mut Parts) -> Option<Vec<u8>> {
    let prefix = &name[..name.len() - dname.owner.len()];
    let target = [prefix, dname.target()?].concat();
    parts.sections[0].push(dname.clone());
    if target.len() > 254 {
        parts.rcode = Rcode(6);
        return None;
    }
    parts.sections[0].push(Record {
        owner: name.to_vec(),
        kind: RecordType::CNAME,
        ttl: dname.ttl,
        data: [&target[..], &[0]].concat(),
    });
    (kind != RecordType::CNAME).then_some(target)
}
