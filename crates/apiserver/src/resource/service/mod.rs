//! core/v1 Service.

mod allocation;
mod update;
mod validation;

use serde_json::{Value, json};

pub(crate) use self::allocation::{SHORTEST_V6, claimed_addresses, claimed_ports, covers};
use super::meta;
use super::value::ValueExt;
use super::{AllocateError, Claims, FieldError, Strategy};

#[derive(Debug)]
pub(crate) struct Service;

impl Strategy for Service {
    fn apply_defaults(&self, service: &mut Value) {
        apply_defaults(service);
    }

    fn prepare_for_create(&self, service: &mut Value) {
        service["status"] = json!({"loadBalancer": {}});
        // Clients that know only `clusterIP` mean a list of one.
        let address = service.text("spec.clusterIP").to_owned();
        if !address.is_empty() && service.list("spec.clusterIPs").is_empty() {
            *service.slot("spec.clusterIPs") = json!([address]);
        }
    }

    fn prepare_for_update(&self, service: &mut Value, old: &Value) {
        update::prepare(service, old);
    }

    fn prepare_for_status_update(&self, service: &mut Value, old: &Value) {
        meta::keep_all_but_status(service, old);
    }

    fn validate_create(&self, service: &Value) -> Vec<FieldError> {
        validation::create(service)
    }

    fn validate_update(&self, service: &Value, old: &Value) -> Vec<FieldError> {
        validation::update(service, old)
    }

    fn validate_status_update(&self, service: &Value, old: &Value) -> Vec<FieldError> {
        validation::status_update(service, old)
    }

    fn canonicalize(&self, service: &mut Value) {
        drop_empty(service);
        for condition in service.list_mut("status.conditions") {
            condition.set_default("reason", "");
            condition.set_default("message", "");
        }
        // What no type needs is kept as it came; the two fields still say the same.
        let address = service.text("spec.clusterIP").to_owned();
        if !address.is_empty() && service.list("spec.clusterIPs").is_empty() {
            *service.slot("spec.clusterIPs") = json!([address]);
        }
        // Kubernetes drops it as well, though only when it is read.
        if kind(service) == "ExternalName" {
            service.remove_at("spec.internalTrafficPolicy");
        }
    }

    fn warnings(&self, service: &Value, _old: Option<&Value>) -> Vec<String> {
        validation::warnings(service)
    }

    fn status_warnings(&self, service: &Value) -> Vec<String> {
        validation::status_warnings(service)
    }

    fn allocate(
        &self,
        claims: &mut dyn Claims,
        service: Option<&mut Value>,
        old: Option<&Value>,
    ) -> Result<(), AllocateError> {
        match (service, old) {
            (Some(service), old) => with_valid_health_check_port(service, old, |service| {
                allocation::allocate(claims, service, old)
            }),
            (None, Some(old)) => {
                allocation::release(claims, old);
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }

    fn counts_generation(&self) -> bool {
        false
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["spec.clusterIP", "spec.type"]
    }

    fn selectable_field(&self, service: &Value, field: &str) -> Option<String> {
        self.selectable_fields().contains(&field).then(|| service.text(field).to_owned())
    }
}

/// Lets `allocate` see no health check port where none belongs and none that must not change, so
/// that it claims and clears nothing; what the client said is left for validation to refuse.
fn with_valid_health_check_port<T>(
    service: &mut Value,
    old: Option<&Value>,
    allocate: impl FnOnce(&mut Value) -> T,
) -> T {
    let path = "spec.healthCheckNodePort";
    let needed = needs_health_check_port(service);
    let held = old.filter(|old| needed && needs_health_check_port(old));
    let asked = service.at(path).clone();
    match held {
        Some(old) => service.copy_from(old, path),
        None if needed => return allocate(service),
        None => {
            service.remove_at(path);
        }
    }
    let outcome = allocate(service);
    if !asked.is_null() {
        *service.slot(path) = asked;
    }
    outcome
}

pub(crate) fn kind(service: &Value) -> &str {
    service.text("spec.type")
}

/// Whether the type has an address of its own, `None` included.
fn needs_cluster_ip(service: &Value) -> bool {
    kind(service) != "ExternalName"
}

/// Whether its ports may have node ports.
fn needs_node_port(service: &Value) -> bool {
    matches!(kind(service), "NodePort" | "LoadBalancer")
}

fn needs_health_check_port(service: &Value) -> bool {
    kind(service) == "LoadBalancer" && service.text("spec.externalTrafficPolicy") == "Local"
}

/// Whether clients outside the cluster can reach it.
fn externally_accessible(service: &Value) -> bool {
    match kind(service) {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => !service.list("spec.externalIPs").is_empty(),
        _ => false,
    }
}

fn is_headless(service: &Value) -> bool {
    match service.list("spec.clusterIPs") {
        [] => service.text("spec.clusterIP") == "None",
        [only] => only == "None",
        _ => false,
    }
}

fn apply_defaults(service: &mut Value) {
    let spec = service.slot("spec");
    if !spec.is_object() {
        *spec = json!({});
    }
    spec.set_default("sessionAffinity", "None");
    match spec.text("sessionAffinity") {
        "None" => {
            spec.remove_at("sessionAffinityConfig");
        }
        "ClientIP" => spec.set_default("sessionAffinityConfig.clientIP.timeoutSeconds", 10_800),
        _ => {}
    }
    spec.set_default("type", "ClusterIP");
    for port in spec.list_mut("ports") {
        port.set_default("protocol", "TCP");
        let unset = match port.at("targetPort") {
            Value::Null => true,
            Value::String(name) => name.is_empty(),
            number => number == 0,
        };
        if unset {
            port["targetPort"] = port.int("port").unwrap_or(0).into();
        }
    }
    if externally_accessible(service) {
        service.set_default("spec.externalTrafficPolicy", "Cluster");
    }
    // An empty text is no absence where Go has a pointer.
    let routed = matches!(kind(service), "ClusterIP" | "NodePort" | "LoadBalancer");
    if routed && !service.has("spec.internalTrafficPolicy") {
        *service.slot("spec.internalTrafficPolicy") = "Cluster".into();
    }
    if kind(service) == "LoadBalancer" {
        service.set_default("spec.allocateLoadBalancerNodePorts", true);
        for ingress in service.list_mut("status.loadBalancer.ingress") {
            if !ingress.text("ip").is_empty() {
                ingress.set_default("ipMode", "VIP");
            }
        }
    }
    drop_empty(service);
}

/// Removes what Go does not write: zeros, empty texts and empty lists of fields that are no pointers.
fn drop_empty(service: &mut Value) {
    for port in service.list_mut("spec.ports") {
        for field in ["nodePort", "name"] {
            if port.int(field) == Some(0) || port.at(field).as_str() == Some("") {
                port.remove_at(field);
            }
        }
    }
    if service.int("spec.healthCheckNodePort") == Some(0) {
        service.remove_at("spec.healthCheckNodePort");
    }
    if service.fields("spec.selector").is_some_and(serde_json::Map::is_empty) {
        service.remove_at("spec.selector");
    }
    if service.flag("spec.publishNotReadyAddresses") == Some(false) {
        service.remove_at("spec.publishNotReadyAddresses");
    }
    for field in ["clusterIP", "externalTrafficPolicy", "externalName", "loadBalancerIP"] {
        let field = format!("spec.{field}");
        if service.at(&field).as_str() == Some("") {
            service.remove_at(&field);
        }
    }
    for field in ["clusterIPs", "ipFamilies", "externalIPs", "loadBalancerSourceRanges", "ports"] {
        let field = format!("spec.{field}");
        if service.at(&field).as_array().is_some_and(Vec::is_empty) {
            service.remove_at(&field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let mut service = json!({"spec": {"ports": [{"port": 80}, {"port": 81, "targetPort": "web", "protocol": "UDP"}]}});
        apply_defaults(&mut service);
        assert_eq!(
            service,
            json!({"spec": {
                "type": "ClusterIP",
                "sessionAffinity": "None",
                "internalTrafficPolicy": "Cluster",
                "ports": [
                    {"port": 80, "targetPort": 80, "protocol": "TCP"},
                    {"port": 81, "targetPort": "web", "protocol": "UDP"},
                ],
            }})
        );
        let before = service.clone();
        apply_defaults(&mut service);
        assert_eq!(service, before, "defaulting twice changes nothing");
    }

    #[test]
    fn types_have_defaults_of_their_own() {
        let with = |extra: Value| {
            let mut service = json!({"spec": extra});
            apply_defaults(&mut service);
            service["spec"].clone()
        };
        let balancer = with(json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP"}));
        assert_eq!(
            balancer,
            json!({"type": "LoadBalancer", "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
                "externalTrafficPolicy": "Cluster", "internalTrafficPolicy": "Cluster",
                "allocateLoadBalancerNodePorts": true})
        );
        assert_eq!(with(json!({"type": "NodePort"}))["externalTrafficPolicy"], "Cluster");
        assert_eq!(with(json!({"externalIPs": ["1.2.3.4"]}))["externalTrafficPolicy"], "Cluster");
        let name = with(json!({"type": "ExternalName", "externalName": "k8s.io"}));
        assert_eq!(
            name,
            json!({"type": "ExternalName", "externalName": "k8s.io", "sessionAffinity": "None"})
        );
    }
}
