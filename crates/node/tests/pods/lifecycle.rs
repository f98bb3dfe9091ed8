//! From the pod's creation to its end.

use std::{
    io::Read,
    net::SocketAddr,
    time::{Duration, Instant},
};

use portolan_linux::{link::VethEnd, netns::NetNs, rtnl::Rtnl};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::lab::{Lab, NODE, condition, container, ip, phase, until};

async fn get(to: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(to).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

pub(crate) async fn a_pod_becomes_ready_at_once_and_leaves_nothing(lab: Lab) {
    let probe = json!({"httpGet": {"path": "/", "port": "http"}});
    let spec = json!({"containers": [{"name": "c", "image": "test/serve", "args": ["80"], "readinessProbe": probe,
                                      "ports": [{"name": "http", "containerPort": 80}]}]});
    let mut times = Vec::new();
    for n in 0..5 {
        let name = format!("web-{n}");
        let start = Instant::now();
        lab.pod(&name, spec.clone()).await;
        let pod = lab.ready(&name).await;
        times.push(start.elapsed().as_millis());
        assert_eq!(phase(&pod), "Running");
        assert_eq!(ip(&pod).to_string(), format!("10.244.7.{}", n + 2));
        let status = pod.status.as_ref().expect("a status");
        assert_eq!(status.host_ip.as_deref(), Some(NODE));
        for kind in ["Initialized", "ContainersReady", "PodScheduled", "PodReadyToStartContainers"]
        {
            assert_eq!(condition(&pod, kind), "True", "{kind}");
        }
        let shown = container(&pod);
        assert_eq!(
            (shown["ready"].as_bool(), shown["started"].as_bool(), shown["restartCount"].as_i64()),
            (Some(true), Some(true), Some(0))
        );
        let text = get((ip(&pod), 80).into(), "/").await.expect("an answer");
        assert!(text.ends_with(&format!("{name}\n")), "{text}");
    }
    println!("  from creation to ready: {times:?} ms");
    let mut sorted = times.clone();
    sorted.sort_unstable();
    assert!(sorted[2] < 2000, "pods start slowly: {times:?} ms");
    let memory = shim_memory(&lab);
    println!("  a shim's memory: {memory}");
    // This is a large program with debugging help: a release build needs far less.
    let all = memory.split_once("VmRSS: ").and_then(|m| m.1.split(' ').next()?.parse::<u64>().ok());
    assert!(all.is_some_and(|kib| kib < 12 * 1024), "a shim holds too much: {memory}");
    for event in [
        "Pulled: Container image \"test/serve\" already present on machine",
        "Created: Created container: c",
        "Started: Started container c",
    ] {
        lab.event(event).await;
    }
    // A pod cannot be reached any more once it is gone, and says so at once.
    let pod = lab.pods().get("web-0").await.expect("a pod");
    let params = kube::api::DeleteParams {
        grace_period_seconds: Some(1),
        ..kube::api::DeleteParams::default()
    };
    lab.pods().delete("web-0", &params).await.expect("deleted");
    until("the pod goes", || async {
        lab.pods().get_opt("web-0").await.ok()?.is_none().then_some(())
    })
    .await;
    let start = Instant::now();
    assert!(get((ip(&pod), 80).into(), "/").await.is_err());
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "a route that is gone says so, it does not wait"
    );
    lab.event("Killing: Stopping container c").await;
}

/// What one of the shims occupies, from its status in /proc.
fn shim_memory(lab: &Lab) -> String {
    let pods = std::fs::read_dir(lab.config.run_dir.join("pods")).expect("pods").flatten();
    let running = pods.map(|p| p.path().join("containers/c/1/running.json"));
    let text = running
        .filter_map(|r| std::fs::read_to_string(r).ok())
        .next()
        .expect("a running container");
    let running: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", running["shim"])).expect("a shim");
    let lines = status.lines().filter(|l| l.starts_with("VmRSS") || l.starts_with("Rss"));
    lines.map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
}

pub(crate) async fn containers_are_restarted_with_growing_patience(lab: Lab) {
    let script = "echo run; echo because > /dev/termination-log; exit 3";
    lab.pod(
        "crash",
        json!({"containers": [{"name": "c", "image": "tool", "command": ["sh", "-c", script]}]}),
    )
    .await;
    let pod = lab
        .wait("crash", "backs off", |p| {
            container(p)["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        })
        .await;
    let shown = container(&pod);
    assert_eq!(shown["restartCount"], 1);
    assert_eq!(shown["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!(shown["lastState"]["terminated"]["reason"], "Error");
    assert_eq!(shown["lastState"]["terminated"]["message"], "because\n");
    let message = shown["state"]["waiting"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(
        message.starts_with("back-off 10s restarting failed container=c pod=crash_default("),
        "{message}"
    );
    assert_eq!(phase(&pod), "Running");
    assert_eq!(condition(&pod, "Ready"), "False");
    lab.event("BackOff: Back-off restarting failed container c in pod crash_default").await;
    let (text, ok) = lab.kubectl(&["logs", "crash", "--previous"]).await;
    assert!(ok && text == "run\n", "{text}");
    // What cannot even be executed.
    lab.pod("none", json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "tool", "command": ["/no/such/program"]}]})).await;
    let pod = lab.wait("none", "fails", |p| phase(p) == "Failed").await;
    let ended = container(&pod)["state"]["terminated"].clone();
    assert_eq!(
        (ended["exitCode"].as_i64(), ended["reason"].as_str()),
        (Some(128), Some("StartError"))
    );
    assert!(
        ended["message"]
            .as_str()
            .is_some_and(|m| m.contains("/no/such/program") && m.contains("No such file")),
        "{ended}"
    );
}

pub(crate) async fn init_containers_run_in_order_and_jobs_end(lab: Lab) {
    let step = |name: &str, script: &str| json!({"name": name, "image": "tool", "command": ["sh", "-c", script], "volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    lab.pod("job", json!({
        "restartPolicy": "OnFailure",
        "volumes": [{"name": "v", "emptyDir": {}}],
        "initContainers": [step("one", "echo 1 >> /v/log"), step("two", "echo 2 >> /v/log; test -e /v/again || { touch /v/again; exit 1; }")],
        "containers": [step("main", "cat /v/log; echo done")],
    })).await;
    let pod = lab.wait("job", "succeeds", |p| phase(p) == "Succeeded").await;
    let status = pod.status.clone().unwrap_or_default();
    let init = status.init_container_statuses.unwrap_or_default();
    assert_eq!(init.iter().map(|s| s.restart_count).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(condition(&pod, "Ready"), "False");
    let (text, ok) = lab.kubectl(&["logs", "job"]).await;
    assert!(ok && text == "1\n2\n2\ndone\n", "{text}");
    // Its network is given back, its object and logs stay.
    until("the link goes", || async {
        let links = portolan_linux::rtnl::Rtnl::open().and_then(|r| r.links()).ok()?;
        (links.len() == 1).then_some(())
    })
    .await;
    lab.pod("fail", json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "tool", "command": ["false"]}]})).await;
    lab.wait("fail", "fails", |p| phase(p) == "Failed").await;
    lab.delete("job").await;
}

pub(crate) async fn ending_takes_the_hook_and_the_grace_period(lab: Lab) {
    let hosted = tempfile::tempdir().expect("a directory");
    let script = "trap 'echo term >> /out/log; exit 0' TERM; while :; do sleep 0.05; done";
    let spec = json!({
        "volumes": [{"name": "out", "hostPath": {"path": hosted.path()}}],
        "containers": [{"name": "c", "image": "tool", "command": ["sh", "-c", script],
            "volumeMounts": [{"name": "out", "mountPath": "/out"}],
            "lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "echo hook >> /out/log"]}},
                          "postStart": {"exec": {"command": ["sh", "-c", "echo start >> /out/log"]}}}}],
    });
    lab.pod("polite", spec).await;
    lab.ready("polite").await;
    until("the start hook runs", || async {
        std::fs::read_to_string(hosted.path().join("log")).ok()
    })
    .await;
    let start = Instant::now();
    lab.delete("polite").await;
    assert!(start.elapsed() < Duration::from_secs(5), "the container ended by itself");
    let mut log = String::new();
    std::fs::File::open(hosted.path().join("log"))
        .and_then(|mut f| f.read_to_string(&mut log))
        .expect("a log");
    assert_eq!(log, "start\nhook\nterm\n");
    // One that does not listen is killed when its time is over; while it ends it stays ready.
    let deaf =
        json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "tool"}]});
    lab.pod("deaf", deaf).await;
    lab.ready("deaf").await;
    let start = Instant::now();
    lab.delete("deaf").await;
    let took = start.elapsed();
    assert!(took > Duration::from_millis(900) && took < Duration::from_secs(4), "{took:?}");
}

pub(crate) async fn pods_outlive_their_agent(lab: Lab) {
    let script = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done";
    lab.pod("stays", json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "tool", "command": ["sh", "-c", script]}]})).await;
    lab.pod("short", json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "tool", "command": ["sh", "-c", "sleep 0.7; exit 4"]}]})).await;
    lab.pod(
        "gone",
        json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "tool"}]}),
    )
    .await;
    for name in ["stays", "short", "gone"] {
        lab.ready(name).await;
    }
    let before = container(&lab.pods().get("stays").await.expect("a pod"));
    lab.stop_agent().await;
    let params = kube::api::DeleteParams {
        grace_period_seconds: Some(0),
        ..kube::api::DeleteParams::default()
    };
    lab.pods().delete("gone", &params).await.expect("deleted");
    tokio::time::sleep(Duration::from_millis(1000)).await;
    lab.start_agent();
    let short = lab.wait("short", "its end is seen", |p| phase(p) == "Failed").await;
    assert_eq!(container(&short)["state"]["terminated"]["exitCode"], 4);
    let gone = lab.config.run_dir.join("pods");
    until("the deleted pod is ended", || async {
        (std::fs::read_dir(&gone).ok()?.count() == 2).then_some(())
    })
    .await;
    let after = container(&lab.ready("stays").await);
    assert_eq!(after["containerID"], before["containerID"]);
    assert_eq!(after["state"], before["state"]);
    assert_eq!(after["restartCount"], 0);
    let (first, _) = lab.kubectl(&["logs", "stays"]).await;
    until("it goes on writing", || async {
        let (text, _) = lab.kubectl(&["logs", "stays"]).await;
        (text.lines().count() > first.lines().count()).then_some(())
    })
    .await;
    let numbers: Vec<usize> = first.lines().filter_map(|l| l.parse().ok()).collect();
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>(), "no line was lost");
}

/// An agent may die while it makes a pod, or after the pod's object is removed and before its files
/// are; the next agent hears of neither pod.
pub(crate) async fn remains_of_pods_are_cleared_away(lab: Lab) {
    lab.stop_agent().await;
    let runs = lab.config.run_dir.join("pods");
    let half_made = runs.join("11111111-half-made");
    let half_gone = runs.join("22222222-half-gone");
    std::fs::create_dir_all(&half_made).expect("a directory");
    std::fs::create_dir_all(half_gone.join("containers/c/1")).expect("a directory");
    let data = lab.config.root_dir.join("pods/33333333-data-alone");
    std::fs::create_dir_all(data.join("volumes")).expect("a directory");
    let netns = NetNs::create(half_made.join("netns")).expect("a namespace");
    let node = Rtnl::open().expect("links");
    let far = VethEnd::new("eth0").netns(&netns);
    node.add_veth(&VethEnd::new("vethhalf"), &far).expect("a link");
    drop(netns);
    lab.start_agent();
    until("nothing of them is left", || async {
        let link = node.link("vethhalf").expect("asked");
        let left = half_made.exists() || half_gone.exists() || data.exists() || link.is_some();
        (!left).then_some(())
    })
    .await;
}

pub(crate) async fn images_may_come_later(lab: Lab) {
    lab.pod("later", json!({"containers": [{"name": "c", "image": "example.org/later"}]})).await;
    let pod = lab
        .wait("later", "cannot pull", |p| {
            container(p)["state"]["waiting"]["reason"] == "ErrImagePull"
        })
        .await;
    assert_eq!(phase(&pod), "Pending");
    lab.wait("later", "backs off", |p| {
        container(p)["state"]["waiting"]["reason"] == "ImagePullBackOff"
    })
    .await;
    for event in [
        "Pulling: Pulling image \"example.org/later\"",
        "Failed: Failed to pull image \"example.org/later\"",
        "Failed: Error: ErrImagePull",
        "BackOff: Back-off pulling image",
        "Failed: Error: ImagePullBackOff",
    ] {
        lab.event(event).await;
    }
    let start = Instant::now();
    lab.images.add("example.org/later:latest", vec!["sleep".into(), "1000".into()]).expect("added");
    lab.ready("later").await;
    assert!(start.elapsed() < Duration::from_secs(3), "it starts once its image is there");
    lab.pod(
        "never",
        json!({"containers": [{"name": "c", "image": "nothing", "imagePullPolicy": "Never"}]}),
    )
    .await;
    lab.wait("never", "is refused", |p| {
        container(p)["state"]["waiting"]["reason"] == "ErrImageNeverPull"
    })
    .await;
    lab.pod("odd", json!({"containers": [{"name": "c", "image": "Odd//Name"}]})).await;
    lab.wait("odd", "is refused", |p| {
        container(p)["state"]["waiting"]["reason"] == "InvalidImageName"
    })
    .await;
}
