use super::*;
use crate::workloads::stateful_set::identity::make;
use k8s_openapi::api::core::v1::{PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, json};

fn set(replicas: i32, extra: Value) -> StatefulSet {
    let mut value = json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "s", "generation": 1},
        "spec": {"replicas": replicas, "serviceName": "web", "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}},
    });
    value["spec"].as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    serde_json::from_value(value).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn same(name: &str) -> Revisions {
    Revisions { current: name.into(), update: name.into() }
}

fn pod(set: &StatefulSet, ordinal: i32, revision: &str, ready: bool) -> Arc<Pod> {
    let mut pod = make(set, &set.spec.as_ref().unwrap().template, revision, ordinal);
    pod.metadata.uid = Some(format!("{ordinal}-{revision}"));
    pod.status = Some(PodStatus {
        phase: Some("Running".into()),
        conditions: Some(vec![PodCondition {
            type_: "Ready".into(),
            status: if ready { "True" } else { "False" }.into(),
            last_transition_time: Some(Time(now())),
            ..Default::default()
        }]),
        ..Default::default()
    });
    Arc::new(pod)
}

fn terminating(pod: &Arc<Pod>) -> Arc<Pod> {
    let mut pod = (**pod).clone();
    pod.metadata.deletion_timestamp = Some(Time(now()));
    Arc::new(pod)
}

fn show(plan: &Plan) -> Vec<String> {
    let name = |p: &Arc<Pod>| p.metadata.name.clone().unwrap();
    plan.actions
        .iter()
        .map(|action| match action {
            Action::Create { ordinal, revision } => format!("+{ordinal}@{revision}"),
            Action::Delete(pod) => format!("-{}", name(pod)),
            Action::Replace(pod) => format!("~{}", name(pod)),
        })
        .collect()
}

#[test]
fn pods_come_and_go_in_order() {
    let s = set(3, json!({}));
    let at = |pods: &[Arc<Pod>]| show(&plan(&s, &same("r"), pods, now()));
    assert_eq!(at(&[]), ["+0@r"]);
    assert_eq!(at(&[pod(&s, 0, "r", false)]), Vec::<String>::new());
    assert_eq!(at(&[pod(&s, 0, "r", true)]), ["+1@r"]);
    assert_eq!(at(&[pod(&s, 0, "r", true), pod(&s, 2, "r", true)]), ["+1@r"]);
    let all: Vec<_> = (0..5).map(|i| pod(&s, i, "r", true)).collect();
    assert_eq!(at(&all), ["-web-4"]);
    let mut going = all[..4].to_vec();
    going.push(terminating(&all[4]));
    assert_eq!(at(&going), Vec::<String>::new(), "one at a time");
    assert_eq!(
        at(&[terminating(&all[0]), all[1].clone()]),
        Vec::<String>::new(),
        "its name is still taken"
    );
}

#[test]
fn parallel_does_not_wait() {
    let s = set(3, json!({"podManagementPolicy": "Parallel"}));
    let at = |pods: &[Arc<Pod>]| show(&plan(&s, &same("r"), pods, now()));
    assert_eq!(at(&[]), ["+0@r", "+1@r", "+2@r"]);
    let all: Vec<_> = (0..5).map(|i| pod(&s, i, "r", i == 1)).collect();
    assert_eq!(at(&all), ["-web-4", "-web-3"]);
}

#[test]
fn updates_go_from_the_highest_down_to_the_partition() {
    let s = set(
        3,
        json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}}),
    );
    let revisions = Revisions { current: "old".into(), update: "new".into() };
    let at = |pods: &[Arc<Pod>]| show(&plan(&s, &revisions, pods, now()));
    let old: Vec<_> = (0..3).map(|i| pod(&s, i, "old", true)).collect();
    assert_eq!(at(&old), ["-web-2"]);
    assert_eq!(at(&[old[0].clone(), old[1].clone(), terminating(&old[2])]), Vec::<String>::new());
    assert_eq!(at(&old[..2]), ["+2@new"]);
    assert_eq!(
        at(&[old[0].clone(), old[1].clone(), pod(&s, 2, "new", false)]),
        Vec::<String>::new()
    );
    assert_eq!(at(&[old[0].clone(), old[1].clone(), pod(&s, 2, "new", true)]), ["-web-1"]);
    assert_eq!(
        at(&[old[0].clone(), pod(&s, 1, "new", true), pod(&s, 2, "new", true)]),
        Vec::<String>::new()
    );
    assert_eq!(
        at(&[pod(&s, 1, "new", true), pod(&s, 2, "new", true)]),
        ["+0@old"],
        "below the partition as it was"
    );
}

#[test]
fn on_delete_updates_only_what_the_user_deletes() {
    let s = set(2, json!({"updateStrategy": {"type": "OnDelete"}}));
    let revisions = Revisions { current: "old".into(), update: "new".into() };
    let old: Vec<_> = (0..2).map(|i| pod(&s, i, "old", true)).collect();
    assert_eq!(show(&plan(&s, &revisions, &old, now())), Vec::<String>::new());
    assert_eq!(show(&plan(&s, &revisions, &old[..1], now())), ["+1@new"]);
}

#[test]
fn a_pod_that_ended_is_replaced_under_its_name() {
    let s = set(2, json!({}));
    let mut ended = (*pod(&s, 0, "r", false)).clone();
    ended.status.as_mut().unwrap().phase = Some("Failed".into());
    let pods = [Arc::new(ended), pod(&s, 1, "r", true)];
    assert_eq!(show(&plan(&s, &same("r"), &pods, now())), ["~web-0"]);
}

#[test]
fn min_ready_seconds_delay_the_next_pod() {
    let s = set(2, json!({"minReadySeconds": 10}));
    let planned = plan(&s, &same("r"), &[pod(&s, 0, "r", true)], now());
    assert_eq!((show(&planned), planned.again), (vec![], Some(Duration::from_secs(10))));
}

proptest! {
    /// Whatever pods there are, the set ends with its pods, all of the new revision; ordered sets never have a
    /// gap filled before a lower one, and lose at most one working pod at a time.
    #[test]
    fn every_start_leads_to_the_end(
        replicas in 0..5i32, parallel in any::<bool>(),
        start in prop::collection::vec((0..7i32, any::<bool>(), any::<bool>()), 0..7),
    ) {
        let policy = if parallel { "Parallel" } else { "OrderedReady" };
        let s = set(replicas, json!({"podManagementPolicy": policy}));
        let revisions = Revisions { current: "old".into(), update: "new".into() };
        let mut pods: Vec<Arc<Pod>> = Vec::new();
        for (ordinal, new, ready) in start {
            if !pods.iter().any(|p| p.metadata.name == Some(pod_name(&s, ordinal))) {
                pods.push(pod(&s, ordinal, if new { "new" } else { "old" }, ready));
            }
        }
        for _ in 0..60 {
            let plan = plan(&s, &revisions, &pods, now());
            if !parallel {
                prop_assert!(plan.actions.len() <= 1, "{:?}", show(&plan));
            }
            for action in plan.actions {
                match action {
                    Action::Create { ordinal, revision } => {
                        prop_assert!(!pods.iter().any(|p| p.metadata.name == Some(pod_name(&s, ordinal))));
                        pods.push(pod(&s, ordinal, &revision, false));
                    }
                    Action::Delete(gone) | Action::Replace(gone) => {
                        pods.retain(|p| p.metadata.uid != gone.metadata.uid);
                    }
                }
            }
            pods = pods.iter().map(|p| pod(&s, ordinal(&s, p).unwrap(), revision_of(p).unwrap(), true)).collect();
        }
        let mut found: Vec<_> = pods.iter().map(|p| (ordinal(&s, p).unwrap(), revision_of(p).unwrap().to_string())).collect();
        found.sort();
        let expected: Vec<_> = (0..replicas).map(|o| (o, "new".to_string())).collect();
        prop_assert_eq!(found, expected);
    }
}
