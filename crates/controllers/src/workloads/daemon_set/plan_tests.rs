use super::*;
use crate::workloads::daemon_set::pods::make;
use k8s_openapi::api::core::v1::{PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;
use serde_json::{Value, json};

fn set(rolling: Value) -> DaemonSet {
    serde_json::from_value(json!({
        "metadata": {"name": "agent", "namespace": "ns", "uid": "u", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
            "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": []}}},
    }))
    .unwrap()
}

fn nodes(count: usize) -> Vec<Arc<Node>> {
    (0..count)
        .map(|i| {
            Arc::new(
                serde_json::from_value(json!({"metadata": {"name": format!("n{i}")}})).unwrap(),
            )
        })
        .collect()
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn pod_on(set: &DaemonSet, node: &str, hash: &str, serial: usize, ready: bool) -> Arc<Pod> {
    let mut pod = make(set, hash, node);
    pod.metadata.name = Some(format!("agent-{serial}"));
    pod.metadata.uid = Some(format!("{serial}"));
    pod.metadata.creation_timestamp =
        Some(Time(Timestamp::from_second(i64::try_from(serial).unwrap()).unwrap()));
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

#[test]
fn every_node_gets_one() {
    let s = set(json!({}));
    let first = plan(&s, "a", &nodes(3), &[pod_on(&s, "n1", "a", 1, true)], now());
    assert_eq!((first.create, first.delete.len()), (vec!["n0".to_string(), "n2".to_string()], 0));
    assert_eq!(
        (
            first.status.desired_number_scheduled,
            first.status.current_number_scheduled,
            first.status.number_ready
        ),
        (3, 1, 1)
    );
    let twice = [pod_on(&s, "n0", "a", 1, true), pod_on(&s, "n0", "a", 2, true)];
    let surplus = plan(&s, "a", &nodes(1), &twice, now());
    assert_eq!(
        surplus.delete.iter().map(|p| p.metadata.name.clone().unwrap()).collect::<Vec<_>>(),
        ["agent-2"]
    );
    let mut failed = (*twice[0]).clone();
    failed.status.as_mut().unwrap().phase = Some("Failed".into());
    let replaced = plan(&s, "a", &nodes(1), &[Arc::new(failed)], now());
    assert_eq!((replaced.create.len(), replaced.delete.len(), replaced.failed.len()), (0, 1, 1));
}

proptest! {
    /// An update ends with one new pod on every node, and never has more nodes without a working pod, or with two
    /// pods, than it may.
    #[test]
    fn updates_keep_their_limits(count in 1..7usize, unavailable in 0..3i32, surge in 0..3i32, works in prop::collection::vec(any::<bool>(), 30)) {
        let rolling = if surge > 0 { json!({"maxSurge": surge, "maxUnavailable": 0}) } else { json!({"maxUnavailable": unavailable}) };
        let s = set(rolling);
        let nodes = nodes(count);
        let mut serial = 0;
        let mut pods: Vec<Arc<Pod>> = nodes
            .iter()
            .map(|n| {
                serial += 1;
                pod_on(&s, n.metadata.name.as_deref().unwrap(), "old", serial, true)
            })
            .collect();
        let (surge, unavailable) = surge_and_unavailable(&s, count);
        for round in 0..60 {
            let plan = plan(&s, "new", &nodes, &pods, now());
            pods.retain(|p| !plan.delete.iter().any(|d| d.metadata.uid == p.metadata.uid));
            for node in &plan.create {
                serial += 1;
                pods.push(pod_on(&s, node, "new", serial, false));
            }
            let on = |n: &Arc<Node>| pods.iter().filter(|p| node_of(p) == n.metadata.name.as_deref()).collect::<Vec<_>>();
            let idle = nodes.iter().filter(|n| !on(n).iter().any(|p| pod::is_ready(p))).count();
            prop_assert!(idle <= unavailable, "{idle} of {unavailable}");
            prop_assert!(nodes.iter().filter(|n| on(n).len() > 1).count() <= surge);
            let slow = works.get(round).copied().unwrap_or(true);
            pods = pods
                .iter()
                .map(|p| {
                    let hash = p.metadata.labels.as_ref().unwrap()[revision::REVISION].clone();
                    let id = p.metadata.uid.as_ref().unwrap().parse().unwrap();
                    pod_on(&s, node_of(p).unwrap(), &hash, id, pod::is_ready(p) || slow)
                })
                .collect();
        }
        prop_assert_eq!(pods.len(), count);
        prop_assert!(pods.iter().all(|p| is_new(p, "new") && pod::is_ready(p)));
    }
}
