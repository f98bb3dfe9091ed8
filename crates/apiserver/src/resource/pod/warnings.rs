//! What kubectl prints in yellow about pods and pod templates (`pkg/api/pod/warnings.go`).

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::resource::ip;
use crate::resource::value::ValueExt;

/// Labels of nodes that nobody should select by any more, and why.
const OLD_LABELS: [(&str, &str); 8] = [
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
];

/// About a pod spec at `path`.
pub(crate) fn pod_spec(spec: &Value, path: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    for label in spec.fields("nodeSelector").into_iter().flat_map(serde_json::Map::keys) {
        if let Some((_, why)) = OLD_LABELS.iter().find(|(old, _)| old == label) {
            warnings.push(format!("{path}.nodeSelector[{label}]: {why}"));
        }
    }
    for (i, constraint) in spec.list("topologySpreadConstraints").iter().enumerate() {
        let path = format!("{path}.topologySpreadConstraints[{i}]");
        let key = constraint.text("topologyKey");
        if let Some((_, why)) = OLD_LABELS.iter().find(|(old, _)| *old == key) {
            warnings.push(format!("{path}.topologyKey: {key} is {why}"));
        }
        warnings.extend(no_selector(constraint, &path));
    }
    warnings.extend(repeated(spec.list("hostAliases"), "ip", &format!("{path}.hostAliases")));
    let secrets = format!("{path}.imagePullSecrets");
    warnings.extend(repeated(spec.list("imagePullSecrets"), "name", &secrets));
    for (i, secret) in spec.list("imagePullSecrets").iter().enumerate() {
        if secret.text("name").is_empty() {
            warnings.push(format!("{secrets}[{i}].name: invalid empty name \"\""));
        }
    }
    let containers = containers(spec, path);
    for (container, path) in &containers {
        warnings.extend(environment(container.list("env"), path));
    }
    warnings.extend(ports(&containers));
    warnings.extend(port_names(&containers));
    if spec.int("terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0) {
        warnings.push(format!(
            "{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    warnings.extend(affinity(spec, path));
    for (i, server) in spec.texts("dnsConfig.nameservers").into_iter().enumerate() {
        warnings.extend(ip::warnings(&format!("{path}.dnsConfig.nameservers[{i}]"), server));
    }
    for (i, alias) in spec.list("hostAliases").iter().enumerate() {
        warnings.extend(ip::warnings(&format!("{path}.hostAliases[{i}].ip"), alias.text("ip")));
    }
    warnings
}

/// All containers with their paths, in the order in which Kubernetes visits them.
fn containers<'a>(spec: &'a Value, path: &str) -> Vec<(&'a Value, String)> {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    let all = lists.iter().flat_map(|list| {
        let numbered = spec.list(list).iter().enumerate();
        numbered.map(move |(i, container)| (container, format!("{path}.{list}[{i}]")))
    });
    all.collect()
}

/// Items of a list that have a field in common with an earlier one.
fn repeated(items: &[Value], field: &str, path: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    let again = items.iter().enumerate().filter(|(_, item)| !seen.insert(item.text(field)));
    again
        .map(|(i, item)| format!("{path}[{i}].{field}: duplicate {field} {:?}", item.text(field)))
        .collect()
}

/// Variables that hide an earlier one of their name without making use of it.
fn environment(env: &[Value], path: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut warnings = Vec::new();
    for (i, item) in env.iter().enumerate() {
        let (name, value) = (item.text("name"), item.text("value"));
        let reference = format!("$({name})");
        let uses = value != reference && value.contains(&reference) && !item.has("valueFrom");
        if !seen.insert(name) && !uses {
            warnings.push(format!(
                "{path}.env[{i}]: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
    warnings
}

/// Ports of one number and protocol.
fn ports(containers: &[(&Value, String)]) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut seen: HashMap<(i64, &str), Vec<(&Value, String)>> = HashMap::new();
    for (container, path) in containers {
        for (i, port) in container.list("ports").iter().enumerate() {
            let at = format!("{path}.ports[{i}]");
            let key = (port.int("containerPort").unwrap_or(0), port.text("protocol"));
            let others = seen.entry(key).or_default();
            for (other, first) in &*others {
                let (a, b) = (host_port(port), host_port(other));
                let (x, y) = (port.text("hostIP"), other.text("hostIP"));
                let what = if x == y && a == b {
                    "duplicate"
                } else if a == 0 || b == 0 {
                    "overlapping"
                } else if a == b && x.is_empty() != y.is_empty() {
                    "dangerously ambiguous"
                } else {
                    continue;
                };
                warnings.push(format!("{at}: {what} port definition with {first}"));
            }
            others.push((port, at));
        }
    }
    warnings
}

fn host_port(port: &Value) -> i64 {
    port.int("hostPort").unwrap_or(0)
}

/// Names that several ports have: only the first is found by them.
fn port_names(containers: &[(&Value, String)]) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut seen: HashMap<&str, String> = HashMap::new();
    for (container, path) in containers {
        for (i, port) in container.list("ports").iter().enumerate() {
            let (name, at) = (port.text("name"), format!("{path}.ports[{i}]"));
            if name.is_empty() {
                continue;
            }
            match seen.get(name) {
                Some(first) => warnings.push(format!(
                    "{at}: duplicate port name {name:?} with {first}, services and probes that select ports by name will use {first}"
                )),
                None => {
                    seen.insert(name, at);
                }
            }
        }
    }
    warnings
}

/// Terms without a selector, which match nothing.
fn affinity(spec: &Value, path: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    for kind in ["podAffinity", "podAntiAffinity"] {
        let path = format!("{path}.affinity.{kind}");
        let terms = spec.at("affinity").at(kind);
        let list = "requiredDuringSchedulingIgnoredDuringExecution";
        for (i, term) in terms.list(list).iter().enumerate() {
            warnings.extend(no_selector(term, &format!("{path}.{list}[{i}]")));
        }
        let list = "preferredDuringSchedulingIgnoredDuringExecution";
        for (i, weighted) in terms.list(list).iter().enumerate() {
            let path = format!("{path}.{list}[{i}].podAffinityTerm");
            warnings.extend(no_selector(weighted.at("podAffinityTerm"), &path));
        }
    }
    warnings
}

fn no_selector(term: &Value, path: &str) -> Option<String> {
    (!term.has("labelSelector"))
        .then(|| format!("{path}.labelSelector: a null labelSelector results in matching no pod"))
}
