//! What a pod has when nobody says otherwise (`pkg/apis/core/v1/defaults.go`), and what admission
//! adds to every new pod.

use serde_json::{Value, json};

use crate::resource::value::ValueExt;

/// Read for all, written by the owner: the mode of files in volumes.
const FILE_MODE: i64 = 0o644;

/// A Pod's own defaults, on top of those of every template.
pub(super) fn pod(pod: &mut Value) {
    let spec = pod.slot("spec");
    if !spec.is_object() {
        *spec = json!({});
    }
    pod_spec(spec);
    spec.set_default("enableServiceLinks", true);
    // Who limits a resource and requests nothing requests the limit.
    for list in ["initContainers", "containers"] {
        for container in spec.list_mut(list) {
            let Some(limits) = container.fields("resources.limits").cloned() else { continue };
            for (name, amount) in limits {
                let requests = container.slot("resources").slot("requests");
                if !requests.is_object() {
                    *requests = json!({});
                }
                if requests.get(&name).is_none() {
                    requests[&name] = amount;
                }
            }
        }
    }
}

/// The defaults of a workload's `spec.template`.
pub(crate) fn template(template: &mut Value) {
    let spec = template.slot("spec");
    if !spec.is_object() {
        *spec = json!({});
    }
    pod_spec(spec);
}

fn pod_spec(spec: &mut Value) {
    spec.set_default("restartPolicy", "Always");
    spec.set_default("dnsPolicy", "ClusterFirst");
    spec.set_default("terminationGracePeriodSeconds", 30);
    spec.set_default("schedulerName", "default-scheduler");
    spec.set_default("securityContext", json!({}));
    // The old name of the field says the same as the new one.
    let account = match (spec.text("serviceAccountName"), spec.text("serviceAccount")) {
        ("", old) => old.to_owned(),
        (new, _) => new.to_owned(),
    };
    if !account.is_empty() {
        spec["serviceAccountName"] = account.as_str().into();
        spec["serviceAccount"] = account.into();
    }
    let host_network = spec.flag("hostNetwork") == Some(true);
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in spec.list_mut(list) {
            self::container(container, host_network);
        }
    }
    for volume in spec.list_mut("volumes") {
        self::volume(volume);
    }
}

fn container(container: &mut Value, host_network: bool) {
    let policy = pull_policy(container.text("image"));
    container.set_default("imagePullPolicy", policy);
    container.set_default("terminationMessagePath", "/dev/termination-log");
    container.set_default("terminationMessagePolicy", "File");
    container.set_default("resources", json!({}));
    for port in container.list_mut("ports") {
        port.set_default("protocol", "TCP");
        if host_network && port.int("hostPort").unwrap_or(0) == 0 {
            port.copy_from_own("containerPort", "hostPort");
        }
    }
    for variable in container.list_mut("env") {
        if variable.has("valueFrom.fieldRef") {
            variable.set_default("valueFrom.fieldRef.apiVersion", "v1");
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.at_mut(name).filter(|p| p.is_object()) {
            self::probe(probe);
        }
    }
    for name in ["lifecycle.postStart", "lifecycle.preStop"] {
        if let Some(handler) = container.at_mut(name) {
            self::handler(handler);
        }
    }
}

/// `Always` for what may change under its name: no tag, or the tag `latest`.
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = match image.split_once('@') {
        Some((name, _)) => (name, true),
        None => (image, false),
    };
    let tag = name.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/'));
    match tag {
        Some("latest") => "Always",
        None if !digest => "Always",
        _ => "IfNotPresent",
    }
}

fn probe(probe: &mut Value) {
    for (field, number) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        if probe.int(field).unwrap_or(0) == 0 {
            probe[field] = number.into();
        }
    }
    handler(probe);
    if probe.at("grpc").is_object() {
        let slot = probe.slot("grpc.service");
        if slot.is_null() {
            *slot = "".into();
        }
    }
}

fn handler(handler: &mut Value) {
    if handler.at("httpGet").is_object() {
        handler.set_default("httpGet.path", "/");
        handler.set_default("httpGet.scheme", "HTTP");
    }
}

fn volume(volume: &mut Value) {
    let sourceless = volume.as_object().is_some_and(|map| map.keys().all(|key| key == "name"));
    if sourceless {
        volume["emptyDir"] = json!({});
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if volume.at(source).is_object() {
            volume.set_default(&format!("{source}.defaultMode"), FILE_MODE);
        }
    }
    if volume.at("hostPath").is_object() {
        let slot = volume.slot("hostPath.type");
        if slot.is_null() {
            *slot = "".into();
        }
    }
    let field_references = |items: &mut [Value]| {
        for item in items {
            if item.has("fieldRef") {
                item.set_default("fieldRef.apiVersion", "v1");
            }
        }
    };
    field_references(volume.list_mut("downwardAPI.items"));
    for source in volume.list_mut("projected.sources") {
        if source.at("serviceAccountToken").is_object() {
            source.set_default("serviceAccountToken.expirationSeconds", 3600);
        }
        field_references(source.list_mut("downwardAPI.items"));
    }
}

/// What admission adds: tolerations of a node's short absence, and a priority.
pub(super) fn admit(pod: &mut Value) {
    let tolerates = |pod: &Value, key: &str| {
        pod.list("spec.tolerations").iter().any(|t| {
            let keys = t.text("key") == key || t.text("key").is_empty();
            let effects = matches!(t.text("effect"), "NoExecute" | "");
            keys && effects
        })
    };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        if !tolerates(pod, key) {
            let toleration = json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300,
            });
            match pod.slot("spec.tolerations") {
                Value::Array(list) => list.push(toleration),
                other => *other = json!([toleration]),
            }
        }
    }
    let priority = match pod.text("spec.priorityClassName") {
        "system-node-critical" => 2_000_001_000_i64,
        "system-cluster-critical" => 2_000_000_000,
        _ => 0,
    };
    pod.set_default("spec.priority", priority);
    pod.set_default("spec.preemptionPolicy", "PreemptLowerPriority");
}

/// Copies one field of a value to another.
trait CopyWithin {
    fn copy_from_own(&mut self, from: &str, to: &str);
}

impl CopyWithin for Value {
    fn copy_from_own(&mut self, from: &str, to: &str) {
        let value = self.at(from).clone();
        *self.slot(to) = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_policies_follow_the_tag() {
        for (image, expected) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.2", "IfNotPresent"),
            ("registry:5000/nginx", "Always"),
            ("registry:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:0000", "IfNotPresent"),
            ("portolan/echo", "Always"),
        ] {
            assert_eq!(pull_policy(image), expected, "{image}");
        }
    }

    #[test]
    fn volumes_probes_and_host_ports() {
        let mut object = json!({"spec": {
            "hostNetwork": true,
            "serviceAccount": "sa",
            "containers": [{"image": "a:1", "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "1"}},
                "env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "readinessProbe": {"grpc": {"port": 1}, "periodSeconds": 5}}],
            "volumes": [{"name": "e"}, {"name": "c", "configMap": {"name": "x"}},
                {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
                {"name": "h", "hostPath": {"path": "/x"}}],
        }});
        pod(&mut object);
        let container = &object["spec"]["containers"][0];
        assert_eq!(
            container["ports"][0],
            json!({"containerPort": 80, "hostPort": 80, "protocol": "TCP"})
        );
        assert_eq!(container["resources"]["requests"], json!({"cpu": "1"}));
        assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
        assert_eq!(
            container["readinessProbe"],
            json!({"grpc": {"port": 1, "service": ""}, "periodSeconds": 5, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3})
        );
        assert_eq!(object["spec"]["serviceAccountName"], "sa");
        assert_eq!(
            object["spec"]["volumes"],
            json!([{"name": "e", "emptyDir": {}}, {"name": "c", "configMap": {"name": "x", "defaultMode": 420}},
                {"name": "p", "projected": {"defaultMode": 420, "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}]}},
                {"name": "h", "hostPath": {"path": "/x", "type": ""}}])
        );
    }

    #[test]
    fn tolerations_of_ones_own_are_respected() {
        let mut object = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
        admit(&mut object);
        assert_eq!(object["spec"]["tolerations"].as_array().unwrap().len(), 1);
        let mut object = json!({"spec": {"tolerations": [
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}]}});
        admit(&mut object);
        assert_eq!(object["spec"]["tolerations"].as_array().unwrap().len(), 2);
    }
}
