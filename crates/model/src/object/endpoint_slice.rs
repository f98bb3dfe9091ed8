use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1 as discovery;
use serde::{Deserialize, Serialize};

use super::{ObjectName, Protocol};
use crate::intern::Interner;

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

/// One entry of a slice's `endpoints`. All its addresses are fungible; as kube-proxy does, the
/// first is the one used.
///
/// There are hundreds of thousands of them: what few have lies elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    pub address: IpAddr,
    /// An absent condition reads as the API defines it: ready and serving, not terminating.
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
    pub node_name: Option<Arc<str>>,
    /// `None` without any.
    pub hints: Option<Box<Hints>>,
    /// `None` without any.
    pub names: Option<Box<EndpointNames>>,
}

/// The zones and nodes that the EndpointSlice controller meant an endpoint for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Hints {
    pub zones: Box<[Arc<str>]>,
    pub nodes: Box<[Arc<str>]>,
}

/// What DNS may call an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EndpointNames {
    pub hostname: Option<Arc<str>>,
    /// `targetRef` of kind Pod.
    pub pod: Option<ObjectName>,
}

impl Endpoint {
    /// A ready endpoint of which no more is known.
    pub fn new(address: IpAddr) -> Self {
        Self {
            address,
            ready: true,
            serving: true,
            terminating: false,
            node_name: None,
            hints: None,
            names: None,
        }
    }

    /// The same, with the names that DNS may give it.
    pub fn with_names(self, hostname: Option<Arc<str>>, pod: Option<ObjectName>) -> Self {
        let any = hostname.is_some() || pod.is_some();
        Self { names: any.then(|| Box::new(EndpointNames { hostname, pod })), ..self }
    }

    /// The same, meant for these zones and nodes.
    pub fn with_hints(self, zones: Box<[Arc<str>]>, nodes: Box<[Arc<str>]>) -> Self {
        let any = !zones.is_empty() || !nodes.is_empty();
        Self { hints: any.then(|| Box::new(Hints { zones, nodes })), ..self }
    }

    /// The zones that it is meant for.
    pub fn zone_hints(&self) -> &[Arc<str>] {
        self.hints.as_ref().map_or(&[], |hints| &hints.zones)
    }

    /// The nodes that it is meant for.
    pub fn node_hints(&self) -> &[Arc<str>] {
        self.hints.as_ref().map_or(&[], |hints| &hints.nodes)
    }

    /// Its `hostname`.
    pub fn hostname(&self) -> Option<&Arc<str>> {
        self.names.as_ref()?.hostname.as_ref()
    }

    /// The pod behind it.
    pub fn pod(&self) -> Option<&ObjectName> {
        self.names.as_ref()?.pod.as_ref()
    }
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
        Self::read(object, true, &mut Interner::default())
    }
}

impl EndpointSlice {
    /// Trims an API object, with its strings from `strings`; without `names`, also what only DNS
    /// needs stays behind.
    pub fn read(object: &discovery::EndpointSlice, names: bool, strings: &mut Interner) -> Self {
        let meta = &object.metadata;
        let namespace = strings.copy(meta.namespace.as_deref().unwrap_or_default());
        let name = ObjectName::new(namespace.clone(), meta.name.as_deref().unwrap_or_default());
        let labels = meta.labels.as_ref();
        let service = labels.and_then(|labels| labels.get("kubernetes.io/service-name"));
        let service = service.map(|service| ObjectName::new(namespace.clone(), service.as_str()));
        let mut endpoints = Vec::with_capacity(object.endpoints.as_ref().map_or(0, Vec::len));
        let all = object.endpoints.iter().flatten();
        endpoints.extend(all.filter_map(|item| endpoint(item, &namespace, names, strings)));
        Self {
            name,
            service,
            address_type: match object.address_type.as_str() {
                "IPv6" => AddressType::Ipv6,
                "FQDN" => AddressType::Fqdn,
                _ => AddressType::Ipv4,
            },
            ports: object
                .ports
                .iter()
                .flatten()
                .filter_map(|port| endpoint_port(port, strings))
                .collect(),
            endpoints,
        }
    }
}

fn endpoint_port(port: &discovery::EndpointPort, strings: &mut Interner) -> Option<EndpointPort> {
    Some(EndpointPort {
        name: strings.copy(port.name.as_deref().unwrap_or_default()),
        protocol: Protocol::from_api(port.protocol.as_deref())?,
        port: port.port.and_then(|number| u16::try_from(number).ok()),
    })
}

fn endpoint(
    endpoint: &discovery::Endpoint,
    namespace: &Arc<str>,
    names: bool,
    strings: &mut Interner,
) -> Option<Endpoint> {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let hints = endpoint.hints.as_ref();
    let zones = hints.and_then(|hints| hints.for_zones.as_deref()).unwrap_or_default();
    let nodes = hints.and_then(|hints| hints.for_nodes.as_deref()).unwrap_or_default();
    let hostname = endpoint.hostname.as_deref().filter(|name| names && !name.is_empty());
    let target = endpoint.target_ref.as_ref();
    let pod = target.filter(|target| names && target.kind.as_deref() == Some("Pod"));
    let pod = pod.and_then(|target| {
        let namespace = match target.namespace.as_deref() {
            Some(other) => strings.copy(other),
            None => namespace.clone(),
        };
        Some(ObjectName::new(namespace, target.name.as_deref()?))
    });
    let read = Endpoint {
        ready,
        serving: conditions.and_then(|c| c.serving).unwrap_or(ready),
        terminating: conditions.and_then(|c| c.terminating).unwrap_or(false),
        node_name: endpoint.node_name.as_deref().map(|name| strings.copy(name)),
        ..Endpoint::new(endpoint.addresses.first()?.parse().ok()?)
    };
    let zones = zones.iter().map(|zone| strings.copy(&zone.name)).collect();
    let nodes = nodes.iter().map(|node| strings.copy(&node.name)).collect();
    Some(read.with_hints(zones, nodes).with_names(hostname.map(Arc::from), pod))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_shared_and_names_left_out_where_nobody_wants_them() {
        let endpoint = |address: &str| {
            serde_json::json!({"addresses": [address], "nodeName": "node-1", "zone": "zone-a",
                "hostname": "blue-0",
                "targetRef": {"kind": "Pod", "name": "blue-0", "namespace": "default"}})
        };
        let object = serde_json::json!({
            "metadata": {"name": "blue-x", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "blue"}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [endpoint("10.1.0.1"), endpoint("10.1.0.2")],
        });
        let object: discovery::EndpointSlice = serde_json::from_value(object).unwrap();
        let mut strings = Interner::default();
        let slice = EndpointSlice::read(&object, false, &mut strings);
        let [first, second] = &slice.endpoints[..] else { panic!("{slice:?}") };
        assert_eq!(first.names, None);
        let node = |endpoint: &Endpoint| endpoint.node_name.clone().unwrap();
        assert!(Arc::ptr_eq(&node(first), &node(second)));
        let mut whole = EndpointSlice::from(&object);
        let pod = ObjectName::new("default", "blue-0");
        assert_eq!(whole.endpoints[0].pod(), Some(&pod));
        assert_eq!(whole.endpoints[0].hostname().map(|name| &**name), Some("blue-0"));
        for endpoint in &mut whole.endpoints {
            endpoint.names = None;
        }
        assert_eq!(whole, slice);
    }
}
