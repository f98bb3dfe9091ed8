//! networking.k8s.io/v1 Ingress.

use serde_json::{Value, json};

use super::meta::{self, NameRule, invalid_all};
use super::value::ValueExt;
use super::{FieldError, Strategy, ip, names};

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

#[derive(Debug)]
pub(crate) struct Ingress;

impl Strategy for Ingress {
    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({"loadBalancer": {}});
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value) {
        meta::keep_status(object, old);
    }

    fn prepare_for_status_update(&self, object: &mut Value, old: &Value) {
        meta::keep_all_but_status(object, old);
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, true, NameRule::Subdomain);
        let annotation = object["metadata"]["annotations"][CLASS_ANNOTATION].as_str();
        if let (Some(class), Some(field)) =
            (annotation, object.at("spec.ingressClassName").as_str())
            && class != field
        {
            errors.push(FieldError::invalid_text(
                format!("annotations.{CLASS_ANNOTATION}"),
                class,
                "must match `ingressClassName` when both are specified",
            ));
        }
        errors.extend(ingress(object));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        errors.extend(ingress(object));
        errors
    }

    fn validate_status_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        let path = "status.loadBalancer.ingress";
        let known: Vec<&str> = old.list(path).iter().map(|entry| entry.text("ip")).collect();
        for (i, entry) in object.list(path).iter().enumerate() {
            errors.extend(meta::balancer_address(entry, &format!("{path}[{i}]"), &known));
        }
        errors
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let annotated = object["metadata"]["annotations"].get(CLASS_ANNOTATION).is_some();
        let deprecated = old.is_none() && annotated && !object.has("spec.ingressClassName");
        deprecated
            .then(|| {
                format!(
                    "annotation {CLASS_ANNOTATION:?} is deprecated, please use 'spec.ingressClassName' instead"
                )
            })
            .into_iter()
            .collect()
    }

    fn status_warnings(&self, object: &Value) -> Vec<String> {
        let path = "status.loadBalancer.ingress";
        let all = object.list(path).iter().enumerate();
        all.filter_map(|(i, entry)| ip::warnings(&format!("{path}[{i}]"), entry.text("ip")))
            .collect()
    }
}

/// A host name, or one with a wildcard for its first label.
fn host(host: &str, path: &str) -> Vec<FieldError> {
    let complaints = if host.contains('*') {
        names::wildcard_dns1123_subdomain(host)
    } else {
        names::dns1123_subdomain(host)
    };
    invalid_all(path, host, complaints)
}

fn ingress(object: &Value) -> Vec<FieldError> {
    let spec = object.at("spec");
    let mut errors = Vec::new();
    let rules = spec.list("rules");
    if rules.is_empty() && !spec.has("defaultBackend") {
        errors.push(FieldError::invalid(
            "spec",
            // Kubernetes shows the rules, of which there are none.
            &Value::Null,
            "either `defaultBackend` or `rules` must be specified",
        ));
    }
    if spec.has("defaultBackend") {
        errors.extend(backend(spec.at("defaultBackend"), "spec.defaultBackend"));
    }
    for (i, rule) in rules.iter().enumerate() {
        let path = format!("spec.rules[{i}]");
        let name = rule.text("host");
        if !name.is_empty() {
            let path = format!("{path}.host");
            if names::parse_ip_sloppy(name).is_some() {
                errors.push(FieldError::invalid_text(
                    path.as_str(),
                    name,
                    "must be a DNS name, not an IP address",
                ));
            }
            errors.extend(host(name, &path));
        }
        if rule.has("http") {
            let paths = rule.list("http.paths");
            if paths.is_empty() {
                errors.push(FieldError::required(format!("{path}.http.paths"), ""));
            }
            for (j, entry) in paths.iter().enumerate() {
                errors.extend(http_path(entry, &format!("{path}.http.paths[{j}]")));
            }
        }
    }
    for (i, tls) in spec.list("tls").iter().enumerate() {
        for (j, name) in tls.texts("hosts").iter().enumerate() {
            errors.extend(host(name, &format!("spec.tls[{i}].hosts[{j}]")));
        }
        let secret = tls.text("secretName");
        if !secret.is_empty() {
            let path = format!("spec.tls[{i}].secretName");
            errors.extend(invalid_all(&path, secret, names::dns1123_subdomain(secret)));
        }
    }
    if spec.has("ingressClassName") {
        let class = spec.text("ingressClassName");
        errors.extend(invalid_all("spec.ingressClassName", class, names::dns1123_subdomain(class)));
    }
    errors
}

fn http_path(entry: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let text = entry.text("path");
    let at = format!("{path}.path");
    if !entry.has("pathType") {
        let text = "pathType must be specified";
        return vec![FieldError::required(format!("{path}.pathType"), text)];
    }
    match entry.text("pathType") {
        "Exact" | "Prefix" => {
            if !text.starts_with('/') {
                errors.push(FieldError::invalid_text(
                    at.as_str(),
                    text,
                    "must be an absolute path",
                ));
            }
            if !text.is_empty() {
                for bad in ["//", "/./", "/../", "%2f", "%2F"] {
                    if text.contains(bad) {
                        errors.push(FieldError::invalid_text(
                            at.as_str(),
                            text,
                            format!("must not contain '{bad}'"),
                        ));
                    }
                }
                for bad in ["/..", "/."] {
                    if text.ends_with(bad) {
                        errors.push(FieldError::invalid_text(
                            at.as_str(),
                            text,
                            format!("cannot end with '{bad}'"),
                        ));
                    }
                }
            }
        }
        "ImplementationSpecific" => {
            if !text.is_empty() && !text.starts_with('/') {
                errors.push(FieldError::invalid_text(at, text, "must be an absolute path"));
            }
        }
        _ => errors.push(FieldError::not_supported(
            format!("{path}.pathType"),
            entry.at("pathType"),
            &["Exact", "ImplementationSpecific", "Prefix"],
        )),
    }
    errors.extend(backend(entry.at("backend"), &format!("{path}.backend")));
    errors
}

fn backend(backend: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (service, resource) = (backend.has("service"), backend.has("resource"));
    if service && resource {
        errors.push(FieldError::invalid_text(
            path,
            "",
            "cannot set both resource and service backends",
        ));
    } else if resource {
        errors.extend(reference(backend.at("resource"), &format!("{path}.resource")));
    } else if !service {
        errors.push(FieldError::invalid_text(path, "", "resource or service backend is required"));
    } else {
        let name = backend.text("service.name");
        let name_path = format!("{path}.service.name");
        if name.is_empty() {
            errors.push(FieldError::required(name_path, ""));
        } else {
            errors.extend(invalid_all(&name_path, name, names::dns1123_label(name)));
        }
        let port = backend.at("service.port");
        let (port_name, number) = (port.text("name"), port.int("number").unwrap_or(0));
        if !port_name.is_empty() && number != 0 {
            errors.push(FieldError::invalid_text(
                path,
                "",
                "cannot set both port name & port number",
            ));
        } else if !port_name.is_empty() {
            let path = format!("{path}.service.port.name");
            errors.extend(invalid_all(&path, port_name, names::port_name(port_name)));
        } else if number != 0 {
            for text in names::port_number(number) {
                errors.push(FieldError::invalid_number(
                    format!("{path}.service.port.number"),
                    number,
                    text,
                ));
            }
        } else {
            errors.push(FieldError::required(path, "port name or number is required"));
        }
    }
    errors
}

/// A reference to an object of any kind, in the namespace or wherever the field says.
pub(super) fn reference(reference: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let group = reference.text("apiGroup");
    if !group.is_empty() {
        let path = format!("{path}.apiGroup");
        errors.extend(invalid_all(&path, group, names::dns1123_subdomain(group)));
    }
    for field in ["kind", "name"] {
        let (path, text) = (format!("{path}.{field}"), reference.text(field));
        if text.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else {
            errors.extend(invalid_all(&path, text, names::path_segment(text)));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(errors: Vec<FieldError>) -> Vec<String> {
        errors.iter().map(FieldError::message).collect()
    }

    #[test]
    fn ingresses() {
        let object =
            |spec: Value| json!({"metadata": {"name": "a", "namespace": "b"}, "spec": spec});
        let rule = |path: Value| json!({"rules": [{"host": "a.b", "http": {"paths": [path]}}]});
        let service = json!({"service": {"name": "s", "port": {"number": 80}}});
        let good = rule(json!({"path": "/", "pathType": "Prefix", "backend": service}));
        assert!(Ingress.validate_create(&object(good)).is_empty());
        assert!(Ingress.validate_create(&object(json!({"defaultBackend": service}))).is_empty());
        for (spec, expected) in [
            (
                json!({}),
                "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified",
            ),
            (
                rule(json!({"path": "/", "backend": service})),
                "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified",
            ),
            (
                rule(json!({"path": "x", "pathType": "Prefix", "backend": service})),
                "spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path",
            ),
            (
                rule(json!({"path": "/", "pathType": "Regex", "backend": service})),
                "spec.rules[0].http.paths[0].pathType: Unsupported value: \"Regex\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\"",
            ),
            (
                rule(
                    json!({"path": "/", "pathType": "Exact", "backend": {"service": {"name": "s"}}}),
                ),
                "spec.rules[0].http.paths[0].backend: Required value: port name or number is required",
            ),
            (
                json!({"rules": [{"host": "1.2.3.4"}]}),
                "spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address",
            ),
            (
                json!({"rules": [{"host": "*.*.a"}]}),
                "spec.rules[0].host: Invalid value: \"*.*.a\": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ),
        ] {
            assert_eq!(texts(Ingress.validate_create(&object(spec))), [expected]);
        }
    }
}
