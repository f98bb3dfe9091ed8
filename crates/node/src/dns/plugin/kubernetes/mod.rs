//! `kubernetes`: the names of the cluster, always from the live index.

mod config;
mod transfer;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use portolan_model::names::{
    Addresses, Answer, HostLabel, HostTarget, Names, RecordType, Srv, SrvTarget, from_reverse,
};

use super::super::wire::{HEADER, Query, Rcode, Reply, Section};
use super::super::zone::{Zone, longest};
use super::{Step, Surroundings};
use crate::dns::store::NameStore;
pub(crate) use config::KubernetesConfig;
pub(crate) use transfer::WholeZone;

/// CoreDNS's own: a Service that leads to a Service may do so this often.
const MAX_ALIASES: usize = 8;

/// CoreDNS's own: for how long at most a denial may be remembered by the SOA record's TTL.
const LONGEST_SOA: u32 = 300;

/// Where the question's name lies.
const QUESTION: usize = HEADER;

const HINFO: RecordType = RecordType(13);

/// The TTL of `dns-version`: it only changes with the program.
const VERSION_TTL: u32 = 28_800;

/// Answers from an index that others keep up to date.
#[derive(Debug)]
pub(crate) struct Kubernetes {
    config: KubernetesConfig,
    store: Arc<NameStore>,
    /// Where names in reverse zones point to.
    primary: Zone,
}

/// The zone that a query is in, and the query's name relative to it.
struct Place<'a> {
    zone: &'a Zone,
    relative: &'a [u8],
}

impl Kubernetes {
    pub(crate) fn new(config: KubernetesConfig, store: Arc<NameStore>) -> Self {
        let primary = config.zones.iter().find(|zone| !zone.is_reverse());
        let primary = primary.cloned().unwrap_or_else(Zone::root);
        Self { config, store, primary }
    }

    pub(crate) fn store(&self) -> &Arc<NameStore> {
        &self.store
    }

    /// How long to wait for the index before answering anything.
    pub(crate) fn startup_timeout(&self) -> Duration {
        self.config.startup_timeout
    }

    fn place<'a>(&'a self, name: &'a [u8]) -> Option<Place<'a>> {
        let zone = longest(&self.config.zones, name)?;
        Some(Place { zone, relative: zone.relative(name)? })
    }

    pub(crate) fn answer(
        &self,
        query: &Query<'_>,
        around: Surroundings,
        out: &mut Vec<u8>,
    ) -> Step {
        let name = query.name();
        let Some(place) = self.place(name) else { return Step::Next };
        let names = self.store.names();
        if place.zone.is_reverse() && !place.relative.is_empty() {
            return self.reverse(query, &place, &names, around, out);
        }
        let zone_at = Reply::in_question(place.relative.len());
        let answer = match names.lookup(place.relative, query.kind) {
            Answer::NxDomain if self.config.fallthrough.passes(name) => return Step::Next,
            // Until the first listing is whole, nobody can say what does not exist.
            Answer::NxDomain if !self.store.is_synced() => {
                return Step::Done(Reply::empty(out, query, Rcode::SERVFAIL));
            }
            answer => answer,
        };
        let mut reply = Reply::new(out, query);
        let writer = self.writer(&names, query.kind, around);
        let rcode = match answer {
            Answer::Cname(target) => match self.alias(&writer, target, &mut reply) {
                Some(rcode) => rcode,
                None => return Step::Later,
            },
            answer => writer.write(&answer, &mut reply, QUESTION, zone_at),
        };
        Step::Done(reply.finish(rcode, true, around.recursion))
    }

    /// Follows an ExternalName through the cluster's own names. `None` when it leads outside, and
    /// addresses are asked for: then somebody has to be waited for.
    fn alias(&self, writer: &Writer<'_>, target: &[u8], reply: &mut Reply<'_>) -> Option<Rcode> {
        let (chain, end) = if matches!(writer.kind, RecordType::A | RecordType::AAAA) {
            self.follow(target, writer.kind, writer.names)
        } else {
            (vec![target], End::Stop)
        };
        if matches!(end, End::Outside) {
            return None;
        }
        let mut owner = QUESTION;
        for target in &chain {
            let written =
                reply.record(Section::Answer, owner, RecordType::CNAME, writer.ttl, |r| {
                    r.bytes(target);
                    r.bytes(&[0]);
                });
            let Some(at) = written else { return Some(Rcode::NOERROR) };
            owner = at;
        }
        let End::Answer(answer) = end else { return Some(Rcode::NOERROR) };
        let in_zone = self.place(chain.last()?)?.relative.len();
        Some(writer.write(&answer, reply, owner, owner + in_zone))
    }

    fn follow<'a>(
        &'a self,
        first: &'a [u8],
        kind: RecordType,
        names: &'a Names,
    ) -> (Vec<&'a [u8]>, End<'a>) {
        let mut chain = vec![first];
        loop {
            let target = chain[chain.len() - 1];
            let Some(place) = self.place(target) else { return (chain, End::Outside) };
            match names.lookup(place.relative, kind) {
                Answer::Cname(next) if chain.len() < MAX_ALIASES && !chain.contains(&next) => {
                    chain.push(next);
                }
                Answer::Cname(_) => return (chain, End::Stop),
                answer => return (chain, End::Answer(answer)),
            }
        }
    }

    /// The targets, in order, that an alias for the outside leads through; the last is the one to
    /// ask others for.
    pub(crate) fn aliases(&self, query: &Query<'_>) -> Vec<Vec<u8>> {
        let names = self.store.names();
        let Some(place) = self.place(query.name()) else { return Vec::new() };
        match names.lookup(place.relative, query.kind) {
            Answer::Cname(target) => {
                let (chain, _) = self.follow(target, query.kind, &names);
                chain.into_iter().map(<[u8]>::to_vec).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The zone that `name` is in, and the namespace, a label, of the pod at `address`.
    pub(crate) fn client(&self, name: &[u8], address: IpAddr) -> Option<(&Zone, Vec<u8>)> {
        let zone = longest(&self.config.zones, name)?;
        Some((zone, self.store.names().pod_namespace(address)?.to_vec()))
    }

    pub(crate) fn ttl(&self) -> u32 {
        self.config.ttl
    }

    fn writer<'a>(
        &'a self,
        names: &'a Names,
        kind: RecordType,
        around: Surroundings,
    ) -> Writer<'a> {
        Writer { names, kind, ttl: self.config.ttl, around, primary: &self.primary }
    }

    fn reverse(
        &self,
        query: &Query<'_>,
        place: &Place<'_>,
        names: &Names,
        around: Surroundings,
        out: &mut Vec<u8>,
    ) -> Step {
        let zone_at = Reply::in_question(place.relative.len());
        let address = from_reverse(query.name());
        let mut targets = address.into_iter().flat_map(|address| names.reverse(address)).peekable();
        let exists = targets.peek().is_some();
        if !exists && self.config.fallthrough.passes(query.name()) {
            return Step::Next;
        }
        if !exists && !self.store.is_synced() {
            return Step::Done(Reply::empty(out, query, Rcode::SERVFAIL));
        }
        let mut reply = Reply::new(out, query);
        let is_ptr = query.kind == RecordType::PTR;
        for target in targets.filter(|_| is_ptr) {
            reply.record(Section::Answer, QUESTION, RecordType::PTR, self.config.ttl, |reply| {
                reply.append(|out| host_name(out, target.label, target.service));
                reply.bytes(self.primary.wire());
                reply.bytes(&[0]);
            });
        }
        // What is no whole address may have addresses below it.
        let rcode = if exists || address.is_none() { Rcode::NOERROR } else { Rcode::NXDOMAIN };
        if !exists || !is_ptr {
            let writer = self.writer(names, query.kind, around);
            writer.soa(&mut reply, Section::Authority, zone_at);
        }
        Step::Done(reply.finish(rcode, true, around.recursion))
    }
}

enum End<'a> {
    Answer(Answer<'a>),
    /// The last target is not a name of the cluster.
    Outside,
    /// Nothing more to follow.
    Stop,
}

/// What all records of one answer have in common.
struct Writer<'a> {
    names: &'a Names,
    kind: RecordType,
    ttl: u32,
    around: Surroundings,
    primary: &'a Zone,
}

impl Writer<'_> {
    /// Writes the records of an answer that is no alias. Their owner lies at `owner`, the zone's
    /// name at `zone_at`.
    fn write(
        &self,
        answer: &Answer<'_>,
        reply: &mut Reply<'_>,
        owner: usize,
        zone_at: usize,
    ) -> Rcode {
        let ttl = self.ttl;
        match answer {
            Answer::NxDomain => {
                self.soa(reply, Section::Authority, zone_at);
                return Rcode::NXDOMAIN;
            }
            Answer::NoData if self.kind == RecordType::ANY => {
                // Some answer, and a small one (RFC 8482, 4.2).
                reply.record(Section::Answer, owner, HINFO, VERSION_TTL, |reply| {
                    reply.bytes(b"\x07RFC8482\x00");
                });
            }
            Answer::NoData | Answer::Cname(_) => self.soa(reply, Section::Authority, zone_at),
            Answer::Addresses(addresses) => {
                write_addresses(reply, owner, ttl, addresses, self.around);
            }
            Answer::Srv(srv) => write_srv(reply, owner, ttl, *srv, zone_at),
            Answer::Text(text) => {
                reply.record(Section::Answer, owner, self.kind, VERSION_TTL, |reply| {
                    reply.bytes(&[text.len() as u8]);
                    reply.bytes(text.as_bytes());
                });
            }
            Answer::Soa => self.soa(reply, Section::Answer, zone_at),
            Answer::NameServer => self.name_servers(reply, owner, zone_at),
        }
        Rcode::NOERROR
    }

    /// The Services that lead to this server, or `ns.dns`, with their addresses.
    fn name_servers(&self, reply: &mut Reply<'_>, owner: usize, zone_at: usize) {
        let servers = self.names.name_servers();
        let mut written = Vec::new();
        for server in &servers {
            let data = reply.record(Section::Answer, owner, RecordType::NS, self.ttl, |reply| {
                reply.append(|out| host_name(out, server.label, server.service));
                reply.bytes(self.primary.wire());
                reply.bytes(&[0]);
            });
            written.extend(data.map(|at| (at, server.addresses.clone())));
        }
        if servers.is_empty() {
            let data = reply.record(Section::Answer, owner, RecordType::NS, self.ttl, |reply| {
                reply.bytes(b"\x02ns\x03dns");
                reply.pointer(zone_at);
            });
            let own = Addresses::Gathered(self.names.server_addresses().to_vec());
            written.extend(data.map(|at| (at, own)));
        }
        for (at, addresses) in &written {
            for address in addresses.iter() {
                reply.address(Section::Additional, *at, self.ttl, address);
            }
        }
    }

    fn soa(&self, reply: &mut Reply<'_>, section: Section, zone_at: usize) {
        let ttl = self.ttl.min(LONGEST_SOA);
        reply.record(section, zone_at, RecordType::SOA, ttl, |reply| {
            reply.bytes(b"\x02ns\x03dns");
            reply.pointer(zone_at);
            reply.bytes(b"\x0ahostmaster");
            reply.pointer(zone_at);
            for number in soa_numbers(self.names, self.ttl) {
                reply.bytes(&number.to_be_bytes());
            }
        });
    }
}

/// Serial, refresh, retry, expiry and the TTL of denials, as CoreDNS has them.
fn soa_numbers(names: &Names, ttl: u32) -> [u32; 5] {
    [names.serial(), 7200, 1800, 86_400, ttl]
}

fn write_addresses(
    reply: &mut Reply<'_>,
    owner: usize,
    ttl: u32,
    addresses: &Addresses<'_>,
    around: Surroundings,
) {
    let count = addresses.len();
    let start = around.turn % count.max(1);
    for index in (start..count).chain(0..start) {
        let Some(address) = addresses.get(index) else { break };
        if !reply.address(Section::Answer, owner, ttl, address) {
            break;
        }
    }
}

/// SRV records, their targets uncompressed (RFC 2782), then the targets' addresses.
fn write_srv(reply: &mut Reply<'_>, owner: usize, ttl: u32, srv: Srv<'_>, zone_at: usize) {
    let weight = srv.weight();
    // Where each target lies, with its port and host.
    let mut written: Vec<(usize, u16, HostTarget<'_>)> = Vec::new();
    for SrvTarget { port, host } in srv.targets() {
        // A number that is open for two protocols makes one record.
        let same = |(_, known, of): &(usize, u16, HostTarget<'_>)| {
            *known == port && of.number == host.number
        };
        if written.iter().any(same) {
            continue;
        }
        let data = reply.record(Section::Answer, owner, RecordType::SRV, ttl, |reply| {
            for number in [0, weight, port] {
                reply.bytes(&number.to_be_bytes());
            }
            reply.append(|out| host_name(out, host.label, host.service));
            reply.copy_name(zone_at);
        });
        let Some(data) = data else { return };
        written.push((data + 6, port, host));
    }
    for (index, (target_at, _, host)) in written.iter().enumerate() {
        // Another port of the same host has brought them.
        if written[..index].iter().any(|(_, _, known)| known.number == host.number) {
            continue;
        }
        for address in host.addresses.iter() {
            if !reply.address(Section::Additional, *target_at, ttl, address) {
                return;
            }
        }
    }
}

/// `[HOST.]SERVICE.NAMESPACE.svc`, the zone to follow.
fn host_name(out: &mut Vec<u8>, label: Option<HostLabel<'_>>, service: &[u8]) {
    if let Some(label) = label {
        label.write(out);
    }
    out.extend_from_slice(service);
    out.extend_from_slice(b"\x03svc");
}
