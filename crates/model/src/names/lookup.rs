//! Questions in, answers out.

use std::net::IpAddr;

use super::answer::{
    Addresses, Answer, HostTarget, PtrTarget, RecordType, Srv, SrvRecords, Wanted,
};
use super::label::{HostLabel, parse_loosely};
use super::service::{Facts, Kind, ServiceEntry};
use super::table::Keyed;
use super::{Names, PodMode};
use crate::object::Protocol;

/// `dns-version.ZONE TXT`: the version of the specification that is followed.
const DNS_VERSION: &str = "1.1.0";

/// No name that exists has more labels left of its zone: `_PORT._PROTOCOL.SERVICE.NAMESPACE.svc`.
const MAX_LABELS: usize = 5;

impl Names {
    /// Resolves `name`, which is relative to the zone, in lower case and wire form.
    pub fn lookup<'a>(&'a self, name: &'a [u8], kind: RecordType) -> Answer<'a> {
        let mut starts = [0_usize; MAX_LABELS + 1];
        let mut count = 0;
        let mut at = 0;
        while at < name.len() {
            if count == MAX_LABELS {
                return Answer::NxDomain;
            }
            starts[count] = at;
            count += 1;
            at += 1 + usize::from(name[at]);
        }
        if at != name.len() {
            return Answer::NxDomain;
        }
        starts[count] = name.len();
        let Some(last) = count.checked_sub(1) else { return apex(kind) };
        let from = |label: usize| &name[starts[label]..];
        let label = |index: usize| &name[starts[index] + 1..starts[index + 1]];
        match (from(last), last) {
            (b"\x0bdns-version", 0) => match kind {
                RecordType::TXT => Answer::Text(DNS_VERSION),
                _ => Answer::NoData,
            },
            (b"\x03dns", 0) => Answer::NoData,
            (b"\x03dns", 1) if label(0) == b"ns" => self.name_server(kind),
            (b"\x03svc" | b"\x03pod", 0) => Answer::NoData,
            (b"\x03pod", 1) if self.options.pods == PodMode::Disabled => Answer::NxDomain,
            (b"\x03svc" | b"\x03pod", 1) => {
                if self.exposes(&name[..starts[1]]) {
                    Answer::NoData
                } else {
                    Answer::NxDomain
                }
            }
            (b"\x03pod", 2) => self.pod(label(0), &name[starts[1]..starts[2]], kind),
            (b"\x03svc", _) => {
                let key = &name[starts[last - 2]..starts[last]];
                let Some(entry) = self.services.get(key) else { return Answer::NxDomain };
                let Some(facts) = entry.facts() else { return Answer::NxDomain };
                if self.is_hidden(entry, facts) || !self.serves_below(key) {
                    return Answer::NxDomain;
                }
                match last {
                    2 => service(entry, facts, kind),
                    3 => below_service(entry, facts, label(0), kind),
                    _ => port(entry, facts, label(0), label(1), kind),
                }
            }
            _ => Answer::NxDomain,
        }
    }

    /// The namespace, as a label in wire form, of the pod at `address`; needs pods to be verified.
    /// None when pods of several namespaces share it, as those on a node's own network do.
    pub fn pod_namespace(&self, address: IpAddr) -> Option<&[u8]> {
        let mut all = self.pods.namespaces(address);
        let first = all.next()?;
        all.all(|other| other == first).then_some(first)
    }

    /// The names that `address` has, sorted: that of the Service whose virtual address it is, else
    /// those of the endpoints that have it.
    pub fn reverse(&self, address: IpAddr) -> impl Iterator<Item = PtrTarget<'_>> {
        let entries = self.by_cluster_ip.owners(address).filter_map(|of| self.services.at(of));
        let cluster = entries.map(|entry| entry.key()).min();
        let cluster = cluster.map(|key| PtrTarget { label: None, service: key });
        let (only, many) = match cluster {
            Some(_) => (None, Vec::new()),
            None => self.endpoints_at(address),
        };
        let hosts = only.into_iter().chain(many).flat_map(move |entry| {
            let labels = entry.hosts().at(address);
            labels.map(|label| PtrTarget { label: Some(label), service: entry.key() })
        });
        cluster.into_iter().chain(hosts)
    }

    /// The Services that have an endpoint at `address`: the only one, or several in order.
    fn endpoints_at(&self, address: IpAddr) -> (Option<&ServiceEntry>, Vec<&ServiceEntry>) {
        let entries = self.by_endpoint.owners(address).filter_map(|of| self.services.at(of));
        let mut entries = entries.map(|entry| &**entry);
        let first = entries.next();
        let mut all: Vec<_> = entries.collect();
        if all.is_empty() {
            return (first, all);
        }
        all.extend(first);
        all.sort_unstable_by_key(|entry| entry.key());
        (None, all)
    }

    /// The names of the zone that have records, each with one of the types that it has; without
    /// those of pods and of the endpoints behind a virtual address.
    pub fn records(&self) -> impl Iterator<Item = (Vec<u8>, RecordType)> {
        let mut entries: Vec<&ServiceEntry> =
            self.services.iter().map(|(_, entry)| &**entry).collect();
        entries.sort_unstable_by_key(|entry| entry.key());
        let fixed = [
            (b"\x0bdns-version".to_vec(), RecordType::TXT),
            (b"\x02ns\x03dns".to_vec(), RecordType::A),
            (b"\x02ns\x03dns".to_vec(), RecordType::AAAA),
        ];
        fixed.into_iter().chain(entries.into_iter().flat_map(|entry| self.records_of(entry)))
    }

    fn records_of(&self, entry: &ServiceEntry) -> Vec<(Vec<u8>, RecordType)> {
        let Some(facts) = entry.facts() else { return Vec::new() };
        if self.is_hidden(entry, facts) || !self.serves_below(entry.key()) {
            return Vec::new();
        }
        let name = [entry.key(), b"\x03svc"].concat();
        let below = |label: HostLabel<'_>| {
            let mut whole = Vec::with_capacity(name.len() + 64);
            label.write(&mut whole);
            [&whole[..], &name].concat()
        };
        let addresses = [RecordType::A, RecordType::AAAA];
        let ports = match facts.kind {
            Kind::External(_) => return vec![(name, RecordType::CNAME)],
            Kind::Unresolvable => return Vec::new(),
            Kind::Cluster => &facts.ports,
            Kind::Headless => entry.hosts().port_list(),
        };
        let kinds = addresses.into_iter().chain([RecordType::SRV]);
        let mut records: Vec<_> = kinds.map(|kind| (name.clone(), kind)).collect();
        let mut names: Vec<_> = ports.iter().map(|port| (&port.name, port.protocol)).collect();
        names.sort_unstable();
        names.dedup();
        for (port, protocol) in names.into_iter().filter(|(port, _)| !port.is_empty()) {
            let labels = [format!("_{port}"), format!("_{protocol}").to_ascii_lowercase()];
            let mut whole = Vec::new();
            labels.iter().for_each(|label| HostLabel::Name(label).write(&mut whole));
            records.push(([&whole[..], &name].concat(), RecordType::SRV));
        }
        if facts.kind == Kind::Headless {
            let numbers = 0..entry.hosts().count() as u32;
            for host in numbers.filter_map(|number| entry.hosts().get(number)) {
                records.extend(addresses.map(|kind| (below(host.label), kind)));
            }
        }
        records
    }

    /// Whether names in this namespace, a label in wire form, may exist at all.
    fn exposes(&self, namespace: &[u8]) -> bool {
        let known = self.namespaces.get(namespace);
        known.is_some_and(|known| known.declared || !self.options.declared_namespaces_only)
    }

    /// Whether the namespace of a Service, given by its key, is served.
    fn serves_below(&self, service: &[u8]) -> bool {
        !self.options.declared_namespaces_only
            || self.exposes(&service[1 + usize::from(service[0])..])
    }

    /// `ignore empty_service` hides Services with a virtual address that nobody answers at.
    fn is_hidden(&self, entry: &ServiceEntry, facts: &Facts) -> bool {
        self.options.ignore_empty_service && facts.kind == Kind::Cluster && entry.hosts().is_empty()
    }

    fn pod(&self, label: &[u8], namespace: &[u8], kind: RecordType) -> Answer<'_> {
        if self.options.pods == PodMode::Disabled || !self.exposes(namespace) {
            return Answer::NxDomain;
        }
        let Some(address) = parse_loosely(label) else { return Answer::NxDomain };
        let known = || self.pods.namespaces(address).any(|known| known == namespace);
        if self.options.pods == PodMode::Verified && !known() {
            return Answer::NxDomain;
        }
        match (kind, address) {
            (RecordType::A, IpAddr::V4(_)) | (RecordType::AAAA, IpAddr::V6(_)) => {
                Answer::Addresses(Addresses::One(address))
            }
            _ => Answer::NoData,
        }
    }

    /// The zone's name servers: the Services that lead to this server, or the endpoints of those
    /// that have no address. None when there is no such Service: then the zone's name server is
    /// `ns.dns`, at [`Names::server_addresses`].
    pub fn name_servers(&self) -> Vec<HostTarget<'_>> {
        let owners = self.server_addresses.iter().flat_map(|own| self.by_endpoint.owners(*own));
        let mut entries: Vec<_> = owners.filter_map(|number| self.services.at(number)).collect();
        entries.sort_unstable_by_key(|entry| entry.key());
        entries.dedup_by_key(|entry| entry.key());
        let mut servers = Vec::new();
        for entry in entries {
            if entry.cluster_ips().is_empty() {
                let numbers = 0..entry.hosts().count() as u32;
                servers.extend(numbers.filter_map(|number| HostTarget::of_host(entry, number)));
            } else {
                servers.push(HostTarget::of_service(entry));
            }
        }
        servers
    }

    /// `ns.dns.ZONE`.
    fn name_server(&self, kind: RecordType) -> Answer<'_> {
        let servers = self.name_servers();
        let mut addresses: Vec<IpAddr> =
            servers.iter().flat_map(|server| server.addresses.iter()).collect();
        if servers.is_empty() {
            addresses.extend(&self.server_addresses);
        }
        gathered(addresses, kind)
    }
}

/// Those of `addresses` that are of the family asked for.
fn gathered(mut addresses: Vec<IpAddr>, kind: RecordType) -> Answer<'static> {
    addresses.retain(|address| match kind {
        RecordType::A => address.is_ipv4(),
        RecordType::AAAA => address.is_ipv6(),
        _ => false,
    });
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Answer::NoData;
    }
    Answer::Addresses(Addresses::Gathered(addresses))
}

fn apex(kind: RecordType) -> Answer<'static> {
    match kind {
        RecordType::SOA => Answer::Soa,
        RecordType::NS => Answer::NameServer,
        _ => Answer::NoData,
    }
}

/// Those of one family.
fn of_family(addresses: Addresses<'_>, kind: RecordType) -> Answer<'_> {
    let found = match (kind, addresses) {
        (RecordType::A, Addresses::Both(v4, _)) => Addresses::Both(v4, &[]),
        (RecordType::AAAA, Addresses::Both(_, v6)) => Addresses::Both(&[], v6),
        (RecordType::A, Addresses::One(IpAddr::V4(only))) => Addresses::One(only.into()),
        (RecordType::AAAA, Addresses::One(IpAddr::V6(only))) => Addresses::One(only.into()),
        _ => return Answer::NoData,
    };
    if found.is_empty() { Answer::NoData } else { Answer::Addresses(found) }
}

/// `SERVICE.NAMESPACE.svc`.
fn service<'a>(entry: &'a ServiceEntry, facts: &'a Facts, kind: RecordType) -> Answer<'a> {
    match &facts.kind {
        Kind::External(target) => return Answer::Cname(target),
        Kind::Unresolvable => return Answer::NxDomain,
        // The specification, 2.4.1: no ready endpoint, no name.
        Kind::Headless if entry.hosts().is_empty() => return Answer::NxDomain,
        Kind::Headless | Kind::Cluster => {}
    }
    match kind {
        RecordType::SRV => srv(entry, facts, Wanted { port: None }),
        _ => entry.addresses().map_or(Answer::NoData, |set| of_family(set.all(), kind)),
    }
}

/// `HOSTNAME.SERVICE.NAMESPACE.svc`, and the empty name `_PROTOCOL` above the ports.
fn below_service<'a>(
    entry: &'a ServiceEntry,
    facts: &'a Facts,
    label: &[u8],
    kind: RecordType,
) -> Answer<'a> {
    if let Some(protocol) = label.strip_prefix(b"_").and_then(protocol) {
        let exists = match facts.kind {
            Kind::Cluster => {
                facts.ports.iter().any(|port| port.protocol == protocol && !port.name.is_empty())
            }
            _ => entry.hosts().has_protocol(protocol) && !entry.hosts().is_empty(),
        };
        return if exists { Answer::NoData } else { Answer::NxDomain };
    }
    let Some(number) = entry.hosts().find(label) else { return Answer::NxDomain };
    if kind == RecordType::SRV {
        let ports = entry.hosts().ports(None);
        let records = SrvRecords::Hosts { ports, host: Some(number) };
        return some_srv(Srv { service: entry, records });
    }
    let host = entry.hosts().get(number);
    host.map_or(Answer::NoData, |host| of_family(host.addresses, kind))
}

/// `_PORT._PROTOCOL.SERVICE.NAMESPACE.svc`. Besides the specification's SRV records, the name has
/// the addresses behind the port, and may be spelt without underscores: clients of CoreDNS know it
/// so.
fn port<'a>(
    entry: &'a ServiceEntry,
    facts: &'a Facts,
    name: &'a [u8],
    protocol_label: &[u8],
    kind: RecordType,
) -> Answer<'a> {
    let Some(protocol) = protocol(bare(protocol_label)) else { return Answer::NxDomain };
    let name = bare(name);
    if name.is_empty() {
        return Answer::NxDomain;
    }
    match (srv(entry, facts, Wanted { port: Some((name, protocol)) }), kind) {
        (Answer::Srv(found), RecordType::SRV) => Answer::Srv(found),
        (Answer::Srv(found), RecordType::A | RecordType::AAAA) => {
            let targets = found.targets();
            gathered(
                targets.flat_map(|to| to.host.addresses.iter().collect::<Vec<_>>()).collect(),
                kind,
            )
        }
        (Answer::Srv(_), _) => Answer::NoData,
        _ => Answer::NxDomain,
    }
}

fn bare(label: &[u8]) -> &[u8] {
    label.strip_prefix(b"_").unwrap_or(label)
}

fn srv<'a>(entry: &'a ServiceEntry, facts: &'a Facts, wanted: Wanted<'a>) -> Answer<'a> {
    let records = match facts.kind {
        Kind::Cluster => SrvRecords::Cluster { ports: &facts.ports, wanted },
        Kind::Headless => SrvRecords::Hosts { ports: entry.hosts().ports(wanted.port), host: None },
        Kind::External(_) | Kind::Unresolvable => return Answer::NoData,
    };
    some_srv(Srv { service: entry, records })
}

fn some_srv(srv: Srv<'_>) -> Answer<'_> {
    if srv.targets().next().is_some() { Answer::Srv(srv) } else { Answer::NoData }
}

fn protocol(label: &[u8]) -> Option<Protocol> {
    match label {
        b"tcp" => Some(Protocol::Tcp),
        b"udp" => Some(Protocol::Udp),
        b"sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}
