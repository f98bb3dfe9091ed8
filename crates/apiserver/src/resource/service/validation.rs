//! Complaints about Services, with the paths and texts of `pkg/apis/core/validation`.

use std::collections::HashSet;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::{externally_accessible, is_headless, kind, needs_cluster_ip, needs_health_check_port};
use crate::resource::meta::{self, NameRule, invalid_all};
use crate::resource::value::ValueExt;
use crate::resource::{FieldError, names};

const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
/// A day in seconds: how long an affinity may last.
const MAX_AFFINITY: i64 = 86_400;

pub(super) fn create(service: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate(service, true, NameRule::Label1035);
    errors.extend(spec(service));
    errors.extend(load_balancer_class(service, None));
    errors
}

pub(super) fn update(service: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate_update(service, old);
    errors.extend(cluster_ip_changes(service, old));
    errors.extend(load_balancer_class(service, Some(old)));
    errors.extend(spec(service));
    errors
}

pub(super) fn status_update(service: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate_update(service, old);
    let ingress = service.list("status.loadBalancer.ingress");
    let path = "status.loadBalancer.ingress";
    if kind(service) != "LoadBalancer" && !ingress.is_empty() {
        errors.push(FieldError::forbidden(
            path,
            "may only be used when `spec.type` is \"LoadBalancer\"",
        ));
        return errors;
    }
    for (i, entry) in ingress.iter().enumerate() {
        let ip = entry.text("ip");
        if !ip.is_empty() && names::parse_ip_sloppy(ip).is_none() {
            errors.push(FieldError::invalid_text(format!("{path}[{i}].ip"), ip, names::NOT_AN_IP));
        }
        let mode = entry.at("ipMode");
        if !ip.is_empty() && mode.is_null() {
            errors.push(FieldError::required(
                format!("{path}[{i}].ipMode"),
                "must be specified when `ip` is set",
            ));
        } else if ip.is_empty() && !mode.is_null() {
            errors.push(FieldError::forbidden(
                format!("{path}[{i}].ipMode"),
                "may not be specified when `ip` is not set",
            ));
        } else if !mode.is_null() && mode != "VIP" && mode != "Proxy" {
            errors.push(FieldError::not_supported(
                format!("{path}[{i}].ipMode"),
                mode,
                &["Proxy", "VIP"],
            ));
        }
        let name = entry.text("hostname");
        if !name.is_empty() {
            let path = format!("{path}[{i}].hostname");
            errors.extend(invalid_all(&path, name, names::dns1123_subdomain(name)));
            if names::parse_ip(name).is_some() {
                errors.push(FieldError::invalid_text(
                    path,
                    name,
                    "must be a DNS name, not an IP address",
                ));
            }
        }
    }
    errors
}

fn spec(service: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let ports = service.list("spec.ports");
    if ports.is_empty() && !is_headless(service) && kind(service) != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    errors.extend(by_type(service));
    errors.extend(validate_ports(service));
    errors.extend(meta::labels(service.fields("spec.selector"), "spec.selector"));
    errors.extend(affinity(service));
    errors.extend(cluster_ips(service));
    for (i, ip) in service.texts("spec.externalIPs").iter().enumerate() {
        let path = format!("spec.externalIPs[{i}]");
        match names::parse_ip_sloppy(ip) {
            None => errors.push(FieldError::invalid_text(path, ip, names::NOT_AN_IP)),
            Some(parsed) => errors.extend(
                names::special_ip(parsed)
                    .into_iter()
                    .map(|text| FieldError::invalid_text(path.as_str(), ip, text)),
            ),
        }
    }
    let types = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    if kind(service).is_empty() {
        errors.push(FieldError::required("spec.type", ""));
    } else if !types.contains(&kind(service)) {
        errors.push(FieldError::not_supported("spec.type", service.at("spec.type"), &types));
    }
    if kind(service) == "ClusterIP" {
        for (i, port) in ports.iter().enumerate() {
            if port.int("nodePort").unwrap_or(0) != 0 {
                errors.push(FieldError::forbidden(
                    format!("spec.ports[{i}].nodePort"),
                    "may not be used when `type` is 'ClusterIP'",
                ));
            }
        }
    }
    errors.extend(duplicate_ports(ports));
    errors.extend(load_balancer_fields(service));
    errors.extend(traffic(service));
    errors
}

fn by_type(service: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let headless = |type_name: &str| {
        FieldError::invalid_text(
            "spec.clusterIPs[0]",
            "None",
            format!("may not be set to 'None' for {type_name} services"),
        )
    };
    match kind(service) {
        "LoadBalancer" => {
            for (i, port) in service.list("spec.ports").iter().enumerate() {
                if port.int("port") == Some(10_250) {
                    errors.push(FieldError::invalid_number(
                        format!("spec.ports[{i}]"),
                        10_250,
                        "may not expose port 10250 externally since it is used by kubelet",
                    ));
                }
            }
            if is_headless(service) {
                errors.push(headless("LoadBalancer"));
            }
        }
        "NodePort" if is_headless(service) => errors.push(headless("NodePort")),
        "ExternalName" => {
            for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                let value = service.at("spec").at(field);
                let set = value.as_array().map_or(!value.is_null(), |list| !list.is_empty());
                if set {
                    errors.push(FieldError::forbidden(
                        format!("spec.{field}"),
                        "may not be set for ExternalName services",
                    ));
                }
            }
            let full = service.text("spec.externalName");
            let name = full.strip_suffix('.').unwrap_or(full);
            if name.is_empty() {
                errors.push(FieldError::required("spec.externalName", ""));
            } else {
                errors.extend(invalid_all(
                    "spec.externalName",
                    name,
                    names::dns1123_subdomain(name),
                ));
            }
        }
        _ => {}
    }
    errors
}

fn validate_ports(service: &Value) -> Vec<FieldError> {
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

fn duplicate_ports(ports: &[Value]) -> Vec<FieldError> {
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

fn affinity(service: &Value) -> Vec<FieldError> {
    let path = "spec.sessionAffinityConfig";
    let config = service.at(path);
    match service.text("spec.sessionAffinity") {
        "" => vec![FieldError::required("spec.sessionAffinity", "")],
        "None" if config.is_null() => Vec::new(),
        "None" => {
            vec![FieldError::forbidden(path, "must not be set when session affinity is None")]
        }
        "ClientIP" => {
            let timeout_path = format!("{path}.clientIP.timeoutSeconds");
            match service.int(&timeout_path) {
                None => vec![FieldError::required(
                    timeout_path,
                    "when session affinity type is ClientIP",
                )],
                Some(seconds) if seconds <= 0 || seconds > MAX_AFFINITY => {
                    vec![FieldError::invalid_number(
                        timeout_path,
                        seconds,
                        format!("must be greater than 0 and less than {MAX_AFFINITY}"),
                    )]
                }
                Some(_) => Vec::new(),
            }
        }
        _ => vec![FieldError::not_supported(
            "spec.sessionAffinity",
            service.at("spec.sessionAffinity"),
            &["ClientIP", "None"],
        )],
    }
}

/// `clusterIP`, `clusterIPs`, `ipFamilies` and `ipFamilyPolicy` together.
pub(super) fn cluster_ips(service: &Value) -> Vec<FieldError> {
    if kind(service) == "ExternalName" {
        return Vec::new();
    }
    let mut errors = Vec::new();
    let path = "spec.clusterIPs";
    let list = service.at(path);
    let addresses = service.texts(path);
    let first = service.text("spec.clusterIP");
    if addresses.is_empty() {
        if !first.is_empty() {
            errors.push(FieldError::required(path, ""));
        }
    } else if addresses[0] != first {
        errors.push(FieldError::invalid(path, list, "first value must match `clusterIP`"));
    }
    let families = service.list("spec.ipFamilies");
    for (i, family) in families.iter().enumerate() {
        let path = format!("spec.ipFamilies[{i}]");
        if family != "IPv4" && family != "IPv6" {
            errors.push(FieldError::not_supported(path.as_str(), family, &["IPv4", "IPv6"]));
        }
        if families[..i].contains(family) {
            errors.push(FieldError::duplicate(path, family));
        }
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    let policy = service.at("spec.ipFamilyPolicy");
    if !policy.is_null() && !policies.contains(&policy.as_str().unwrap_or_default()) {
        errors.push(FieldError::not_supported("spec.ipFamilyPolicy", policy, &policies));
    }

    let mut malformed = false;
    for (i, address) in addresses.iter().enumerate() {
        if i == 0 && *address == "None" {
            if addresses.len() > 1 {
                malformed = true;
                errors.push(FieldError::invalid(
                    path,
                    list,
                    "'None' must be the first and only value",
                ));
            }
            continue;
        }
        if names::parse_ip_sloppy(address).is_none() {
            malformed = true;
            errors.push(FieldError::invalid_text(
                format!("{path}[{i}]"),
                address,
                names::NOT_AN_IP,
            ));
        }
    }
    if addresses.len() > 2 {
        errors.push(FieldError::invalid(path, list, "may only hold up to 2 values"));
    }
    if malformed {
        return errors;
    }
    let parsed: Vec<IpAddr> = addresses.iter().filter_map(|a| names::parse_ip_sloppy(a)).collect();
    if addresses.len() > 1 {
        let v6 = parsed.iter().filter(|ip| ip.is_ipv6()).count();
        if v6 == 0 || v6 == parsed.len() {
            errors.push(FieldError::invalid(
                path,
                list,
                "may specify no more than one IP for each IP family",
            ));
        }
    }
    if errors.is_empty() && !is_headless(service) {
        for (i, (ip, family)) in parsed.iter().zip(families).enumerate() {
            let expected = family.as_str().unwrap_or_default();
            if ip.is_ipv6() != (expected == "IPv6") {
                errors.push(FieldError::invalid_text(
                    format!("{path}[{i}]"),
                    addresses[i],
                    format!("expected an {expected} value as indicated by `ipFamilies[{i}]`"),
                ));
            }
        }
    }
    errors
}

/// An address, once given, stays as long as the type needs one.
fn cluster_ip_changes(service: &Value, old: &Value) -> Vec<FieldError> {
    if !needs_cluster_ip(service) || !needs_cluster_ip(old) {
        return Vec::new();
    }
    if is_headless(service) && is_headless(old) {
        return Vec::new();
    }
    let mut errors = Vec::new();
    let (new, was) = (service.texts("spec.clusterIPs"), old.texts("spec.clusterIPs"));
    let list = service.at("spec.clusterIPs");
    let changed = |i: usize| {
        FieldError::invalid(format!("spec.clusterIPs[{i}]"), list, "may not change once set")
    };
    if new.len() == was.len() {
        errors.extend((0..new.len()).filter(|i| new[*i] != was[*i]).map(changed));
        return errors;
    }
    if new.len() < was.len() {
        if new.is_empty() {
            errors.push(FieldError::invalid(
                "spec.clusterIPs[0]",
                list,
                "primary clusterIP can not be unset",
            ));
        } else if service.text("spec.ipFamilyPolicy") != "SingleStack" {
            errors.push(FieldError::invalid(
                "spec.ipFamilyPolicy",
                service.at("spec.ipFamilyPolicy"),
                "must be set to 'SingleStack' when releasing the secondary clusterIP",
            ));
        }
    }
    if let (Some(a), Some(b)) = (new.first(), was.first())
        && a != b
    {
        errors.push(changed(0));
    }
    errors
}

fn load_balancer_fields(service: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let balancer = kind(service) == "LoadBalancer";
    let only = "may only be used when `type` is 'LoadBalancer'";
    let ranges = service.texts("spec.loadBalancerSourceRanges");
    let annotation = service["metadata"]["annotations"][SOURCE_RANGES].as_str();
    if !ranges.is_empty() {
        if !balancer {
            errors.push(FieldError::forbidden("spec.loadBalancerSourceRanges", only));
        }
        for (i, range) in ranges.iter().enumerate() {
            if names::parse_cidr(range.trim()).is_none() {
                errors.push(FieldError::invalid_text(
                    format!("spec.loadBalancerSourceRanges[{i}]"),
                    range,
                    names::NOT_A_CIDR,
                ));
            }
        }
    } else if let Some(text) = annotation {
        let path = format!("metadata.annotations[{SOURCE_RANGES}]");
        if !balancer {
            errors.push(FieldError::forbidden(path.as_str(), only));
        }
        let good = text.trim().is_empty()
            || text.split(',').all(|range| names::parse_cidr(range.trim()).is_some());
        if !good {
            errors.push(FieldError::invalid_text(
                path,
                text,
                "must be a comma separated list of CIDRs e.g. 192.168.0.0/16,10.0.0.0/8",
            ));
        }
    }
    let field = "spec.allocateLoadBalancerNodePorts";
    if balancer && !service.has(field) {
        errors.push(FieldError::required(field, ""));
    } else if !balancer && service.has(field) {
        errors.push(FieldError::forbidden(field, only));
    }
    errors
}

fn load_balancer_class(service: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let path = "spec.loadBalancerClass";
    let class = service.at(path);
    if let Some(old) = old
        && kind(old) == "LoadBalancer"
        && kind(service) == "LoadBalancer"
        && old.at(path) != class
    {
        errors.push(FieldError::invalid(path, class, "may not change once set"));
    }
    if let Some(name) = class.as_str() {
        if kind(service) == "LoadBalancer" {
            errors.extend(invalid_all(path, name, names::qualified_name(name)));
        } else {
            errors.push(FieldError::forbidden(
                path,
                "may only be used when `type` is 'LoadBalancer'",
            ));
        }
    }
    errors
}

fn traffic(service: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let external = service.text("spec.externalTrafficPolicy");
    let path = "spec.externalTrafficPolicy";
    if !externally_accessible(service) {
        if !external.is_empty() {
            errors.push(FieldError::invalid_text(
                path,
                external,
                "may only be set for externally-accessible services",
            ));
        }
    } else if external.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if external != "Cluster" && external != "Local" {
        errors.push(FieldError::not_supported(path, &json!(external), &["Cluster", "Local"]));
    }
    // A port that is needed and not given is allocated later.
    let port = service.int("spec.healthCheckNodePort").unwrap_or(0);
    if port != 0 {
        if needs_health_check_port(service) {
            for text in names::port_number(port) {
                errors.push(FieldError::invalid_number("spec.healthCheckNodePort", port, text));
            }
        } else {
            errors.push(FieldError::invalid_number(
                "spec.healthCheckNodePort",
                port,
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
            ));
        }
    }
    let path = "spec.internalTrafficPolicy";
    match service.at(path).as_str() {
        None if needs_cluster_ip(service) => errors.push(FieldError::required(path, "")),
        None | Some("Cluster" | "Local") => {}
        Some(_) => {
            errors.push(FieldError::not_supported(path, service.at(path), &["Cluster", "Local"]));
        }
    }
    let path = "spec.trafficDistribution";
    let known = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    if let Some(value) = service.at(path).as_str()
        && !known.contains(&value)
    {
        errors.push(FieldError::not_supported(path, service.at(path), &known));
    }
    errors
}

/// Texts for the `Warning` header.
pub(super) fn warnings(service: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |yes: bool, text: &str| {
        if yes {
            warnings.push(text.to_owned());
        }
    };
    let has_external_ips = !service.list("spec.externalIPs").is_empty();
    let external_name = kind(service) == "ExternalName";
    let hints = "service.kubernetes.io/topology-aware-hints";
    warn(
        service["metadata"]["annotations"].get(hints).is_some(),
        "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead",
    );
    if is_headless(service) {
        warn(
            !service.text("spec.loadBalancerIP").is_empty(),
            "spec.loadBalancerIP is ignored for headless services",
        );
        warn(has_external_ips, "spec.externalIPs is ignored for headless services");
        warn(
            service.text("spec.sessionAffinity") == "ClientIP",
            "spec.SessionAffinity is ignored for headless services",
        );
    }
    warn(
        external_name && has_external_ips,
        "spec.externalIPs is ignored when spec.type is \"ExternalName\"",
    );
    warn(
        !external_name && !service.text("spec.externalName").is_empty(),
        "spec.externalName is ignored when spec.type is not \"ExternalName\"",
    );
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(changes: Value) -> Value {
        let mut service = json!({
            "metadata": {"name": "a", "namespace": "default"},
            "spec": {"ports": [{"port": 80}]},
        });
        for (field, value) in changes.as_object().unwrap() {
            if field == "name" {
                service["metadata"]["name"] = value.clone();
            } else {
                service["spec"][field] = value.clone();
            }
        }
        super::super::apply_defaults(&mut service);
        service
    }

    fn complaints(changes: Value) -> Vec<String> {
        let mut service = service(changes);
        let address = service["spec"]["clusterIP"].clone();
        if address.is_string() && service["spec"].get("clusterIPs").is_none() {
            service["spec"]["clusterIPs"] = json!([address]);
        }
        create(&service).iter().map(FieldError::message).collect()
    }

    #[test]
    fn good_services_pass() {
        for good in [
            json!({}),
            json!({"clusterIP": "None", "ports": []}),
            json!({"clusterIP": "10.0.0.1"}),
            json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"], "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"}),
            json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30000}]}),
            json!({"type": "LoadBalancer", "loadBalancerClass": "example.com/x", "loadBalancerSourceRanges": ["10.0.0.0/8"]}),
            json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30001}),
            json!({"type": "ExternalName", "externalName": "kubernetes.io.", "ports": []}),
            json!({"sessionAffinity": "ClientIP"}),
            json!({"ports": [{"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}]}),
            json!({"ports": [{"port": 80, "targetPort": "http", "appProtocol": "kubernetes.io/h2c"}]}),
            json!({"externalIPs": ["1.2.3.4", "2001:db8::1"], "trafficDistribution": "PreferClose"}),
        ] {
            assert_eq!(complaints(good.clone()), [""; 0], "{good}");
        }
    }

    #[test]
    fn bad_services_are_refused_in_the_words_of_kubernetes() {
        let label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
        let cases = [
            (json!({"name": "1a"}), vec!["metadata.name: Invalid value: \"1a\": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')".to_owned()]),
            (json!({"ports": []}), vec!["spec.ports: Required value".to_owned()]),
            (json!({"ports": [{"port": 0, "targetPort": 1}]}), vec!["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive".to_owned()]),
            (json!({"ports": [{"port": 70000}]}), vec!["spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive".to_owned(), "spec.ports[0].targetPort: Invalid value: 70000: must be between 1 and 65535, inclusive".to_owned()]),
            (json!({"ports": [{"port": 80, "protocol": "HTTP"}]}), vec!["spec.ports[0].protocol: Unsupported value: \"HTTP\": supported values: \"SCTP\", \"TCP\", \"UDP\"".to_owned()]),
            (json!({"ports": [{"port": 80}, {"port": 81}]}), vec!["spec.ports[0].name: Required value".to_owned(), "spec.ports[1].name: Required value".to_owned()]),
            (json!({"ports": [{"name": "A", "port": 80}]}), vec![format!("spec.ports[0].name: Invalid value: \"A\": {label}")]),
            (json!({"ports": [{"name": "a", "port": 80}, {"name": "a", "port": 81}]}), vec!["spec.ports[1].name: Duplicate value: \"a\"".to_owned()]),
            (json!({"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]}), vec!["spec.ports[1]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":80,\"TargetPort\":0,\"NodePort\":0}".to_owned()]),
            (json!({"ports": [{"port": 80, "nodePort": 30000}]}), vec!["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'".to_owned()]),
            (json!({"type": "NodePort", "ports": [{"name": "a", "port": 1, "nodePort": 30000}, {"name": "b", "port": 2, "nodePort": 30000}]}), vec!["spec.ports[1].nodePort: Duplicate value: 30000".to_owned()]),
            (json!({"type": "Magic"}), vec!["spec.type: Unsupported value: \"Magic\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"".to_owned()]),
            (json!({"type": "NodePort", "clusterIP": "None"}), vec!["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services".to_owned()]),
            (json!({"type": "ExternalName"}), vec!["spec.externalName: Required value".to_owned()]),
            (json!({"type": "ExternalName", "externalName": "a", "clusterIP": "10.0.0.1"}), vec!["spec.clusterIPs: Forbidden: may not be set for ExternalName services".to_owned()]),
            (json!({"clusterIP": "10.0.0"}), vec!["spec.clusterIPs[0]: Invalid value: \"10.0.0\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]),
            (json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2"]}), vec!["spec.clusterIPs: Invalid value: [\"10.0.0.2\"]: first value must match `clusterIP`".to_owned()]),
            (json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "10.0.0.2"]}), vec!["spec.clusterIPs: Invalid value: [\"10.0.0.1\",\"10.0.0.2\"]: may specify no more than one IP for each IP family".to_owned()]),
            (json!({"clusterIP": "fd00::1", "ipFamilies": ["IPv4"]}), vec!["spec.clusterIPs[0]: Invalid value: \"fd00::1\": expected an IPv4 value as indicated by `ipFamilies[0]`".to_owned()]),
            (json!({"ipFamilies": ["IPv4", "IPv4"]}), vec!["spec.ipFamilies[1]: Duplicate value: \"IPv4\"".to_owned()]),
            (json!({"ipFamilyPolicy": "Both"}), vec!["spec.ipFamilyPolicy: Unsupported value: \"Both\": supported values: \"PreferDualStack\", \"RequireDualStack\", \"SingleStack\"".to_owned()]),
            (json!({"externalIPs": ["127.0.0.1"]}), vec!["spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()]),
            (json!({"externalIPs": ["host"]}), vec!["spec.externalIPs[0]: Invalid value: \"host\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]),
            (json!({"sessionAffinity": "Sticky"}), vec!["spec.sessionAffinity: Unsupported value: \"Sticky\": supported values: \"ClientIP\", \"None\"".to_owned()]),
            (json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}}), vec!["spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400".to_owned()]),
            (json!({"externalTrafficPolicy": "Local"}), vec!["spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services".to_owned()]),
            (json!({"internalTrafficPolicy": "None"}), vec!["spec.internalTrafficPolicy: Unsupported value: \"None\": supported values: \"Cluster\", \"Local\"".to_owned()]),
            (json!({"healthCheckNodePort": 30000}), vec!["spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'".to_owned()]),
            (json!({"loadBalancerClass": "a/b"}), vec!["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'".to_owned()]),
            (json!({"loadBalancerSourceRanges": ["10.0.0.0/8"]}), vec!["spec.loadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'".to_owned()]),
            (json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/88"]}), vec!["spec.loadBalancerSourceRanges[0]: Invalid value: \"10.0.0.0/88\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()]),
            (json!({"type": "LoadBalancer", "ports": [{"port": 10250}]}), vec!["spec.ports[0]: Invalid value: 10250: may not expose port 10250 externally since it is used by kubelet".to_owned()]),
            (json!({"ports": [{"port": 80, "targetPort": "a_b"}]}), vec!["spec.ports[0].targetPort: Invalid value: \"a_b\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned()]),
        ];
        for (changes, expected) in cases {
            assert_eq!(complaints(changes.clone()), expected, "{changes}");
        }
    }

    #[test]
    fn addresses_do_not_change() {
        let old = service(json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}));
        let texts = |changes: Value| -> Vec<String> {
            update(&service(changes), &old).iter().map(FieldError::message).collect()
        };
        assert_eq!(
            texts(json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "type": "NodePort"})),
            [""; 0]
        );
        assert_eq!(
            texts(json!({"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]})),
            ["spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"]
        );
        assert_eq!(
            texts(json!({"clusterIP": "None", "clusterIPs": ["None"]})),
            ["spec.clusterIPs[0]: Invalid value: [\"None\"]: may not change once set"]
        );
        assert_eq!(
            texts(json!({})),
            ["spec.clusterIPs[0]: Invalid value: null: primary clusterIP can not be unset"]
        );
        assert_eq!(texts(json!({"type": "ExternalName", "externalName": "x"})), [""; 0]);
    }

    #[test]
    fn statuses_are_checked_too() {
        let old = service(json!({"type": "LoadBalancer"}));
        let mut new = old.clone();
        new["status"] = json!({"loadBalancer": {"ingress": [{"ip": "1.2.3", "ipMode": "VIP"}, {"hostname": "a.b"}]}});
        let texts: Vec<String> =
            status_update(&new, &old).iter().map(FieldError::message).collect();
        assert_eq!(
            texts,
            [
                "status.loadBalancer.ingress[0].ip: Invalid value: \"1.2.3\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            ]
        );
        let plain = service(json!({}));
        let mut new = plain.clone();
        new["status"] = json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4", "ipMode": "VIP"}]}});
        assert_eq!(status_update(&new, &plain).len(), 1);
    }

    #[test]
    fn useless_fields_are_warned_of() {
        let headless = service(json!({"clusterIP": "None", "externalIPs": ["1.2.3.4"]}));
        assert_eq!(warnings(&headless), ["spec.externalIPs is ignored for headless services"]);
        assert!(warnings(&service(json!({}))).is_empty());
    }
}
