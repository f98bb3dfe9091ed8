//! Who a pod of a StatefulSet is: its name, ordinal, labels, host name, revision.

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Pod, PodTemplateSpec},
};

use crate::{
    owner,
    workloads::{act, revision},
};

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The first ordinal.
pub(super) fn start(set: &StatefulSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.ordinals.as_ref()).and_then(|o| o.start).unwrap_or(0)
}

/// How many pods are wanted.
pub(super) fn replicas(set: &StatefulSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
}

/// The name of the pod with an ordinal.
pub(super) fn pod_name(set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{ordinal}", set.metadata.name.as_deref().unwrap_or(""))
}

/// The ordinal of a pod, if its name is one of this set's.
pub(super) fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let number = pod
        .metadata
        .name
        .as_deref()?
        .strip_prefix(set.metadata.name.as_deref()?)?
        .strip_prefix('-')?;
    let plain = number == "0" || !number.starts_with('0');
    if plain && number.bytes().all(|b| b.is_ascii_digit()) { number.parse().ok() } else { None }
}

/// The name of the revision that a pod was made from.
pub(super) fn revision_of(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(revision::REVISION).map(String::as_str)
}

/// The pod with an ordinal, from the template of a revision.
pub(super) fn make(
    set: &StatefulSet,
    template: &PodTemplateSpec,
    revision: &str,
    ordinal: i32,
) -> Pod {
    let namespace = set.metadata.namespace.as_deref().unwrap_or("");
    let mut pod = act::pod_from(template, namespace, owner::controller_ref(set));
    let name = pod_name(set, ordinal);
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME.into(), name.clone());
    labels.insert(POD_INDEX.into(), ordinal.to_string());
    labels.insert(revision::REVISION.into(), revision.into());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(name.clone());
    spec.subdomain =
        set.spec.as_ref().and_then(|s| s.service_name.clone()).filter(|s| !s.is_empty());
    pod.metadata.name = Some(name);
    pod
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_and_ordinals() {
        let set: StatefulSet = serde_json::from_value(json!({
            "metadata": {"name": "web-1", "namespace": "ns", "uid": "u"},
            "spec": {"serviceName": "web", "selector": {}, "template": {}},
        }))
        .unwrap();
        let named = |name: &str| Pod {
            metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                name: Some(name.into()),
                ..Default::default()
            },
            ..Default::default()
        };
        for (name, expected) in [
            ("web-1-0", Some(0)),
            ("web-1-17", Some(17)),
            ("web-1", None),
            ("web-1-x", None),
            ("web-1-01", None),
            ("other-0", None),
        ] {
            assert_eq!(ordinal(&set, &named(name)), expected, "{name}");
        }
        let pod = make(&set, &PodTemplateSpec::default(), "web-1-abc", 3);
        assert_eq!(ordinal(&set, &pod), Some(3));
        assert_eq!(revision_of(&pod), Some("web-1-abc"));
        let spec = pod.spec.unwrap();
        assert_eq!(
            (spec.hostname.as_deref(), spec.subdomain.as_deref()),
            (Some("web-1-3"), Some("web"))
        );
    }
}
