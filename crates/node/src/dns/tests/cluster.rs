//! With the real API server, in process: changes show, and its absence does not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use domain::base::iana::Rtype;
use futures::StreamExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyStream, StreamBody};
use k8s_openapi::api::core::v1::{Namespace, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use parking_lot::Mutex;
use portolan_apiserver::store::memory::MemoryStore;
use portolan_apiserver::{ApiServer, Config};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::harness::*;
use crate::dns::DnsConfig;
use crate::dns::runtime::Server;
use crate::dns::store::Stores;

/// The API server behind a wire that can be cut: then open watches end and new requests fail.
#[derive(Clone)]
struct Wire {
    api: ApiServer,
    cut: Arc<Mutex<CancellationToken>>,
}

type Body = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, tower::BoxError>;

impl tower::Service<Request<kube::client::Body>> for Wire {
    type Response = Response<Body>;
    type Error = tower::BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        let (mut service, cut) = (self.api.service(), self.cut.lock().clone());
        Box::pin(async move {
            if cut.is_cancelled() {
                return Err("the wire is cut".into());
            }
            let response = tower::Service::call(&mut service, request).await?;
            Ok(response.map(|body| {
                let frames = BodyStream::new(body).take_until(cut.cancelled_owned());
                http_body_util::BodyExt::boxed_unsync(StreamBody::new(frames))
            }))
        })
    }
}

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object")
}

async fn create<K>(client: &kube::Client, value: Value)
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), "shop");
    api.create(&PostParams::default(), &object(value)).await.expect("created");
}

fn web(ip: &str) -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"clusterIP": ip, "selector": {"app": "web"},
        "ports": [{"name": "http", "port": 80}]}})
}

fn slice_of(name: &str, service: &str, address: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "hostname": "db-0",
            "conditions": {"ready": true}}]})
}

/// Asks until the answer is `expected`; returns how long that took.
fn until(server: SocketAddr, name: &str, kind: Rtype, expected: &[&str]) -> Duration {
    let begun = Instant::now();
    loop {
        let answer = ask(server, name, kind);
        if data(&answer) == expected {
            return begun.elapsed();
        }
        let shown = show(&answer);
        assert!(begun.elapsed() < Duration::from_secs(8), "{name}: {shown} is not {expected:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn changes_show_and_outages_do_not() {
    let api = ApiServer::start(Arc::new(MemoryStore::default()), Config::default()).await;
    let api = api.expect("an API server");
    let client = kube::Client::new(api.service(), "default");
    let wire = Wire { api: api.clone(), cut: Arc::default() };
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let shop = object(json!({"metadata": {"name": "shop"}}));
    namespaces.create(&PostParams::default(), &shop).await.expect("created");
    create::<Service>(&client, web("10.96.0.80")).await;

    let directory = tempfile::tempdir().expect("a directory");
    let corefile = directory.path().join("Corefile");
    let text =
        ". {\n kubernetes cluster.local in-addr.arpa {\n pods verified\n }\n ready 127.0.0.1:0\n}";
    std::fs::write(&corefile, text).expect("written");
    let config = DnsConfig {
        corefile: Some(corefile),
        listen: Some("127.0.0.1:0".parse().expect("an address")),
        workers: 1,
        ..DnsConfig::default()
    };
    let through_wire = kube::Client::new(wire.clone(), "default");
    let server =
        Server::start(Some(through_wire), config, Stores::default()).await.expect("started");
    let (address, page) = (server.addresses()[0], server.page_addresses()[0]);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(server.serve(stop.clone()));
    let check = |name: &'static str, kind, expected: &'static [&'static str]| async move {
        tokio::task::spawn_blocking(move || until(address, name, kind, expected))
            .await
            .expect("as expected")
    };

    check("web.shop.svc.cluster.local", Rtype::A, &["10.96.0.80"]).await;
    check("80.0.96.10.in-addr.arpa", Rtype::PTR, &["web.shop.svc.cluster.local."]).await;
    let ready = move || {
        let begun = Instant::now();
        while get(page, "/ready").0 != 200 {
            assert!(begun.elapsed() < Duration::from_secs(5), "all kinds are listed soon");
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    tokio::task::spawn_blocking(ready).await.expect("ready");

    create::<Service>(
        &client,
        json!({"metadata": {"name": "db"}, "spec": {"clusterIP": "None",
            "ports": [{"name": "http", "port": 80}]}}),
    )
    .await;
    create::<EndpointSlice>(&client, slice_of("db-a", "db", "10.244.1.3")).await;
    let took = check("db-0.db.shop.svc.cluster.local", Rtype::A, &["10.244.1.3"]).await;
    eprintln!("a slice showed after {took:?}");
    create::<ServiceAccount>(&client, json!({"metadata": {"name": "default"}})).await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "c", "image": "portolan/pause"}]}});
    create::<Pod>(&client, pod).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "shop");
    let status = json!({"status": {"phase": "Running", "podIP": "10.244.1.3",
        "podIPs": [{"ip": "10.244.1.3"}]}});
    let patched = pods.patch_status("p", &PatchParams::default(), &Patch::Merge(status)).await;
    patched.expect("patched");
    check("10-244-1-3.shop.pod.cluster.local", Rtype::A, &["10.244.1.3"]).await;

    // Cut the wire: what is known is still answered, and nothing is denied that was not.
    std::mem::replace(&mut *wire.cut.lock(), CancellationToken::new()).cancel();
    let cut = wire.cut.lock().clone();
    cut.cancel();
    let services: Api<Service> = Api::namespaced(client.clone(), "shop");
    services.delete("web", &DeleteParams::default()).await.expect("deleted");
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "shop");
    let moved: EndpointSlice = object(slice_of("db-a", "db", "10.244.9.9"));
    let replace = slices.patch("db-a", &PatchParams::default(), &Patch::Merge(&moved)).await;
    replace.expect("patched");
    tokio::time::sleep(Duration::from_millis(300)).await;
    check("web.shop.svc.cluster.local", Rtype::A, &["10.96.0.80"]).await;
    check("db-0.db.shop.svc.cluster.local", Rtype::A, &["10.244.1.3"]).await;

    // And mend it: what happened in between shows.
    *wire.cut.lock() = CancellationToken::new();
    check("web.shop.svc.cluster.local", Rtype::A, &[]).await;
    check("db-0.db.shop.svc.cluster.local", Rtype::A, &["10.244.9.9"]).await;

    stop.cancel();
    serving.await.expect("no panic").expect("a clean end");
    api.stop();
}
