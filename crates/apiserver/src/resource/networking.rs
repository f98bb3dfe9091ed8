//! networking.k8s.io/v1 Ingress, IngressClass, ServiceCIDR and IPAddress.

use serde_json::{Value, json};

use super::meta::{self, NameRule, invalid_all};
use super::names;
use super::value::ValueExt;
use super::{FieldError, Strategy};

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
        if let Some(class) = annotation
            && object.has("spec.ingressClassName")
        {
            errors.push(FieldError::invalid_text(
                format!("annotations[{CLASS_ANNOTATION}]"),
                class,
                "can not be set when the class field is also set",
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
        for (i, entry) in object.list("status.loadBalancer.ingress").iter().enumerate() {
            let ip = entry.text("ip");
            let path = format!("status.loadBalancer.ingress[{i}]");
            if !ip.is_empty() && names::parse_ip_sloppy(ip).is_none() {
                errors.push(FieldError::invalid_text(format!("{path}.ip"), ip, names::NOT_AN_IP));
            }
            let name = entry.text("hostname");
            if !name.is_empty() {
                let path = format!("{path}.hostname");
                errors.extend(invalid_all(&path, name, names::dns1123_subdomain(name)));
            }
        }
        errors
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let deprecated = object["metadata"]["annotations"].get(CLASS_ANNOTATION).is_some();
        deprecated
            .then(|| {
                format!(
                    "annotation {CLASS_ANNOTATION:?} is deprecated, please use 'spec.ingressClassName' instead"
                )
            })
            .into_iter()
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
            &if spec.is_null() { json!({}) } else { spec.clone() },
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
            if names::parse_ip(name).is_some() {
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
    match entry.text("pathType") {
        "" => {
            errors.push(FieldError::required(
                format!("{path}.pathType"),
                "pathType must be specified",
            ));
        }
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
        for field in ["kind", "name"] {
            if backend.at("resource").text(field).is_empty() {
                errors.push(FieldError::required(
                    format!("{path}.resource.{field}"),
                    format!("resource {field} is required"),
                ));
            }
        }
    } else if !service {
        errors.push(FieldError::required(path, "port name or number is required"));
    } else {
        let name = backend.text("service.name");
        let name_path = format!("{path}.service.name");
        if name.is_empty() {
            errors.push(FieldError::required(name_path, ""));
        } else {
            errors.extend(invalid_all(&name_path, name, names::dns1035_label(name)));
        }
        let port = backend.at("service.port");
        let (port_name, number) = (port.text("name"), port.int("number").unwrap_or(0));
        if !port_name.is_empty() && number != 0 {
            errors.push(FieldError::invalid_text(
                format!("{path}.service.port"),
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

#[derive(Debug)]
pub(crate) struct IngressClass;

impl Strategy for IngressClass {
    fn apply_defaults(&self, object: &mut Value) {
        if object.at("spec.parameters").is_object() {
            object.set_default("spec.parameters.scope", "Cluster");
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, false, NameRule::Subdomain);
        let controller = object.text("spec.controller");
        let path = "spec.controller";
        if controller.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else {
            errors.extend(invalid_all(path, controller, names::domain_prefixed_path(controller)));
        }
        if controller.len() > 250 {
            errors.push(FieldError::too_long(path, 250));
        }
        errors.extend(class_parameters(object));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        if object.at("spec.controller") != old.at("spec.controller") {
            errors.push(meta::immutable("spec.controller", object.at("spec.controller")));
        }
        errors.extend(class_parameters(object));
        errors
    }
}

fn class_parameters(object: &Value) -> Vec<FieldError> {
    let parameters = object.at("spec.parameters");
    let path = "spec.parameters";
    let mut errors = Vec::new();
    if parameters.is_null() {
        return errors;
    }
    for field in ["kind", "name"] {
        if parameters.text(field).is_empty() {
            errors.push(FieldError::required(
                format!("{path}.{field}"),
                format!("{field} is required"),
            ));
        }
    }
    let namespace = parameters.text("namespace");
    match parameters.text("scope") {
        "Namespace" if namespace.is_empty() => errors.push(FieldError::required(
            format!("{path}.namespace"),
            "`parameters.scope` is set to 'Namespace'",
        )),
        "Cluster" if !namespace.is_empty() => errors.push(FieldError::forbidden(
            format!("{path}.namespace"),
            "`parameters.scope` is set to 'Cluster'",
        )),
        "Namespace" | "Cluster" => {}
        "" => errors.push(FieldError::required(format!("{path}.scope"), "")),
        _ => errors.push(FieldError::not_supported(
            format!("{path}.scope"),
            parameters.at("scope"),
            &["Cluster", "Namespace"],
        )),
    }
    errors
}

#[derive(Debug)]
pub(crate) struct ServiceCidr;

impl Strategy for ServiceCidr {
    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({});
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value) {
        meta::keep_status(object, old);
    }

    fn prepare_for_status_update(&self, object: &mut Value, old: &Value) {
        meta::keep_all_but_status(object, old);
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, false, NameRule::Subdomain);
        errors.extend(cidrs(object));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        let (new, was) = (object.list("spec.cidrs"), old.list("spec.cidrs"));
        // A second family may be added, nothing else.
        let grows = was.len() == 1 && new.len() == 2 && new[0] == was[0];
        if new != was && !grows {
            errors.push(meta::immutable("spec.cidrs", object.at("spec.cidrs")));
        } else {
            errors.extend(cidrs(object));
        }
        errors
    }

    fn validate_status_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        meta::validate_update(object, old)
    }

    fn counts_generation(&self) -> bool {
        false
    }
}

fn cidrs(object: &Value) -> Vec<FieldError> {
    let path = "spec.cidrs";
    let ranges = object.texts(path);
    let mut errors = Vec::new();
    if ranges.is_empty() {
        errors.push(FieldError::required(path, "at least one CIDR required"));
        return errors;
    }
    if ranges.len() > 2 {
        errors.push(FieldError::invalid(path, object.at(path), "may only hold up to 2 values"));
    }
    let mut v6 = 0;
    for (i, range) in ranges.iter().enumerate() {
        let path = format!("{path}[{i}]");
        match range.parse::<ipnet::IpNet>() {
            Err(_) => errors.push(FieldError::invalid_text(path, range, names::NOT_A_CIDR)),
            Ok(net) => {
                v6 += usize::from(net.addr().is_ipv6());
                if net.trunc() != net || net.to_string() != *range {
                    errors.push(FieldError::invalid_text(
                        path,
                        range,
                        format!("must be in canonical form ({:?})", net.trunc().to_string()),
                    ));
                }
            }
        }
    }
    if errors.is_empty() && ranges.len() == 2 && v6 != 1 {
        errors.push(FieldError::invalid(
            path,
            object.at(path),
            "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/96",
        ));
    }
    errors
}

#[derive(Debug)]
pub(crate) struct IpAddress;

impl Strategy for IpAddress {
    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, false, NameRule::Address);
        let parent = object.at("spec.parentRef");
        if parent.is_null() {
            errors.push(FieldError::required("spec.parentRef", ""));
            return errors;
        }
        for field in ["resource", "name"] {
            if parent.text(field).is_empty() {
                errors.push(FieldError::required(format!("spec.parentRef.{field}"), ""));
            }
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        let path = "spec.parentRef";
        if object.at(path) != old.at(path) {
            errors.push(meta::immutable(path, object.at(path)));
        }
        errors
    }

    fn counts_generation(&self) -> bool {
        false
    }
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
                "spec: Invalid value: {}: either `defaultBackend` or `rules` must be specified",
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

    #[test]
    fn classes() {
        let class = |controller: &str| json!({"metadata": {"name": "a"}, "spec": {"controller": controller}});
        assert!(IngressClass.validate_create(&class("example.com/x")).is_empty());
        assert_eq!(
            texts(IngressClass.validate_create(&class(""))),
            ["spec.controller: Required value"]
        );
        assert_eq!(
            texts(IngressClass.validate_create(&class("x"))),
            [
                "spec.controller: Invalid value: \"x\": must be a domain-prefixed path (such as \"acme.io/foo\")"
            ]
        );
        assert_eq!(
            texts(IngressClass.validate_update(&class("a.b/c"), &class("a.b/d"))),
            ["spec.controller: Invalid value: \"a.b/c\": field is immutable"]
        );
    }

    #[test]
    fn ranges_and_addresses() {
        let range = |list: &[&str]| json!({"metadata": {"name": "a"}, "spec": {"cidrs": list}});
        assert!(ServiceCidr.validate_create(&range(&["10.0.0.0/16", "fd00::/112"])).is_empty());
        for (list, expected) in [
            (&[][..], "spec.cidrs: Required value: at least one CIDR required"),
            (
                &["10.0.0.1/16"],
                "spec.cidrs[0]: Invalid value: \"10.0.0.1/16\": must be in canonical form (\"10.0.0.0/16\")",
            ),
            (
                &["x"],
                "spec.cidrs[0]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ),
        ] {
            assert_eq!(texts(ServiceCidr.validate_create(&range(list))), [expected]);
        }
        assert!(
            ServiceCidr
                .validate_update(&range(&["10.0.0.0/16", "fd00::/112"]), &range(&["10.0.0.0/16"]))
                .is_empty()
        );
        assert_eq!(
            ServiceCidr.validate_update(&range(&["10.1.0.0/16"]), &range(&["10.0.0.0/16"])).len(),
            1
        );

        let address = |name: &str, parent: Value| json!({"metadata": {"name": name}, "spec": {"parentRef": parent}});
        let parent = json!({"resource": "services", "namespace": "default", "name": "x"});
        assert!(IpAddress.validate_create(&address("10.0.0.1", parent.clone())).is_empty());
        assert_eq!(
            texts(IpAddress.validate_create(&address("10.0.0.1", Value::Null))),
            ["spec.parentRef: Required value"]
        );
        assert_eq!(
            texts(IpAddress.validate_create(&address("x", parent))),
            ["metadata.name: Invalid value: \"x\": must be a valid IP address"]
        );
    }
}
