//! Readiness, liveness and startup.

use std::time::{Duration, Instant};

use serde_json::json;

use super::lab::{Lab, condition, container, ip};

/// A pod without a readiness probe is ready before its server listens.
async fn connect(to: std::net::IpAddr) -> tokio::net::TcpStream {
    let start = Instant::now();
    loop {
        match tokio::net::TcpStream::connect((to, 8080)).await {
            Ok(stream) => return stream,
            Err(error) => assert!(start.elapsed() < Duration::from_secs(20), "{to}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn tell(to: std::net::IpAddr, path: &str) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = connect(to).await;
    stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).await.expect("sent");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

pub(crate) async fn probes_decide_readiness_and_restarts(lab: Lab) {
    let http = |threshold: i32| json!({"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1, "failureThreshold": threshold});
    lab.pod("ready", json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "test/serve", "readinessProbe": http(1)}]})).await;
    let address = ip(&lab.ready("ready").await);
    tell(address, "/fail").await;
    let pod = lab.wait("ready", "is no longer ready", |p| condition(p, "Ready") == "False").await;
    assert_eq!(container(&pod)["restartCount"], 0);
    lab.event("Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 500").await;
    tell(address, "/mend").await;
    lab.ready("ready").await;

    lab.pod("live", json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "test/serve", "livenessProbe": http(2)}]})).await;
    let address = ip(&lab.ready("live").await);
    tell(address, "/fail").await;
    let pod = lab
        .wait("live", "is restarted", |p| {
            container(p)["restartCount"] == 1 && condition(p, "Ready") == "True"
        })
        .await;
    assert_eq!(ip(&pod), address, "the pod keeps its address");
    assert_eq!(container(&pod)["lastState"]["terminated"]["exitCode"], 137);
    lab.event("Killing: Container c failed liveness probe, will be restarted").await;

    // Slow to start: nothing else is asked until it has.
    let command = ["sh", "-c", "sleep 1.5; touch /tmp/up; sleep 1000"];
    let exec = |file: &str, threshold: i32| json!({"exec": {"command": ["test", "-e", file]}, "periodSeconds": 1, "failureThreshold": threshold});
    let start = Instant::now();
    lab.pod("slow", json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "tool", "command": command,
        "startupProbe": exec("/tmp/up", 10), "livenessProbe": exec("/tmp/up", 1), "readinessProbe": exec("/tmp/up", 1)}]})).await;
    let pod = lab.ready("slow").await;
    assert!(start.elapsed() > Duration::from_millis(1400));
    assert_eq!(container(&pod)["restartCount"], 0);

    lab.pod("tcp", json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "test/serve", "readinessProbe": {"tcpSocket": {"port": 8080}}}]})).await;
    lab.ready("tcp").await;
    lab.pod("closed", json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "test/serve", "readinessProbe": {"tcpSocket": {"port": 9}, "periodSeconds": 1}}]})).await;
    lab.event("Unhealthy: Readiness probe failed: dial tcp 10.244.7").await;
    let pod = lab.pods().get("closed").await.expect("a pod");
    assert_eq!(condition(&pod, "Ready"), "False");
}
