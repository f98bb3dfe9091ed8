//! `spec.ports`.

use std::collections::HashSet;

use serde_json::Value;

use crate::resource::meta::invalid_all;
use crate::resource::value::ValueExt;
use crate::resource::{FieldError, names};

pub(super) fn validate_ports(service: &Value) -> Vec<FieldError> {
    let ports = service.list("spec.ports");
    let mut errors = Vec::new();
    let mut seen = HashSet::new();
    for (i, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{i}]");
        let name = port.text("name");
        if name.is_empty() {
            if ports.len() > 1 {
                errors.push(FieldError::required(format!("{path}.name"), ""));
            }
        } else {
            let path = format!("{path}.name");
            errors.extend(invalid_all(&path, name, names::dns1123_label(name)));
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(path, port.at("name")));
            }
        }
        let number = port.int("port").unwrap_or(0);
        for text in names::port_number(number) {
            errors.push(FieldError::invalid_number(format!("{path}.port"), number, text));
        }
        errors.extend(protocol(port, &path));
        errors.extend(port_number_or_name(port.at("targetPort"), &format!("{path}.targetPort")));
        let app = port.text("appProtocol");
        if port.has("appProtocol") {
            errors.extend(invalid_all(
                &format!("{path}.appProtocol"),
                app,
                names::qualified_name(app),
            ));
        }
    }
    errors
}

/// `protocol` of a port at `path`.
fn protocol(port: &Value, path: &str) -> Option<FieldError> {
    let path = format!("{path}.protocol");
    match port.text("protocol") {
        "" => Some(FieldError::required(path, "")),
        "TCP" | "UDP" | "SCTP" => None,
        _ => Some(FieldError::not_supported(path, port.at("protocol"), &["SCTP", "TCP", "UDP"])),
    }
}

/// A port's number, or the name of one of the pod's ports.
fn port_number_or_name(value: &Value, path: &str) -> Vec<FieldError> {
    match value {
        Value::String(name) => invalid_all(path, name, names::port_name(name)),
        Value::Null => Vec::new(),
        number => {
            let number = number.as_i64().unwrap_or(0);
            names::port_number(number)
                .into_iter()
                .map(|text| FieldError::invalid_number(path, number, text))
                .collect()
        }
    }
}

pub(super) fn duplicate_ports(ports: &[Value]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut node_ports = HashSet::new();
    for (i, port) in ports.iter().enumerate() {
        let number = port.int("nodePort").unwrap_or(0);
        if number != 0 && !node_ports.insert((port.text("protocol"), number)) {
            errors.push(FieldError::duplicate(
                format!("spec.ports[{i}].nodePort"),
                port.at("nodePort"),
            ));
        }
    }
    let mut numbers = HashSet::new();
    for (i, port) in ports.iter().enumerate() {
        let key = (port.text("protocol"), port.int("port").unwrap_or(0));
        if !numbers.insert(key) {
            // Kubernetes prints its own struct here, field by field.
            let value = format!(
                "{{\"Name\":\"\",\"Protocol\":\"{}\",\"AppProtocol\":null,\"Port\":{},\"TargetPort\":0,\"NodePort\":0}}",
                key.0, key.1
            );
            let mut error = FieldError::duplicate(format!("spec.ports[{i}]"), &Value::Null);
            error.value = value;
            errors.push(error);
        }
    }
    errors
}
