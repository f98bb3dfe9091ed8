//! A cluster in one process: the real API server, the controllers, and nodes whose pods only say that they run.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use futures::StreamExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Node, Pod},
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::watcher,
};
use parking_lot::Mutex;
use portolan_apiserver::{ApiServer, store::memory::MemoryStore};
use portolan_controllers::{Config, Error, Metrics};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The cluster; everything ends with it.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) kubelet: Arc<Kubelet>,
    shutdown: CancellationToken,
    _guard: DropGuard,
}

/// How the pods of the pretended nodes behave.
#[derive(Debug, Default)]
pub(crate) struct Kubelet {
    /// Pods whose name starts so never become ready.
    pub(crate) broken: Mutex<Vec<String>>,
    /// Pods whose deletion is not finished, by name.
    pub(crate) held: Mutex<Vec<String>>,
    next: AtomicU32,
}

pub(crate) fn config() -> Config {
    Config {
        cluster_cidrs: vec!["10.244.0.0/16".parse().unwrap(), "fd00:10:244::/56".parse().unwrap()],
        root_ca: Some("the CA".into()),
        ..Config::default()
    }
}

impl Cluster {
    /// An API server with these nodes, without controllers.
    pub(crate) async fn bare(nodes: &[&str]) -> Self {
        let config = portolan_apiserver::Config {
            advertise: Some("192.0.2.10:6443".parse().unwrap()),
            ..Default::default()
        };
        let api = ApiServer::start(Arc::new(MemoryStore::new()), config).await;
        let client = Client::new(api.expect("API server starts").service(), "default");
        let shutdown = CancellationToken::new();
        let kubelet = Arc::new(Kubelet::default());
        let cluster = Self { client, kubelet, _guard: shutdown.clone().drop_guard(), shutdown };
        for name in nodes {
            cluster.add_node(name).await;
        }
        tokio::spawn(serve_pods(
            cluster.client.clone(),
            cluster.kubelet.clone(),
            cluster.shutdown.clone(),
        ));
        cluster
    }

    /// The same with controllers.
    pub(crate) async fn start(nodes: &[&str]) -> Self {
        let cluster = Self::bare(nodes).await;
        cluster.control(config());
        cluster
    }

    /// Starts controllers; they end with the token, at the latest with the cluster.
    pub(crate) fn control(
        &self,
        config: Config,
    ) -> (CancellationToken, JoinHandle<Result<(), Error>>) {
        METRICS.with_borrow_mut(|m| m.push(config.metrics.clone()));
        let stop = self.shutdown.child_token();
        let run = portolan_controllers::run(self.client.clone(), config, stop.clone());
        (stop, tokio::spawn(run))
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    pub(crate) async fn add_node(&self, name: &str) {
        let api: Api<Node> = Api::all(self.client.clone());
        let mut labels = json!({"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": format!("zone-of-{name}")});
        if name == "control-plane" {
            labels["node-role.kubernetes.io/control-plane"] = json!("");
        }
        let node: Node =
            serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap();
        api.create(&PostParams::default(), &node).await.expect("node is created");
        let status = json!({"status": {
            "allocatable": {"cpu": "8", "memory": "16Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        }});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(status))
            .await
            .expect("node is ready");
    }

    /// Creates an object of the namespace `default` from JSON.
    pub(crate) async fn create<K>(&self, value: Value) -> K
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize,
    {
        let object: K = serde_json::from_value(value).expect("object parses");
        self.api::<K>().create(&PostParams::default(), &object).await.expect("object is created")
    }

    pub(crate) async fn patch<K>(&self, name: &str, value: Value) -> K
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let api = self.api::<K>();
        api.patch(name, &PatchParams::default(), &Patch::Merge(value))
            .await
            .expect("object is patched")
    }

    pub(crate) async fn list<K>(&self) -> Vec<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        self.api::<K>().list(&Default::default()).await.expect("objects are listed").items
    }

    /// The names of the pods that are there, sorted.
    pub(crate) async fn pods(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.list::<Pod>().await.into_iter().map(|p| p.metadata.name.unwrap()).collect();
        names.sort();
        names
    }

    /// The ready pods, sorted by name.
    pub(crate) async fn ready(&self) -> Vec<Pod> {
        let mut pods = self.list::<Pod>().await;
        pods.retain(|p| {
            p.metadata.deletion_timestamp.is_none() && portolan_controllers::pod::is_ready(p)
        });
        pods.sort_by_key(|p| p.metadata.name.clone());
        pods
    }
}

thread_local! {
    /// Of the controllers that this test started: a test has a thread of its own.
    static METRICS: RefCell<Vec<Metrics>> = const { RefCell::new(Vec::new()) };
}

/// The last error of every queue, for the message of a test that fails.
fn errors() -> Vec<String> {
    METRICS.with_borrow(|all| {
        let queues = all.iter().flat_map(|m| m.health().queues);
        queues.filter_map(|q| Some(format!("{}: {}", q.name, q.last_error?.message))).collect()
    })
}

/// Waits until `check` gives a value; names what it waits for if that takes too long.
pub(crate) async fn eventually<T, F>(what: &str, mut check: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let start = Instant::now();
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "waited in vain: {what}; {:#?}",
            errors()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Makes pods run and end, as kubelets do.
async fn serve_pods(client: Client, kubelet: Arc<Kubelet>, shutdown: CancellationToken) {
    let mut events = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default()).boxed();
    let mut told: HashMap<String, String> = HashMap::new();
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return,
            event = events.next() => event,
        };
        let Some(Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod))) = event else {
            continue;
        };
        let name = pod.metadata.name.clone().unwrap();
        let api: Api<Pod> =
            Api::namespaced(client.clone(), pod.metadata.namespace.as_deref().unwrap());
        let spec = pod.spec.as_ref().unwrap();
        if spec.node_name.is_none() {
            continue;
        }
        if pod.metadata.deletion_timestamp.is_some() {
            if !kubelet.held.lock().iter().any(|h| name.starts_with(h)) {
                let params = DeleteParams { grace_period_seconds: Some(0), ..Default::default() };
                let _ = api.delete(&name, &params).await;
            }
            continue;
        }
        let uid = pod.metadata.uid.clone().unwrap();
        if told.insert(uid, name.clone()).is_some() {
            continue;
        }
        let number = kubelet.next.fetch_add(1, Ordering::Relaxed) + 1;
        let ip = format!("10.244.{}.{}", number / 250, number % 250 + 1);
        let ready = !kubelet.broken.lock().iter().any(|b| name.starts_with(b));
        let status = status(&ip, ready);
        let _ = api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(status)).await;
    }
}

pub(crate) fn status(ip: &str, ready: bool) -> Value {
    let ready = if ready { "True" } else { "False" };
    json!({"status": {
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": jiff::Timestamp::now().to_string()}],
    }})
}

pub(crate) fn deployment(name: &str, replicas: i32, image: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template(name, image)},
    })
}

pub(crate) fn template(app: &str, image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"terminationGracePeriodSeconds": 30, "containers": [{"name": "c", "image": image, "ports": [{"name": "web", "containerPort": 8080}]}]},
    })
}

pub(crate) fn service(name: &str, app: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": "web"}]},
    })
}
