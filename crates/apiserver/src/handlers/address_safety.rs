//! External addresses that Kubernetes accepts and that nobody should have: those of the cluster
//! itself (CVE-2020-8554, GHSA-phqm-jgc3-qf8g).
//!
//! The API takes them, as kube-apiserver does, and says in a warning that the proxies will not
//! serve them; `desired/reserved.rs` of the model is the other half of the rule.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use crate::cache::Query;
use crate::resource::Resource;
use crate::resource::names::parse_ip_sloppy;
use crate::resource::value::ValueExt;
use crate::server::Server;

/// What the cluster has for itself.
#[derive(Debug, Default)]
struct Cluster {
    service_ranges: Vec<IpNet>,
    /// With the node's name.
    nodes: Vec<(String, IpAddr)>,
    pod_ranges: Vec<(String, IpNet)>,
}

impl Cluster {
    /// Why the proxies do not serve the address, or not all of them.
    fn complaint(&self, ip: IpAddr) -> Option<String> {
        let ip = ip.to_canonical();
        let nobody = "Portolan's proxies do not serve it";
        if let Some(kind) = special(ip) {
            return Some(format!("{ip} is {kind}; {nobody}"));
        }
        if let Some(range) = self.service_ranges.iter().find(|range| range.contains(&ip)) {
            return Some(format!("{ip} is in the range of Service addresses {range}; {nobody}"));
        }
        if let Some((node, _)) = self.nodes.iter().find(|(_, address)| *address == ip) {
            return Some(format!(
                "{ip} is the address of node {node:?}; only its own proxy serves it"
            ));
        }
        let (node, range) = self.pod_ranges.iter().find(|(_, range)| range.contains(&ip))?;
        Some(format!("{ip} is in the range of pod addresses {range} of node {node:?}; {nobody}"))
    }
}

/// Addresses that no client can mean; most of them are refused before, but not in a status.
fn special(ip: IpAddr) -> Option<&'static str> {
    let (link_local, broadcast) = match ip {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.is_broadcast()),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), false),
    };
    match () {
        () if ip.is_unspecified() => Some("unspecified"),
        () if ip.is_loopback() => Some("a loopback address"),
        () if link_local => Some("a link-local address"),
        () if ip.is_multicast() => Some("a multicast address"),
        () if broadcast => Some("the broadcast address"),
        () => None,
    }
}

/// The external addresses of a Service, or those that its status gives it, with their paths.
/// Balancers of mode `Proxy` deliver to the nodes' own addresses: theirs are not looked for.
fn external_addresses(service: &Value, of_status: bool) -> Vec<(String, IpAddr)> {
    if of_status {
        let entries = service.list("status.loadBalancer.ingress").iter().enumerate();
        let vips = entries.filter(|(_, entry)| entry.text("ipMode") != "Proxy");
        return vips
            .filter_map(|(i, entry)| {
                let ip = parse_ip_sloppy(entry.text("ip"))?;
                Some((format!("status.loadBalancer.ingress[{i}].ip"), ip))
            })
            .collect();
    }
    if matches!(service.text("spec.type"), "ExternalName")
        || service.text("spec.clusterIP") == "None"
    {
        return Vec::new();
    }
    let all = service.texts("spec.externalIPs").into_iter().enumerate();
    all.filter_map(|(i, text)| Some((format!("spec.externalIPs[{i}]"), parse_ip_sloppy(text)?)))
        .collect()
}

impl Server {
    /// Warnings about a Service's external addresses, or about those in its status.
    pub(super) fn warn_of_addresses(
        &self,
        resource: &Resource,
        service: &Value,
        of_status: bool,
    ) -> Vec<String> {
        if !resource.group.is_empty() || resource.plural != "services" {
            return Vec::new();
        }
        let addresses = external_addresses(service, of_status);
        if addresses.is_empty() {
            return Vec::new();
        }
        let cluster = self.own_addresses();
        let complaint = |(path, ip)| Some(format!("{path}: {}", cluster.complaint(ip)?));
        addresses.into_iter().filter_map(complaint).collect()
    }

    fn own_addresses(&self) -> Cluster {
        let mut cluster = Cluster {
            service_ranges: self.config.cluster.service_ranges.clone(),
            ..Cluster::default()
        };
        for object in self.all("networking.k8s.io", "servicecidrs") {
            let ranges = object
                .texts("spec.cidrs")
                .into_iter()
                .filter_map(|text| text.parse::<IpNet>().ok());
            cluster.service_ranges.extend(ranges);
        }
        for node in self.all("", "nodes") {
            let name = node.text("metadata.name").to_owned();
            let machine =
                |entry: &&Value| matches!(entry.text("type"), "InternalIP" | "ExternalIP");
            for entry in node.list("status.addresses").iter().filter(machine) {
                let ip = parse_ip_sloppy(entry.text("address"));
                cluster.nodes.extend(ip.map(|ip| (name.clone(), ip)));
            }
            let ranges = node
                .texts("spec.podCIDRs")
                .into_iter()
                .filter_map(|text| text.parse::<IpNet>().ok());
            cluster.pod_ranges.extend(ranges.map(|range: IpNet| (name.clone(), range.trunc())));
        }
        cluster
    }

    /// All objects of a resource.
    fn all(&self, group: &str, plural: &str) -> Vec<Value> {
        let Some((_, table)) = self.cache.find(group, plural) else { return Vec::new() };
        let query = Query { namespace: "", after: None, revision: None, limit: 0 };
        let listed = self.cache.list(table, &query, &|_| true);
        listed.map_or_else(
            |_| Vec::new(),
            |(page, _)| page.objects.iter().map(|object| object.value()).collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_clusters_own_addresses_are_found() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let cluster = Cluster {
            service_ranges: vec!["10.96.0.0/16".parse().unwrap()],
            nodes: vec![("a".to_owned(), ip("10.244.0.1")), ("b".to_owned(), ip("192.0.2.2"))],
            pod_ranges: vec![("a".to_owned(), "10.244.0.0/24".parse().unwrap())],
        };
        for (address, expected) in [
            ("198.51.100.1", None),
            (
                "10.96.0.10",
                Some(
                    "10.96.0.10 is in the range of Service addresses 10.96.0.0/16; Portolan's proxies do not serve it",
                ),
            ),
            (
                "::ffff:10.96.0.10",
                Some(
                    "10.96.0.10 is in the range of Service addresses 10.96.0.0/16; Portolan's proxies do not serve it",
                ),
            ),
            (
                "192.0.2.2",
                Some("192.0.2.2 is the address of node \"b\"; only its own proxy serves it"),
            ),
            // A node may have its address in a range of pods.
            (
                "10.244.0.1",
                Some("10.244.0.1 is the address of node \"a\"; only its own proxy serves it"),
            ),
            (
                "10.244.0.2",
                Some(
                    "10.244.0.2 is in the range of pod addresses 10.244.0.0/24 of node \"a\"; Portolan's proxies do not serve it",
                ),
            ),
            (
                "127.0.0.1",
                Some("127.0.0.1 is a loopback address; Portolan's proxies do not serve it"),
            ),
            (
                "239.1.1.1",
                Some("239.1.1.1 is a multicast address; Portolan's proxies do not serve it"),
            ),
        ] {
            assert_eq!(cluster.complaint(ip(address)).as_deref(), expected, "{address}");
        }
    }

    #[test]
    fn only_what_proxies_would_serve_is_looked_at() {
        let service = json!({
            "spec": {"type": "LoadBalancer", "externalIPs": ["1.2.3.4", "x"]},
            "status": {"loadBalancer": {"ingress": [
                {"ip": "1.2.3.5", "ipMode": "VIP"}, {"ip": "1.2.3.6", "ipMode": "Proxy"}, {"hostname": "a.b"},
            ]}},
        });
        let paths = |of_status| -> Vec<String> {
            external_addresses(&service, of_status).into_iter().map(|(path, _)| path).collect()
        };
        assert_eq!(paths(false), ["spec.externalIPs[0]"]);
        assert_eq!(paths(true), ["status.loadBalancer.ingress[0].ip"]);
        let headless = json!({"spec": {"clusterIP": "None", "externalIPs": ["1.2.3.4"]}});
        assert!(external_addresses(&headless, false).is_empty());
    }
}
