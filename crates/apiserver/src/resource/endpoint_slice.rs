//! discovery.k8s.io/v1 EndpointSlice.

use std::collections::HashSet;

use std::net::IpAddr;

use serde_json::Value;

use super::endpoints::{dialable, protocol};
use super::meta::{self, NameRule, invalid_all};
use super::names;
use super::value::ValueExt;
use super::{FieldError, Strategy};

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;
const MAX_ZONE_HINTS: usize = 8;

#[derive(Debug)]
pub(crate) struct EndpointSlice;

impl Strategy for EndpointSlice {
    fn apply_defaults(&self, object: &mut Value) {
        for port in object.list_mut("ports") {
            port.set_default("protocol", "TCP");
            let name = port.slot("name");
            if name.is_null() {
                *name = "".into();
            }
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, true, NameRule::Subdomain);
        errors.extend(slice(object));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        errors.extend(slice(object));
        if object.at("addressType") != old.at("addressType") {
            errors.push(meta::immutable("addressType", object.at("addressType")));
        }
        errors
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
    let endpoints = object.list("endpoints");
    if endpoints.len() > MAX_ENDPOINTS {
        errors.push(FieldError::too_many("endpoints", endpoints.len(), MAX_ENDPOINTS));
        return errors;
    }
    for (i, endpoint) in endpoints.iter().enumerate() {
        errors.extend(self::endpoint(endpoint, address_type, &format!("endpoints[{i}]")));
    }
    errors.extend(slice_ports(object.list("ports")));
    errors
}

fn endpoint(endpoint: &Value, address_type: &str, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let addresses = endpoint.list("addresses");
    if addresses.is_empty() {
        errors.push(FieldError::required(
            format!("{path}.addresses"),
            "must contain at least 1 address",
        ));
    } else if addresses.len() > MAX_ADDRESSES {
        errors.push(FieldError::too_many(
            format!("{path}.addresses"),
            addresses.len(),
            MAX_ADDRESSES,
        ));
    }
    let mut seen = HashSet::new();
    for (i, value) in addresses.iter().enumerate() {
        let address = value.as_str().unwrap_or_default();
        let path = format!("{path}.addresses[{i}]");
        if !seen.insert(address) {
            errors.push(FieldError::duplicate(path.as_str(), value));
        }
        let wrong_family = |ip: IpAddr| ip.is_ipv4() != (address_type == "IPv4");
        match address_type {
            "IPv4" | "IPv6" => match names::parse_ip_sloppy(address) {
                Some(ip) if wrong_family(ip) => errors.push(FieldError::invalid_text(
                    path,
                    address,
                    format!("must be an {address_type} address"),
                )),
                _ => errors.extend(dialable(address, &path)),
            },
            "FQDN" => {
                let name = address.strip_suffix('.').unwrap_or(address);
                errors.extend(invalid_all(&path, address, names::dns1123_subdomain(name)));
                if !name.contains('.') {
                    errors.push(FieldError::invalid_text(
                        path,
                        address,
                        "should be a domain with at least two segments separated by dots",
                    ));
                }
            }
            _ => {}
        }
    }
    if endpoint.has("nodeName") {
        let node = endpoint.text("nodeName");
        errors.extend(invalid_all(
            &format!("{path}.nodeName"),
            node,
            names::dns1123_subdomain(node),
        ));
    }
    if endpoint.has("hostname") {
        let hostname = endpoint.text("hostname");
        errors.extend(invalid_all(
            &format!("{path}.hostname"),
            hostname,
            names::dns1123_label(hostname),
        ));
    }
    let hints = endpoint.list("hints.forZones");
    if hints.len() > MAX_ZONE_HINTS {
        errors.push(FieldError::too_many(
            format!("{path}.hints.forZones"),
            hints.len(),
            MAX_ZONE_HINTS,
        ));
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
        errors.extend(protocol(port, &path));
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
                "endpoints[0].addresses[0]: Invalid value: \"fd00::1\": must be an IPv4 address",
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
