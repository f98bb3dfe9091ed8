//! What a container sees, and what one sees of it.

use serde_json::json;

use super::lab::{Lab, NODE, ip, until};

pub(crate) async fn a_container_sees_what_kubernetes_promises(lab: Lab) {
    lab.config_map("settings", json!({"COLOUR": "blue", "file": "content"})).await;
    let pod = lab.pod("view", json!({
        "hostname": "myhost", "subdomain": "mysub",
        "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "about", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}],
        "containers": [{"name": "c", "image": "tool", "workingDir": "/var/scratch",
            "envFrom": [{"configMapRef": {"name": "settings"}}],
            "env": [{"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, {"name": "BOTH", "value": "$(COLOUR)-$(ME)"}],
            "volumeMounts": [{"name": "scratch", "mountPath": "/var/scratch"}, {"name": "about", "mountPath": "/etc/about"}]}],
    })).await;
    assert!(pod.metadata.uid.is_some());
    let address = ip(&lab.ready("view").await);
    let sees = async |command: &str| lab.exec("view", command).await.trim_end().to_owned();
    assert_eq!(sees("hostname").await, "myhost");
    assert_eq!(sees("echo $BOTH; pwd").await, format!("blue-{address}\n/var/scratch"));
    assert!(
        sees("cat /etc/hosts")
            .await
            .contains(&format!("{address}\tmyhost.mysub.default.svc.cluster.local\tmyhost"))
    );
    let resolver = sees("cat /etc/resolv.conf").await;
    assert!(
        resolver.starts_with("search default.svc.cluster.local svc.cluster.local cluster.local"),
        "{resolver}"
    );
    assert!(
        resolver.contains("nameserver 10.96.0.10\n") && resolver.ends_with("options ndots:5"),
        "{resolver}"
    );
    assert_eq!(sees("cat /etc/about/labels").await, "app=\"view\"");
    let token = sees("cat /var/run/secrets/kubernetes.io/serviceaccount/token").await;
    assert_eq!(token.split('.').count(), 3, "a token: {token}");
    assert_eq!(
        sees("cat /var/run/secrets/kubernetes.io/serviceaccount/namespace").await,
        "default"
    );
    assert_eq!(
        sees("cat /var/run/secrets/kubernetes.io/serviceaccount/ca.crt").await,
        "some authority"
    );
    // Its own processes, its own links, a root that cannot be written, a place that can.
    assert_eq!(sees("cat /proc/1/comm").await, "sleep");
    assert_eq!(sees("ls /sys/class/net | tr '\\n' ' '").await, "eth0 lo");
    assert_eq!(sees("touch /usr/x 2>/dev/null || echo no").await, "no");
    assert_eq!(
        sees("echo hi > /tmp/x; echo ho > /var/scratch/y; cat /tmp/x y; ls /run; : > /dev/null")
            .await,
        "hi\nho\nsecrets"
    );
    let hidden = format!("ls -A {} 2>/dev/null | wc -l", lab.config.run_dir.display());
    assert_eq!(sees(&hidden).await, "0");
    // The host does not see what is mounted for the container.
    assert!(!std::path::Path::new("/etc/about").exists());

    lab.pod("host", json!({"hostNetwork": true, "containers": [{"name": "c", "image": "tool"}]}))
        .await;
    assert_eq!(ip(&lab.ready("host").await).to_string(), NODE);
    assert_eq!(lab.exec("host", "hostname").await.trim(), "node-1");
    lab.pod("user", json!({"securityContext": {"runAsUser": 1234, "runAsGroup": 55, "fsGroup": 66}, "containers": [{"name": "c", "image": "tool"}]})).await;
    lab.ready("user").await;
    let id = lab.exec("user", "id -u; id -g; id -G").await;
    assert_eq!(id, "1234\n55\n55 66\n");
}

pub(crate) async fn volumes_follow_their_sources(lab: Lab) {
    let spec = json!({
        "volumes": [{"name": "v", "configMap": {"name": "late"}}, {"name": "o", "configMap": {"name": "none", "optional": true}}],
        "containers": [{"name": "c", "image": "tool", "volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/one", "subPath": "a"}, {"name": "o", "mountPath": "/o"}]}],
    });
    lab.pod("vol", spec).await;
    lab.event(
        "FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"late\" not found",
    )
    .await;
    lab.config_map("late", json!({"a": "1", "b": "2"})).await;
    lab.ready("vol").await;
    assert_eq!(lab.exec("vol", "cat /v/a /v/b /one; ls /o").await, "121");
    assert_eq!(lab.exec("vol", "touch /v/x 2>/dev/null || echo no").await, "no\n");
    lab.config_map("late", json!({"a": "new", "b": null})).await;
    until("the new content shows", || async {
        (lab.exec("vol", "cat /v/a; ls /v").await == "newa\n").then_some(())
    })
    .await;
    lab.config_map("none", json!({"c": "3"})).await;
    until("the optional one shows", || async {
        (lab.exec("vol", "ls /o").await == "c\n").then_some(())
    })
    .await;

    lab.pod("env", json!({"containers": [{"name": "c", "image": "tool", "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "k"}}}]}]})).await;
    lab.event("Failed: Error: configmap \"later\" not found").await;
    lab.config_map("later", json!({"k": "v"})).await;
    lab.ready("env").await;
    assert_eq!(lab.exec("env", "echo $X").await, "v\n");
}

pub(crate) async fn kubectl_reads_logs_and_runs_commands(lab: Lab) {
    let script = "echo one; echo two >&2; printf three; sleep 0.5; echo; echo four; read forever";
    lab.pod("talk", json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "tool", "command": ["sh", "-c", "echo one; echo two >&2; exec sleep 1000"]}]})).await;
    lab.ready("talk").await;
    until("both lines are there", || async {
        (lab.kubectl(&["logs", "talk"]).await.0 == "one\ntwo\n").then_some(())
    })
    .await;
    assert_eq!(lab.kubectl(&["logs", "talk", "--tail=1"]).await.0, "two\n");
    let stamped = lab.kubectl(&["logs", "talk", "--timestamps", "--tail=1"]).await.0;
    let (time, rest) = stamped.split_once(' ').expect("a time");
    assert!(time.parse::<jiff::Timestamp>().is_ok() && rest == "two\n", "{stamped}");
    let (text, ok) =
        lab.kubectl(&["exec", "talk", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]).await;
    assert!(
        !ok && text.contains("out\n") && text.contains("err\n") && text.contains("exit code 7"),
        "{text}"
    );
    let (text, ok) = lab.kubectl(&["exec", "talk", "--", "/no/such"]).await;
    assert!(!ok && text.contains("No such file"), "{text}");
    // Input, in one go and in pieces.
    let kubeconfig = lab.kubeconfig.display();
    let pipe = format!("seq 1 20000 | kubectl --kubeconfig {kubeconfig} exec -i talk -- wc -l");
    let output =
        tokio::process::Command::new("sh").args(["-c", &pipe]).output().await.expect("a shell");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "20000");
    let terminal = format!(
        "script -qec 'kubectl --kubeconfig {kubeconfig} exec -it talk -- sh -c \"tty >/dev/null && stty size && echo terminal\"' /dev/null"
    );
    let output = tokio::process::Command::new("sh")
        .args(["-c", &terminal])
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .expect("a shell");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(shown.contains("terminal"), "{shown} {}", String::from_utf8_lossy(&output.stderr));
    // Following ends with the container.
    lab.pod("end", json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "tool", "command": ["bash", "-c", script]}]})).await;
    lab.wait("end", "runs", |p| super::lab::phase(p) != "Pending").await;
    let (text, ok) = lab.kubectl(&["logs", "-f", "end"]).await;
    assert!(ok && text == "one\ntwo\nthree\nfour\n", "{text}");
    let (text, ok) = lab.kubectl(&["logs", "end", "--previous"]).await;
    assert!(!ok && text.contains("previous terminated container"), "{text}");
}

pub(crate) async fn kubectl_forwards_ports(lab: Lab) {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    lab.pod("web", json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "test/serve"}]})).await;
    let address = ip(&lab.ready("web").await);
    until("it serves", || async { tokio::net::TcpStream::connect((address, 8080)).await.ok() })
        .await;
    let mut kubectl = tokio::process::Command::new("kubectl")
        .args([
            "--kubeconfig",
            &lab.kubeconfig.display().to_string(),
            "port-forward",
            "pod/web",
            ":8080",
            ":9",
        ])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("kubectl");
    let mut lines = BufReader::new(kubectl.stdout.take().expect("output")).lines();
    let mut ports = Vec::new();
    while ports.len() < 2 {
        let line = lines.next_line().await.expect("a line").expect("a line");
        let port = line
            .strip_prefix("Forwarding from 127.0.0.1:")
            .and_then(|l| l.split(' ').next()?.parse::<u16>().ok());
        ports.extend(port);
    }
    for _ in 0..3 {
        let mut stream =
            tokio::net::TcpStream::connect(("127.0.0.1", ports[0])).await.expect("connected");
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("an answer");
        assert!(text.ends_with("web\n"), "{text}");
    }
    // Where nobody listens in the pod, kubectl says so.
    let mut stream =
        tokio::net::TcpStream::connect(("127.0.0.1", ports[1])).await.expect("connected");
    let _ = stream.read_to_end(&mut Vec::new()).await;
    let mut errors = BufReader::new(kubectl.stderr.take().expect("errors")).lines();
    let line = errors.next_line().await.expect("a line").expect("a line");
    assert!(line.contains("failed to connect to localhost:9 inside the pod"), "{line}");
    kubectl.kill().await.expect("ended");
}
