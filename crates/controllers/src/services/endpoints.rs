//! Whether a Service has ready endpoints, and if not, why.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{Pod, Service, ServicePort},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::conditions::{Say, Verdict};
use crate::{endpoints::selector_of, pod};

/// The names of the ports that have a ready endpoint.
fn served(slices: &[Arc<EndpointSlice>]) -> (BTreeSet<&str>, bool) {
    let (mut ports, mut any) = (BTreeSet::new(), false);
    for slice in slices.iter().filter(|s| s.metadata.deletion_timestamp.is_none()) {
        // Without a word, an endpoint is ready.
        let ready = |e: &k8s_openapi::api::discovery::v1::Endpoint| {
            e.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true)
        };
        if slice.endpoints.iter().flatten().any(ready) {
            any = true;
            let names = slice.ports.iter().flatten().map(|p| p.name.as_deref().unwrap_or(""));
            ports.extend(names);
        }
    }
    (ports, any)
}

/// Decides from what is published; the pods that the Service selects say why there is nothing.
pub(super) fn decide(service: &Service, pods: &[Arc<Pod>], slices: &[Arc<EndpointSlice>]) -> Say {
    let Some(spec) = service.spec.as_ref() else { return Say::Nothing };
    if spec.type_.as_deref() == Some("ExternalName") {
        return Say::Nothing;
    }
    let (served, any) = served(slices);
    let ports = spec.ports.as_deref().unwrap_or_default();
    let unserved: Vec<&ServicePort> =
        ports.iter().filter(|p| !served.contains(p.name.as_deref().unwrap_or(""))).collect();
    if any && unserved.is_empty() {
        let message = "Every port of the Service has a ready endpoint";
        return Say::This(Verdict::yes("EndpointsReady", message));
    }
    Say::This(match selector_of(service) {
        None => Verdict::no(
            "NoEndpoints",
            "The Service has no selector, and no EndpointSlice of it has a ready endpoint for every port",
        ),
        Some(selector) => {
            let words: Vec<_> = selector.iter().map(|(k, v)| format!("{k}={v}")).collect();
            why(&words.join(","), pods, &unserved)
        }
    })
}

fn why(selector: &str, pods: &[Arc<Pod>], unserved: &[&ServicePort]) -> Verdict {
    let ended = pods.iter().filter(|p| pod::is_terminal(p)).count();
    let living = pods.len() - ended;
    if living == 0 {
        let but = if ended > 0 { format!(" but {ended} that ended") } else { String::new() };
        let message = format!("The selector {selector} matches no pod{but}");
        return Verdict::no("NoPodsSelected", message);
    }
    let ready = pods.iter().filter(|p| pod::is_active(p) && pod::is_ready(p)).count();
    if ready == 0 {
        return Verdict::no("PodsNotReady", not_ready(selector, living, pods));
    }
    let named = |p: &&&ServicePort| matches!(&p.target_port, Some(IntOrString::String(_)));
    if let Some(port) = unserved.iter().find(named)
        && let Some(IntOrString::String(target)) = &port.target_port
    {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let has = |p: &&Arc<Pod>| {
            let spec = pod::spec(p);
            let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
            containers.flat_map(|c| c.ports.iter().flatten()).any(|p| {
                p.name.as_ref() == Some(target)
                    && p.protocol.as_deref().unwrap_or("TCP") == protocol
            })
        };
        if !pods.iter().filter(|p| pod::is_active(p) && pod::is_ready(p)).any(|p| has(&p)) {
            let message = format!(
                "None of the {ready} ready pods has a {protocol} port named {target}, which port {} of the Service leads to",
                port.port
            );
            return Verdict::no("PortNotFound", message);
        }
    }
    let message = format!(
        "{ready} of the {living} pods that the selector {selector} matches are ready and not yet published, or have no address of the Service's family"
    );
    Verdict::no("NotPublished", message)
}

/// Names how many pods wait for what.
fn not_ready(selector: &str, living: usize, pods: &[Arc<Pod>]) -> String {
    let mut counts = [0; 4];
    for pod in pods.iter().filter(|p| !pod::is_terminal(p)) {
        let why = if pod::is_terminating(pod) {
            3
        } else if pod::node_name(pod).is_none() {
            0
        } else if pod::status(pod).pod_ip.is_none() {
            1
        } else {
            2
        };
        counts[why] += 1;
    }
    let words = ["not scheduled", "without an address", "running and not ready", "being deleted"];
    let parts: Vec<_> = counts
        .iter()
        .zip(words)
        .filter(|(count, _)| **count > 0)
        .map(|(count, words)| format!("{count} {words}"))
        .collect();
    let parts = parts.join(", ");
    format!("None of the {living} pods that the selector {selector} matches is ready: {parts}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn service(spec: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "blue"}, "spec": spec})).unwrap()
    }

    fn pod(patch: Value) -> Arc<Pod> {
        let mut pod = json!({
            "metadata": {"name": "p"},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": [{"name": "web", "containerPort": 80}]}]},
            "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
        });
        for (part, fields) in patch.as_object().unwrap() {
            pod[part].as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        }
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn slice(ports: Value, ready: Value) -> Arc<EndpointSlice> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {}, "addressType": "IPv4", "ports": ports,
                "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}],
            }))
            .unwrap(),
        )
    }

    fn said(say: Say) -> (&'static str, &'static str, String) {
        match say {
            Say::This(v) => (v.status, v.reason, v.message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_published_decides() {
        let web = service(json!({"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}));
        let both = json!([{"name": "a", "port": 1}, {"name": "b", "port": 2}]);
        let yes = slice(both.clone(), json!(true));
        assert_eq!(said(decide(&web, &[], &[yes])).0, "True");
        let halves = [
            slice(json!([{"name": "a", "port": 1}]), Value::Null),
            slice(json!([{"name": "b", "port": 1}]), json!(true)),
        ];
        assert_eq!(said(decide(&web, &[], &halves)).0, "True");
        assert_eq!(said(decide(&web, &[], &halves[..1])).1, "NoEndpoints");
        assert_eq!(said(decide(&web, &[], &[slice(both, json!(false))])).1, "NoEndpoints");
        let portless = service(json!({"clusterIP": "None"}));
        assert_eq!(said(decide(&portless, &[], &[slice(json!([]), json!(true))])).0, "True");
        let name = service(json!({"type": "ExternalName"}));
        assert_eq!(decide(&name, &[], &[]), Say::Nothing);
    }

    #[test]
    fn pods_say_why_there_is_nothing() {
        let blue = service(
            json!({"selector": {"app": "blue", "b": "c"}, "ports": [{"port": 80, "targetPort": "http"}]}),
        );
        let sick = json!({"status": {"conditions": []}});
        let cases = [
            (vec![], "NoPodsSelected", "The selector app=blue,b=c matches no pod"),
            (
                vec![pod(json!({"status": {"phase": "Failed"}}))],
                "NoPodsSelected",
                "The selector app=blue,b=c matches no pod but 1 that ended",
            ),
            (
                vec![
                    pod(sick.clone()),
                    pod(sick.clone()),
                    pod(
                        json!({"spec": {"nodeName": null}, "status": {"podIP": null, "conditions": []}}),
                    ),
                    pod(json!({"status": {"podIP": null, "conditions": []}})),
                    pod(json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
                    pod(json!({"status": {"phase": "Succeeded"}})),
                ],
                "PodsNotReady",
                "None of the 5 pods that the selector app=blue,b=c matches is ready: 1 not scheduled, 1 without an address, 2 running and not ready, 1 being deleted",
            ),
            (
                vec![pod(json!({})), pod(sick)],
                "PortNotFound",
                "None of the 1 ready pods has a TCP port named http, which port 80 of the Service leads to",
            ),
        ];
        for (pods, reason, message) in cases {
            assert_eq!(said(decide(&blue, &pods, &[])), ("False", reason, message.to_owned()));
        }
    }
}
