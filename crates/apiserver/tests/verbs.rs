//! The verbs, in process, through `kube::Client`.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service};
use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use portolan_apiserver::store::Store;
use portolan_apiserver::store::memory::MemoryStore;
use portolan_apiserver::{ApiServer, Config};
use serde_json::json;

async fn start(config: Config) -> (ApiServer, kube::Client) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let api = ApiServer::start(store, config).await.expect("the server starts");
    let client = kube::Client::new(api.service(), "default");
    (api, client)
}

fn config_map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"app": value}}, "data": {"key": value}}))
    .unwrap()
}

fn status(error: kube::Error) -> kube::core::Status {
    match error {
        kube::Error::Api(status) => *status,
        other => panic!("not a status: {other}"),
    }
}

#[tokio::test]
async fn create_get_update_patch_delete() {
    let (_api, client) = start(Config::default()).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let params = PostParams::default();
    let made = maps.create(&params, &config_map("a", "1")).await.unwrap();
    assert!(made.metadata.uid.is_some() && made.metadata.resource_version.is_some());

    let again = status(maps.create(&params, &config_map("a", "1")).await.unwrap_err());
    assert_eq!(again.message, "configmaps \"a\" already exists");
    assert_eq!((again.code, &*again.reason), (409, "AlreadyExists"));

    let mut changed = made.clone();
    changed.data = Some([("key".to_owned(), "2".to_owned())].into());
    let changed = maps.replace("a", &params, &changed).await.unwrap();
    assert_ne!(changed.metadata.resource_version, made.metadata.resource_version);
    let stale = status(maps.replace("a", &params, &made).await.unwrap_err());
    assert_eq!(
        stale.message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; \
         please apply your changes to the latest version and try again"
    );
    assert_eq!((stale.code, &*stale.reason), (409, "Conflict"));

    let patch = Patch::Merge(json!({"data": {"other": "3"}}));
    let patched = maps.patch("a", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(patched.data.unwrap().len(), 2);

    maps.delete("a", &DeleteParams::default()).await.unwrap();
    let missing = status(maps.get("a").await.unwrap_err());
    assert_eq!(missing.message, "configmaps \"a\" not found");
    assert_eq!((missing.code, &*missing.reason), (404, "NotFound"));
}

#[tokio::test]
async fn a_watch_tells_every_change_in_order() {
    let (_api, client) = start(Config::default()).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let version = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version;
    let mut watch = maps.watch(&WatchParams::default(), &version.unwrap()).await.unwrap().boxed();
    let params = PostParams::default();
    maps.create(&params, &config_map("a", "1")).await.unwrap();
    maps.replace("a", &params, &config_map("a", "2")).await.unwrap();
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(match watch.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(map) => ("added", map.data.unwrap()["key"].clone()),
            WatchEvent::Modified(map) => ("modified", map.data.unwrap()["key"].clone()),
            WatchEvent::Deleted(map) => ("deleted", map.data.unwrap()["key"].clone()),
            other => panic!("unexpected {other:?}"),
        });
    }
    let seen: Vec<_> = seen.iter().map(|(kind, key)| (*kind, key.as_str())).collect();
    assert_eq!(seen, [("added", "1"), ("modified", "2"), ("deleted", "2")]);
}

#[tokio::test]
async fn objects_need_a_namespace_that_lives() {
    let (_api, client) = start(Config::default()).await;
    let nowhere: Api<ConfigMap> = Api::namespaced(client.clone(), "nowhere");
    let refused = nowhere.create(&PostParams::default(), &config_map("a", "1")).await;
    assert_eq!(status(refused.unwrap_err()).message, "namespaces \"nowhere\" not found");

    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace: Namespace = serde_json::from_value(json!({"apiVersion": "v1",
        "kind": "Namespace", "metadata": {"name": "going"}}))
    .unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    namespaces.delete("going", &DeleteParams::default()).await.unwrap();
    let going: Api<ConfigMap> = Api::namespaced(client.clone(), "going");
    let refused =
        status(going.create(&PostParams::default(), &config_map("a", "1")).await.unwrap_err());
    assert_eq!(
        refused.message,
        "configmaps \"a\" is forbidden: unable to create new content in namespace going because \
         it is being terminated"
    );
    assert_eq!(refused.code, 403);
}

#[tokio::test]
async fn lists_come_in_pages_of_one_revision() {
    let (_api, client) = start(Config::default()).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    for index in 0..5 {
        let map = config_map(&format!("m{index}"), "1");
        maps.create(&PostParams::default(), &map).await.unwrap();
    }
    let page = maps.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(page.metadata.remaining_item_count, Some(3));
    let version = page.metadata.resource_version.clone();
    // What happens between the pages does not show.
    maps.delete("m3", &DeleteParams::default()).await.unwrap();
    maps.create(&PostParams::default(), &config_map("m9", "1")).await.unwrap();
    let mut names: Vec<_> = page.items.iter().map(|m| m.metadata.name.clone().unwrap()).collect();
    let mut token = page.metadata.continue_;
    while let Some(proceed) = token.filter(|token| !token.is_empty()) {
        let params = ListParams::default().limit(2).continue_token(&proceed);
        let page = maps.list(&params).await.unwrap();
        assert_eq!(page.metadata.resource_version, version);
        names.extend(page.items.iter().map(|m| m.metadata.name.clone().unwrap()));
        token = page.metadata.continue_;
    }
    assert_eq!(names, ["m0", "m1", "m2", "m3", "m4"]);
}

#[tokio::test]
async fn services_get_addresses_and_give_them_back() {
    let (_api, client) = start(Config::default()).await;
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let service: Service = serde_json::from_value(json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}))
    .unwrap();
    let made = services.create(&PostParams::default(), &service).await.unwrap();
    assert!(made.spec.unwrap().ports.is_some());
    services.delete("s", &DeleteParams::default()).await.unwrap();
}
