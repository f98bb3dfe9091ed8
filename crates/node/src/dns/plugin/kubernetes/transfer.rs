//! The cluster's zone as a whole, for `transfer`.
//!
//! It has what the zone's names answer: of Services their own records, those of their ports, and
//! of headless ones those of their endpoints. Pods are not in it, nor are reverse zones transferred,
//! as in CoreDNS.

use portolan_model::names::{Answer, HostTarget, Names, RecordType, SrvTarget};

use super::{Kubernetes, LONGEST_SOA, VERSION_TTL, host_name, soa_numbers};
use crate::dns::record::Record;

/// The name server of a zone that has no better one, relative to it.
const SERVER: &[u8] = b"\x02ns\x03dns";

/// A zone at one moment; its SOA record is the first and the last.
#[derive(Debug)]
pub(crate) struct WholeZone {
    pub(crate) serial: u32,
    pub(crate) records: Vec<Record>,
}

impl Kubernetes {
    /// Whether `name` is that of a zone of Services.
    pub(crate) fn serves(&self, name: &[u8]) -> bool {
        self.config.zones.iter().any(|zone| zone.wire() == name && !zone.is_reverse())
    }

    /// The zone of this name, which [`Kubernetes::serves`]; `None` as long as nobody knows all of it.
    pub(crate) fn whole(&self, zone: &[u8]) -> Option<WholeZone> {
        if !self.store.is_synced() {
            return None;
        }
        let names = self.store.names();
        let ttl = self.config.ttl;
        let soa = self.soa(&names, zone);
        let mut records = vec![soa.clone()];
        let mut servers = Vec::new();
        for HostTarget { label, service, .. } in names.name_servers() {
            let mut target = Vec::new();
            host_name(&mut target, label, service);
            servers.push([&target[..], self.primary.wire(), &[0]].concat());
        }
        if servers.is_empty() {
            servers.push([SERVER, zone, &[0]].concat());
        }
        let ns = servers.into_iter().map(|data| Record {
            owner: zone.to_vec(),
            kind: RecordType::NS,
            ttl,
            data,
        });
        records.extend(ns);
        for (name, kind) in names.records() {
            let owner = [&name[..], zone].concat();
            let record = |kind, data| Record { owner: owner.clone(), kind, ttl, data };
            match names.lookup(&name, kind) {
                Answer::Addresses(addresses) => records.extend(addresses.iter().map(|address| {
                    let data = match address {
                        std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
                        std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
                    };
                    record(kind, data)
                })),
                Answer::Srv(srv) => {
                    let weight = srv.weight();
                    for SrvTarget { port, host } in srv.targets() {
                        let mut data = [[0; 2], weight.to_be_bytes(), port.to_be_bytes()].concat();
                        host_name(&mut data, host.label, host.service);
                        data.extend_from_slice(zone);
                        data.push(0);
                        records.push(record(kind, data));
                    }
                    // A number that is open for two protocols makes one record.
                    records.dedup();
                }
                Answer::Cname(target) => {
                    records.push(record(RecordType::CNAME, [target, &[0]].concat()));
                }
                Answer::Text(text) => {
                    let data = [&[text.len() as u8], text.as_bytes()].concat();
                    records.push(Record { ttl: VERSION_TTL, ..record(kind, data) });
                }
                Answer::NxDomain | Answer::NoData | Answer::Soa | Answer::NameServer => {}
            }
        }
        records.push(soa);
        Some(WholeZone { serial: names.serial(), records })
    }

    fn soa(&self, names: &Names, zone: &[u8]) -> Record {
        let mut data = [SERVER, zone, b"\0\x0ahostmaster", zone, &[0]].concat();
        for number in soa_numbers(names, self.config.ttl) {
            data.extend_from_slice(&number.to_be_bytes());
        }
        let ttl = self.config.ttl.min(LONGEST_SOA);
        Record { owner: zone.to_vec(), kind: RecordType::SOA, ttl, data }
    }
}
