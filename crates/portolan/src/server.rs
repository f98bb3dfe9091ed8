//! Starts an API server from its flags: listeners, certificates, store.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use portolan_apiserver::admission::Plugins;
use portolan_apiserver::pki::Pki;
use portolan_apiserver::resource::ClusterConfig;
use portolan_apiserver::serve::{TlsFiles, serve};
use portolan_apiserver::store::embedded::EmbeddedStore;
use portolan_apiserver::{ApiServer, AuthorizationMode, Config};

use crate::cli::apiserver::Args;
use crate::config::range::nth_address;
use crate::lab::process::inherited_listeners;

/// Runs the API server until it is told to stop.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let stop = crate::runtime::stop_on_signal()?;
    let mut listeners = inherited_listeners()?;
    if listeners.is_empty() {
        listeners.push(listen(SocketAddr::new(args.bind_address, args.secure_port))?);
    }
    let advertise = args
        .advertise_address
        .or_else(|| Some(args.bind_address).filter(|address| !address.is_unspecified()));
    let pki_dir = args.cert_dir.clone().unwrap_or_else(|| args.data_dir.join("pki"));
    let pki = Pki::load_or_create(&pki_dir)?;
    let tls = tls_files(&args, &pki)?.load()?;
    let config = Config {
        cluster: ClusterConfig {
            service_ranges: args.service_cluster_ip_range.0.clone(),
            node_ports: args.service_node_port_range.as_range(),
        },
        advertise: advertise.map(|address| SocketAddr::new(address, args.secure_port)),
        authorization: authorization(args.authorization_mode.as_deref())?,
        admission: Plugins::from_flags(
            &args.enable_admission_plugins,
            &args.disable_admission_plugins,
        )?,
        cluster_domain: args.cluster_domain.clone(),
        token_file: args.token_auth_file.clone(),
        ..Config::default()
    };
    let config = pki.configure(config)?;
    let api = start(&args.data_dir, config).await?;
    tracing::info!("the API server is ready");
    Ok(serve(api, listeners, tls, async move { stop.cancelled().await }).await?)
}

/// Opens the store in the directory and loads the API server from it.
pub async fn start(data_dir: &Path, config: Config) -> anyhow::Result<ApiServer> {
    std::fs::create_dir_all(data_dir).with_context(|| {
        format!("cannot create {}; choose another --data-dir", data_dir.display())
    })?;
    let path = data_dir.join("store.redb");
    let store = EmbeddedStore::open(&path).with_context(|| {
        format!("cannot open the store {} (does another API server use it?)", path.display())
    })?;
    Ok(ApiServer::start(Arc::new(store), config).await?)
}

/// Listens on a TCP port; what is wrong is said with its remedy.
pub fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "port {} of {} is in use (by whom: ss -ltnp 'sport = :{}'); stop that program or choose another --secure-port",
            address.port(),
            address.ip(),
            address.port()
        ),
        std::io::ErrorKind::AddrNotAvailable => anyhow::anyhow!(
            "this machine has no address {}; choose another --bind-address",
            address.ip()
        ),
        _ => anyhow::Error::from(error).context(format!("cannot listen on {address}")),
    })
}

fn tls_files(args: &Args, pki: &Pki) -> anyhow::Result<TlsFiles> {
    let client_ca = Some(args.client_ca_file.clone().unwrap_or_else(|| pki.ca_file()));
    if let (Some(certificate), Some(key)) = (&args.tls_cert_file, &args.tls_private_key_file) {
        return Ok(TlsFiles { certificate: certificate.clone(), key: key.clone(), client_ca });
    }
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    names.extend(service_names(&args.cluster_domain));
    let firsts = args.service_cluster_ip_range.0.iter().filter_map(|range| nth_address(range, 1));
    names.extend(firsts.map(|address| address.to_string()));
    names.extend(args.advertise_address.map(|address| address.to_string()));
    if !args.bind_address.is_unspecified() {
        names.push(args.bind_address.to_string());
    }
    pki.server("apiserver", "kube-apiserver", &[], &names)?;
    Ok(TlsFiles {
        certificate: pki.certificate_file("apiserver"),
        key: pki.key_file("apiserver"),
        client_ca,
    })
}

/// The names by which pods know the API server.
pub fn service_names(cluster_domain: &str) -> Vec<String> {
    let mut name = "kubernetes".to_owned();
    let mut names = vec![name.clone()];
    for part in ["default", "svc", cluster_domain] {
        name = format!("{name}.{part}");
        names.push(name.clone());
    }
    names
}

/// `--authorization-mode`: AlwaysAllow, or RBAC with its built-in policy (Node goes with it).
pub fn authorization(modes: Option<&str>) -> anyhow::Result<AuthorizationMode> {
    let Some(modes) = modes else { return Ok(AuthorizationMode::default()) };
    let mut chosen = None;
    for mode in modes.split(',').map(str::trim) {
        let meant = match mode {
            "AlwaysAllow" => AuthorizationMode::AlwaysAllow,
            "RBAC" | "Node" => AuthorizationMode::Rbac,
            "ABAC" | "Webhook" | "AlwaysDeny" => {
                bail!("--authorization-mode {mode} is not supported; use AlwaysAllow or Node,RBAC")
            }
            _ => bail!("--authorization-mode {mode}: no such mode; use AlwaysAllow or Node,RBAC"),
        };
        // The first that allows decides, so AlwaysAllow makes the others moot.
        chosen = match (chosen, meant) {
            (Some(AuthorizationMode::AlwaysAllow), _) => chosen,
            _ => Some(meant),
        };
    }
    Ok(chosen.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_api_server() {
        assert_eq!(
            service_names("cluster.local"),
            [
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local"
            ]
        );
    }

    #[test]
    fn a_taken_port_is_told_with_its_remedy() {
        let holder = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = holder.local_addr().expect("its address");
        let error = listen(address).expect_err("taken").to_string();
        assert!(error.contains("is in use") && error.contains("--secure-port"), "{error}");
    }

    #[test]
    fn authorization_modes() {
        let mode = |text| authorization(Some(text)).expect(text);
        assert_eq!(mode("AlwaysAllow"), AuthorizationMode::AlwaysAllow);
        assert_eq!(mode("Node,RBAC"), AuthorizationMode::Rbac);
        assert_eq!(mode("AlwaysAllow,RBAC"), AuthorizationMode::AlwaysAllow);
        assert!(authorization(Some("Webhook")).is_err());
    }
}
