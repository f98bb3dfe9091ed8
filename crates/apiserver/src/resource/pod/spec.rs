//! Complaints about pods and pod templates (`pkg/apis/core/validation`).

use serde_json::Value;

use super::{containers, volumes};
use crate::resource::meta::{self, invalid_all, non_negative};
use crate::resource::value::ValueExt;
use crate::resource::{FieldError, ip, names};

const DNS_POLICIES: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];

/// A workload's `spec.template`.
pub(crate) fn template(template: &Value, path: &str) -> Vec<FieldError> {
    let meta = template.at("metadata");
    let mut errors = meta::labels(meta.fields("labels"), &format!("{path}.labels"));
    errors.extend(meta::annotations(meta.fields("annotations"), &format!("{path}.annotations")));
    errors.extend(pod_spec(template.at("spec"), &format!("{path}.spec")));
    errors
}

pub(super) fn pod_spec(spec: &Value, path: &str) -> Vec<FieldError> {
    let at = |field: &str| format!("{path}.{field}");
    let (mut errors, mountable) = volumes::volumes(spec, path);
    errors.extend(containers::containers(spec, path, &mountable));
    let policies = ["Always", "Never", "OnFailure"];
    match spec.text("restartPolicy") {
        "" => errors.push(FieldError::required(at("restartPolicy"), "")),
        policy if policies.contains(&policy) => {}
        _ => errors.push(FieldError::not_supported(
            at("restartPolicy"),
            spec.at("restartPolicy"),
            &policies,
        )),
    }
    errors.extend(dns(spec, path));
    errors.extend(meta::labels(spec.fields("nodeSelector"), &at("nodeSelector")));
    for (field, rule) in [
        ("nodeName", names::dns1123_subdomain as fn(&str) -> Vec<String>),
        ("serviceAccountName", names::dns1123_subdomain),
        ("hostname", names::dns1123_label),
        ("subdomain", names::dns1123_label),
    ] {
        let value = spec.text(field);
        if !value.is_empty() {
            errors.extend(invalid_all(&at(field), value, rule(value)));
        }
    }
    errors.extend(non_negative(
        spec,
        "terminationGracePeriodSeconds",
        &at("terminationGracePeriodSeconds"),
    ));
    if let Some(seconds) = spec.int("activeDeadlineSeconds")
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        errors.push(FieldError::invalid_number(
            at("activeDeadlineSeconds"),
            seconds,
            "must be between 1 and 2147483647, inclusive",
        ));
    }
    for (i, alias) in spec.list("hostAliases").iter().enumerate() {
        errors.extend(ip::legacy(&at(&format!("hostAliases[{i}].ip")), alias.text("ip"), &[]));
        for (j, name) in alias.texts("hostnames").iter().enumerate() {
            let path = at(&format!("hostAliases[{i}].hostnames[{j}]"));
            errors.extend(invalid_all(&path, name, names::dns1123_subdomain(name)));
        }
    }
    for (i, toleration) in spec.list("tolerations").iter().enumerate() {
        errors.extend(self::toleration(toleration, &at(&format!("tolerations[{i}]"))));
    }
    for (i, gate) in spec.list("readinessGates").iter().enumerate() {
        let kind = gate.text("conditionType");
        let path = at(&format!("readinessGates[{i}].conditionType"));
        errors.extend(invalid_all(&path, kind, names::qualified_name(kind)));
    }
    errors
}

fn dns(spec: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let policy = spec.text("dnsPolicy");
    let policy_path = format!("{path}.dnsPolicy");
    if policy.is_empty() {
        errors.push(FieldError::required(policy_path, ""));
    } else if !DNS_POLICIES.contains(&policy) {
        errors.push(FieldError::not_supported_in_order(
            policy_path,
            spec.at("dnsPolicy"),
            &DNS_POLICIES,
        ));
    }
    let config = format!("{path}.dnsConfig");
    let servers = spec.texts("dnsConfig.nameservers");
    if policy == "None" && servers.is_empty() {
        if spec.has("dnsConfig") {
            errors.push(FieldError::required(
                format!("{config}.nameservers"),
                "must provide at least one DNS nameserver when `dnsPolicy` is None",
            ));
        } else {
            errors.push(FieldError::required(
                config.as_str(),
                "must provide `dnsConfig` when `dnsPolicy` is None",
            ));
        }
    }
    if servers.len() > 3 {
        errors.push(FieldError::invalid(
            format!("{config}.nameservers"),
            spec.at("dnsConfig.nameservers"),
            "must not have more than 3 nameservers",
        ));
    }
    for (i, server) in servers.iter().enumerate() {
        errors.extend(ip::legacy(&format!("{config}.nameservers[{i}]"), server, &[]));
    }
    let searches = spec.texts("dnsConfig.searches");
    if searches.len() > 32 {
        errors.push(FieldError::invalid(
            format!("{config}.searches"),
            spec.at("dnsConfig.searches"),
            "must not have more than 32 search paths",
        ));
    }
    for (i, search) in searches.iter().enumerate() {
        let name = search.strip_suffix('.').unwrap_or(search);
        if *search != "." {
            errors.extend(invalid_all(
                &format!("{config}.searches[{i}]"),
                search,
                names::dns1123_subdomain(name),
            ));
        }
    }
    for (i, option) in spec.list("dnsConfig.options").iter().enumerate() {
        if option.text("name").is_empty() {
            errors
                .push(FieldError::required(format!("{config}.options[{i}]"), "must not be empty"));
        }
    }
    errors
}

fn toleration(toleration: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let key = toleration.text("key");
    let operator = toleration.text("operator");
    if !key.is_empty() {
        errors.extend(meta::label_key(key, &format!("{path}.key")));
    } else if operator != "Exists" {
        errors.push(FieldError::invalid_text(
            format!("{path}.operator"),
            operator,
            "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
        ));
    }
    let effect = toleration.text("effect");
    if toleration.has("tolerationSeconds") && effect != "NoExecute" {
        errors.push(FieldError::invalid_text(
            format!("{path}.effect"),
            effect,
            "effect must be 'NoExecute' when `tolerationSeconds` is set",
        ));
    }
    match operator {
        "" | "Equal" => {
            let value = toleration.text("value");
            errors.extend(invalid_all(
                &format!("{path}.operator"),
                value,
                names::label_value(value),
            ));
        }
        "Exists" if !toleration.text("value").is_empty() => {
            errors.push(FieldError::invalid(
                format!("{path}.operator"),
                toleration,
                "value must be empty when `operator` is 'Exists'",
            ));
        }
        "Exists" => {}
        _ => errors.push(FieldError::not_supported(
            format!("{path}.operator"),
            toleration.at("operator"),
            &["Equal", "Exists"],
        )),
    }
    let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    if !effect.is_empty() && !effects.contains(&effect) {
        errors.push(FieldError::not_supported(
            format!("{path}.effect"),
            toleration.at("effect"),
            &effects,
        ));
    }
    errors
}

/// What may change in a pod that exists.
pub(super) fn changes(pod: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for list in ["containers", "initContainers"] {
        let (new, was) = (pod.at("spec").list(list), old.at("spec").list(list));
        if new.len() != was.len() {
            errors.push(FieldError::forbidden(
                format!("spec.{list}"),
                "pod updates may not add or remove containers",
            ));
            return errors;
        }
    }
    for toleration in old.list("spec.tolerations") {
        if !pod.list("spec.tolerations").contains(toleration) {
            errors.push(FieldError::forbidden(
                "spec.tolerations",
                "existing toleration can not be modified except its tolerationSeconds",
            ));
            return errors;
        }
    }
    let allowed = ["activeDeadlineSeconds", "tolerations", "schedulingGates"];
    let strip = |pod: &Value| {
        let mut spec = pod.at("spec").clone();
        for field in allowed {
            spec.remove_at(field);
        }
        for list in ["containers", "initContainers"] {
            for container in spec.list_mut(list) {
                container.remove_at("image");
                container.remove_at("imagePullPolicy");
            }
        }
        spec.remove_at("ephemeralContainers");
        // Null and absent mean the same.
        if let Some(fields) = spec.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        spec
    };
    let (mut new, was) = (strip(pod), strip(old));
    // A period that was negative may become 1.
    if was.int("terminationGracePeriodSeconds").is_some_and(|s| s < 0)
        && new.int("terminationGracePeriodSeconds") == Some(1)
    {
        new.copy_from(&was, "terminationGracePeriodSeconds");
    }
    if new != was {
        errors.push(FieldError::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        ));
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resource::pod::defaults;

    fn pod(spec: Value) -> Value {
        let mut pod = json!({"metadata": {"name": "a", "namespace": "b"}, "spec": spec});
        defaults::pod(&mut pod);
        pod
    }

    fn complaints(spec: Value) -> Vec<String> {
        pod_spec(pod(spec).at("spec"), "spec").iter().map(FieldError::message).collect()
    }

    fn with(extra: Value) -> Value {
        let mut spec = json!({"containers": [{"name": "c", "image": "i"}]});
        for (field, value) in extra.as_object().unwrap() {
            spec[field] = value.clone();
        }
        spec
    }

    fn container(extra: Value) -> Value {
        let mut container = json!({"name": "c", "image": "i"});
        for (field, value) in extra.as_object().unwrap() {
            container[field] = value.clone();
        }
        json!({"containers": [container]})
    }

    #[test]
    fn bad_pods_are_refused_in_the_words_of_kubernetes() {
        let cases = [
            (json!({}), vec!["spec.containers: Required value"]),
            (
                json!({"containers": [{}]}),
                vec![
                    "spec.containers[0].name: Required value",
                    "spec.containers[0].image: Required value",
                ],
            ),
            (
                json!({"containers": [{"name": "a", "image": "i"}, {"name": "a", "image": "i"}]}),
                vec!["spec.containers[1].name: Duplicate value: \"a\""],
            ),
            (
                container(json!({"imagePullPolicy": "Now"})),
                vec![
                    "spec.containers[0].imagePullPolicy: Unsupported value: \"Now\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
                ],
            ),
            (
                container(json!({"ports": [{}]})),
                vec!["spec.containers[0].ports[0].containerPort: Required value"],
            ),
            (
                container(json!({"ports": [{"containerPort": 70000}]})),
                vec![
                    "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
                ],
            ),
            (
                container(json!({"volumeMounts": [{"name": "v", "mountPath": "/x"}]})),
                vec!["spec.containers[0].volumeMounts[0].name: Not found: \"v\""],
            ),
            (
                container(
                    json!({"env": [{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
                ),
                vec![
                    "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
                ],
            ),
            (
                container(json!({"livenessProbe": {}})),
                vec![
                    "spec.containers[0].livenessProbe: Required value: must specify a handler type",
                ],
            ),
            (
                container(
                    json!({"livenessProbe": {"exec": {"command": ["a"]}, "successThreshold": 2}}),
                ),
                vec![
                    "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
                ],
            ),
            (
                container(json!({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}})),
                vec![
                    "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
                ],
            ),
            (
                with(json!({"restartPolicy": "Maybe"})),
                vec![
                    "spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"Never\", \"OnFailure\"",
                ],
            ),
            (
                with(json!({"dnsPolicy": "None"})),
                vec![
                    "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
                ],
            ),
            (
                with(json!({"hostname": "a.b"})),
                vec!["spec.hostname: Invalid value: \"a.b\": must not contain dots"],
            ),
            (
                with(
                    json!({"volumes": [{"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}]}),
                ),
                vec![
                    "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
                ],
            ),
            (
                with(json!({"tolerations": [{"key": "a", "operator": "Like"}]})),
                vec![
                    "spec.tolerations[0].operator: Unsupported value: \"Like\": supported values: \"Equal\", \"Exists\"",
                ],
            ),
        ];
        for (spec, expected) in cases {
            assert_eq!(complaints(spec.clone()), expected, "{spec}");
        }
    }

    #[test]
    fn only_a_little_of_a_pod_may_change() {
        let old = pod(json!({"containers": [{"name": "c", "image": "i:1"}], "nodeName": "n"}));
        let mut image = old.clone();
        image["spec"]["containers"][0]["image"] = "i:2".into();
        image["spec"]["initContainers"] = Value::Null;
        assert!(changes(&image, &old).is_empty());
        let mut node = old.clone();
        node["spec"]["nodeName"] = "m".into();
        assert!(changes(&node, &old)[0].message().starts_with("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"));
        let mut more = old.clone();
        more["spec"]["containers"] = json!([]);
        assert_eq!(
            changes(&more, &old)[0].message(),
            "spec.containers: Forbidden: pod updates may not add or remove containers"
        );
    }
}
