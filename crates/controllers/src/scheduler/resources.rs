//! Resources: what a pod asks for, what a node has left.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Node, Pod},
    apimachinery::pkg::api::resource::Quantity,
};

use super::Place;
use crate::pod;

/// A quantity as a number of its unit; 0 if it is none.
pub(crate) fn parse(quantity: &Quantity) -> f64 {
    let text = quantity.0.as_str();
    let at = text.find(|c: char| !(c.is_ascii_digit() || "+-.".contains(c))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(at);
    let Ok(number) = number.parse::<f64>() else { return 0.0 };
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024f64.powi(2),
        "Gi" => 1024f64.powi(3),
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        exponent => match exponent.strip_prefix(['e', 'E']).and_then(|e| e.parse().ok()) {
            Some(power) => 10f64.powi(power),
            None => return 0.0,
        },
    };
    number * factor
}

type Amounts = BTreeMap<String, f64>;

fn requests(container: &Container) -> Amounts {
    let requests = container.resources.as_ref().and_then(|r| r.requests.as_ref());
    requests.into_iter().flatten().map(|(name, q)| (name.clone(), parse(q))).collect()
}

fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *to.entry(name.clone()).or_default() += amount;
    }
}

/// What a pod asks for: its containers together, or an init container with the sidecars before it if that is more.
pub(super) fn requested(of: &Pod) -> Amounts {
    let spec = pod::spec(of);
    let mut total = Amounts::new();
    for container in &spec.containers {
        add(&mut total, &requests(container));
    }
    let mut sidecars = Amounts::new();
    let mut peak = Amounts::new();
    for container in spec.init_containers.iter().flatten() {
        let mut now = requests(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut total, &now);
            add(&mut sidecars, &now);
            now = sidecars.clone();
        } else {
            add(&mut now, &sidecars);
        }
        for (name, amount) in now {
            let most = peak.entry(name).or_default();
            *most = most.max(amount);
        }
    }
    for (name, amount) in peak {
        let most = total.entry(name).or_default();
        *most = most.max(amount);
    }
    let overhead =
        spec.overhead.iter().flatten().map(|(name, q)| (name.clone(), parse(q))).collect();
    add(&mut total, &overhead);
    total
}

fn allocatable(node: &Node) -> Option<&BTreeMap<String, Quantity>> {
    node.status.as_ref()?.allocatable.as_ref()
}

/// The reasons why a pod finds too little on a node. A node that does not say what it has, has enough.
pub(super) fn lacking(of: &Pod, place: &Place) -> Vec<String> {
    let Some(has) = allocatable(&place.node) else { return Vec::new() };
    let mut reasons = Vec::new();
    if let Some(most) = has.get("pods").map(parse)
        && place.pods.len() as f64 + 1.0 > most
    {
        reasons.push("Too many pods".to_string());
    }
    let wanted = requested(of);
    if wanted.values().all(|amount| *amount == 0.0) {
        return reasons;
    }
    let mut used = Amounts::new();
    for other in &place.pods {
        add(&mut used, &requested(other));
    }
    for (name, amount) in wanted.iter().filter(|(_, amount)| **amount > 0.0) {
        let left = has.get(name).map_or(0.0, parse) - used.get(name).copied().unwrap_or(0.0);
        if *amount > left + 1e-9 {
            reasons.push(format!("Insufficient {name}"));
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities() {
        for (text, expected) in [
            ("1", 1.0),
            ("250m", 0.25),
            ("1.5", 1.5),
            ("2Ki", 2048.0),
            ("1Gi", 1_073_741_824.0),
            ("3k", 3000.0),
            ("1e3", 1000.0),
            ("x", 0.0),
        ] {
            assert!((parse(&Quantity(text.into())) - expected).abs() < 1e-6, "{text}");
        }
    }

    #[test]
    fn init_containers_count_at_their_peak() {
        let ask = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let of: Pod = serde_json::from_value(json!({"spec": {
            "initContainers": [
                {"name": "i", "resources": ask("3")},
                {"name": "s", "restartPolicy": "Always", "resources": ask("1")},
                {"name": "j", "resources": ask("4")},
            ],
            "containers": [{"name": "a", "resources": ask("1")}, {"name": "b", "resources": ask("500m")}],
        }}))
        .unwrap();
        assert!((requested(&of)["cpu"] - 5.0).abs() < 1e-9);
    }
}
