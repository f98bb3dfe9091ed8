use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use portolan_model::object::Protocol;

use crate::explain;

/// Tells the way that one packet takes: which Service, which endpoints, how likely each
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Who sends it: pod/NAMESPACE/NAME, node/NAME or outside.
    #[arg(long, value_name = "WHO")]
    pub from: Sender,
    /// Where it goes: ADDRESS:PORT, with /udp or /sctp unless it is TCP.
    #[arg(long, value_name = "ADDR:PORT[/PROTOCOL]")]
    pub to: Target,
    /// The node that a packet from outside reaches. [default: the one with that address]
    #[arg(long, value_name = "NODE")]
    pub via: Option<String>,
    /// The sender's address, for a packet from outside.
    #[arg(long, value_name = "IP")]
    pub source: Option<IpAddr>,
    /// The lab that it happens in.
    #[arg(long, default_value = "lab", conflicts_with = "kubeconfig")]
    pub name: String,
    /// Another cluster than a lab.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// `--from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    Pod { namespace: String, name: String },
    Node(String),
    Outside,
}

impl FromStr for Sender {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words: Vec<_> = text.split('/').collect();
        match words.as_slice() {
            ["outside"] => Ok(Sender::Outside),
            ["node", name] if !name.is_empty() => Ok(Sender::Node((*name).to_owned())),
            ["pod", namespace, name] if !namespace.is_empty() && !name.is_empty() => {
                Ok(Sender::Pod { namespace: (*namespace).to_owned(), name: (*name).to_owned() })
            }
            _ => Err("write pod/NAMESPACE/NAME, node/NAME or outside"),
        }
    }
}

/// `--to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub address: SocketAddr,
    pub protocol: Protocol,
}

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, protocol) = match text.split_once('/') {
            None => (text, Protocol::Tcp),
            Some((address, word)) => {
                let word = word.to_ascii_uppercase();
                let protocol = Protocol::from_api(Some(&word));
                (address, protocol.ok_or("the protocol is tcp, udp or sctp")?)
            }
        };
        let address = address.parse().map_err(
            |_| "write ADDRESS:PORT, an IPv6 address in brackets; a name has to be resolved first",
        )?;
        Ok(Target { address, protocol })
    }
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let text = explain::run(&args)?;
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_and_targets() {
        assert_eq!("node/worker-1".parse(), Ok(Sender::Node("worker-1".to_owned())));
        assert!("pod/web-0".parse::<Sender>().is_err());
        let target: Target = "[fd00::a]:53/udp".parse().expect("a target");
        assert_eq!((target.address.port(), target.protocol), (53, Protocol::Udp));
        assert!("web:80".parse::<Target>().is_err());
        assert!("10.0.0.1:80/icmp".parse::<Target>().is_err());
    }
}
