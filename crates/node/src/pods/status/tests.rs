use serde_json::json;

use super::*;

fn pod(policy: &str, init: bool) -> Pod {
    let mut spec = json!({"containers": [{"name": "a"}, {"name": "b"}], "restartPolicy": policy});
    if init {
        spec["initContainers"] = json!([{"name": "i"}]);
    }
    serde_json::from_value(json!({"metadata": {"name": "p", "generation": 3}, "spec": spec}))
        .unwrap()
}

fn ended(code: i32) -> Terminated {
    Terminated {
        code,
        signal: None,
        reason: if code == 0 { "Completed" } else { "Error" }.to_owned(),
        message: String::new(),
        started_at: None,
        finished_at: Timestamp::UNIX_EPOCH,
        container_id: String::new(),
    }
}

fn shown(name: &str, role: Role, state: State) -> Shown {
    let running = matches!(state, State::Running { .. });
    Shown {
        name: name.to_owned(),
        role,
        image: String::new(),
        image_id: String::new(),
        container_id: String::new(),
        state,
        last: None,
        restarts: 0,
        started: running,
        ready: running,
    }
}

fn waiting() -> State {
    State::Waiting { reason: "ContainerCreating", message: String::new() }
}

fn running() -> State {
    State::Running { started_at: Timestamp::UNIX_EPOCH }
}

fn facts(containers: Vec<Shown>) -> Facts {
    Facts {
        containers,
        pod_ips: vec!["10.0.0.1".parse().unwrap()],
        host_ips: vec!["192.0.2.1".parse().unwrap()],
        sandbox_ready: true,
        start_time: Timestamp::UNIX_EPOCH,
        failed: None,
        ending: false,
    }
}

#[test]
fn phases_are_the_kubelets() {
    let apps = |a: State, b: State| facts(vec![shown("a", Role::App, a), shown("b", Role::App, b)]);
    let end = |code| State::Terminated(ended(code));
    for (policy, a, b, expected) in [
        ("Always", waiting(), running(), "Pending"),
        ("Always", running(), running(), "Running"),
        ("Always", running(), end(1), "Running"),
        ("Always", end(0), end(0), "Running"),
        ("Never", end(0), end(0), "Succeeded"),
        ("Never", end(0), end(1), "Failed"),
        ("Never", end(1), running(), "Running"),
        ("OnFailure", end(0), end(1), "Running"),
        ("OnFailure", end(0), end(0), "Succeeded"),
    ] {
        assert_eq!(
            phase(&pod(policy, false), &apps(a.clone(), b.clone())),
            expected,
            "{policy} {a:?} {b:?}"
        );
    }
    let mut crashing = apps(waiting(), running());
    crashing.containers[0].last = Some(ended(1));
    assert_eq!(phase(&pod("Always", false), &crashing), "Running");
    let mut ending = apps(end(0), end(0));
    ending.ending = true;
    assert_eq!(phase(&pod("Always", false), &ending), "Succeeded");
}

#[test]
fn init_containers_hold_the_pod_pending_or_fail_it() {
    let with = |state: State| {
        facts(vec![
            shown("i", Role::Init, state),
            shown("a", Role::App, waiting()),
            shown("b", Role::App, waiting()),
        ])
    };
    assert_eq!(phase(&pod("Always", true), &with(running())), "Pending");
    assert_eq!(phase(&pod("Always", true), &with(State::Terminated(ended(1)))), "Pending");
    assert_eq!(phase(&pod("Never", true), &with(State::Terminated(ended(1)))), "Failed");
    let status = status(&pod("Always", true), &with(running()), Timestamp::UNIX_EPOCH);
    let condition =
        status.conditions.unwrap().into_iter().find(|c| c.type_ == "Initialized").unwrap();
    assert_eq!(condition.reason.as_deref(), Some("ContainersNotInitialized"));
    assert_eq!(condition.message.as_deref(), Some("containers with incomplete status: [i]"));
    assert!(
        restarts(&pod("OnFailure", true), Role::Init, 1)
            && !restarts(&pod("Always", true), Role::Init, 0)
    );
    assert!(restarts(&pod("Never", true), Role::Sidecar, 0));
}

#[test]
fn conditions_keep_their_times_and_those_of_others() {
    let mut pod = pod("Always", false);
    let later = Timestamp::from_second(100).unwrap();
    let both = facts(vec![shown("a", Role::App, running()), shown("b", Role::App, running())]);
    let mut first = status(&pod, &both, Timestamp::UNIX_EPOCH);
    let mine = PodCondition {
        type_: "example.org/gate".into(),
        status: "True".into(),
        ..PodCondition::default()
    };
    first.conditions.as_mut().unwrap().push(mine);
    pod.status = Some(first);
    let mut half = both.clone();
    half.containers[1].ready = false;
    let second = status(&pod, &half, later);
    let get = |kind: &str| {
        second.conditions.as_ref().unwrap().iter().find(|c| c.type_ == kind).unwrap().clone()
    };
    let ready = get("Ready");
    assert_eq!((ready.status.as_str(), ready.last_transition_time), ("False", Some(Time(later))));
    assert_eq!(ready.message.as_deref(), Some("containers with unready status: [b]"));
    assert_eq!(ready.observed_generation, Some(3));
    assert_eq!(get("Initialized").last_transition_time, Some(Time(Timestamp::UNIX_EPOCH)));
    assert_eq!(get("example.org/gate").status, "True");
    assert_eq!(second.pod_ip.as_deref(), Some("10.0.0.1"));
}

#[test]
fn readiness_gates_hold_readiness_back() {
    let mut pod = pod("Always", false);
    pod.spec.as_mut().unwrap().readiness_gates =
        Some(serde_json::from_value(json!([{"conditionType": "g"}])).unwrap());
    let both = facts(vec![shown("a", Role::App, running()), shown("b", Role::App, running())]);
    let ready = |pod: &Pod| {
        let status = status(pod, &both, Timestamp::UNIX_EPOCH);
        status.conditions.unwrap().into_iter().find(|c| c.type_ == "Ready").unwrap()
    };
    assert_eq!(ready(&pod).reason.as_deref(), Some("ReadinessGatesNotReady"));
    pod.status = Some(
        serde_json::from_value(json!({"conditions": [{"type": "g", "status": "True"}]})).unwrap(),
    );
    assert_eq!(ready(&pod).status, "True");
}
