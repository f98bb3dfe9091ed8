//! Follows the pods bound to this node and keeps a worker for each.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, runtime::watcher};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet};

use super::{
    Runtime, report,
    sandbox::Sandbox,
    worker::{Order, Worker},
};
use crate::agent::backoff;

#[derive(Debug)]
struct Workers {
    runtime: Arc<Runtime>,
    /// By the pods' uids.
    orders: HashMap<String, watch::Sender<Order>>,
    tasks: JoinSet<String>,
}

/// Runs the node's pods for ever. Dropped, it leaves them running.
pub(crate) async fn run(runtime: Arc<Runtime>) {
    let pods: Api<Pod> = Api::all(runtime.client.0.clone());
    let config =
        watcher::Config::default().fields(&format!("spec.nodeName={}", runtime.config.node_name));
    let mut events = std::pin::pin!(watcher(pods, config));
    let mut workers = Workers { runtime, orders: HashMap::new(), tasks: JoinSet::new() };
    let mut listed: HashSet<String> = HashSet::new();
    let mut failures = 0;
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            Some(ended) = workers.tasks.join_next() => {
                match ended {
                    Ok(uid) => drop(workers.orders.remove(&uid)),
                    Err(e) => tracing::error!(error = %e, "a pod's worker failed"),
                }
                continue;
            }
        };
        match event {
            Some(Ok(watcher::Event::Init)) => listed.clear(),
            Some(Ok(watcher::Event::InitApply(pod))) => {
                listed.extend(pod.metadata.uid.clone());
                workers.wanted(pod, false);
            }
            Some(Ok(watcher::Event::InitDone)) => {
                failures = 0;
                workers.only(&listed);
            }
            Some(Ok(watcher::Event::Apply(pod))) => workers.wanted(pod, false),
            Some(Ok(watcher::Event::Delete(pod))) => workers.wanted(pod, true),
            Some(Err(e)) => {
                tracing::debug!(error = report(&e), "the watch on pods broke");
                tokio::time::sleep(backoff(failures).min(Duration::from_secs(2))).await;
                failures += 1;
            }
            None => return,
        }
    }
}

impl Workers {
    /// Passes on what is wanted of a pod; a new one gets a worker.
    fn wanted(&mut self, mut pod: Pod, deleted: bool) {
        pod.metadata.managed_fields = None;
        let Some(uid) = pod.metadata.uid.clone() else { return };
        let order = Order { pod: Arc::new(pod), deleted };
        if let Some(sender) = self.orders.get(&uid).filter(|s| !s.is_closed()) {
            sender.send_replace(order);
            return;
        }
        // A pod that is gone and was never here needs nobody.
        if deleted {
            return;
        }
        self.start(uid, order);
    }

    fn start(&mut self, uid: String, order: Order) {
        let (sender, receiver) = watch::channel(order);
        self.orders.insert(uid.clone(), sender);
        let worker = Worker::new(Arc::clone(&self.runtime), receiver);
        self.tasks.spawn(async move {
            worker.run().await;
            uid
        });
    }

    /// Ends all pods that are not among `listed`: their objects are gone.
    fn only(&mut self, listed: &HashSet<String>) {
        for (_, sender) in self.orders.iter().filter(|(uid, _)| !listed.contains(*uid)) {
            sender.send_modify(|order| order.deleted = true);
        }
        for uid in self.runtime.kept() {
            if listed.contains(&uid) || self.orders.contains_key(&uid) {
                continue;
            }
            match Sandbox::load(&self.runtime.pod_dir(&uid)) {
                Some(sandbox) => self.end(uid, &sandbox),
                None => self.clear_away(uid),
            }
        }
    }

    /// Ends a pod of which nothing is known any more but what was left on this node.
    fn end(&mut self, uid: String, sandbox: &Sandbox) {
        let (name, namespace) = (&sandbox.name, &sandbox.namespace);
        tracing::info!(pod = name, namespace, "ending a pod that is gone");
        let dir = self.runtime.pod_dir(&uid).join("containers");
        let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let containers: Vec<_> =
            names.map(|e| json!({"name": e.file_name().to_string_lossy()})).collect();
        let pod = json!({
            "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "spec": {"containers": containers, "hostNetwork": sandbox.host_network},
        });
        if let Ok(pod) = serde_json::from_value(pod) {
            self.start(uid, Order { pod: Arc::new(pod), deleted: true });
        }
    }

    /// The agent before died while it made the pod, when nothing ran yet, or when nothing did any
    /// more: without a sandbox there are only files and namespaces.
    fn clear_away(&mut self, uid: String) {
        tracing::info!(uid, "clearing away what is left of a pod that is gone");
        let runtime = Arc::clone(&self.runtime);
        self.tasks.spawn_blocking(move || {
            if let Err(e) = runtime.forget(&uid) {
                tracing::warn!(uid, error = report(&e), "something of a pod that is gone is left");
            }
            uid
        });
    }
}
