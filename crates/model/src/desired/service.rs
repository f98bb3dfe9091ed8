//! One Service's share of the desired state.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::endpoints;
use super::refused::{Refused, is_refused, refused};
use super::reserved::Reserved;
use crate::backend::{Backend, Pool};
use crate::frontend::{
    Action, Family, Frontend, FrontendAddress, FrontendKey, FrontendKind, PoolKey, PortName, Scope,
};
use crate::node_view::NodeView;
use crate::object::{EndpointSlice, IpMode, Service, ServicePort, ServiceType, TrafficPolicy};
use crate::traffic_policy::{self, Chosen, Needs, Place};

/// What one Service contributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// In the order of precedence, without duplicates.
    pub frontends: Vec<(FrontendKey, Frontend)>,
    pub pools: Vec<(PoolKey, Pool)>,
    pub cluster_ips: Vec<IpAddr>,
    pub health_check: Option<HealthCheck>,
    /// Addresses that the Service asks for and does not get.
    pub refused: Vec<Refused>,
}

/// What `healthCheckNodePort` answers for a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    pub port: u16,
    /// How many ready endpoints run on this node.
    pub local_endpoints: usize,
}

/// Whether a proxy has anything to do for this Service.
pub fn is_proxied(service: &Service) -> bool {
    !service.headless && !service.foreign_proxy && service.service_type != ServiceType::ExternalName
}

/// Derives what a Service contributes on this node, which is in `zone`; addresses that are
/// `reserved` are refused.
pub fn routes(
    service: &Service,
    slices: &[Arc<EndpointSlice>],
    view: &NodeView,
    zone: Option<&str>,
    reserved: &Reserved,
) -> Routes {
    let mut routes = Routes::default();
    if !is_proxied(service) {
        return routes;
    }
    let served = |ip: &&IpAddr| view.families.contains(&Family::of(ip));
    routes.cluster_ips.extend(service.cluster_ips.iter().filter(served));
    routes.refused = refused(service, view, reserved);
    let place = Place { node: &view.name, zone };
    for port in &service.ports {
        let name = Arc::new(PortName {
            service: service.name.clone(),
            port: port.name.clone(),
            protocol: port.protocol,
        });
        for family in &view.families {
            add_port(&mut routes, service, slices, port, &name, *family, place);
        }
    }
    let local_only = service.external_traffic_policy == TrafficPolicy::Local;
    if let Some(port) = service.health_check_node_port.filter(|_| local_only) {
        let local_endpoints = endpoints::ready_local(slices, &view.name);
        routes.health_check = Some(HealthCheck { port, local_endpoints });
    }
    routes
}

fn add_port(
    routes: &mut Routes,
    service: &Service,
    slices: &[Arc<EndpointSlice>],
    port: &ServicePort,
    name: &Arc<PortName>,
    family: Family,
    place: Place<'_>,
) {
    let mut listeners = listeners(service, port, family);
    listeners.retain(|(kind, address)| !is_refused(&routes.refused, *kind, address));
    if listeners.is_empty() {
        return;
    }
    let external = listeners.iter().any(|(kind, _)| kind.is_external());
    let needs = needs(service, external);
    let candidates = endpoints::candidates(slices, name, family, place.node);
    let chosen = traffic_policy::choose(&candidates, needs, place);
    for (kind, address) in listeners {
        let key = FrontendKey {
            address,
            protocol: port.protocol,
            port: if kind == FrontendKind::NodePort {
                port.node_port.unwrap_or(0)
            } else {
                port.port
            },
        };
        if !routes.frontends.iter().any(|(known, _)| *known == key) {
            let sources = (kind == FrontendKind::LoadBalancerIp)
                .then(|| sources(service, &address))
                .flatten();
            routes.frontends.push((key, frontend(service, kind, name, &chosen, sources)));
        }
    }
    let used = |scope| {
        let wants = |action| action == Action::Balance(scope);
        routes.frontends.iter().any(|(key, frontend)| {
            key.family() == family
                && frontend.port == *name
                && (wants(frontend.inside) || wants(frontend.outside))
        })
    };
    for (scope, backends) in [(Scope::Cluster, chosen.cluster), (Scope::Local, chosen.local)] {
        if used(scope) {
            let key = PoolKey { port: name.clone(), family, scope };
            routes.pools.push((key, pool(service, backends)));
        }
    }
}

fn pool(service: &Service, backends: Vec<Backend>) -> Pool {
    Pool { backends: backends.into(), affinity_seconds: service.affinity_seconds }
}

/// The addresses on which a port listens, in the order of precedence.
fn listeners(
    service: &Service,
    port: &ServicePort,
    family: Family,
) -> Vec<(FrontendKind, FrontendAddress)> {
    let balancers = service
        .load_balancer
        .iter()
        .filter(|ingress| ingress.ip_mode == IpMode::Vip)
        .map(|ingress| (FrontendKind::LoadBalancerIp, ingress.ip));
    let cluster = service.cluster_ips.iter().map(|ip| (FrontendKind::ClusterIp, *ip));
    let external = service.external_ips.iter().map(|ip| (FrontendKind::ExternalIp, *ip));
    let node_port = port.node_port.map(|_| (FrontendKind::NodePort, FrontendAddress::Node(family)));
    cluster
        .chain(external)
        .chain(balancers)
        .filter(|(_, ip)| Family::of(ip) == family)
        .map(|(kind, ip)| (kind, FrontendAddress::Ip(ip)))
        .chain(node_port.filter(|_| {
            matches!(service.service_type, ServiceType::NodePort | ServiceType::LoadBalancer)
        }))
        .collect()
}

/// Even with both policies Local, connections from inside the cluster to an external address may
/// go to any endpoint, so whatever is dialled from outside needs the cluster-wide pool too.
fn needs(service: &Service, external: bool) -> Needs {
    let internal_local = service.internal_traffic_policy == TrafficPolicy::Local;
    let external_local = service.external_traffic_policy == TrafficPolicy::Local;
    Needs {
        cluster: !internal_local || external,
        local: internal_local || (external_local && external),
    }
}

fn frontend(
    service: &Service,
    kind: FrontendKind,
    port: &Arc<PortName>,
    chosen: &Chosen,
    sources: Option<Arc<[IpNet]>>,
) -> Frontend {
    let policy = if kind.is_external() {
        service.external_traffic_policy
    } else {
        service.internal_traffic_policy
    };
    let cluster = match (chosen.cluster.is_empty(), chosen.any) {
        (false, _) => Action::Balance(Scope::Cluster),
        (true, true) => Action::Drop,
        (true, false) => Action::Reject,
    };
    let local = match (chosen.local.is_empty(), chosen.any) {
        (false, _) => Action::Balance(Scope::Local),
        (true, true) => Action::Drop,
        (true, false) => Action::Reject,
    };
    let (inside, outside) = match (policy, kind.is_external()) {
        (TrafficPolicy::Cluster, _) => (cluster, cluster),
        (TrafficPolicy::Local, false) => (local, local),
        (TrafficPolicy::Local, true) => (cluster, local),
    };
    Frontend {
        kind,
        port: port.clone(),
        inside,
        outside,
        masquerade_pods: kind.is_external() && policy == TrafficPolicy::Cluster,
        sources,
    }
}

/// The networks of the address's family that may reach a load-balancer address, and that address
/// itself, from which a node that holds it dials. No range in its family means everybody.
fn sources(service: &Service, address: &FrontendAddress) -> Option<Arc<[IpNet]>> {
    let FrontendAddress::Ip(address) = address else { return None };
    let same_family = |net: &&IpNet| Family::of_net(net) == Family::of(address);
    let mut nets: Vec<IpNet> =
        service.load_balancer_source_ranges.iter().filter(same_family).map(IpNet::trunc).collect();
    if nets.is_empty() {
        return None;
    }
    nets.push(IpNet::from(*address));
    Some(IpNet::aggregate(&nets).into())
}
