use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;
use serde::{Deserialize, Serialize};

use super::{ObjectName, Protocol, object_name};

/// `spec.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ServiceType {
    #[default]
    ClusterIP,
    NodePort,
    LoadBalancer,
    ExternalName,
}

/// `spec.internalTrafficPolicy` and `spec.externalTrafficPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TrafficPolicy {
    #[default]
    Cluster,
    Local,
}

/// `spec.trafficDistribution`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TrafficDistribution {
    /// Also what the older `PreferClose` means.
    PreferSameZone,
    PreferSameNode,
}

/// `status.loadBalancer.ingress[].ipMode`: whether nodes take traffic for the address themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum IpMode {
    #[default]
    Vip,
    Proxy,
}

/// One address that a load balancer gave to the Service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LoadBalancerIngress {
    pub ip: IpAddr,
    pub ip_mode: IpMode,
}

/// One entry of `spec.ports`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServicePort {
    /// Empty for the only port of a Service.
    pub name: Arc<str>,
    pub protocol: Protocol,
    pub port: u16,
    pub node_port: Option<u16>,
}

/// What the model reads of a `v1.Service`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub name: ObjectName,
    pub service_type: ServiceType,
    /// The virtual addresses; empty for headless and ExternalName Services.
    pub cluster_ips: Vec<IpAddr>,
    /// `clusterIP: None`.
    pub headless: bool,
    pub external_name: Option<Arc<str>>,
    pub ports: Vec<ServicePort>,
    pub external_ips: Vec<IpAddr>,
    pub load_balancer: Vec<LoadBalancerIngress>,
    /// Empty means everybody.
    pub load_balancer_source_ranges: Vec<IpNet>,
    pub internal_traffic_policy: TrafficPolicy,
    pub external_traffic_policy: TrafficPolicy,
    pub health_check_node_port: Option<u16>,
    /// The timeout in seconds of `sessionAffinity: ClientIP`.
    pub affinity_seconds: Option<u32>,
    pub publish_not_ready_addresses: bool,
    pub traffic_distribution: Option<TrafficDistribution>,
    /// `service.kubernetes.io/service-proxy-name` is set: another proxy serves it.
    pub foreign_proxy: bool,
}

impl From<&core::Service> for Service {
    fn from(object: &core::Service) -> Self {
        let spec = object.spec.clone().unwrap_or_default();
        let service_type = match spec.type_.as_deref() {
            Some("NodePort") => ServiceType::NodePort,
            Some("LoadBalancer") => ServiceType::LoadBalancer,
            Some("ExternalName") => ServiceType::ExternalName,
            _ => ServiceType::ClusterIP,
        };
        let listed = spec.cluster_ips.filter(|ips| !ips.is_empty());
        let texts = listed.unwrap_or_else(|| spec.cluster_ip.into_iter().collect());
        let policy = |text: Option<String>| match text.as_deref() {
            Some("Local") => TrafficPolicy::Local,
            _ => TrafficPolicy::Cluster,
        };
        let ingress = object
            .status
            .as_ref()
            .and_then(|status| status.load_balancer.as_ref())
            .and_then(|balancer| balancer.ingress.as_deref())
            .unwrap_or_default();
        let affinity_seconds = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
            spec.session_affinity_config
                .and_then(|config| config.client_ip)
                .and_then(|client| client.timeout_seconds)
                .and_then(|seconds| u32::try_from(seconds).ok())
                .unwrap_or(DEFAULT_AFFINITY_SECONDS)
        });
        Self {
            name: object_name(&object.metadata),
            service_type,
            headless: service_type != ServiceType::ExternalName
                && texts.iter().any(|text| text == "None"),
            cluster_ips: texts.iter().filter_map(|text| text.parse().ok()).collect(),
            external_name: spec.external_name.filter(|name| !name.is_empty()).map(Arc::from),
            ports: spec.ports.unwrap_or_default().iter().filter_map(service_port).collect(),
            external_ips: spec
                .external_ips
                .unwrap_or_default()
                .iter()
                .filter_map(|text| text.parse().ok())
                .collect(),
            load_balancer: ingress.iter().filter_map(load_balancer_ingress).collect(),
            load_balancer_source_ranges: spec
                .load_balancer_source_ranges
                .unwrap_or_default()
                .iter()
                .filter_map(|text| text.trim().parse().ok())
                .collect(),
            internal_traffic_policy: policy(spec.internal_traffic_policy),
            external_traffic_policy: policy(spec.external_traffic_policy),
            health_check_node_port: port_number(spec.health_check_node_port),
            affinity_seconds,
            publish_not_ready_addresses: spec.publish_not_ready_addresses.unwrap_or(false),
            traffic_distribution: match spec.traffic_distribution.as_deref() {
                Some("PreferClose" | "PreferSameZone") => Some(TrafficDistribution::PreferSameZone),
                Some("PreferSameNode") => Some(TrafficDistribution::PreferSameNode),
                _ => None,
            },
            foreign_proxy: object.metadata.labels.as_ref().is_some_and(|labels| {
                labels.contains_key("service.kubernetes.io/service-proxy-name")
            }),
        }
    }
}

/// The API's default for `sessionAffinityConfig.clientIP.timeoutSeconds`: three hours.
const DEFAULT_AFFINITY_SECONDS: u32 = 10_800;

fn port_number(number: Option<i32>) -> Option<u16> {
    number.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0)
}

fn service_port(port: &core::ServicePort) -> Option<ServicePort> {
    Some(ServicePort {
        name: port.name.as_deref().unwrap_or_default().into(),
        protocol: Protocol::from_api(port.protocol.as_deref())?,
        port: port_number(Some(port.port))?,
        node_port: port_number(port.node_port),
    })
}

fn load_balancer_ingress(ingress: &core::LoadBalancerIngress) -> Option<LoadBalancerIngress> {
    Some(LoadBalancerIngress {
        ip: ingress.ip.as_deref()?.parse().ok()?,
        ip_mode: match ingress.ip_mode.as_deref() {
            Some("Proxy") => IpMode::Proxy,
            _ => IpMode::Vip,
        },
    })
}
