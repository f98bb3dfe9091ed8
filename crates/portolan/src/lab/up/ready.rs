//! Waits until a lab can be used: the API answers, every node is Ready, names resolve.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Node;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use portolan_linux::netns::NetNs;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout_at};

use crate::bootstrap;
use crate::config::range::Family;
use crate::lab::control::{Exited, Request, ask};
use crate::lab::paths::Paths;
use crate::lab::plan::{Machine, Plan};
use crate::lab::{process, query};

/// A component that ended this often in a row will not come up.
const FAILURES_MAX: u32 = 4;

pub(super) fn wait(
    plan: &Plan,
    paths: &Paths,
    say: &dyn Fn(&str),
    deadline: Instant,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut exits = watch_exits(paths)?;
    let stage = watch::Sender::new("the API server");
    let result = runtime.block_on(async {
        tokio::select! {
            result = wait_for_all(plan, paths, say, &stage, deadline) => result,
            Some(exited) = exits.recv() => Err(explain_exit(paths, &exited)),
        }
    });
    // Threads that still ask for a name are not worth waiting for.
    runtime.shutdown_background();
    result
}

async fn wait_for_all(
    plan: &Plan,
    paths: &Paths,
    say: &dyn Fn(&str),
    stage: &watch::Sender<&'static str>,
    deadline: Instant,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let stages = async {
        let client = connect(paths).await?;
        say(&format!("API server answers ({})", seconds(started)));
        stage.send_replace("the cluster's first objects");
        bootstrap::create(&client, &bootstrap_values(plan)).await?;
        stage.send_replace("the nodes");
        nodes_ready(client, plan).await?;
        say(&format!("{} nodes are Ready ({})", plan.nodes.len(), seconds(started)));
        stage.send_replace("the cluster's DNS");
        names_resolve(plan, paths, deadline).await?;
        say(&format!("DNS answers ({})", seconds(started)));
        Ok(())
    };
    match timeout_at(deadline.into(), stages).await {
        Ok(result) => result,
        Err(_) => bail!(
            "gave up waiting for {}{}",
            *stage.borrow(),
            recent_logs(plan, paths, *stage.borrow())
        ),
    }
}

fn seconds(since: Instant) -> String {
    format!("{:.2} s", since.elapsed().as_secs_f64())
}

fn bootstrap_values(plan: &Plan) -> bootstrap::Values {
    bootstrap::Values {
        cluster_domain: plan.spec.cluster_domain.clone(),
        dns_addresses: plan.dns_addresses.clone(),
        // One on each node.
        dns_replicas: plan.nodes.len() as u32,
    }
}

/// A client, once the API server says that it is ready.
async fn connect(paths: &Paths) -> anyhow::Result<Client> {
    let client = crate::config::kubeconfig::client(&paths.kubeconfig()).await?;
    loop {
        let request = http::Request::get("/readyz").body(Vec::new())?;
        match client.request_text(request).await {
            Ok(_) => return Ok(client),
            Err(error) => tracing::debug!(%error, "the API server does not answer yet"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// Follows the nodes until each has registered and is Ready.
async fn nodes_ready(client: Client, plan: &Plan) -> anyhow::Result<()> {
    let mut missing: BTreeSet<_> = plan.nodes.iter().map(|node| node.name.clone()).collect();
    let nodes = watcher(Api::<Node>::all(client), watcher::Config::default());
    let mut nodes = std::pin::pin!(nodes.default_backoff().applied_objects().boxed());
    while !missing.is_empty() {
        let node = match nodes.try_next().await {
            Ok(node) => node.context("the API server ended the watch of the nodes")?,
            Err(error) => {
                tracing::debug!(%error, "watching the nodes");
                continue;
            }
        };
        if is_ready(&node) {
            missing.remove(node.metadata.name.as_deref().unwrap_or_default());
        }
    }
    Ok(())
}

pub(crate) fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|conditions| {
        conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    })
}

/// Asks each DNS address from every node until it knows the API server's name.
async fn names_resolve(plan: &Plan, paths: &Paths, deadline: Instant) -> anyhow::Result<()> {
    let name = format!("kubernetes.default.svc.{}", plan.spec.cluster_domain);
    // The API server's Service has an address of the cluster's first family only.
    let family = plan.spec.families[0];
    let mut asking = tokio::task::JoinSet::new();
    for node in &plan.nodes {
        let netns = NetNs::open(paths.netns(&node.name))?;
        let (name, servers) = (name.clone(), plan.dns_addresses.clone());
        asking.spawn_blocking(move || {
            netns.run(|| servers.iter().all(|server| resolves(*server, &name, family, deadline)))
        });
    }
    while let Some(answered) = asking.join_next().await {
        if !answered?? {
            // The deadline passed: the caller's timeout tells.
            std::future::pending::<()>().await;
        }
    }
    Ok(())
}

fn resolves(server: IpAddr, name: &str, family: Family, deadline: Instant) -> bool {
    while Instant::now() < deadline {
        match query::ask(server, name, family, Duration::from_millis(100)) {
            Ok((0, answers)) if answers > 0 => return true,
            Ok(_) | Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    false
}

/// Components that keep ending, told by the supervisor.
fn watch_exits(paths: &Paths) -> anyhow::Result<mpsc::Receiver<Exited>> {
    let mut answers = ask(paths, &Request::Exits)?;
    let (sender, receiver) = mpsc::channel(1);
    std::thread::Builder::new().name("exits".to_owned()).spawn(move || {
        while let Ok(Some(exited)) = answers.next::<Exited>() {
            if exited.failures >= FAILURES_MAX && sender.blocking_send(exited).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

fn explain_exit(paths: &Paths, exited: &Exited) -> anyhow::Error {
    let log = paths.logs().join(format!("{}.log", exited.name));
    anyhow!(
        "{} ended {} times in a row ({}); its last log lines:\n{}",
        exited.name,
        exited.failures,
        exited.how,
        process::last_lines(&log, 15)
    )
}

/// The last log lines of the components that a stage waits for.
fn recent_logs(plan: &Plan, paths: &Paths, stage: &str) -> String {
    let per_node = |kind: &str, node: &Machine| format!("{kind}@{}.log", node.name);
    let mut logs = vec!["apiserver.log".to_owned()];
    match stage {
        "the nodes" => logs.extend(plan.nodes.iter().map(|node| per_node("node", node))),
        "the cluster's DNS" => {
            logs.push("controllers.log".to_owned());
            for node in &plan.nodes {
                logs.extend([per_node("node", node), per_node("proxy", node)]);
            }
        }
        _ => {}
    }
    let mut text = String::new();
    for name in logs {
        let lines = process::last_lines(&paths.logs().join(&name), 5);
        if !lines.is_empty() {
            text.push_str(&format!("\n--- {name}\n{lines}"));
        }
    }
    text
}
