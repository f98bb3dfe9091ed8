//! Which port of a pod a Service's port means.

use k8s_openapi::{
    api::core::v1::{Container, Pod, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::pod;

/// Containers whose ports a name may mean: the ordinary ones, then init containers that keep running.
fn containers(of: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod::spec(of);
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|c| c.restart_policy.as_deref() == Some("Always"));
    spec.containers.iter().chain(sidecars)
}

/// The number of the pod's port that `port` leads to; `None` if the pod has no port of that name and protocol.
pub(super) fn target(of: &Pod, port: &ServicePort) -> Option<i32> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) if name.is_empty() => Some(port.port),
        Some(IntOrString::String(name)) => containers(of)
            .flat_map(|c| c.ports.iter().flatten())
            .find(|p| {
                p.name.as_ref() == Some(name) && p.protocol.as_deref().unwrap_or("TCP") == protocol
            })
            .map(|p| p.container_port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_looked_up_in_the_pod() {
        let of: Pod = serde_json::from_value(json!({"spec": {
            "initContainers": [
                {"name": "init", "ports": [{"name": "web", "containerPort": 1}]},
                {"name": "side", "restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 2}]},
            ],
            "containers": [{"name": "a", "ports": [
                {"name": "web", "containerPort": 53, "protocol": "UDP"}, {"name": "web", "containerPort": 80},
            ]}],
        }}))
        .unwrap();
        for (expected, port) in [
            (Some(9), json!({"port": 9})),
            (Some(9), json!({"port": 9, "targetPort": 0})),
            (Some(7), json!({"port": 9, "targetPort": 7})),
            (Some(80), json!({"port": 9, "targetPort": "web"})),
            (Some(53), json!({"port": 9, "targetPort": "web", "protocol": "UDP"})),
            (None, json!({"port": 9, "targetPort": "web", "protocol": "SCTP"})),
            (Some(2), json!({"port": 9, "targetPort": "side"})),
            (None, json!({"port": 9, "targetPort": "none"})),
        ] {
            let parsed: ServicePort = serde_json::from_value(port.clone()).unwrap();
            assert_eq!(target(&of, &parsed), expected, "{port}");
        }
    }
}
