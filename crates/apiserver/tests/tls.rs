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
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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

/// A kubelet that answers one request: it wants a client certificate, switches protocols when
/// asked to, and sends back the request line and what follows.
async fn kubelet(pki: &Pki) -> u16 {
    pki.server("kubelet", "system:node:n", &["system:nodes"], &["127.0.0.1".to_owned()]).unwrap();
    let tls = TlsFiles {
        certificate: pki.certificate_file("kubelet"),
        key: pki.key_file("kubelet"),
        client_ca: Some(pki.ca_file()),
    };
    let mut tls = (*tls.load().unwrap()).clone();
    tls.alpn_protocols.clear();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = acceptor.accept(stream).await.unwrap();
            assert!(stream.get_ref().1.peer_certificates().is_some(), "the server shows itself");
            let head = read_head(&mut stream).await;
            assert!(!head.contains("authorization"), "credentials go no further: {head}");
            let line = head.lines().next().unwrap().to_owned();
            let answer = if head.contains("upgrade: spdy/3.1") {
                format!(
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: SPDY/3.1\r\n\r\n{line}\n"
                )
            } else {
                let length = line.len();
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{line}")
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
            let (mut from, mut to) = tokio::io::split(stream);
            let _ = tokio::io::copy(&mut from, &mut to).await;
        }
    });
    port
}

async fn read_head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap().to_lowercase()
}

#[tokio::test]
async fn logs_and_exec_lead_to_the_kubelet() {
    let running = start().await;
    let port = kubelet(&running.pki).await;
    let admin = kube::Client::new(running.api.service(), "default");
    let create = |value: serde_json::Value, path: &'static str| {
        let request = http::Request::post(path)
            .header("content-type", "application/json")
            .body(value.to_string().into_bytes())
            .unwrap();
        let admin = admin.clone();
        async move { admin.request::<serde_json::Value>(request).await.unwrap() }
    };
    let node = create(
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}),
        "/api/v1/nodes",
    )
    .await;
    let mut node = node;
    node["status"] = json!({"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}});
    let request = http::Request::put("/api/v1/nodes/n/status")
        .header("content-type", "application/json")
        .body(node.to_string().into_bytes())
        .unwrap();
    admin.request::<serde_json::Value>(request).await.unwrap();
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "default"}});
    create(account, "/api/v1/namespaces/default/serviceaccounts").await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    let pod = create(pod, "/api/v1/namespaces/default/pods").await;
    // The admission plug-in gave it its account and the token's volume.
    assert_eq!(pod["spec"]["serviceAccountName"], "default");
    let mount = &pod["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(mount["name"], pod["spec"]["volumes"][0]["name"]);

    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::default_namespaced(admin);
    let params = kube::api::LogParams { tail_lines: Some(3), ..Default::default() };
    let log = pods.logs("p", &params).await.unwrap();
    assert!(log.starts_with("get /containerlogs/default/p/c?"), "{log}");
    assert!(log.contains("taillines=3"), "{log}");

    // exec: over TLS, upgraded, both ways.
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(running.pki.ca_file()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let address = running.url.strip_prefix("https://").unwrap();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut stream = connector.connect("127.0.0.1".try_into().unwrap(), stream).await.unwrap();
    let request = "POST /api/v1/namespaces/default/pods/p/exec?command=ls&command=-l&stdin=true\
                   &stdout=true HTTP/1.1\r\nhost: x\r\nauthorization: Bearer s3cret\r\n\
                   connection: Upgrade\r\nupgrade: SPDY/3.1\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    let expected = "post /exec/default/p/c?input=1&output=1&command=ls&command=-l http/1.1\n";
    let mut line = vec![0; expected.len()];
    stream.read_exact(&mut line).await.unwrap();
    assert_eq!(String::from_utf8(line).unwrap(), expected);
    stream.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"hello");
}
