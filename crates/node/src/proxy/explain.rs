//! Which way does this packet take, and is that what the kernel will do?

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use kube::Client;
use portolan_linux::rtnl::Rtnl;
use portolan_model::desired::{Refusal, candidates};
use portolan_model::frontend::{FrontendKey, Scope};
use portolan_model::object::Protocol;
use portolan_model::oracle::{self, Choice, Packet, Reason, Verdict};
use portolan_model::traffic_policy::{self, Exclusion, Place};
use portolan_model::{Desired, Snapshot, desired};

use super::config::ProxyConfig;
use super::datapath::{self, ApplyError, ModeError, Observed};
use crate::reflect;

/// The packet in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub port: u16,
    pub protocol: Protocol,
}

/// No answer could be given.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error("cannot list the cluster's Services")]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Mode(#[from] ModeError),
    #[error("cannot read the kernel's tables")]
    Kernel(#[from] ApplyError),
    #[error("cannot read this node's addresses")]
    Addresses(#[from] portolan_linux::Failed),
    #[error("source and destination are of different IP families")]
    Families,
}

/// What becomes of a packet, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    pub query: Query,
    /// Whether the source is one of this node's own addresses.
    pub from_node: bool,
    pub verdict: Verdict,
    /// The Service and its port, as `namespace/name:port`.
    pub service: Option<String>,
    /// Endpoints of the Service that are not in question, and why.
    pub excluded: Vec<(SocketAddr, Exclusion)>,
    /// Services that ask for the destination and do not get it, and why.
    pub refused: Vec<(String, Refusal)>,
    /// Where the kernel finds its answer.
    pub place: Option<String>,
    /// Where the kernel differs from what it should hold; empty means it agrees.
    pub disagreements: Vec<String>,
}

/// Explains a packet on this node: lists the cluster's objects, decides, and compares with the
/// tables of this network namespace.
pub async fn explain(
    client: &Client,
    config: &ProxyConfig,
    query: Query,
) -> Result<Explanation, ExplainError> {
    if query.source.is_ipv4() != query.destination.is_ipv4() {
        return Err(ExplainError::Families);
    }
    let snapshot = reflect::list(client).await?;
    let mut datapath = datapath::open(&config.mode, &config.host)?;
    let view = config.view(datapath.capabilities().loopback_node_ports);
    let desired = desired(&snapshot, &view);
    let observed = datapath.observe()?;
    let own = datapath::ipvs::without_services(&Rtnl::open()?)?;
    Ok(answer(&snapshot, &desired, &observed, &own, query))
}

/// The pure part of [`explain`].
fn answer(
    snapshot: &Snapshot,
    desired: &Desired,
    observed: &Observed,
    own: &BTreeSet<IpAddr>,
    query: Query,
) -> Explanation {
    let is_own = |ip: &IpAddr| own.contains(ip) || ip.is_loopback();
    let packet = Packet {
        source: query.source,
        destination: query.destination,
        protocol: query.protocol,
        destination_port: query.port,
        from_node: is_own(&query.source),
        to_node: is_own(&query.destination),
    };
    let verdict = oracle::route(desired, &packet);
    let found = oracle::find(desired, &packet);
    let scope = match &verdict {
        Verdict::Balance { scope, .. } => *scope,
        Verdict::Drop { .. } => Scope::Local,
        _ => Scope::Cluster,
    };
    let excluded = found
        .map(|(key, frontend)| excluded(snapshot, desired, &key, frontend, scope))
        .unwrap_or_default();
    let disagreements = match found {
        Some((key, _)) => {
            let named = key.to_string();
            let all = observed.differences(desired);
            all.into_iter().filter(|line| line.starts_with(&named)).collect()
        }
        None => stray(desired, observed, &packet),
    };
    Explanation {
        query,
        from_node: packet.from_node,
        service: found.map(|(_, frontend)| frontend.port.to_string()),
        refused: refused(desired, &packet),
        excluded,
        place: found.and_then(|(key, _)| Some(observed.frontends.get(&key)?.place.clone())),
        disagreements,
        verdict,
    }
}

fn refused(desired: &Desired, packet: &Packet) -> Vec<(String, Refusal)> {
    let all = desired.refused().filter(|(_, refused)| refused.address == packet.destination);
    let mut all: Vec<_> = all.map(|(name, refused)| (name.to_string(), refused.why)).collect();
    all.dedup();
    all
}

/// What the kernel holds for an address that is no frontend.
fn stray(desired: &Desired, observed: &Observed, packet: &Packet) -> Vec<String> {
    let at = portolan_model::frontend::FrontendAddress::Ip(packet.destination);
    let key = FrontendKey { address: at, protocol: packet.protocol, port: packet.destination_port };
    let mut found = Vec::new();
    if let Some(frontend) = observed.frontends.get(&key) {
        found.push(format!(
            "the kernel serves {key}, which no Service asks for: {}",
            frontend.place
        ));
    }
    let should = desired.is_cluster_ip(&packet.destination);
    if observed.cluster_ips.contains(&packet.destination) != should {
        let is = if should { "does not know that" } else { "believes that" };
        found.push(format!("the kernel {is} {} is a ClusterIP", packet.destination));
    }
    found
}

fn excluded(
    snapshot: &Snapshot,
    desired: &Desired,
    key: &FrontendKey,
    frontend: &portolan_model::frontend::Frontend,
    scope: Scope,
) -> Vec<(SocketAddr, Exclusion)> {
    let slices: Vec<_> = snapshot.slices(&frontend.port.service).cloned().collect();
    let all = candidates(&slices, &frontend.port, key.family(), &desired.view.name);
    let place = Place { node: &desired.view.name, zone: desired.zone() };
    all.iter()
        .filter_map(|item| {
            let why = traffic_policy::exclusion(item, &all, scope, place)?;
            Some((SocketAddr::new(item.backend.address, item.backend.port), why))
        })
        .collect()
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Query { source, destination, port, protocol } = self.query;
        writeln!(f, "{source} → {}, {protocol}", SocketAddr::new(destination, port))?;
        if let Some(service) = &self.service {
            writeln!(f, "  Service   {service}")?;
        }
        if let Some(place) = &self.place {
            writeln!(f, "  kernel    {place}")?;
        }
        match &self.verdict {
            Verdict::Pass { masquerade: false } => {
                writeln!(f, "  verdict   no Service is concerned; the packet is routed as it is")?
            }
            Verdict::Pass { masquerade: true } => writeln!(
                f,
                "  verdict   no Service is concerned; the packet leaves the cluster under the node's address"
            )?,
            Verdict::Reject { reason, .. } => {
                writeln!(f, "  verdict   refused at once: {}", because(*reason))?
            }
            Verdict::Drop { reason, .. } => {
                writeln!(f, "  verdict   dropped: {}", because(*reason))?
            }
            Verdict::Balance { choices, affinity_seconds, .. } => {
                balance(f, choices, *affinity_seconds)?;
            }
        }
        for (endpoint, why) in &self.excluded {
            writeln!(f, "  not used  {endpoint}: {}", why.as_str())?;
        }
        for (service, why) in &self.refused {
            writeln!(
                f,
                "  refused   {service} asks for {destination}, which is not served: {}",
                why.as_str()
            )?;
        }
        if self.disagreements.is_empty() {
            writeln!(f, "  checked   the kernel holds exactly this")
        } else {
            self.disagreements.iter().try_for_each(|line| writeln!(f, "  DIFFERS   {line}"))
        }
    }
}

fn balance(f: &mut fmt::Formatter<'_>, choices: &[Choice], affinity: Option<u32>) -> fmt::Result {
    for choice in choices {
        let percent = choice.probability * 100.0;
        let place = if choice.backend.local { "this node" } else { "another node" };
        let sees = if choice.masquerade {
            "it sees this node's address"
        } else {
            "it sees the client's address"
        };
        writeln!(f, "  {percent:5.1} %   {} on {place}; {sees}", choice.backend)?;
    }
    if let Some(seconds) = affinity {
        writeln!(f, "  affinity  a client that came within {seconds} s keeps its endpoint")?;
    }
    Ok(())
}

fn because(reason: Reason) -> &'static str {
    match reason {
        Reason::NoEndpoint => "the Service has no endpoint that would answer",
        Reason::NoLocalEndpoint => "the traffic policy is Local, and this node has no endpoint",
        Reason::UnknownPort => "the Service's address has no such port",
        Reason::SourceRange => "the source is in none of loadBalancerSourceRanges",
    }
}
