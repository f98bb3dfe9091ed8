use proptest::prelude::*;
use serde_json::{Value, json};

use super::field_set::{FieldSet, compare};
use super::{Writer, apply, track_update};

const NOW: &str = "2026-01-02T03:04:05Z";

fn by(manager: &str) -> Writer<'_> {
    Writer { manager, subresource: "", now: NOW }
}

fn deployment(replicas: Option<i64>, image: &str) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
        "spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}},
    });
    if let Some(replicas) = replicas {
        object["spec"]["replicas"] = replicas.into();
    }
    object
}

#[test]
fn the_first_apply_creates_and_owns_what_it_states() {
    let object = apply(None, &deployment(Some(2), "a"), by("kubectl"), false).unwrap();
    assert_eq!(object["spec"], deployment(Some(2), "a")["spec"]);
    assert_eq!(object["metadata"]["name"], "web");
    assert_eq!(
        object["metadata"]["managedFields"],
        json!([{
            "manager": "kubectl", "operation": "Apply", "apiVersion": "apps/v1", "time": NOW,
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {"f:app": {}}},
                "f:spec": {
                    "f:replicas": {},
                    "f:template": {"f:spec": {"f:containers": {
                        "k:{\"name\":\"web\"}": {".": {}, "f:image": {}, "f:name": {}}
                    }}},
                },
            },
        }])
    );
}

#[test]
fn what_the_manager_no_longer_states_goes() {
    let first = apply(None, &deployment(Some(2), "a"), by("kubectl"), false).unwrap();
    let mut config = deployment(None, "a");
    config["metadata"].as_object_mut().unwrap().remove("labels");
    let second = apply(Some(&first), &config, by("kubectl"), false).unwrap();
    assert_eq!(second["spec"].get("replicas"), None);
    assert_eq!(second["metadata"].get("labels"), None);
    assert_eq!(second["spec"]["template"], first["spec"]["template"]);
}

#[test]
fn another_managers_field_is_a_conflict_and_force_takes_it() {
    let first = apply(None, &deployment(Some(2), "a"), by("one"), false).unwrap();
    let refusal = apply(Some(&first), &deployment(Some(3), "a"), by("two"), false).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "Apply failed with 1 conflict: conflict with \"one\" using apps/v1: .spec.replicas"
    );
    let forced = apply(Some(&first), &deployment(Some(3), "a"), by("two"), true).unwrap();
    assert_eq!(forced["spec"]["replicas"], 3);
    // `one` lost the field: what it no longer owns it cannot remove.
    let after = apply(Some(&forced), &deployment(None, "a"), by("one"), false).unwrap();
    assert_eq!(after["spec"]["replicas"], 3);
}

#[test]
fn a_shared_field_stays_until_its_last_manager_drops_it() {
    let one = apply(None, &deployment(Some(2), "a"), by("one"), false).unwrap();
    let both = apply(Some(&one), &deployment(Some(2), "a"), by("two"), false).unwrap();
    let left = apply(Some(&both), &deployment(None, "a"), by("one"), false).unwrap();
    assert_eq!(left["spec"]["replicas"], 2);
    let none = apply(Some(&left), &deployment(None, "a"), by("two"), false).unwrap();
    assert_eq!(none["spec"].get("replicas"), None);
}

#[test]
fn list_items_merge_by_their_keys() {
    let service = |ports: Value| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": ports}});
    let one = apply(None, &service(json!([{"name": "a", "port": 80}])), by("one"), false).unwrap();
    let two = service(json!([{"name": "b", "port": 80, "protocol": "UDP"}]));
    let both = apply(Some(&one), &two, by("two"), false).unwrap();
    assert_eq!(
        both["spec"]["ports"],
        json!([{"name": "a", "port": 80}, {"name": "b", "port": 80, "protocol": "UDP"}])
    );
    let left = apply(Some(&both), &service(json!([])), by("one"), true).unwrap();
    assert_eq!(left["spec"]["ports"], json!([{"name": "b", "port": 80, "protocol": "UDP"}]));
}

#[test]
fn what_was_there_before_the_first_apply_has_an_owner() {
    let live = deployment(Some(2), "a");
    let refusal = apply(Some(&live), &deployment(Some(3), "a"), by("two"), false).unwrap_err();
    assert!(refusal.to_string().contains("conflict with \"before-first-apply\""), "{refusal}");
    let same = apply(Some(&live), &deployment(Some(2), "a"), by("two"), false).unwrap();
    assert_eq!(same["spec"], live["spec"]);
}

#[test]
fn an_update_takes_the_fields_that_it_changes() {
    let first = apply(None, &deployment(Some(2), "a"), by("one"), false).unwrap();
    let mut scaled = first.clone();
    scaled["spec"]["replicas"] = 5.into();
    track_update(Some(&first), &mut scaled, by("autoscaler"));
    let kept = apply(Some(&scaled), &deployment(None, "a"), by("one"), false).unwrap();
    assert_eq!(kept["spec"]["replicas"], 5, "the autoscaler owns it now");
    let refusal = apply(Some(&scaled), &deployment(Some(2), "a"), by("one"), false).unwrap_err();
    assert!(refusal.0[0].message.starts_with("conflict with \"autoscaler\""), "{refusal}");
}

#[test]
fn a_plain_object_is_not_tracked() {
    let old = deployment(Some(2), "a");
    let mut new = deployment(Some(3), "a");
    track_update(Some(&old), &mut new, by("kubectl"));
    assert_eq!(new, deployment(Some(3), "a"));
}

fn labels() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
    proptest::collection::btree_map("[a-d]", "[x-z]", 0..4)
}

proptest! {
    #[test]
    fn fields_v1_reads_back_as_written(keys in labels(), image in "[a-c]") {
        let mut object = deployment(Some(1), &image);
        object["metadata"]["labels"] = json!(keys);
        let set = FieldSet::of("Deployment", &object);
        prop_assert_eq!(FieldSet::from_fields_v1(&set.to_fields_v1()), set);
    }

    #[test]
    fn applying_twice_changes_nothing(first in labels(), second in labels()) {
        let with = |labels: &std::collections::BTreeMap<String, String>| {
            let mut object = deployment(Some(1), "a");
            object["metadata"]["labels"] = json!(labels);
            object
        };
        let start = apply(None, &with(&first), by("one"), false).unwrap();
        let once = apply(Some(&start), &with(&second), by("one"), false).unwrap();
        let twice = apply(Some(&once), &with(&second), by("one"), false).unwrap();
        prop_assert_eq!(&once, &twice);
        let empty = json!({});
        prop_assert_eq!(once["metadata"].get("labels").unwrap_or(&empty), &json!(second));
    }

    #[test]
    fn equal_objects_compare_as_equal(keys in labels()) {
        let object = json!({"metadata": {"labels": keys}, "spec": {"ports": [{"port": 1}]}});
        let (changed, removed) = compare("Service", &object, &object);
        prop_assert!(changed.is_empty() && removed.is_empty());
    }
}
