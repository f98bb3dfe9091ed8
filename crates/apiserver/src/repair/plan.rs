//! What is wrong with claims, and what to do about it: a pure function of what is there.
//!
//! The rules and the words are those of kube-apiserver's repair controllers
//! (`pkg/registry/core/service/ipallocator/controller` and `portallocator/controller`).

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::handlers::family_of;
use crate::resource::ClaimKey;
use crate::store::{Expect, Revision};

/// How old an address without its Service must be: another program may be about to create that.
const LEAK_SECONDS: i64 = 60;
const ADDRESSES: &str = "ipallocator-repair-controller";
const PORTS: &str = "portallocator-repair-controller";

/// A Service, as far as it claims something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// `namespace/name`.
    pub(crate) key: String,
    pub(crate) uid: String,
    pub(crate) revision: Revision,
    /// Texts, which may be no addresses.
    pub(crate) addresses: Vec<String>,
    /// A port that is there twice is one that the Service uses twice.
    pub(crate) ports: Vec<u16>,
}

/// An `IPAddress` object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) ip: IpAddr,
    pub(crate) uid: String,
    pub(crate) revision: Revision,
    /// Whether it says that the API server made it.
    pub(crate) managed: bool,
    /// Whether it says so, and names its family rightly.
    pub(crate) labelled: bool,
    /// The Service's key; empty when something else is the parent.
    pub(crate) service: String,
    /// The parent as people read it.
    pub(crate) parent: String,
    pub(crate) age_seconds: i64,
}

/// What is looked at, all of one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// Sorted by key.
    pub(crate) holders: Vec<Holder>,
    pub(crate) addresses: Vec<Address>,
    /// Claims of node ports; `None` when only addresses are looked at.
    pub(crate) ports: Option<Vec<(u16, Revision, Arc<str>)>>,
}

/// What an Event will say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) component: &'static str,
    pub(crate) about: About,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Service { key: String, uid: String },
    Address { ip: IpAddr, uid: String },
    Range { name: String, uid: String },
}

/// How it is mended. Each holds only as long as the Service named is as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mend {
    Claim { key: ClaimKey, owner: String, expect: Expect, service: Expect },
    Release { key: ClaimKey, owner: String, revision: Revision, service: Expect },
}

/// A thing to say, to do, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) finding: Option<Finding>,
    pub(crate) mend: Option<Mend>,
}

/// `in_range` says whether any `ServiceCIDR` holds an address.
pub(crate) fn plan(
    view: &View,
    in_range: &dyn Fn(IpAddr) -> bool,
    node_ports: &RangeInclusive<u16>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    let holders: HashMap<&str, &Holder> =
        view.holders.iter().map(|holder| (holder.key.as_str(), holder)).collect();
    plan_addresses(view, &holders, in_range, &mut steps);
    if let Some(claimed) = &view.ports {
        plan_ports(view, claimed, &holders, node_ports, &mut steps);
    }
    steps
}

fn finding(
    component: &'static str,
    holder: &Holder,
    reason: &'static str,
    message: String,
) -> Finding {
    let about = About::Service { key: holder.key.clone(), uid: holder.uid.clone() };
    Finding { component, about, reason, message }
}

fn claim(holder: &Holder, key: ClaimKey, found: Option<Revision>) -> Mend {
    Mend::Claim {
        key,
        owner: holder.key.clone(),
        expect: found.map_or(Expect::Absent, Expect::Revision),
        service: Expect::Revision(holder.revision),
    }
}

impl Holder {
    fn holds(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|text| text.parse() == Ok(ip))
    }
}

fn plan_addresses(
    view: &View,
    holders: &HashMap<&str, &Holder>,
    in_range: &dyn Fn(IpAddr) -> bool,
    steps: &mut Vec<Step>,
) {
    let by_ip: HashMap<IpAddr, &Address> = view.addresses.iter().map(|a| (a.ip, a)).collect();
    // Addresses that a Service gets by this plan: nobody else does.
    let mut given: HashMap<IpAddr, &str> = HashMap::new();
    for holder in &view.holders {
        for text in &holder.addresses {
            let warn = |reason, message| Some(finding(ADDRESSES, holder, reason, message));
            let Ok(ip) = text.parse::<IpAddr>() else {
                let message =
                    format!("Cluster IP {text} is not a valid IP; please recreate Service");
                steps.push(Step { finding: warn("ClusterIPNotValid", message), mend: None });
                continue;
            };
            let family = family_of(ip);
            if !in_range(ip) {
                let message = format!(
                    "Cluster IP [{family}]: {ip} is not within any configured Service CIDR; please recreate service"
                );
                steps.push(Step { finding: warn("ClusterIPOutOfRange", message), mend: None });
                continue;
            }
            let found = by_ip.get(&ip);
            let other = match found {
                // Whoever it names has it, if that Service says so too.
                Some(address) => holders.get(&*address.service).filter(|other| other.holds(ip)),
                None => None,
            };
            let other = other.map(|other| &*other.key).or_else(|| given.get(&ip).copied());
            match (found, other) {
                (Some(address), Some(other)) if other == holder.key => {
                    if !address.labelled {
                        let mend = claim(holder, ClaimKey::ClusterIp(ip), Some(address.revision));
                        steps.push(Step { finding: None, mend: Some(mend) });
                    }
                }
                (_, Some(_)) => {
                    let message = format!(
                        "Cluster IP [{family}]:{ip} was assigned to multiple services; please recreate service"
                    );
                    steps.push(Step {
                        finding: warn("ClusterIPAlreadyAllocated", message),
                        mend: None,
                    });
                }
                (found, None) => {
                    let message = match found {
                        None => format!("Cluster IP [{family}]: {ip} is not allocated; repairing"),
                        Some(_) => format!(
                            "the ClusterIP [{family}]: {ip} for Service {} has a wrong reference; repairing",
                            holder.key
                        ),
                    };
                    let revision = found.map(|address| address.revision);
                    given.insert(ip, &holder.key);
                    steps.push(Step {
                        finding: warn("ClusterIPNotAllocated", message),
                        mend: Some(claim(holder, ClaimKey::ClusterIp(ip), revision)),
                    });
                }
            }
        }
    }
    for address in view.addresses.iter().filter(|a| a.managed && !given.contains_key(&a.ip)) {
        let Address { ip, service, parent, .. } = address;
        let holder = holders.get(&**service);
        let (reason, message) = match holder {
            _ if service.is_empty() => (
                "IPAddressNotAllocated",
                format!(
                    "IPAddress {ip} appears to have been modified, not referencing a Service {parent}: cleaning up"
                ),
            ),
            None if address.age_seconds > LEAK_SECONDS => (
                "IPAddressNotAllocated",
                format!(
                    "IPAddress: {ip} for Service {service} appears to have leaked: cleaning up"
                ),
            ),
            Some(holder) if !holder.holds(*ip) => (
                "IPAddressWrongReference",
                format!("IPAddress: {ip} for Service {service} has a wrong reference; cleaning up"),
            ),
            _ => continue,
        };
        steps.push(Step {
            finding: Some(Finding {
                component: ADDRESSES,
                about: About::Address { ip: *ip, uid: address.uid.clone() },
                reason,
                message,
            }),
            mend: Some(Mend::Release {
                key: ClaimKey::ClusterIp(*ip),
                owner: service.clone(),
                revision: address.revision,
                service: holder.map_or(Expect::Absent, |h| Expect::Revision(h.revision)),
            }),
        });
    }
}

fn plan_ports(
    view: &View,
    claimed: &[(u16, Revision, Arc<str>)],
    holders: &HashMap<&str, &Holder>,
    range: &RangeInclusive<u16>,
    steps: &mut Vec<Step>,
) {
    let claims: BTreeMap<u16, (Revision, &str)> =
        claimed.iter().map(|(port, revision, owner)| (*port, (*revision, &**owner))).collect();
    // Whoever the claim names, if that Service has the port; else the first that has it.
    let mut rightful: HashMap<u16, &str> = HashMap::new();
    for holder in &view.holders {
        for port in &holder.ports {
            let owner = claims.get(port).map(|(_, owner)| *owner);
            if owner == Some(&holder.key) || !rightful.contains_key(port) {
                rightful.insert(*port, &holder.key);
            }
        }
    }
    for holder in &view.holders {
        let mut seen = Vec::new();
        for port in &holder.ports {
            let warn = |reason, message| Some(finding(PORTS, holder, reason, message));
            if !range.contains(port) {
                let message = format!(
                    "Port {port} is not within the port range {}-{}; please recreate service",
                    range.start(),
                    range.end()
                );
                steps.push(Step { finding: warn("PortOutOfRange", message), mend: None });
            }
            if seen.contains(port) || rightful.get(port) != Some(&&*holder.key) {
                let message = format!(
                    "Port {port} was assigned to multiple services; please recreate service"
                );
                steps.push(Step { finding: warn("PortAlreadyAllocated", message), mend: None });
                continue;
            }
            seen.push(*port);
            let found = claims.get(port);
            if found.is_none_or(|(_, owner)| *owner != holder.key) {
                let message = format!("Port {port} is not allocated; repairing");
                let revision = found.map(|(revision, _)| *revision);
                steps.push(Step {
                    finding: warn("PortNotAllocated", message),
                    mend: Some(claim(holder, ClaimKey::NodePort(*port), revision)),
                });
            }
        }
    }
    for (port, (revision, owner)) in claims.iter().filter(|(port, _)| !rightful.contains_key(port))
    {
        let holder = holders.get(owner);
        steps.push(Step {
            finding: None,
            mend: Some(Mend::Release {
                key: ClaimKey::NodePort(*port),
                owner: (*owner).to_owned(),
                revision: *revision,
                service: holder.map_or(Expect::Absent, |h| Expect::Revision(h.revision)),
            }),
        });
    }
}
