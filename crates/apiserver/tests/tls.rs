//! Over TLS: who is let in, and as whom.

use std::net::TcpListener;
use std::sync::Arc;

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use kube::api::{Api, DeleteParams, ListParams, PostParams, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use portolan_apiserver::pki::{Certified, Pki};
use portolan_apiserver::serve::{TlsFiles, serve};
use portolan_apiserver::store::memory::MemoryStore;
use portolan_apiserver::{ApiServer, AuthorizationMode, Config};
use serde_json::json;

struct Running {
    api: ApiServer,
    pki: Pki,
    url: String,
    _stop: tokio::sync::oneshot::Sender<()>,
    _directory: tempfile::TempDir,
}

async fn start() -> Running {
    let directory = tempfile::tempdir().unwrap();
    let pki = Pki::load_or_create(directory.path().join("pki")).unwrap();
    pki.server("apiserver", "kube-apiserver", &[], &["127.0.0.1".to_owned()]).unwrap();
    let tls = TlsFiles {
        certificate: pki.certificate_file("apiserver"),
        key: pki.key_file("apiserver"),
        client_ca: Some(pki.ca_file()),
    };
    let tokens = directory.path().join("tokens");
    std::fs::write(&tokens, "s3cret,jane,1,\"system:masters\"\n").unwrap();
    let config = Config {
        authorization: AuthorizationMode::Rbac,
        token_file: Some(tokens),
        ..Config::default()
    };
    let config = pki.configure(config).unwrap();
    let api = ApiServer::start(Arc::new(MemoryStore::new()), config).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let server = api.clone();
    let tls = tls.load().unwrap();
    tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        serve(server, vec![listener], tls, stopped).await.unwrap();
    });
    Running { api, pki, url, _stop: stop, _directory: directory }
}

async fn client(running: &Running, pair: Option<&Certified>, token: Option<&str>) -> kube::Client {
    let nobody = Certified { certificate: String::new(), key: String::new() };
    let text = running.pki.kubeconfig(&running.url, "c", "u", pair.unwrap_or(&nobody));
    let mut kubeconfig = Kubeconfig::from_yaml(&text).unwrap();
    if pair.is_none() {
        let user = kubeconfig.auth_infos[0].auth_info.as_mut().unwrap();
        user.client_certificate_data = None;
        user.client_key_data = None;
        user.token = token.map(|token| token.to_owned().into());
    }
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    kube::Client::try_from(config).unwrap()
}

fn code(error: kube::Error) -> (u16, String) {
    match error {
        kube::Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("not a status: {other}"),
    }
}

#[tokio::test]
async fn certificates_and_tokens_say_who_one_is() {
    let running = start().await;
    let admin = running.pki.client("admin", "kubernetes-admin", &["system:masters"]).unwrap();
    let admin = client(&running, Some(&admin), None).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(admin.clone());
    maps.list(&ListParams::default()).await.unwrap();

    // Nobody: only health and version.
    let nobody = client(&running, None, None).await;
    let refused = Api::<ConfigMap>::default_namespaced(nobody.clone())
        .list(&ListParams::default())
        .await
        .unwrap_err();
    assert_eq!(code(refused), (401, "Unauthorized".to_owned()));
    assert_eq!(nobody.apiserver_version().await.unwrap().minor, "36");
    assert_eq!(code(nobody.list_api_groups().await.unwrap_err()).0, 401);

    let jane = client(&running, None, Some("s3cret")).await;
    Api::<Secret>::all(jane).list(&ListParams::default()).await.unwrap();
    let forged = client(&running, None, Some("other")).await;
    assert_eq!(code(forged.list_api_groups().await.unwrap_err()).0, 401);

    // A certificate of another authority ends the handshake.
    let elsewhere = tempfile::tempdir().unwrap();
    let stranger = Pki::load_or_create(elsewhere.path()).unwrap();
    let stranger = stranger.issue_client("kubernetes-admin", &["system:masters"]).unwrap();
    let stranger = client(&running, Some(&stranger), None).await;
    assert!(stranger.list_api_groups().await.is_err());

    let proxy = running.pki.issue_client("system:kube-proxy", &[]).unwrap();
    let proxy = client(&running, Some(&proxy), None).await;
    let refused = Api::<Secret>::default_namespaced(proxy.clone())
        .list(&ListParams::default())
        .await
        .unwrap_err();
    assert_eq!(
        code(refused),
        (
            403,
            "secrets is forbidden: User \"system:kube-proxy\" cannot list resource \"secrets\" in \
             API group \"\" in the namespace \"default\""
                .to_owned()
        )
    );
}

#[tokio::test]
async fn a_service_account_acts_by_its_token_until_it_is_deleted() {
    let running = start().await;
    let admin = kube::Client::new(running.api.service(), "default");
    let accounts: Api<ServiceAccount> = Api::namespaced(admin.clone(), "kube-system");
    let account: ServiceAccount = serde_json::from_value(json!({"apiVersion": "v1",
        "kind": "ServiceAccount", "metadata": {"name": "coredns"}}))
    .unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let request = serde_json::from_value(json!({"apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest", "spec": {"audiences": [], "expirationSeconds": 3600}}))
    .unwrap();
    let params = PostParams::default();
    let make = || async {
        let token = accounts.create_token_request("coredns", &params, &request).await.unwrap();
        token.status.unwrap().token.unwrap()
    };
    let (token, later) = (make().await, make().await);
    let dns = client(&running, None, Some(&token)).await;
    let services: Api<k8s_openapi::api::core::v1::Service> = Api::all(dns.clone());
    services.list(&ListParams::default()).await.unwrap();
    // A watch over the wire.
    let stream = services.watch(&WatchParams::default().timeout(1), "0").await.unwrap();
    let events: Vec<_> = stream.try_collect().await.unwrap();
    assert!(events.is_empty());
    let secrets: Api<Secret> = Api::all(dns);
    let (refused, text) = code(secrets.list(&ListParams::default()).await.unwrap_err());
    assert_eq!(refused, 403);
    assert!(text.contains("system:serviceaccount:kube-system:coredns"), "{text}");
    // Tokens end with the account, though one that was just checked is believed for ten seconds.
    accounts.delete("coredns", &DeleteParams::default()).await.unwrap();
    let dns = client(&running, None, Some(&later)).await;
    let services: Api<k8s_openapi::api::core::v1::Service> = Api::all(dns);
    assert_eq!(code(services.list(&ListParams::default()).await.unwrap_err()).0, 401);
}
