//! Complaints about a pod's containers.

use std::collections::HashSet;

use serde_json::Value;

use super::quantity::nanos;
use crate::resource::meta::{invalid_all, non_negative};
use crate::resource::value::ValueExt;
use crate::resource::{FieldError, names};

/// All containers of a pod; `volumes` are the names that may be mounted.
pub(super) fn containers(spec: &Value, path: &str, volumes: &HashSet<&str>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let host_network = spec.flag("hostNetwork") == Some(true);
    if spec.list("containers").is_empty() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    errors.extend(host_ports(spec.list("containers"), &format!("{path}.containers")));
    let mut seen = HashSet::new();
    for list in ["containers", "initContainers"] {
        for (i, container) in spec.list(list).iter().enumerate() {
            let path = format!("{path}.{list}[{i}]");
            let name = container.text("name");
            let name_path = format!("{path}.name");
            if name.is_empty() {
                errors.push(FieldError::required(name_path, ""));
            } else {
                errors.extend(invalid_all(&name_path, name, names::dns1123_label(name)));
                if !seen.insert(name) {
                    errors.push(FieldError::duplicate(name_path, container.at("name")));
                }
            }
            errors.extend(self::container(container, &path, volumes, host_network));
            let sidecar = container.text("restartPolicy") == "Always";
            if list == "initContainers" && !sidecar {
                for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                    if container.has(field) {
                        errors.push(FieldError::forbidden(
                            format!("{path}.{field}"),
                            "may not be set for init containers without restartPolicy=Always",
                        ));
                    }
                }
            }
        }
    }
    errors
}

fn one_of(container: &Value, path: &str, field: &str, allowed: &[&str]) -> Option<FieldError> {
    let path = format!("{path}.{field}");
    match container.text(field) {
        "" => Some(FieldError::required(path, "")),
        value if allowed.contains(&value) => None,
        _ => Some(FieldError::not_supported(path, container.at(field), allowed)),
    }
}

fn container(
    container: &Value,
    path: &str,
    volumes: &HashSet<&str>,
    host_network: bool,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let image = container.text("image");
    if image.is_empty() {
        errors.push(FieldError::required(format!("{path}.image"), ""));
    } else if image.trim() != image {
        errors.push(FieldError::invalid_text(
            format!("{path}.image"),
            image,
            "must not have leading or trailing whitespace",
        ));
    }
    errors.extend(one_of(
        container,
        path,
        "terminationMessagePolicy",
        &["FallbackToLogsOnError", "File"],
    ));
    errors.extend(one_of(container, path, "imagePullPolicy", &["Always", "IfNotPresent", "Never"]));
    errors.extend(ports(container, path, host_network));
    errors.extend(env(container, path));
    errors.extend(mounts(container, path, volumes));
    for (name, only_once) in
        [("livenessProbe", true), ("readinessProbe", false), ("startupProbe", true)]
    {
        if container.has(name) {
            errors.extend(probe(container.at(name), &format!("{path}.{name}"), only_once));
        }
    }
    for name in ["postStart", "preStop"] {
        let handler = container.at("lifecycle").at(name);
        if !handler.is_null() {
            let kinds = ["exec", "httpGet", "tcpSocket", "sleep"];
            errors.extend(self::handler(handler, &format!("{path}.lifecycle.{name}"), &kinds));
        }
    }
    errors.extend(resources(container, path));
    errors
}

/// Ports of the host that are asked for twice.
fn host_ports(containers: &[Value], path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = HashSet::new();
    for (i, container) in containers.iter().enumerate() {
        for (j, port) in container.list("ports").iter().enumerate() {
            let number = port.int("hostPort").unwrap_or(0);
            let key = format!("{}/{}/{number}", port.text("protocol"), port.text("hostIP"));
            if number != 0 && !seen.insert(key.clone()) {
                let path = format!("{path}[{i}].ports[{j}].hostPort");
                errors.push(FieldError::duplicate(path, &key.into()));
            }
        }
    }
    errors
}

fn ports(container: &Value, path: &str, host_network: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = HashSet::new();
    for (i, port) in container.list("ports").iter().enumerate() {
        let path = format!("{path}.ports[{i}]");
        let name = port.text("name");
        if !name.is_empty() {
            let path = format!("{path}.name");
            let complaints = names::port_name(name);
            if complaints.is_empty() && !seen.insert(name) {
                errors.push(FieldError::duplicate(path.as_str(), port.at("name")));
            }
            errors.extend(invalid_all(&path, name, complaints));
        }
        let number = port.int("containerPort").unwrap_or(0);
        if number == 0 {
            errors.push(FieldError::required(format!("{path}.containerPort"), ""));
        } else {
            for text in names::port_number(number) {
                errors.push(FieldError::invalid_number(
                    format!("{path}.containerPort"),
                    number,
                    text,
                ));
            }
        }
        let host = port.int("hostPort").unwrap_or(0);
        if host != 0 {
            for text in names::port_number(host) {
                errors.push(FieldError::invalid_number(format!("{path}.hostPort"), host, text));
            }
        }
        if host_network && host != number {
            errors.push(FieldError::invalid_number(
                format!("{path}.hostPort"),
                host,
                "must match `containerPort` when `hostNetwork` is true",
            ));
        }
        errors.extend(one_of(port, &path, "protocol", &["SCTP", "TCP", "UDP"]));
    }
    errors
}

fn env(container: &Value, path: &str) -> Vec<FieldError> {
    const FIELDS: [&str; 11] = [
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
        "metadata.labels",
        "metadata.annotations",
    ];
    let mut errors = Vec::new();
    for (i, variable) in container.list("env").iter().enumerate() {
        let path = format!("{path}.env[{i}]");
        let name = variable.text("name");
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        } else {
            errors.extend(invalid_all(&format!("{path}.name"), name, names::env_var_name(name)));
        }
        let source = variable.at("valueFrom");
        if source.is_null() {
            continue;
        }
        let path = format!("{path}.valueFrom");
        if !variable.text("value").is_empty() {
            errors.push(FieldError::invalid_text(
                path.as_str(),
                "",
                "may not be specified when `value` is not empty",
            ));
        }
        let kinds =
            ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
        let given = kinds.iter().filter(|kind| source.has(kind)).count();
        if given == 0 {
            errors.push(FieldError::invalid_text(
                path.as_str(),
                "",
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
            ));
        } else if given > 1 {
            errors.push(FieldError::invalid_text(
                path.as_str(),
                "",
                "may not have more than one field specified at a time",
            ));
        }
        if source.has("fieldRef") {
            let field = source.text("fieldRef.fieldPath");
            let known = FIELDS[..9].contains(&field)
                || FIELDS[9..]
                    .iter()
                    .any(|f| field.starts_with(&format!("{f}['")) && field.ends_with("']"));
            let path = format!("{path}.fieldRef.fieldPath");
            if field.is_empty() {
                errors.push(FieldError::required(path, ""));
            } else if !known {
                errors.push(FieldError::not_supported(
                    path,
                    source.at("fieldRef.fieldPath"),
                    &FIELDS,
                ));
            }
        }
        for kind in ["configMapKeyRef", "secretKeyRef"] {
            if source.has(kind) {
                let key = source.at(kind).text("key");
                let path = format!("{path}.{kind}.key");
                if key.is_empty() {
                    errors.push(FieldError::required(path, ""));
                } else {
                    errors.extend(invalid_all(&path, key, names::config_map_key(key)));
                }
            }
        }
    }
    errors
}

fn mounts(container: &Value, path: &str, volumes: &HashSet<&str>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = HashSet::new();
    for (i, mount) in container.list("volumeMounts").iter().enumerate() {
        let path = format!("{path}.volumeMounts[{i}]");
        let name = mount.text("name");
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        } else if !volumes.contains(name) {
            errors.push(FieldError::not_found(format!("{path}.name"), mount.at("name")));
        }
        let target = mount.text("mountPath");
        let target_path = format!("{path}.mountPath");
        if target.is_empty() {
            errors.push(FieldError::required(target_path, ""));
        } else if !seen.insert(target) {
            errors.push(FieldError::invalid_text(target_path, target, "must be unique"));
        }
        let sub = mount.text("subPath");
        if sub.starts_with('/') {
            errors.push(FieldError::invalid_text(
                format!("{path}.subPath"),
                sub,
                "must be a relative path",
            ));
        } else if sub.split('/').any(|part| part == "..") {
            errors.push(FieldError::invalid_text(
                format!("{path}.subPath"),
                sub,
                "must not contain '..'",
            ));
        }
    }
    errors
}

fn probe(probe: &Value, path: &str, only_once: bool) -> Vec<FieldError> {
    let mut errors = handler(probe, path, &["exec", "httpGet", "tcpSocket", "grpc"]);
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        errors.extend(non_negative(probe, field, &format!("{path}.{field}")));
    }
    let successes = probe.int("successThreshold").unwrap_or(1);
    if only_once && successes > 1 {
        errors.push(FieldError::invalid_number(
            format!("{path}.successThreshold"),
            successes,
            "must be 1",
        ));
    }
    if let Some(seconds) = probe.int("terminationGracePeriodSeconds")
        && seconds <= 0
    {
        errors.push(FieldError::invalid_number(
            format!("{path}.terminationGracePeriodSeconds"),
            seconds,
            "must be greater than 0",
        ));
    }
    errors
}

fn handler(handler: &Value, path: &str, kinds: &[&str]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let given: Vec<&&str> = kinds.iter().filter(|kind| handler.has(kind)).collect();
    if given.is_empty() {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
    for extra in given.iter().skip(1) {
        errors.push(FieldError::forbidden(
            format!("{path}.{extra}"),
            "may not specify more than 1 handler type",
        ));
    }
    if handler.has("exec") && handler.list("exec.command").is_empty() {
        errors.push(FieldError::required(format!("{path}.exec.command"), ""));
    }
    for kind in ["httpGet", "tcpSocket", "grpc"] {
        if !handler.has(kind) {
            continue;
        }
        let port = handler.at(kind).at("port");
        let path = format!("{path}.{kind}.port");
        match port {
            Value::String(name) => errors.extend(invalid_all(&path, name, names::port_name(name))),
            number => {
                let number = number.as_i64().unwrap_or(0);
                for text in names::port_number(number) {
                    errors.push(FieldError::invalid_number(path.as_str(), number, text));
                }
            }
        }
    }
    if handler.has("httpGet") {
        if handler.text("httpGet.path").is_empty() {
            errors.push(FieldError::required(format!("{path}.httpGet.path"), ""));
        }
        errors.extend(one_of(
            handler.at("httpGet"),
            &format!("{path}.httpGet"),
            "scheme",
            &["HTTP", "HTTPS"],
        ));
    }
    errors
}

fn resources(container: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for list in ["limits", "requests"] {
        for (name, amount) in container.at("resources").fields(list).into_iter().flatten() {
            let path = format!("{path}.resources.{list}[{name}]");
            errors.extend(invalid_all(&path, name, names::qualified_name(name)));
            let text = amount.as_str().unwrap_or_default();
            if nanos(text).is_some_and(|n| n < 0) {
                errors.push(FieldError::invalid_text(
                    path,
                    text,
                    "must be greater than or equal to 0",
                ));
            }
        }
    }
    let limits = container.at("resources").fields("limits");
    for (name, amount) in container.at("resources").fields("requests").into_iter().flatten() {
        let Some(limit) = limits.and_then(|l| l.get(name)).and_then(Value::as_str) else {
            continue;
        };
        let request = amount.as_str().unwrap_or_default();
        if let (Some(asked), Some(most)) = (nanos(request), nanos(limit))
            && asked > most
        {
            errors.push(FieldError::invalid_text(
                format!("{path}.resources.requests"),
                request,
                format!("must be less than or equal to {name} limit of {limit}"),
            ));
        }
    }
    errors
}
