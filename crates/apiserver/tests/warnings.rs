//! Warnings and admission where one manifest does not show them: every verb, restarts, identities.

use std::sync::Arc;

use http::{Method, Request};
use http_body_util::BodyExt as _;
use portolan_apiserver::admission::Plugins;
use portolan_apiserver::auth::Identity;
use portolan_apiserver::store::Store;
use portolan_apiserver::store::memory::MemoryStore;
use portolan_apiserver::{ApiServer, Config, Service};
use serde_json::{Value, json};

const SERVICES: &str = "/api/v1/namespaces/default/services";

async fn start(store: &Arc<dyn Store>, admission: Plugins) -> ApiServer {
    let config = Config { admission, ..Config::default() };
    ApiServer::start(Arc::clone(store), config).await.expect("it starts")
}

fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

/// The answer's code, its warnings and its body; of a watch, only the head.
async fn send(
    service: Service,
    method: Method,
    path: &str,
    body: Value,
) -> (u16, Vec<String>, Value) {
    let client = kube::Client::new(service, "default");
    let media = match method {
        Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = Request::builder().method(method).uri(path).header("content-type", media);
    let request = request.body(kube::client::Body::from(bytes)).expect("a request");
    let (parts, body) = client.send(request).await.expect("an answer").into_parts();
    let text = |value: &http::HeaderValue| value.to_str().expect("text").to_owned();
    let warnings = parts.headers.get_all("warning").iter().map(text).collect();
    let body = match path.contains("watch") {
        true => Value::Null,
        false => {
            let bytes = body.collect().await.expect("a body").to_bytes();
            serde_json::from_slice(&bytes).unwrap_or_default()
        }
    };
    (parts.status.as_u16(), warnings, body)
}

#[tokio::test]
async fn every_request_for_endpoints_is_warned_of() {
    let api = start(&store(), Plugins::default()).await;
    let all = "/api/v1/namespaces/default/endpoints";
    let one = format!("{all}/x");
    let object = json!({"metadata": {"name": "x"}});
    let steps = [
        (Method::POST, all.to_owned(), object.clone(), 201),
        (Method::POST, all.to_owned(), object.clone(), 409),
        (Method::GET, one.clone(), Value::Null, 200),
        (Method::GET, format!("{all}/y"), Value::Null, 404),
        (Method::GET, all.to_owned(), Value::Null, 200),
        (Method::GET, "/api/v1/endpoints?limit=1".to_owned(), Value::Null, 200),
        (Method::GET, format!("{all}?watch=1&timeoutSeconds=1"), Value::Null, 200),
        (Method::GET, "/api/v1/watch/endpoints?timeoutSeconds=1".to_owned(), Value::Null, 200),
        (Method::PUT, one.clone(), object, 200),
        (Method::PATCH, one.clone(), json!({"metadata": {"labels": {"a": "b"}}}), 200),
        (Method::DELETE, one.clone(), Value::Null, 200),
        (Method::DELETE, all.to_owned(), Value::Null, 200),
    ];
    for (method, path, body, expected) in steps {
        let what = format!("{method} {path}");
        let (code, warnings, _) = send(api.service(), method, &path, body).await;
        let deprecated =
            "299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\"";
        assert_eq!((code, warnings), (expected, vec![deprecated.to_owned()]), "{what}");
    }
    let (_, warnings, _) = send(api.service(), Method::GET, SERVICES, Value::Null).await;
    assert_eq!(warnings, [""; 0]);
}

#[tokio::test]
async fn external_ips_from_before_the_plugin_may_stay_and_go() {
    let store = store();
    let before = start(&store, Plugins::default()).await;
    let made = json!({"metadata": {"name": "x"}, "spec": {"ports": [{"port": 80}],
        "externalIPs": ["198.51.100.1", "198.51.100.2"]}});
    let (code, _, _) = send(before.service(), Method::POST, SERVICES, made).await;
    assert_eq!(code, 201);
    before.stop();

    let api = start(&store, Plugins { deny_service_external_ips: true }).await;
    let one = format!("{SERVICES}/x");
    let patch = async |ips: &[&str]| {
        let patch = json!({"metadata": {"labels": {"n": ips.len().to_string()}},
            "spec": {"externalIPs": ips}});
        let (code, _, body) = send(api.service(), Method::PATCH, &one, patch).await;
        (code, body["message"].as_str().unwrap_or_default().to_owned())
    };
    let denied = "services \"x\" is forbidden: Use of external IPs is denied by admission control"
        .to_owned();
    assert_eq!(patch(&["198.51.100.2", "198.51.100.1"]).await.0, 200);
    assert_eq!(patch(&["198.51.100.1", "198.51.100.3"]).await, (403, denied.clone()));
    assert_eq!(patch(&["198.51.100.1"]).await.0, 200);
    assert_eq!(patch(&["198.51.100.1", "198.51.100.2"]).await, (403, denied));
    assert_eq!(patch(&[]).await.0, 200);
}

#[tokio::test]
async fn a_denied_service_leaves_nothing_claimed() {
    let api = start(&store(), Plugins { deny_service_external_ips: true }).await;
    let service = |ips: Value| {
        json!({"metadata": {"name": "x"}, "spec": {"type": "NodePort", "clusterIP": "10.96.7.7",
            "ports": [{"port": 80, "nodePort": 30077}], "externalIPs": ips}})
    };
    let denied = service(json!(["198.51.100.1"]));
    let (code, _, _) = send(api.service(), Method::POST, SERVICES, denied).await;
    assert_eq!(code, 403);
    let (code, _, body) = send(api.service(), Method::POST, SERVICES, service(json!([]))).await;
    assert_eq!(code, 201, "{body}");
}

/// A field of a protobuf message that holds bytes; none of ours is longer than 127.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).expect("a short field");
    [&[number << 3 | 2, length], bytes].concat()
}

#[tokio::test]
async fn a_user_is_told_who_they_are() {
    let api = start(&store(), Plugins::default()).await;
    let jane = Identity::new("jane", ["dev".to_owned()]);
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let body = json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"});
    let (code, _, review) = send(api.service_as(jane), Method::POST, path, body).await;
    assert_eq!(code, 201);
    assert_eq!(
        review["status"]["userInfo"],
        json!({"username": "jane", "groups": ["dev", "system:authenticated"]})
    );
    // kubectl asks in protobuf: an envelope with the type and an empty review.
    let kind = [field(1, b"authentication.k8s.io/v1"), field(2, b"SelfSubjectReview")].concat();
    let review = [field(1, &[]), field(2, &field(1, &[]))].concat();
    let body = [b"k8s\0".to_vec(), field(1, &kind), field(2, &review)].concat();
    let request = Request::post(path)
        .header("content-type", "application/vnd.kubernetes.protobuf")
        .body(body)
        .expect("a request");
    let jane = Identity::new("jane", ["dev".to_owned()]);
    let client = kube::Client::new(api.service_as(jane), "default");
    let review: Value = client.request(request).await.expect("a review");
    assert_eq!(review["status"]["userInfo"]["username"], "jane");
}
