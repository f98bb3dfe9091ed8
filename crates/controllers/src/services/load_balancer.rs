//! Whether a load balancer has its address, and if not, who is waited for.

use std::time::Duration;

use k8s_openapi::api::core::v1::Service;

use super::conditions::{Say, Verdict};

/// Put on by whoever makes load balancers, before they do (KEP-980).
const TAKEN_UP: &str = "service.kubernetes.io/load-balancer-cleanup";
/// After this time it is said that nobody has taken a load balancer up.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Decides by the Service alone. `waited` is for how long its address has been pending.
pub(super) fn decide(service: &Service, waited: Duration) -> Say {
    let spec = service.spec.as_ref();
    if spec.and_then(|s| s.type_.as_deref()) != Some("LoadBalancer") {
        return Say::Nothing;
    }
    let status = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    let ingress = status.and_then(|l| l.ingress.as_deref()).unwrap_or_default();
    let addresses: Vec<&str> =
        ingress.iter().filter_map(|i| i.ip.as_deref().or(i.hostname.as_deref())).collect();
    if !addresses.is_empty() {
        let message = format!("The load balancer has {}", addresses.join(", "));
        return Say::This(Verdict::yes("AddressAssigned", message));
    }
    let class = match spec.and_then(|s| s.load_balancer_class.as_deref()) {
        Some(class) => format!("load balancers of class {class}"),
        None => "load balancers without a class".to_owned(),
    };
    let taken = service.metadata.finalizers.iter().flatten().any(|f| f == TAKEN_UP);
    Say::This(if taken {
        let message = "A controller has taken the load balancer up and not given it an address yet";
        Verdict::no("Pending", message)
    } else if waited < PATIENCE {
        Verdict::no("Pending", format!("Waiting for a controller that serves {class}"))
    } else {
        let message =
            format!("No controller serves {class}: the address stays pending until one does");
        Verdict::no("NoController", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_load_balancer_says_who_is_waited_for() {
        let mut value = json!({"metadata": {}, "spec": {"type": "ClusterIP"}});
        let say = |value: &serde_json::Value, waited| {
            decide(&serde_json::from_value(value.clone()).unwrap(), waited)
        };
        let reason = |say| match say {
            Say::This(Verdict { reason, message, .. }) => (reason, message),
            other => panic!("{other:?}"),
        };
        assert_eq!(say(&value, PATIENCE), Say::Nothing);
        value["spec"] = json!({"type": "LoadBalancer", "loadBalancerClass": "example.com/x"});
        assert_eq!(reason(say(&value, Duration::ZERO)).0, "Pending");
        let (no, message) = reason(say(&value, PATIENCE));
        assert!(no == "NoController" && message.contains("example.com/x"), "{message}");
        value["metadata"]["finalizers"] = json!([TAKEN_UP]);
        assert_eq!(reason(say(&value, PATIENCE)).0, "Pending");
        value["status"] =
            json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb"}]}});
        assert_eq!(
            say(&value, PATIENCE),
            Say::This(Verdict::yes("AddressAssigned", "The load balancer has 192.0.2.1, lb"))
        );
    }
}
