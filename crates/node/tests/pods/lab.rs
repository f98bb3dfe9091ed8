//! A cluster of one node: API server and agent in this process.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Node, Pod, ServiceAccount};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::wait::await_condition,
};
use parking_lot::Mutex;
use portolan_apiserver::{ApiServer, Config, pki::Pki, serve, store::memory::MemoryStore};
use portolan_linux::cgroup::{self, Cgroup};
use portolan_node::{
    agent::{self, AgentConfig, BuiltinImage, KubeletTls},
    pods::images::ImageStore,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// The node's address.
pub(crate) const NODE: &str = "192.0.2.10";
const PATIENCE: Duration = Duration::from_secs(20);

/// How to stop the agent, and the task that it is.
type Agent = (CancellationToken, tokio::task::JoinHandle<()>);

#[derive(Clone)]
pub(crate) struct Lab {
    pub(crate) client: Client,
    pub(crate) config: AgentConfig,
    pub(crate) images: ImageStore,
    pub(crate) kubeconfig: PathBuf,
    agent: Arc<Mutex<Option<Agent>>>,
    everything: CancellationToken,
}

impl Lab {
    pub(crate) async fn start(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).expect("a directory");
        let pki = Pki::load_or_create(dir.join("pki")).expect("certificates");
        let names = ["127.0.0.1".to_owned(), NODE.to_owned()];
        let rtnl = portolan_linux::rtnl::Rtnl::open().expect("links");
        rtnl.add_address("lo", format!("{NODE}/32").parse().expect("an address"))
            .expect("an address");
        pki.server("apiserver", "kube-apiserver", &[], &names).expect("a certificate");
        pki.server("kubelet", "system:node:node-1", &["system:nodes"], &names)
            .expect("a certificate");
        let config = pki.configure(Config::default()).expect("a configuration");
        let api =
            ApiServer::start(Arc::new(MemoryStore::new()), config).await.expect("an API server");
        let client = Client::new(api.service(), "default");
        let everything = CancellationToken::new();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = format!("https://{}", listener.local_addr().expect("an address"));
        let tls = serve::TlsFiles {
            certificate: pki.certificate_file("apiserver"),
            key: pki.key_file("apiserver"),
            client_ca: Some(pki.ca_file()),
        };
        let stop = everything.clone().cancelled_owned();
        tokio::spawn(serve::serve(api, vec![listener], tls.load().expect("certificates"), stop));
        let admin =
            pki.issue_client("kubernetes-admin", &["system:masters"]).expect("a certificate");
        let kubeconfig = dir.join("kubeconfig");
        std::fs::write(&kubeconfig, pki.kubeconfig(&server, "test", "admin", &admin))
            .expect("written");

        let name = dir.file_name().expect("a name").to_string_lossy().into_owned();
        let mut config = AgentConfig::new("node-1", vec![NODE.parse().expect("an address")], dir);
        config.cgroup_parent = cgroup::root()
            .expect("cgroup2")
            .join(format!("portolan-test-{}-{name}", std::process::id()));
        config.cluster_dns = vec!["10.96.0.10".parse().expect("an address")];
        config.program = std::env::current_exe().expect("a path");
        config.kubelet_tls = Some(KubeletTls {
            certificate: pki.certificate_file("kubelet"),
            key: pki.key_file("kubelet"),
            client_ca: pki.ca_file(),
        });
        config.builtin_images = vec![BuiltinImage {
            name: "test/serve".to_owned(),
            entrypoint: vec!["image".to_owned(), "serve".to_owned()],
            command: vec!["8080".to_owned()],
        }];
        let images = ImageStore::open(&config.images_dir).expect("an image store");
        images.add("tool", vec!["sleep".to_owned(), "1000".to_owned()]).expect("added");
        let lab = Self { client, config, images, kubeconfig, agent: Arc::default(), everything };
        lab.start_agent();
        lab.join_cluster().await;
        lab
    }

    pub(crate) fn start_agent(&self) {
        let stop = CancellationToken::new();
        let run = agent::run(self.client.clone(), self.config.clone(), stop.clone());
        let task = tokio::spawn(async move { run.await.expect("the agent runs") });
        *self.agent.lock() = Some((stop, task));
    }

    pub(crate) async fn stop_agent(&self) {
        let held = self.agent.lock().take();
        if let Some((stop, task)) = held {
            stop.cancel();
            task.await.expect("the agent stops");
        }
    }

    /// What controllers do elsewhere: a range for the node, an account for the namespace.
    async fn join_cluster(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        assert!(namespaces.get_opt("default").await.expect("asked").is_some());
        let accounts: Api<ServiceAccount> = Api::default_namespaced(self.client.clone());
        let account = from(json!({"metadata": {"name": "default"}}));
        accounts.create(&PostParams::default(), &account).await.expect("an account");
        self.config_map("kube-root-ca.crt", json!({"ca.crt": "some authority"})).await;
        let nodes: Api<Node> = Api::all(self.client.clone());
        until("the node registers", || async { nodes.get_opt("node-1").await.ok().flatten() })
            .await;
        let cidr = json!({"spec": {"podCIDR": "10.244.7.0/24", "podCIDRs": ["10.244.7.0/24"]}});
        nodes.patch("node-1", &PatchParams::default(), &Patch::Merge(cidr)).await.expect("a range");
        until("the node is ready", || async {
            let node = nodes.get("node-1").await.ok()?;
            let ready = node.status?.conditions?.into_iter().find(|c| c.type_ == "Ready")?;
            (ready.status == "True").then_some(())
        })
        .await;
    }

    pub(crate) async fn config_map(&self, name: &str, data: Value) {
        let maps: Api<ConfigMap> = Api::default_namespaced(self.client.clone());
        if maps.get_opt(name).await.expect("asked").is_some() {
            let patch = Patch::Merge(json!({"data": data}));
            maps.patch(name, &PatchParams::default(), &patch).await.expect("changed");
        } else {
            let map: ConfigMap = from(json!({"metadata": {"name": name}, "data": data}));
            maps.create(&PostParams::default(), &map).await.expect("created");
        }
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::default_namespaced(self.client.clone())
    }

    /// Creates a pod on the node.
    pub(crate) async fn pod(&self, name: &str, mut spec: Value) -> Pod {
        spec["nodeName"] = json!("node-1");
        let pod = from(json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": spec}));
        self.pods().create(&PostParams::default(), &pod).await.expect("a pod")
    }

    /// Waits until the pod is as `look` wants it and returns it.
    pub(crate) async fn wait(&self, name: &str, what: &str, look: impl Fn(&Pod) -> bool) -> Pod {
        let condition = |pod: Option<&Pod>| pod.is_some_and(&look);
        let waited =
            tokio::time::timeout(PATIENCE, await_condition(self.pods(), name, condition)).await;
        match waited {
            Ok(Ok(Some(pod))) => pod,
            other => {
                let held = self.pods().get_opt(name).await;
                let status = held.ok().flatten().and_then(|p| p.status);
                let status = serde_json::to_string_pretty(&status).unwrap_or_default();
                let events = self.events().await;
                panic!(
                    "{name}: {what}: {:?}\n{status}\n{events:#?}",
                    other.map(|o| o.map(drop).err())
                );
            }
        }
    }

    pub(crate) async fn ready(&self, name: &str) -> Pod {
        self.wait(name, "becomes ready", |p| condition(p, "Ready") == "True").await
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.pods().delete(name, &DeleteParams::default()).await.expect("deleted");
        until("the pod goes", || async {
            self.pods().get_opt(name).await.ok()?.is_none().then_some(())
        })
        .await;
    }

    /// The reasons and messages of all events.
    pub(crate) async fn events(&self) -> Vec<String> {
        let events: Api<Event> = Api::default_namespaced(self.client.clone());
        let list = events.list(&ListParams::default()).await.expect("events");
        list.items
            .into_iter()
            .map(|e| format!("{}: {}", e.reason.unwrap_or_default(), e.message.unwrap_or_default()))
            .collect()
    }

    pub(crate) async fn event(&self, text: &str) {
        until(&format!("there is an event {text:?}"), || async {
            self.events().await.iter().any(|e| e.contains(text)).then_some(())
        })
        .await;
    }

    /// Runs kubectl; what it printed (errors too if it failed), and whether it succeeded.
    pub(crate) async fn kubectl(&self, args: &[&str]) -> (String, bool) {
        let output = tokio::process::Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(args)
            .output();
        let output = tokio::time::timeout(PATIENCE, output)
            .await
            .expect("kubectl ends")
            .expect("kubectl runs");
        let ok = output.status.success();
        let text = if ok { output.stdout } else { [output.stdout, output.stderr].concat() };
        (String::from_utf8_lossy(&text).into_owned(), ok)
    }

    /// Runs a command in a pod and returns what it printed.
    pub(crate) async fn exec(&self, pod: &str, command: &str) -> String {
        let (text, ok) = self.kubectl(&["exec", pod, "--", "sh", "-c", command]).await;
        assert!(ok, "{command}: {text}");
        text
    }

    /// Ends everything and checks that nothing is left.
    pub(crate) async fn stop(&self) {
        let list = self.pods().list(&ListParams::default()).await.expect("pods").items;
        for pod in list {
            let name = pod.metadata.name.unwrap_or_default();
            let params = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
            let _ = self.pods().delete(&name, &params).await;
        }
        let runs = self.config.run_dir.join("pods");
        until("pods are forgotten", || async {
            let left = std::fs::read_dir(&runs).map_or(0, Iterator::count);
            (left == 0).then_some(())
        })
        .await;
        self.stop_agent().await;
        self.everything.cancel();
        let links = portolan_linux::rtnl::Rtnl::open().and_then(|r| r.links()).expect("links");
        assert_eq!(links.len(), 1, "links are left: {links:?}");
        let group = Cgroup::existing(&self.config.cgroup_parent);
        assert!(!group.populated().expect("asked"), "processes are left");
        group.remove().expect("removed");
    }
}

pub(crate) fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object")
}

pub(crate) fn condition(pod: &Pod, kind: &str) -> String {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().find(|c| c.type_ == kind).map(|c| c.status.clone()).unwrap_or_default()
}

/// The status of the pod's first container, as JSON.
pub(crate) fn container(pod: &Pod) -> Value {
    let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref());
    serde_json::to_value(statuses.and_then(|s| s.first())).unwrap_or_default()
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

pub(crate) fn ip(pod: &Pod) -> std::net::IpAddr {
    pod.status
        .as_ref()
        .and_then(|s| s.pod_ip.as_ref())
        .expect("an address")
        .parse()
        .expect("an address")
}

/// Waits for something that no watch tells of.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
