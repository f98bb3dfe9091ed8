use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::bail;

use crate::config::range::{PortRange, Ranges, service_ranges};

/// Runs the API server alone
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address to serve on; sockets passed by a supervisor (LISTEN_FDS) go before it.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED), value_name = "IP")]
    pub bind_address: IpAddr,
    /// Port to serve HTTPS on.
    #[arg(long, default_value_t = 6443, value_name = "PORT")]
    pub secure_port: u16,
    /// Address that the Service `kubernetes` points to. [default: the bind address]
    #[arg(long, value_name = "IP")]
    pub advertise_address: Option<IpAddr>,
    /// Directory of the embedded store.
    #[arg(long, default_value = "/var/lib/portolan", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// etcd's addresses, in place of the embedded store.
    #[arg(long, value_name = "URL[,URL]")]
    pub etcd_servers: Option<String>,
    /// Range of the Services' addresses, one per family.
    #[arg(long, value_name = "RANGE[,RANGE]", default_value = "10.96.0.0/16", value_parser = service_ranges)]
    pub service_cluster_ip_range: Ranges,
    /// Ports that NodePort Services are given from.
    #[arg(long, value_name = "FIRST-LAST", default_value = "30000-32767")]
    pub service_node_port_range: PortRange,
    /// The domain of the cluster's names.
    #[arg(long, default_value = "cluster.local")]
    pub cluster_domain: String,
    /// Directory of certificates and keys; what is missing there is made. [default: DATA_DIR/pki]
    #[arg(long, value_name = "DIR")]
    pub cert_dir: Option<PathBuf>,
    /// The server's certificate. [default: made by the own CA]
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    pub tls_cert_file: Option<PathBuf>,
    /// The certificate's key.
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    pub tls_private_key_file: Option<PathBuf>,
    /// CA of the clients' certificates. [default: the own CA]
    #[arg(long, value_name = "FILE")]
    pub client_ca_file: Option<PathBuf>,
    /// Who may do what.
    #[arg(long, value_name = "MODE[,MODE]")]
    pub authorization_mode: Option<String>,
    /// Admission plugins to switch on; the one that can be is DenyServiceExternalIPs.
    #[arg(long, value_name = "NAME[,NAME]", value_delimiter = ',')]
    pub enable_admission_plugins: Vec<String>,
    /// Admission plugins to switch off.
    #[arg(long, value_name = "NAME[,NAME]", value_delimiter = ',')]
    pub disable_admission_plugins: Vec<String>,
    /// File of bearer tokens: lines of token,user,uid,"group,group".
    #[arg(long, value_name = "FILE")]
    pub token_auth_file: Option<PathBuf>,
}

impl Args {
    /// Refuses what this version cannot do.
    fn check(&self) -> anyhow::Result<()> {
        if let Some(servers) = &self.etcd_servers {
            bail!(
                "--etcd-servers {servers}: this version keeps its state in the embedded store only; leave the flag out, the store is in --data-dir"
            );
        }
        Ok(())
    }
}

pub fn run(args: Args) -> anyhow::Result<()> {
    args.check()?;
    crate::runtime::server()?.block_on(crate::server::run(args))
}
