//! Defaults, and what is refused.

use super::*;

fn workload(kind: Workload, changes: Value) -> Value {
    let mut object = json!({
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    });
    if kind == Workload::ReplicationController {
        object["spec"]["selector"] = json!({"app": "a"});
    }
    for (field, value) in changes.as_object().unwrap() {
        *object.slot(&format!("spec.{field}")) = value.clone();
    }
    kind.apply_defaults(&mut object);
    object
}

fn complaints(kind: Workload, changes: Value) -> Vec<String> {
    kind.validate_create(&workload(kind, changes)).iter().map(FieldError::message).collect()
}

const ALL: [Workload; 5] = [
    Workload::Deployment,
    Workload::ReplicaSet,
    Workload::StatefulSet,
    Workload::DaemonSet,
    Workload::ReplicationController,
];

#[test]
fn plain_workloads_are_valid() {
    for kind in ALL {
        assert_eq!(complaints(kind, json!({})), [""; 0], "{kind:?}");
        let mut object = workload(kind, json!({}));
        let before = object.clone();
        kind.apply_defaults(&mut object);
        assert_eq!(object, before, "{kind:?}");
    }
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let deployment = workload(Workload::Deployment, json!({}));
    assert_eq!(
        deployment["spec"]["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}})
    );
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert_eq!(deployment["spec"]["progressDeadlineSeconds"], 600);
    assert!(deployment["spec"]["template"]["spec"].get("enableServiceLinks").is_none());
    let recreate = workload(Workload::Deployment, json!({"strategy": {"type": "Recreate"}}));
    assert_eq!(recreate["spec"]["strategy"], json!({"type": "Recreate"}));
    let set = workload(Workload::StatefulSet, json!({}));
    assert_eq!(set["spec"]["podManagementPolicy"], "OrderedReady");
    assert_eq!(
        set["spec"]["updateStrategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
    );
    let daemons = workload(Workload::DaemonSet, json!({}));
    assert_eq!(
        daemons["spec"]["updateStrategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}})
    );
    let controller = workload(Workload::ReplicationController, json!({"selector": null}));
    assert_eq!(controller["spec"]["selector"], json!({"app": "a"}));
    assert_eq!(controller["metadata"]["labels"], json!({"app": "a"}));
}

#[test]
fn selectors_must_select_the_template() {
    for kind in
        [Workload::Deployment, Workload::ReplicaSet, Workload::StatefulSet, Workload::DaemonSet]
    {
        assert_eq!(
            complaints(kind, json!({"selector": {"matchLabels": {"app": "b"}}})),
            [
                "spec.template.metadata.labels: Invalid value: {\"app\":\"a\"}: `selector` does not match template `labels`"
            ]
        );
        assert_eq!(complaints(kind, json!({"selector": null}))[0], "spec.selector: Required value");
    }
    assert_eq!(
        complaints(Workload::Deployment, json!({"selector": {}})),
        ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]
    );
}

#[test]
fn selectors_do_not_change() {
    let old = workload(Workload::Deployment, json!({}));
    let mut new = old.clone();
    new["spec"]["selector"]["matchLabels"]["tier"] = "x".into();
    new["spec"]["template"]["metadata"]["labels"]["tier"] = "x".into();
    let texts: Vec<String> =
        Workload::Deployment.validate_update(&new, &old).iter().map(FieldError::message).collect();
    assert_eq!(
        texts,
        [
            "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"a\",\"tier\":\"x\"}}: field is immutable"
        ]
    );
    let old = workload(Workload::StatefulSet, json!({"serviceName": "a"}));
    let new = workload(Workload::StatefulSet, json!({"serviceName": "b", "replicas": 5}));
    let errors = Workload::StatefulSet.validate_update(&new, &old);
    assert!(errors[0].message().starts_with(
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas'"
    ));
    let scaled = workload(Workload::StatefulSet, json!({"serviceName": "a", "replicas": 5}));
    assert!(Workload::StatefulSet.validate_update(&scaled, &old).is_empty());
}

#[test]
fn bad_workloads_are_refused() {
    let cases = [
        (
            Workload::Deployment,
            json!({"replicas": -1}),
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            Workload::Deployment,
            json!({"template.spec.restartPolicy": "Never"}),
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        ),
        (
            Workload::Deployment,
            json!({"template.spec.containers": []}),
            "spec.template.spec.containers: Required value",
        ),
        (
            Workload::Deployment,
            json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
        ),
        (
            Workload::Deployment,
            json!({"strategy": {"type": "Recreate", "rollingUpdate": {}}}),
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        (
            Workload::Deployment,
            json!({"strategy": {"type": "Blue"}}),
            "spec.strategy.type: Unsupported value: \"Blue\": supported values: \"Recreate\", \"RollingUpdate\"",
        ),
        (
            Workload::Deployment,
            json!({"minReadySeconds": 700}),
            "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
        ),
        (
            Workload::StatefulSet,
            json!({"podManagementPolicy": "Random"}),
            "spec.podManagementPolicy: Invalid value: \"Random\": must be 'OrderedReady' or 'Parallel'",
        ),
        (
            Workload::DaemonSet,
            json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 0}}}),
            "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
        ),
    ];
    for (kind, changes, expected) in cases {
        assert_eq!(complaints(kind, changes.clone()), [expected], "{changes}");
    }
}
