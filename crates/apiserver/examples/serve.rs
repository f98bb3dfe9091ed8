//! An API server by itself, for trying and measuring: `serve DIRECTORY PORT`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use portolan_apiserver::pki::Pki;
use portolan_apiserver::serve::{TlsFiles, serve};
use portolan_apiserver::store::embedded::EmbeddedStore;
use portolan_apiserver::{ApiServer, AuthorizationMode, Config};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let began = Instant::now();
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().unwrap_or_else(|| "/tmp/portolan".to_owned()));
    let port: u16 = arguments.next().map_or(Ok(6443), |port| port.parse())?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = TcpListener::bind(address)?;
    let pki = Pki::load_or_create(directory.join("pki"))?;
    pki.server("apiserver", "kube-apiserver", &[], &["localhost".into(), "127.0.0.1".into()])?;
    let admin = pki.client("admin", "kubernetes-admin", &["system:masters"])?;
    let kubeconfig = directory.join("kubeconfig");
    pki.write_kubeconfig(&kubeconfig, &format!("https://{address}"), "portolan", "admin", &admin)?;
    let tls = TlsFiles {
        certificate: pki.certificate_file("apiserver"),
        key: pki.key_file("apiserver"),
        client_ca: Some(pki.ca_file()),
    };
    let config = pki.configure(Config {
        advertise: Some(address),
        authorization: AuthorizationMode::Rbac,
        ..Config::default()
    })?;
    let store = EmbeddedStore::open(directory.join("store.redb"))?;
    let api = ApiServer::start(Arc::new(store), config).await?;
    eprintln!("ready after {:?}; export KUBECONFIG={}", began.elapsed(), kubeconfig.display());
    let stop = async {
        // Without a signal handler the server runs until it is killed.
        let _ = tokio::signal::ctrl_c().await;
    };
    serve(api, vec![listener], tls.load()?, stop).await?;
    Ok(())
}
