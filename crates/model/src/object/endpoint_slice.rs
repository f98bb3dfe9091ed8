use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1 as discovery;
use serde::{Deserialize, Serialize};

use super::{ObjectName, Protocol, object_name};

/// `addressType`; slices of FQDNs are never proxied and answer no A or AAAA query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AddressType {
    Ipv4,
    Ipv6,
    Fqdn,
}

/// One entry of a slice's `ports`; `port: None` means "all ports" and is not proxied.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EndpointPort {
    pub name: Arc<str>,
    pub protocol: Protocol,
    pub port: Option<u16>,
}

/// The pod behind an endpoint (`targetRef` of kind Pod).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PodRef {
    pub name: ObjectName,
}

/// One entry of a slice's `endpoints`. All its addresses are fungible; as kube-proxy does, the
/// first is the one used.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    pub address: IpAddr,
    /// An absent condition reads as the API defines it: ready and serving, not terminating.
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
    pub hostname: Option<Arc<str>>,
    pub node_name: Option<Arc<str>>,
    pub zone: Option<Arc<str>>,
    pub hints_for_zones: Vec<Arc<str>>,
    pub hints_for_nodes: Vec<Arc<str>>,
    pub pod: Option<PodRef>,
}

/// What the model reads of a `discovery.k8s.io/v1` EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSlice {
    pub name: ObjectName,
    /// From the label `kubernetes.io/service-name`; a slice without it belongs to no Service.
    pub service: Option<ObjectName>,
    pub address_type: AddressType,
    pub ports: Vec<EndpointPort>,
    pub endpoints: Vec<Endpoint>,
}

impl From<&discovery::EndpointSlice> for EndpointSlice {
    fn from(object: &discovery::EndpointSlice) -> Self {
        let name = object_name(&object.metadata);
        let service = object
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get("kubernetes.io/service-name"))
            .map(|service| ObjectName::new(name.namespace.clone(), service.as_str()));
        Self {
            service,
            address_type: match object.address_type.as_str() {
                "IPv6" => AddressType::Ipv6,
                "FQDN" => AddressType::Fqdn,
                _ => AddressType::Ipv4,
            },
            ports: object.ports.iter().flatten().filter_map(endpoint_port).collect(),
            endpoints: object
                .endpoints
                .iter()
                .flatten()
                .filter_map(|item| endpoint(item, &name.namespace))
                .collect(),
            name,
        }
    }
}

fn endpoint_port(port: &discovery::EndpointPort) -> Option<EndpointPort> {
    Some(EndpointPort {
        name: port.name.as_deref().unwrap_or_default().into(),
        protocol: Protocol::from_api(port.protocol.as_deref())?,
        port: port.port.and_then(|number| u16::try_from(number).ok()),
    })
}

fn endpoint(endpoint: &discovery::Endpoint, namespace: &Arc<str>) -> Option<Endpoint> {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let hints = endpoint.hints.as_ref();
    Some(Endpoint {
        address: endpoint.addresses.first()?.parse().ok()?,
        ready,
        serving: conditions.and_then(|c| c.serving).unwrap_or(ready),
        terminating: conditions.and_then(|c| c.terminating).unwrap_or(false),
        hostname: endpoint.hostname.as_deref().filter(|name| !name.is_empty()).map(Arc::from),
        node_name: endpoint.node_name.as_deref().map(Arc::from),
        zone: endpoint.zone.as_deref().map(Arc::from),
        hints_for_zones: hints
            .and_then(|hints| hints.for_zones.as_deref())
            .unwrap_or_default()
            .iter()
            .map(|zone| Arc::from(zone.name.as_str()))
            .collect(),
        hints_for_nodes: hints
            .and_then(|hints| hints.for_nodes.as_deref())
            .unwrap_or_default()
            .iter()
            .map(|node| Arc::from(node.name.as_str()))
            .collect(),
        pod: endpoint
            .target_ref
            .as_ref()
            .filter(|target| target.kind.as_deref() == Some("Pod"))
            .and_then(|target| {
                let namespace =
                    target.namespace.as_deref().map_or_else(|| namespace.clone(), Arc::from);
                Some(PodRef { name: ObjectName::new(namespace, target.name.as_deref()?) })
            }),
    })
}
