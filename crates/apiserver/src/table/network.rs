//! Services, endpoints, ingresses and addresses.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::{age, format_labels, name, or_none, with_age};
use crate::resource::value::ValueExt;

/// How many entries of a list are printed before `+ n more...`.
const MAX_LISTED: usize = 3;

pub(super) fn service(service: &Value, now: Timestamp) -> Vec<Value> {
    let address = match service.list("spec.clusterIPs") {
        [] => service.text("spec.clusterIP"),
        [first, ..] => first.as_str().unwrap_or_default(),
    };
    vec![
        name(service),
        service.text("spec.type").into(),
        or_none(address),
        external_ip(service).into(),
        or_none(&ports(service)),
        super::age(service, now),
        format_labels(service.at("spec.selector")),
    ]
}

fn ports(service: &Value) -> String {
    let texts: Vec<String> = service
        .list("spec.ports")
        .iter()
        .map(|port| {
            let (number, protocol) = (port.int("port").unwrap_or(0), port.text("protocol"));
            match port.int("nodePort") {
                Some(node_port) if node_port > 0 => format!("{number}:{node_port}/{protocol}"),
                _ => format!("{number}/{protocol}"),
            }
        })
        .collect();
    texts.join(",")
}

fn external_ip(service: &Value) -> String {
    let external = service.texts("spec.externalIPs");
    match service.text("spec.type") {
        "ClusterIP" | "NodePort" if external.is_empty() => "<none>".to_owned(),
        "ClusterIP" | "NodePort" => external.join(","),
        "LoadBalancer" => {
            let mut all = balancer_addresses(service);
            all.extend(external.into_iter().map(str::to_owned));
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        "ExternalName" => service.text("spec.externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

/// The addresses or names in a load balancer's status, sorted.
fn balancer_addresses(object: &Value) -> Vec<String> {
    let all: BTreeSet<&str> = object
        .list("status.loadBalancer.ingress")
        .iter()
        .map(|entry| match entry.text("ip") {
            "" => entry.text("hostname"),
            ip => ip,
        })
        .filter(|text| !text.is_empty())
        .collect();
    all.into_iter().map(str::to_owned).collect()
}

/// The first three of `items`, and how many more of `count` there are.
fn shortened(items: &[String], count: usize) -> String {
    let listed = items[..items.len().min(MAX_LISTED)].join(",");
    if count > MAX_LISTED { format!("{listed} + {} more...", count - MAX_LISTED) } else { listed }
}

pub(super) fn endpoints(endpoints: &Value, now: Timestamp) -> Vec<Value> {
    let subsets = endpoints.list("subsets");
    let mut all = Vec::new();
    for subset in subsets {
        let addresses = subset.list("addresses").iter().map(|a| a.text("ip"));
        let ports = subset.list("ports");
        if ports.is_empty() {
            all.extend(addresses.clone().map(str::to_owned));
        }
        for port in ports {
            let number = port.int("port").unwrap_or(0);
            all.extend(addresses.clone().map(|ip| {
                if ip.contains(':') { format!("[{ip}]:{number}") } else { format!("{ip}:{number}") }
            }));
        }
    }
    let text = if subsets.is_empty() { "<none>".to_owned() } else { shortened(&all, all.len()) };
    with_age(endpoints, now, [text.into()])
}

fn or_unset(text: String) -> Value {
    if text.is_empty() { "<unset>".into() } else { text.into() }
}

pub(super) fn endpoint_slice(slice: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = slice
        .list("ports")
        .iter()
        .map(|port| match port.int("port") {
            Some(number) => number.to_string(),
            None if !port.text("name").is_empty() => port.text("name").to_owned(),
            None => "*".to_owned(),
        })
        .collect();
    let addresses: Vec<String> = slice
        .list("endpoints")
        .iter()
        .flat_map(|endpoint| endpoint.texts("addresses"))
        .map(str::to_owned)
        .collect();
    let ports_text = or_unset(shortened(&ports, ports.len()));
    let addresses_text = or_unset(shortened(&addresses, addresses.len()));
    with_age(slice, now, [slice.text("addressType").into(), ports_text, addresses_text])
}

pub(super) fn ingress(ingress: &Value, now: Timestamp) -> Vec<Value> {
    let rules = ingress.list("spec.rules");
    let hosts: Vec<String> = rules
        .iter()
        .take(MAX_LISTED)
        .map(|rule| rule.text("host").to_owned())
        .filter(|host| !host.is_empty())
        .collect();
    let hosts = if hosts.is_empty() { "*".to_owned() } else { shortened(&hosts, rules.len()) };
    let ports = if ingress.list("spec.tls").is_empty() { "80" } else { "80, 443" };
    let addresses = balancer_addresses(ingress).join(",");
    let class = or_none(ingress.text("spec.ingressClassName"));
    with_age(ingress, now, [class, hosts.into(), addresses.into(), ports.into()])
}

pub(super) fn ingress_class(class: &Value, now: Timestamp) -> Vec<Value> {
    let parameters = class.at("spec.parameters");
    let text = match (parameters.text("kind"), parameters.text("apiGroup")) {
        ("", _) => "<none>".to_owned(),
        (kind, "") => format!("{kind}/{}", parameters.text("name")),
        (kind, group) => format!("{kind}.{group}/{}", parameters.text("name")),
    };
    with_age(class, now, [class.text("spec.controller").into(), text.into()])
}

pub(super) fn service_cidr(cidr: &Value, now: Timestamp) -> Vec<Value> {
    with_age(cidr, now, [cidr.texts("spec.cidrs").join(",").into()])
}

pub(super) fn ip_address(address: &Value, now: Timestamp) -> Vec<Value> {
    let parent = address.at("spec.parentRef");
    let text = if parent.is_null() {
        "<none>".to_owned()
    } else {
        let resource = match parent.text("group") {
            "" => parent.text("resource").to_owned(),
            group => format!("{}.{group}", parent.text("resource")),
        };
        let namespace = match parent.text("namespace") {
            "" => String::new(),
            namespace => format!("/{namespace}"),
        };
        format!("{}{namespace}/{}", resource.to_lowercase(), parent.text("name"))
    };
    vec![
        name(address),
        text.into(),
        age::since(address.text("metadata.creationTimestamp"), now).into(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn show(cells: Vec<Value>) -> String {
        cells
            .iter()
            .map(|c| c.as_str().map_or_else(|| c.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(" | ")
    }

    fn now() -> Timestamp {
        "2024-01-01T00:00:05Z".parse().unwrap()
    }

    fn object(mut rest: Value) -> Value {
        rest["metadata"] = json!({"name": "x", "creationTimestamp": "2024-01-01T00:00:00Z"});
        rest
    }

    #[test]
    fn services() {
        let cases = [
            (
                json!({"spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "selector": {"b": "2", "a": "1"}, "ports": [{"port": 80, "protocol": "TCP"}]}}),
                "x | ClusterIP | 10.0.0.1 | <none> | 80/TCP | 5s | a=1,b=2",
            ),
            (
                json!({"spec": {"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"]}}),
                "x | ClusterIP | None | <none> | <none> | 5s | <none>",
            ),
            (
                json!({"spec": {"type": "NodePort", "clusterIPs": ["10.0.0.1"], "externalIPs": ["1.2.3.4", "5.6.7.8"], "ports": [{"port": 80, "nodePort": 30699, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}}),
                "x | NodePort | 10.0.0.1 | 1.2.3.4,5.6.7.8 | 80:30699/TCP,53/UDP | 5s | <none>",
            ),
            (
                json!({"spec": {"type": "LoadBalancer", "clusterIPs": ["10.0.0.1"], "ports": [{"port": 80, "nodePort": 30001, "protocol": "TCP"}]}}),
                "x | LoadBalancer | 10.0.0.1 | <pending> | 80:30001/TCP | 5s | <none>",
            ),
            (
                json!({"spec": {"type": "LoadBalancer", "clusterIPs": ["10.0.0.1"], "externalIPs": ["9.9.9.9"]}, "status": {"loadBalancer": {"ingress": [{"ip": "8.8.8.8"}, {"hostname": "a.b"}]}}}),
                "x | LoadBalancer | 10.0.0.1 | 8.8.8.8,a.b,9.9.9.9 | <none> | 5s | <none>",
            ),
            (
                json!({"spec": {"type": "ExternalName", "externalName": "kubernetes.io"}}),
                "x | ExternalName | <none> | kubernetes.io | <none> | 5s | <none>",
            ),
        ];
        for (rest, expected) in cases {
            assert_eq!(show(service(&object(rest), now())), expected);
        }
    }

    #[test]
    fn endpoints_are_shortened() {
        let address = |n: u8| json!({"ip": format!("1.2.3.{n}")});
        let cases = [
            (json!({}), "x | <none> | 5s"),
            (
                json!({"subsets": [{"notReadyAddresses": [address(1)], "ports": [{"port": 80}]}]}),
                "x |  | 5s",
            ),
            (
                json!({"subsets": [{"addresses": [address(1), address(2)], "ports": [{"port": 80}]}]}),
                "x | 1.2.3.1:80,1.2.3.2:80 | 5s",
            ),
            (json!({"subsets": [{"addresses": [address(1)]}]}), "x | 1.2.3.1 | 5s"),
            (
                json!({"subsets": [{"addresses": [{"ip": "fd00::1"}], "ports": [{"port": 80}]}]}),
                "x | [fd00::1]:80 | 5s",
            ),
            (
                json!({"subsets": [{"addresses": (1..=5).map(address).collect::<Vec<_>>(), "ports": [{"port": 80}]}]}),
                "x | 1.2.3.1:80,1.2.3.2:80,1.2.3.3:80 + 2 more... | 5s",
            ),
        ];
        for (rest, expected) in cases {
            assert_eq!(show(endpoints(&object(rest), now())), expected);
        }
    }

    #[test]
    fn slices_ingresses_and_addresses() {
        assert_eq!(
            show(endpoint_slice(
                &object(json!({"addressType": "IPv4", "ports": [{"port": 80}, {"name": "x"}, {}],
                "endpoints": [{"addresses": ["1.1.1.1"]}, {"addresses": ["1.1.1.2"]}, {"addresses": ["1.1.1.3"]}, {"addresses": ["1.1.1.4"]}]})),
                now()
            )),
            "x | IPv4 | 80,x,* | 1.1.1.1,1.1.1.2,1.1.1.3 + 1 more... | 5s"
        );
        assert_eq!(
            show(endpoint_slice(&object(json!({"addressType": "IPv4"})), now())),
            "x | IPv4 | <unset> | <unset> | 5s"
        );
        assert_eq!(
            show(ingress(
                &object(
                    json!({"spec": {"ingressClassName": "p", "tls": [{}], "rules": [{"host": "a"}, {"host": "b"}]}, "status": {"loadBalancer": {"ingress": [{"ip": "1.1.1.1"}]}}})
                ),
                now()
            )),
            "x | p | a,b | 1.1.1.1 | 80, 443 | 5s"
        );
        assert_eq!(
            show(ingress(&object(json!({"spec": {"rules": [{}]}})), now())),
            "x | <none> | * |  | 80 | 5s"
        );
        assert_eq!(
            show(ingress_class(
                &object(
                    json!({"spec": {"controller": "c/d", "parameters": {"kind": "K", "apiGroup": "g", "name": "n"}}})
                ),
                now()
            )),
            "x | c/d | K.g/n | 5s"
        );
        assert_eq!(
            show(service_cidr(
                &object(json!({"spec": {"cidrs": ["10.0.0.0/16", "fd00::/112"]}})),
                now()
            )),
            "x | 10.0.0.0/16,fd00::/112 | 5s"
        );
        assert_eq!(
            show(ip_address(
                &object(
                    json!({"spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "kubernetes"}}})
                ),
                now()
            )),
            "x | services/default/kubernetes | 5s"
        );
    }
}
