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

#[tokio::test]
async fn finalizers_hold_an_object_until_they_are_gone() {
    let (_api, client) = start(Config::default()).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let mut map = config_map("a", "1");
    map.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
    maps.create(&PostParams::default(), &map).await.unwrap();
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    let held = maps.get("a").await.unwrap();
    assert!(held.metadata.deletion_timestamp.is_some());

    let more = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/hold", "x.y/z"]}}));
    let refused = status(maps.patch("a", &PatchParams::default(), &more).await.unwrap_err());
    assert_eq!(refused.code, 422);
    assert!(refused.message.contains("no new finalizers can be added"), "{}", refused.message);

    let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    maps.patch("a", &PatchParams::default(), &none).await.unwrap();
    assert_eq!(status(maps.get("a").await.unwrap_err()).code, 404);
}

#[tokio::test]
async fn propagation_becomes_a_finalizer() {
    let (_api, client) = start(Config::default()).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    for (params, finalizer) in
        [(DeleteParams::foreground(), "foregroundDeletion"), (DeleteParams::orphan(), "orphan")]
    {
        maps.create(&PostParams::default(), &config_map(&finalizer.to_lowercase(), "1"))
            .await
            .unwrap();
        maps.delete(&finalizer.to_lowercase(), &params).await.unwrap();
        let held = maps.get(&finalizer.to_lowercase()).await.unwrap();
        assert_eq!(held.metadata.finalizers.unwrap(), [finalizer]);
    }
    maps.create(&PostParams::default(), &config_map("b", "1")).await.unwrap();
    maps.delete("b", &DeleteParams::background()).await.unwrap();
    assert_eq!(status(maps.get("b").await.unwrap_err()).code, 404);
}

#[tokio::test]
async fn preconditions_of_a_delete() {
    let (_api, client) = start(Config::default()).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let made = maps.create(&PostParams::default(), &config_map("a", "1")).await.unwrap();
    let with = |uid: &str| DeleteParams {
        preconditions: Some(kube::api::Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let refused = status(maps.delete("a", &with("other")).await.unwrap_err());
    let uid = made.metadata.uid.unwrap();
    assert_eq!(refused.code, 409);
    assert_eq!(
        refused.message,
        format!(
            "Operation cannot be fulfilled on configmaps \"a\": Precondition failed: UID in \
             precondition: other, UID in object meta: {uid}"
        )
    );
    maps.delete("a", &with(&uid)).await.unwrap();
}

#[tokio::test]
async fn a_watch_from_before_the_window_is_gone() {
    let (_api, client) = start(Config { watch_window: 3, ..Config::default() }).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let params = PostParams::default();
    let first = maps.create(&params, &config_map("a", "0")).await.unwrap();
    for count in 1..8 {
        maps.replace("a", &params, &config_map("a", &count.to_string())).await.unwrap();
    }
    let version = first.metadata.resource_version.unwrap();
    let mut watch = maps.watch(&WatchParams::default(), &version).await.unwrap().boxed();
    match watch.try_next().await.unwrap().unwrap() {
        WatchEvent::Error(status) => {
            assert_eq!((status.code, &*status.reason), (410, "Expired"));
            assert!(status.message.starts_with("too old resource version: "));
        }
        other => panic!("unexpected {other:?}"),
    }
    assert!(watch.try_next().await.unwrap().is_none(), "the watch ends");
    let exact = ListParams::default().at(&version).matching(kube::api::VersionMatch::Exact);
    assert_eq!(status(maps.list(&exact).await.unwrap_err()).code, 410);
}

#[tokio::test]
async fn a_watch_can_begin_with_what_is_there() {
    let (_api, client) = start(Config::default()).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    maps.create(&PostParams::default(), &config_map("a", "1")).await.unwrap();
    let params = WatchParams::default().initial_events();
    let mut watch = maps.watch(&params, "").await.unwrap().boxed();
    assert!(matches!(watch.try_next().await.unwrap().unwrap(), WatchEvent::Added(_)));
    match watch.try_next().await.unwrap().unwrap() {
        WatchEvent::Bookmark(mark) => {
            let mark = serde_json::to_value(&mark.metadata.annotations).unwrap();
            assert_eq!(mark["k8s.io/initial-events-end"], "true");
        }
        other => panic!("unexpected {other:?}"),
    }
}

#[tokio::test]
async fn watches_follow_labels_in_and_out() {
    let (_api, client) = start(Config::default()).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let params = PostParams::default();
    let made = maps.create(&params, &config_map("a", "1")).await.unwrap();
    let version = made.metadata.resource_version.unwrap();
    let selected = WatchParams::default().labels("app=2");
    let mut watch = maps.watch(&selected, &version).await.unwrap().boxed();
    maps.replace("a", &params, &config_map("a", "2")).await.unwrap();
    maps.replace("a", &params, &config_map("a", "3")).await.unwrap();
    assert!(matches!(watch.try_next().await.unwrap().unwrap(), WatchEvent::Added(_)));
    match watch.try_next().await.unwrap().unwrap() {
        WatchEvent::Deleted(map) => {
            // The state in which it was selected last, at the revision of the change.
            assert_eq!(map.data.unwrap()["key"], "2");
            let now = maps.get("a").await.unwrap();
            assert_eq!(map.metadata.resource_version, now.metadata.resource_version);
        }
        other => panic!("unexpected {other:?}"),
    }
}

#[tokio::test]
async fn dry_runs_leave_nothing() {
    let (_api, client) = start(Config::default()).await;
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let service: Service = serde_json::from_value(json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "s"}, "spec": {"clusterIP": "10.96.0.77", "ports": [{"port": 80}]}}))
    .unwrap();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    services.create(&dry, &service).await.unwrap();
    services.create(&dry, &service).await.unwrap();
    assert_eq!(status(services.get("s").await.unwrap_err()).code, 404);
    services.create(&PostParams::default(), &service).await.unwrap();
    let mut other = service.clone();
    other.metadata.name = Some("t".to_owned());
    let taken = status(services.create(&PostParams::default(), &other).await.unwrap_err());
    assert_eq!(taken.code, 422);
    assert!(taken.message.contains("provided IP is already allocated"), "{}", taken.message);
    services.delete("s", &DeleteParams::default()).await.unwrap();
    services.create(&PostParams::default(), &other).await.unwrap();
}

#[tokio::test]
async fn racing_creates_get_different_addresses() {
    let ranges = vec!["10.96.0.0/27".parse().unwrap()];
    let cluster = portolan_apiserver::resource::ClusterConfig {
        service_ranges: ranges,
        node_ports: 30000..=30029,
    };
    let (_api, client) = start(Config { cluster, ..Config::default() }).await;
    let create = |index: usize| {
        let services: Api<Service> = Api::default_namespaced(client.clone());
        async move {
            let service: Service = serde_json::from_value(json!({"apiVersion": "v1",
                "kind": "Service", "metadata": {"name": format!("s{index}")},
                "spec": {"type": "NodePort", "ports": [{"port": 80}]}}))
            .unwrap();
            services.create(&PostParams::default(), &service).await
        }
    };
    // 30 addresses and 30 node ports: all fit, one more does not.
    let made = futures::future::join_all((0..30).map(create)).await;
    let mut addresses = std::collections::BTreeSet::new();
    let mut ports = std::collections::BTreeSet::new();
    for service in made {
        let spec = service.unwrap().spec.unwrap();
        addresses.insert(spec.cluster_ip.unwrap());
        ports.insert(spec.ports.unwrap()[0].node_port.unwrap());
    }
    assert_eq!((addresses.len(), ports.len()), (30, 30));
    assert!(create(30).await.is_err());
}

#[tokio::test]
async fn claims_are_mended_at_start() {
    use portolan_apiserver::store::{Expect, Transaction};
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let api = ApiServer::start(store.clone(), Config::default()).await.unwrap();
    let client = kube::Client::new(api.service(), "default");
    let services: Api<Service> = Api::default_namespaced(client);
    let service: Service = serde_json::from_value(json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}))
    .unwrap();
    let spec = services.create(&PostParams::default(), &service).await.unwrap().spec.unwrap();
    let address = spec.cluster_ip.unwrap();
    let port = spec.ports.unwrap()[0].node_port.unwrap();
    let other = if port == 30000 { 30001 } else { 30000 };
    // Somebody takes one claim away and leaves another that nobody holds.
    let damage = Transaction::new()
        .delete(format!("/registry/networking.k8s.io/ipaddresses/{address}"), Expect::Any)
        .put(format!("/claims/nodeports/{other}"), "default/gone".into(), Expect::Any);
    store.commit(damage).await.unwrap();
    drop(api);
    let api = ApiServer::start(store.clone(), Config::default()).await.unwrap();
    assert!(store.get(&format!("/claims/nodeports/{other}")).await.unwrap().is_none());
    let key = format!("/registry/networking.k8s.io/ipaddresses/{address}");
    assert!(store.get(&key).await.unwrap().is_some());
    drop(api);
}

#[tokio::test]
async fn the_server_describes_itself() {
    let advertise = "192.0.2.7:6443".parse().unwrap();
    let (_api, client) = start(Config { advertise: Some(advertise), ..Config::default() }).await;
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let spec = services.get("kubernetes").await.unwrap().spec.unwrap();
    assert_eq!(spec.cluster_ip.unwrap(), "10.96.0.1");
    let slices: Api<k8s_openapi::api::discovery::v1::EndpointSlice> =
        Api::default_namespaced(client);
    let slice = slices.get("kubernetes").await.unwrap();
    assert_eq!(slice.endpoints.unwrap()[0].addresses, ["192.0.2.7"]);
}
