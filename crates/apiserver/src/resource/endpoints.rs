//! core/v1 Endpoints.

use serde_json::Value;

use super::meta::{self, NameRule, invalid_all};
use super::value::ValueExt;
use super::{FieldError, Strategy, ip, names};

/// Objects of Kubernetes' own controller are not looked at for addresses to warn of.
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";

#[derive(Debug)]
pub(crate) struct Endpoints;

impl Strategy for Endpoints {
    fn apply_defaults(&self, object: &mut Value) {
        for subset in object.list_mut("subsets") {
            for port in subset.list_mut("ports") {
                port.set_default("protocol", "TCP");
            }
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, true, NameRule::Subdomain);
        errors.extend(subsets(object));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        // What was good once need not be looked at again.
        if object.at("subsets") != old.at("subsets") {
            errors.extend(subsets(object));
        }
        errors
    }

    fn deprecation(&self) -> Option<&'static str> {
        Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        if object["metadata"]["labels"][MANAGED_BY] == "endpoint-controller" {
            return Vec::new();
        }
        let mut warnings = Vec::new();
        for (i, subset) in object.list("subsets").iter().enumerate() {
            for list in ["addresses", "notReadyAddresses"] {
                for (j, address) in subset.list(list).iter().enumerate() {
                    let path = format!("subsets[{i}].{list}[{j}].ip");
                    warnings.extend(ip::warnings(&path, address.text("ip")));
                }
            }
        }
        warnings
    }

    fn counts_generation(&self) -> bool {
        false
    }
}

fn subsets(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (i, subset) in object.list("subsets").iter().enumerate() {
        let path = format!("subsets[{i}]");
        if subset.list("addresses").is_empty() && subset.list("notReadyAddresses").is_empty() {
            errors.push(FieldError::required(
                path.as_str(),
                "must specify `addresses` or `notReadyAddresses`",
            ));
        }
        for list in ["addresses", "notReadyAddresses"] {
            for (j, address) in subset.list(list).iter().enumerate() {
                errors.extend(endpoint_address(address, &format!("{path}.{list}[{j}]")));
            }
        }
        let ports = subset.list("ports");
        for (j, port) in ports.iter().enumerate() {
            errors.extend(endpoint_port(port, ports.len() > 1, &format!("{path}.ports[{j}]")));
        }
    }
    errors
}

fn endpoint_address(address: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (at, text) = (format!("{path}.ip"), address.text("ip"));
    errors.extend(ip::legacy(&at, text, &[]));
    errors.extend(ip::dialable(&at, text));
    let hostname = address.text("hostname");
    if !hostname.is_empty() {
        errors.extend(invalid_all(
            &format!("{path}.hostname"),
            hostname,
            names::dns1123_label(hostname),
        ));
    }
    let node = address.text("nodeName");
    if address.has("nodeName") {
        errors.extend(invalid_all(
            &format!("{path}.nodeName"),
            node,
            names::dns1123_subdomain(node),
        ));
    }
    errors
}

fn endpoint_port(port: &Value, needs_name: bool, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = port.text("name");
    if name.is_empty() {
        if needs_name {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        }
    } else {
        errors.extend(invalid_all(&format!("{path}.name"), name, names::dns1123_label(name)));
    }
    let number = port.int("port").unwrap_or(0);
    for text in names::port_number(number) {
        errors.push(FieldError::invalid_number(format!("{path}.port"), number, text));
    }
    errors.extend(protocol(port, path));
    if port.has("appProtocol") {
        let app = port.text("appProtocol");
        errors.extend(invalid_all(&format!("{path}.appProtocol"), app, names::qualified_name(app)));
    }
    errors
}

fn protocol(port: &Value, path: &str) -> Option<FieldError> {
    let path = format!("{path}.protocol");
    match port.text("protocol") {
        "" => Some(FieldError::required(path, "")),
        "TCP" | "UDP" | "SCTP" => None,
        _ => Some(FieldError::not_supported(path, port.at("protocol"), &["SCTP", "TCP", "UDP"])),
    }
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
    fn endpoints() {
        let mut good = object(
            json!({"subsets": [{"addresses": [{"ip": "10.0.0.1", "hostname": "h"}], "ports": [{"port": 80}]}]}),
        );
        Endpoints.apply_defaults(&mut good);
        assert_eq!(good["subsets"][0]["ports"][0]["protocol"], "TCP");
        assert!(Endpoints.validate_create(&good).is_empty());
        for (subset, expected) in [
            (
                json!({}),
                "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
            ),
            (
                json!({"addresses": [{"ip": "127.0.0.1"}]}),
                "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ),
            (
                json!({"addresses": [{"ip": "1.1.1.1"}], "ports": [{"port": 0, "protocol": "TCP"}]}),
                "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
        ] {
            assert_eq!(
                texts(Endpoints.validate_create(&object(json!({"subsets": [subset]})))),
                [expected]
            );
        }
    }
}
