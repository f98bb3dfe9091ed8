//! core/v1 Pod, and the pod templates of workloads.

mod containers;
mod defaults;
mod quantity;
mod spec;
mod volumes;
mod warnings;

use serde_json::{Value, json};

use super::meta::{self, NameRule};
use super::value::ValueExt;
use super::{FieldError, Strategy, ip};

pub(crate) use defaults::template as template_defaults;
pub(crate) use spec::template as validate_template;
pub(crate) use warnings::pod_spec as spec_warnings;

#[derive(Debug)]
pub(crate) struct Pod;

impl Strategy for Pod {
    fn apply_defaults(&self, pod: &mut Value) {
        defaults::pod(pod);
        // The single address and the list say the same; where they do not, the single one counts.
        let single = pod.text("status.podIP").to_owned();
        let first = pod.list("status.podIPs").first().map(|entry| entry.text("ip").to_owned());
        match first {
            Some(first) if first == single => {}
            Some(first) if single.is_empty() => *pod.slot("status.podIP") = first.into(),
            _ if !single.is_empty() => *pod.slot("status.podIPs") = json!([{"ip": single}]),
            _ => {}
        }
    }

    fn prepare_for_create(&self, pod: &mut Value) {
        pod["status"] = json!({"phase": "Pending", "qosClass": quantity::qos_class(pod)});
        defaults::admit(pod);
    }

    fn prepare_for_update(&self, pod: &mut Value, old: &Value) {
        meta::keep_status(pod, old);
        // What an earlier create filled in stays when a client sends the object without it.
        for field in ["spec.tolerations", "spec.priority", "spec.preemptionPolicy", "spec.nodeName"]
        {
            if !pod.has(field) && old.has(field) {
                pod.copy_from(old, field);
            }
        }
    }

    fn prepare_for_status_update(&self, pod: &mut Value, old: &Value) {
        meta::keep_all_but_status(pod, old);
        if !pod.has("status.qosClass") && old.has("status.qosClass") {
            pod.copy_from(old, "status.qosClass");
        }
    }

    fn validate_create(&self, pod: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(pod, true, NameRule::Subdomain);
        errors.extend(spec::pod_spec(pod.at("spec"), "spec"));
        errors
    }

    fn validate_update(&self, pod: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(pod, old);
        errors.extend(spec::pod_spec(pod.at("spec"), "spec"));
        errors.extend(spec::changes(pod, old));
        errors
    }

    fn validate_status_update(&self, pod: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(pod, old);
        errors.extend(addresses(pod, old, "status.podIPs"));
        let hosts = pod.list("status.hostIPs");
        if let Some(first) = hosts.first().map(|entry| entry.text("ip"))
            && first != pod.text("status.hostIP")
        {
            let text = "must be equal to `hostIP`";
            errors.push(FieldError::invalid_text("status.hostIPs[0].ip", first, text));
        }
        errors.extend(addresses(pod, old, "status.hostIPs"));
        errors
    }

    fn warnings(&self, pod: &Value, _old: Option<&Value>) -> Vec<String> {
        warnings::pod_spec(pod.at("spec"), "spec")
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ]
    }

    fn selectable_field(&self, pod: &Value, field: &str) -> Option<String> {
        match field {
            "spec.hostNetwork" => Some(pod.flag(field).unwrap_or(false).to_string()),
            "status.podIPs" => {
                Some(pod.list(field).first().map_or("", |ip| ip.text("ip")).to_owned())
            }
            _ => self.selectable_fields().contains(&field).then(|| pod.text(field).to_owned()),
        }
    }

    fn grace_period_seconds(&self, pod: &Value, requested: Option<i64>) -> i64 {
        // Nothing runs yet, or nothing runs any more: there is nobody to wait for.
        let finished = matches!(pod.text("status.phase"), "Succeeded" | "Failed");
        if finished || pod.text("spec.nodeName").is_empty() {
            return 0;
        }
        let period = requested.or_else(|| pod.int("spec.terminationGracePeriodSeconds"));
        match period.unwrap_or(30) {
            negative if negative < 0 => 1,
            seconds => seconds,
        }
    }
}

/// A list of addresses in the status: one, or one of each family.
fn addresses(pod: &Value, old: &Value, path: &str) -> Vec<FieldError> {
    let texts = |pod: &Value| -> Vec<String> {
        pod.list(path).iter().map(|entry| entry.text("ip").to_owned()).collect()
    };
    let (addresses, known) = (texts(pod), texts(old));
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let mut errors = Vec::new();
    for (i, address) in addresses.iter().enumerate() {
        errors.extend(ip::legacy(&format!("{path}[{i}]"), address, &known));
    }
    let v4 = addresses.iter().filter(|address| ip::is_family(address, "IPv4")).count();
    if addresses.len() > 2 || addresses.len() == 2 && v4 != 1 {
        let text = "may specify no more than one IP for each IP family";
        let mut error = FieldError::invalid(path, &Value::Null, text);
        let list: Vec<String> = addresses.iter().map(|ip| format!("{{\"IP\":{ip:?}}}")).collect();
        error.value = format!("[{}]", list.join(","));
        errors.push(error);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_pod_is_defaulted_and_valid() {
        let mut pod = json!({
            "metadata": {"name": "a", "namespace": "default"},
            "spec": {"containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}],
                "livenessProbe": {"httpGet": {"port": 80}}}]},
        });
        Pod.apply_defaults(&mut pod);
        Pod.prepare_for_create(&mut pod);
        assert_eq!(Pod.validate_create(&pod), []);
        insta::assert_json_snapshot!(pod, @r#"
        {
          "metadata": {
            "name": "a",
            "namespace": "default"
          },
          "spec": {
            "containers": [
              {
                "image": "nginx",
                "imagePullPolicy": "Always",
                "livenessProbe": {
                  "failureThreshold": 3,
                  "httpGet": {
                    "path": "/",
                    "port": 80,
                    "scheme": "HTTP"
                  },
                  "periodSeconds": 10,
                  "successThreshold": 1,
                  "timeoutSeconds": 1
                },
                "name": "c",
                "ports": [
                  {
                    "containerPort": 80,
                    "protocol": "TCP"
                  }
                ],
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File"
              }
            ],
            "dnsPolicy": "ClusterFirst",
            "enableServiceLinks": true,
            "preemptionPolicy": "PreemptLowerPriority",
            "priority": 0,
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "securityContext": {},
            "terminationGracePeriodSeconds": 30,
            "tolerations": [
              {
                "effect": "NoExecute",
                "key": "node.kubernetes.io/not-ready",
                "operator": "Exists",
                "tolerationSeconds": 300
              },
              {
                "effect": "NoExecute",
                "key": "node.kubernetes.io/unreachable",
                "operator": "Exists",
                "tolerationSeconds": 300
              }
            ]
          },
          "status": {
            "phase": "Pending",
            "qosClass": "BestEffort"
          }
        }
        "#);
        let before = pod.clone();
        Pod.apply_defaults(&mut pod);
        assert_eq!(pod, before, "defaulting twice changes nothing");
    }

    #[test]
    fn grace_periods() {
        let pod = |node: &str, phase: &str| json!({"spec": {"nodeName": node, "terminationGracePeriodSeconds": 20}, "status": {"phase": phase}});
        assert_eq!(Pod.grace_period_seconds(&pod("n", "Running"), None), 20);
        assert_eq!(Pod.grace_period_seconds(&pod("n", "Running"), Some(3)), 3);
        assert_eq!(Pod.grace_period_seconds(&pod("n", "Running"), Some(-1)), 1);
        assert_eq!(Pod.grace_period_seconds(&pod("", "Pending"), Some(3)), 0);
        assert_eq!(Pod.grace_period_seconds(&pod("n", "Failed"), None), 0);
    }

    #[test]
    fn fields_can_be_selected() {
        let pod = json!({"spec": {"nodeName": "n"}, "status": {"podIPs": [{"ip": "1.1.1.1"}]}});
        assert_eq!(Pod.selectable_field(&pod, "spec.nodeName").as_deref(), Some("n"));
        assert_eq!(Pod.selectable_field(&pod, "spec.hostNetwork").as_deref(), Some("false"));
        assert_eq!(Pod.selectable_field(&pod, "status.podIPs").as_deref(), Some("1.1.1.1"));
        assert_eq!(Pod.selectable_field(&pod, "spec.volumes"), None);
    }
}
