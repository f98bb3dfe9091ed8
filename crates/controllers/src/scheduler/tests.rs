use super::*;
use serde_json::{Value, json};

fn node(name: &str, extra: Value) -> Place {
    let mut value = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {}, "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}},
    });
    merge(&mut value, &extra);
    Place { node: Arc::new(serde_json::from_value(value).unwrap()), pods: Vec::new() }
}

fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (k, v) in more {
                merge(into.entry(k).or_insert(Value::Null), v);
            }
        }
        (into, more) => *into = more.clone(),
    }
}

fn pod(name: &str, labels: Value, spec: Value) -> Pod {
    let mut value = json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": labels},
        "spec": {"containers": [{"name": "c"}]},
    });
    merge(&mut value["spec"], &spec);
    serde_json::from_value(value).unwrap()
}

fn view(places: Vec<Place>) -> View {
    View { places, ..Default::default() }
}

/// Schedules pods one after the other; gives their nodes.
fn place_all(view: &mut View, pods: Vec<Pod>) -> Vec<Result<String, String>> {
    pods.into_iter()
        .map(|pod| {
            let node = decide(view, &pod)?;
            view.places.iter_mut().find(|p| p.name() == node).unwrap().pods.push(Arc::new(pod));
            Ok(node)
        })
        .collect()
}

fn owned(name: &str) -> Pod {
    let mut pod = pod(name, json!({"app": "a"}), json!({}));
    pod.metadata.owner_references =
        Some(vec![crate::owner::controller_ref(&k8s_openapi::api::apps::v1::ReplicaSet {
            metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                name: Some("rs".into()),
                uid: Some("rs".into()),
                ..Default::default()
            },
            ..Default::default()
        })]);
    pod
}

fn lab() -> View {
    let control = json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}});
    view(vec![
        node("control-plane", control),
        node("worker-1", json!({})),
        node("worker-2", json!({})),
    ])
}

#[test]
fn pods_of_one_owner_spread_over_the_workers_first() {
    let mut view = lab();
    view.places[1].pods.push(Arc::new(pod("x", json!({}), json!({}))));
    view.places[1].pods.push(Arc::new(pod("y", json!({}), json!({}))));
    let nodes: Vec<_> = place_all(&mut view, ["p0", "p1", "p2"].map(owned).into())
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(nodes, ["worker-2", "worker-1", "control-plane"]);
}

#[test]
fn a_node_with_an_api_server_comes_last_among_equals() {
    let address =
        json!({"status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.2"}]}});
    let mut view = view(vec![node("a", address), node("b", json!({})), node("c", json!({}))]);
    view.api_servers = vec!["172.18.0.2".into()];
    let nodes: Vec<_> = place_all(&mut view, ["p0", "p1", "p2"].map(owned).into())
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(nodes, ["b", "c", "a"]);
}

#[test]
fn pods_behind_one_service_spread_too() {
    let mut view = lab();
    view.services = vec![Arc::new(
        serde_json::from_value(json!({"spec": {"selector": {"app": "blue"}}})).unwrap(),
    )];
    view.places[1].pods.push(Arc::new(pod("blue-1", json!({"app": "blue"}), json!({}))));
    view.places[2].pods =
        (0..5).map(|i| Arc::new(pod(&format!("x{i}"), json!({}), json!({})))).collect();
    assert_eq!(
        decide(&view, &pod("blue-2", json!({"app": "blue"}), json!({}))).unwrap(),
        "worker-2"
    );
}

#[test]
fn the_reasons_are_counted() {
    let tainted = json!({"spec": {"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}});
    let view = view(vec![
        node("a", json!({"spec": {"unschedulable": true}})),
        node("b", tainted),
        node(
            "c",
            json!({"metadata": {"labels": {"disk": "ssd"}}, "status": {"allocatable": {"cpu": "1"}}}),
        ),
        node("d", json!({})),
        node("e", json!({})),
    ]);
    let needy = pod(
        "p",
        json!({}),
        json!({
            "nodeSelector": {"disk": "ssd"}, "containers": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}],
        }),
    );
    assert_eq!(
        decide(&view, &needy).unwrap_err(),
        "0/5 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint {k: v}, \
         1 node(s) were unschedulable, 2 node(s) didn't match Pod's node affinity/selector."
    );
    assert_eq!(
        decide(&View::default(), &needy).unwrap_err(),
        "no nodes available to schedule pods"
    );
    let tolerant = pod(
        "p",
        json!({}),
        json!({"tolerations": [{"operator": "Exists"}], "nodeSelector": {"kubernetes.io/hostname": "b"}}),
    );
    assert_eq!(decide(&view, &tolerant).unwrap(), "b");
}

#[test]
fn host_ports_are_taken_once_per_node() {
    let mut view = view(vec![node("a", json!({})), node("b", json!({}))]);
    let with = |name: &str, ip: &str| {
        let ports = json!([{"containerPort": 80, "hostPort": 8080, "hostIP": ip}]);
        pod(name, json!({}), json!({"containers": [{"name": "c", "ports": ports}]}))
    };
    let placed = place_all(
        &mut view,
        vec![with("1", "127.0.0.1"), with("2", "127.0.0.2"), with("3", ""), with("4", "")],
    );
    assert_eq!(placed[..2], [Ok("a".into()), Ok("b".into())]);
    assert_eq!(
        placed[2],
        Err("0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports.".into())
    );
}

#[test]
fn affinity_and_anti_affinity() {
    let zone = |z: &str| json!({"metadata": {"labels": {"zone": z}}});
    let mut view = view(vec![node("a", zone("1")), node("b", zone("1")), node("c", zone("2"))]);
    let term = |app: &str| json!([{"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": "zone"}]);
    let rule = |kind: &str, app: &str| json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": term(app)}}});
    let placed = place_all(
        &mut view,
        vec![
            pod("db", json!({"app": "db"}), rule("podAntiAffinity", "web")),
            pod("near", json!({"app": "x"}), rule("podAffinity", "db")),
            pod("web", json!({"app": "web"}), json!({})),
            pod("away", json!({"app": "y"}), rule("podAntiAffinity", "db")),
            pod("group", json!({"app": "g"}), rule("podAffinity", "g")),
            pod("lost", json!({"app": "z"}), rule("podAffinity", "nobody")),
        ],
    );
    let ok = |n: &str| Ok::<String, String>(n.into());
    assert_eq!(placed[..4], [ok("a"), ok("b"), ok("c"), ok("c")]);
    assert!(placed[4].is_ok(), "the first of a group that wants to be together");
    assert_eq!(
        placed[5],
        Err("0/3 nodes are available: 3 node(s) didn't match pod affinity rules.".into())
    );
}

#[test]
fn spread_constraints_bound_the_skew() {
    let zone = |z: &str| json!({"metadata": {"labels": {"zone": z}}});
    let mut view = view(vec![
        node("a", zone("1")),
        node("b", zone("1")),
        node("c", zone("2")),
        node("d", json!({})),
    ]);
    let constraint = json!({"topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "a"}},
    }]});
    let pods =
        (0..4).map(|i| pod(&format!("p{i}"), json!({"app": "a"}), constraint.clone())).collect();
    let zones: Vec<_> = place_all(&mut view, pods).into_iter().map(|n| n.unwrap() == "c").collect();
    assert_eq!(zones.iter().filter(|in_two| **in_two).count(), 2);
    view.places[2].node =
        node("c", json!({"metadata": {"labels": {"zone": "2"}}, "spec": {"unschedulable": true}}))
            .node;
    place_all(&mut view, vec![pod("p5", json!({"app": "a"}), constraint.clone())])[0]
        .as_ref()
        .unwrap();
    let stuck = decide(&view, &pod("p6", json!({"app": "a"}), constraint)).unwrap_err();
    assert_eq!(
        stuck,
        "0/4 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label), \
         1 node(s) were unschedulable, 2 node(s) didn't match pod topology spread constraints."
    );
}

#[test]
fn node_fields_and_preferences() {
    let view = lab();
    let field = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["control-plane"]}]}],
    }}}});
    assert_eq!(decide(&view, &pod("p", json!({}), field)).unwrap(), "control-plane");
    let wish = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 5, "preference": {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["worker-2"]}]}},
    ]}}});
    assert_eq!(decide(&view, &pod("p", json!({}), wish)).unwrap(), "worker-2");
}
