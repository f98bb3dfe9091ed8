//! discovery.k8s.io/v1 EndpointSlice.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::meta::{self, NameRule, invalid_all};
use super::value::ValueExt;
use super::{FieldError, Strategy, ip, names};

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;
const MAX_HINTS: usize = 8;
const MAX_TOPOLOGY_LABELS: usize = 16;
/// Slices of Kubernetes' own controllers are not looked at for addresses to warn of.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const CONTROLLERS: [&str; 2] =
    ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];

#[derive(Debug)]
pub(crate) struct EndpointSlice;

impl Strategy for EndpointSlice {
    fn apply_defaults(&self, object: &mut Value) {
        for port in object.list_mut("ports") {
            for (field, value) in [("protocol", "TCP"), ("name", "")] {
                // Both are pointers: an empty protocol is one that is not supported.
                if !port.has(field) {
                    *port.slot(field) = value.into();
                }
            }
        }
        for endpoint in object.list_mut("endpoints") {
            if !endpoint.has("conditions") {
                *endpoint.slot("conditions") = json!({});
            }
        }
    }

    fn prepare_for_create(&self, object: &mut Value) {
        drop_topology(object);
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value) {
        if object.at("endpoints") != old.at("endpoints") {
            drop_topology(object);
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, true, NameRule::Subdomain);
        errors.extend(slice(object));
        errors.extend(endpoints(object));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        errors.extend(slice(object));
        // What was good once need not be looked at again.
        if object.at("endpoints") != old.at("endpoints") {
            errors.extend(endpoints(object));
        }
        if object.at("addressType") != old.at("addressType") {
            errors.push(meta::immutable("addressType", object.at("addressType")));
        }
        errors
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        if old.is_none() && object.text("addressType") == "FQDN" {
            warnings.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
        }
        let manager = object["metadata"]["labels"][MANAGED_BY].as_str().unwrap_or_default();
        if CONTROLLERS.contains(&manager) {
            return warnings;
        }
        for (i, endpoint) in object.list("endpoints").iter().enumerate() {
            for (j, address) in endpoint.texts("addresses").into_iter().enumerate() {
                let path = format!("endpoints[{i}].addresses[{j}]");
                warnings.extend(ip::warnings(&path, address));
            }
        }
        warnings
    }
}

/// The field is a leftover of v1beta1, which v1 does not take.
fn drop_topology(object: &mut Value) {
    for endpoint in object.list_mut("endpoints") {
        endpoint.remove_at("deprecatedTopology");
    }
}

fn slice(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let types = ["FQDN", "IPv4", "IPv6"];
    let address_type = object.text("addressType");
    if address_type.is_empty() {
        errors.push(FieldError::required("addressType", ""));
    } else if !types.contains(&address_type) {
        errors.push(FieldError::not_supported("addressType", object.at("addressType"), &types));
    }
    errors.extend(slice_ports(object.list("ports")));
    errors
}

fn endpoints(object: &Value) -> Vec<FieldError> {
    let endpoints = object.list("endpoints");
    if endpoints.len() > MAX_ENDPOINTS {
        return vec![FieldError::too_many("endpoints", endpoints.len(), MAX_ENDPOINTS)];
    }
    let address_type = object.text("addressType");
    let all = endpoints.iter().enumerate();
    all.flat_map(|(i, one)| endpoint(one, address_type, &format!("endpoints[{i}]"))).collect()
}

fn endpoint(endpoint: &Value, address_type: &str, path: &str) -> Vec<FieldError> {
    let mut errors = addresses(endpoint.texts("addresses"), address_type, path);
    if endpoint.has("nodeName") {
        let node = endpoint.text("nodeName");
        let path = format!("{path}.nodeName");
        errors.extend(invalid_all(&path, node, names::dns1123_subdomain(node)));
    }
    let labels = endpoint.fields("deprecatedTopology");
    let at = format!("{path}.deprecatedTopology");
    let count = labels.map_or(0, serde_json::Map::len);
    if count > MAX_TOPOLOGY_LABELS {
        errors.push(FieldError::too_many(at.as_str(), count, MAX_TOPOLOGY_LABELS));
    }
    errors.extend(meta::labels(labels, &at));
    if endpoint.has("hostname") {
        let hostname = endpoint.text("hostname");
        let path = format!("{path}.hostname");
        errors.extend(invalid_all(&path, hostname, names::dns1123_label(hostname)));
    }
    errors.extend(hints(endpoint, "forZones", names::label_value, path));
    errors.extend(hints(endpoint, "forNodes", names::dns1123_subdomain, path));
    errors
}

fn addresses(addresses: Vec<&str>, address_type: &str, path: &str) -> Vec<FieldError> {
    let list = format!("{path}.addresses");
    let mut errors = Vec::new();
    if addresses.is_empty() {
        errors.push(FieldError::required(list.as_str(), "must contain at least 1 address"));
    } else if addresses.len() > MAX_ADDRESSES {
        errors.push(FieldError::too_many(list.as_str(), addresses.len(), MAX_ADDRESSES));
    }
    for (i, address) in addresses.into_iter().enumerate() {
        let path = format!("{list}[{i}]");
        let malformed = match address_type {
            "IPv4" => ip::legacy(&path, address, &[]),
            "IPv6" => ip::strict(&path, address),
            "FQDN" => {
                errors.extend(full_name(&path, address));
                continue;
            }
            // A type that is not known is complained about once.
            _ => continue,
        };
        let good = malformed.is_empty();
        errors.extend(malformed);
        if good && !ip::is_family(address, address_type) {
            let text = format!("must be an {address_type} address");
            errors.push(FieldError::invalid_text(list.as_str(), address, text));
        }
        if good {
            errors.extend(ip::dialable(&path, address));
        }
    }
    errors
}

/// A DNS name of at least two labels.
fn full_name(path: &str, address: &str) -> Option<FieldError> {
    let name = address.strip_suffix('.').unwrap_or(address);
    let complaints = names::dns1123_subdomain(name);
    if address.is_empty() {
        Some(FieldError::required(path, ""))
    } else if !complaints.is_empty() {
        Some(FieldError::invalid_text(path, name, complaints.join(",")))
    } else if !name.contains('.') {
        let text = "should be a domain with at least two segments separated by dots";
        Some(FieldError::invalid_text(path, name, text))
    } else {
        let long = name.split('.').find(|label| !names::dns1123_label(label).is_empty())?;
        Some(FieldError::invalid_text(path, long, names::dns1123_label(long).join(",")))
    }
}

/// For whom an endpoint is meant: zones or nodes, each once.
fn hints(
    endpoint: &Value,
    list: &str,
    rule: fn(&str) -> Vec<String>,
    path: &str,
) -> Vec<FieldError> {
    let hints = endpoint.list(&format!("hints.{list}"));
    let path = format!("{path}.hints.{list}");
    if hints.len() > MAX_HINTS {
        return vec![FieldError::too_many(path, hints.len(), MAX_HINTS)];
    }
    let mut errors = Vec::new();
    let mut seen = HashSet::new();
    for (i, hint) in hints.iter().enumerate() {
        let (path, name) = (format!("{path}[{i}].name"), hint.text("name"));
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(path.as_str(), &name.into()));
        }
        errors.extend(invalid_all(&path, name, rule(name)));
    }
    errors
}

fn slice_ports(ports: &[Value]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if ports.len() > MAX_PORTS {
        errors.push(FieldError::too_many("ports", ports.len(), MAX_PORTS));
        return errors;
    }
    let mut seen = HashSet::new();
    for (i, port) in ports.iter().enumerate() {
        let path = format!("ports[{i}]");
        let name = port.text("name");
        if !name.is_empty() {
            errors.extend(invalid_all(&format!("{path}.name"), name, names::dns1123_label(name)));
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(format!("{path}.name"), &name.into()));
        }
        if !["SCTP", "TCP", "UDP"].contains(&port.text("protocol")) {
            errors.push(FieldError::not_supported(
                format!("{path}.protocol"),
                port.at("protocol"),
                &["SCTP", "TCP", "UDP"],
            ));
        }
        if port.has("appProtocol") {
            let app = port.text("appProtocol");
            errors.extend(invalid_all(
                &format!("{path}.appProtocol"),
                app,
                names::qualified_name(app),
            ));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(errors: Vec<FieldError>) -> Vec<String> {
        errors.iter().map(FieldError::message).collect()
    }

    fn object(rest: Value) -> Value {
        let mut object = json!({"metadata": {"name": "a", "namespace": "b"}});
        for (field, value) in rest.as_object().unwrap() {
            object[field] = value.clone();
        }
        object
    }

    #[test]
    fn slices() {
        let mut good = object(
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]}),
        );
        EndpointSlice.apply_defaults(&mut good);
        assert_eq!(good["ports"], json!([{"port": 80, "name": "", "protocol": "TCP"}]));
        assert!(EndpointSlice.validate_create(&good).is_empty());
        for (rest, expected) in [
            (json!({}), "addressType: Required value"),
            (
                json!({"addressType": "MAC"}),
                "addressType: Unsupported value: \"MAC\": supported values: \"FQDN\", \"IPv4\", \"IPv6\"",
            ),
            (
                json!({"addressType": "IPv4", "endpoints": [{"addresses": []}]}),
                "endpoints[0].addresses: Required value: must contain at least 1 address",
            ),
            (
                json!({"addressType": "IPv4", "endpoints": [{"addresses": ["fd00::1"]}]}),
                "endpoints[0].addresses: Invalid value: \"fd00::1\": must be an IPv4 address",
            ),
            (
                json!({"addressType": "IPv4", "ports": [{"name": "a", "protocol": "TCP"}, {"name": "a", "protocol": "TCP"}]}),
                "ports[1].name: Duplicate value: \"a\"",
            ),
        ] {
            assert_eq!(texts(EndpointSlice.validate_create(&object(rest))), [expected]);
        }
        let mut other = good.clone();
        other["addressType"] = "IPv6".into();
        other["endpoints"] = json!([]);
        assert_eq!(
            texts(EndpointSlice.validate_update(&other, &good)),
            ["addressType: Invalid value: \"IPv6\": field is immutable"]
        );
    }
}
