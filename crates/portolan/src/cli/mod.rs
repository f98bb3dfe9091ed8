//! The command line: one file per command, each with its flags and what runs them.

pub mod apiserver;
mod completions;
mod controllers;
mod dns;
mod dns_query;
pub mod explain;
mod lab;
mod node;
mod proxy;
mod supervise;
pub mod up;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::telemetry::{self, LogFlags};

/// Kubernetes Services, whole, as one program: the API, the virtual addresses, the names.
#[derive(Debug, Parser)]
#[command(name = "portolan", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogFlags,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Args),
    Apiserver(Box<apiserver::Args>),
    Controllers(controllers::Args),
    Proxy(Box<proxy::Args>),
    Dns(dns::Args),
    Node(Box<node::Args>),
    Lab(lab::Args),
    Explain(explain::Args),
    Completions(completions::Args),
    #[command(hide = true)]
    Supervise(supervise::Args),
}

/// Parses the arguments, program name first, and runs the command.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    telemetry::init(&cli.log);
    let result = match cli.command {
        Command::Up(args) => up::run(args),
        Command::Apiserver(args) => apiserver::run(*args),
        Command::Controllers(args) => controllers::run(args),
        Command::Proxy(args) => proxy::run(*args),
        Command::Dns(args) => dns::run(args),
        Command::Node(args) => node::run(*args),
        Command::Lab(args) => lab::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Completions(args) => completions::run(&args),
        Command::Supervise(args) => supervise::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "this is where the program tells why it failed")]
fn complain(error: &anyhow::Error) {
    eprintln!("error: {}", describe(error));
}

/// The error and what caused it, on one line. What the API server said is its Status' message.
fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let status = match cause.downcast_ref() {
            Some(kube::Error::Api(status)) => Some(status.message.clone()),
            _ => None,
        };
        let is_last = status.is_some();
        let words = status.unwrap_or_else(|| cause.to_string());
        if !text.contains(&words) {
            let separator = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{separator}{words}");
        }
        if is_last {
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_fixed_names_parse() {
        for line in [
            "portolan up",
            "portolan apiserver --service-cluster-ip-range=10.96.0.0/16 --service-node-port-range=30000-32767 --bind-address=127.0.0.1 --secure-port=6443 --tls-cert-file=a --tls-private-key-file=b --client-ca-file=c --authorization-mode=AlwaysAllow --data-dir=d",
            "portolan controllers --kubeconfig=k --leader-elect",
            "portolan proxy --kubeconfig=k --hostname-override=n --proxy-mode=nftables --cluster-cidr=10.244.0.0/16 --nodeport-addresses=10.0.0.0/8 --masquerade-all --metrics-bind-address=127.0.0.1:10249 --healthz-bind-address=0.0.0.0:10256",
            "portolan proxy --proxy-mode=ipvs --ipvs-scheduler=wlc --ipvs-exclude-cidrs=10.1.0.0/16,10.2.0.0/16 --ipvs-strict-arp --ipvs-tcp-timeout=15m --ipvs-tcpfin-timeout=2m --ipvs-udp-timeout=5m --ipvs-min-sync-period=1s --ipvs-sync-period=30s",
            "portolan proxy --cleanup",
            "portolan dns --kubeconfig=k --cluster-domain=cluster.local --listen=127.0.0.1:5353 --config=f",
            "portolan lab up --name=lab --workers=2 --proxy-mode=auto --kubeconfig=p --ip-families=ipv4,ipv6 --service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112 --service-node-port-range=30000-32767 --cluster-cidr=10.244.0.0/16,fd00:10:244::/56 --cluster-domain=cluster.local",
            "portolan lab exec --name lab worker-1 -- ip -6 route",
            "portolan lab image --name lab add web:1 -- /bin/sh -c exit",
            "portolan lab load --name lab image.tar",
            "portolan lab restart --kill proxy@worker-1",
            "portolan lab restart --proxy-mode=iptables proxy@worker-1",
            "portolan lab status -o json",
            "portolan lab down --name lab",
            "portolan explain --from pod/default/web-0 --to 10.96.0.10:53/udp",
            "portolan completions bash",
        ] {
            let result = Cli::try_parse_from(line.split_ascii_whitespace());
            assert!(result.is_ok(), "{line}: {}", result.expect_err("an error"));
        }
    }

    #[test]
    fn a_wrong_flag_names_itself_and_the_remedy() {
        let message = |line: &str| {
            let result = Cli::try_parse_from(line.split_ascii_whitespace());
            result.expect_err(line).to_string()
        };
        let text = message("portolan lab up --proxy-mode ipsv");
        assert!(text.contains("--proxy-mode") && text.contains("ipvs, userspace"), "{text}");
        let text = message("portolan lab up --service-node-port-range 9-3");
        assert!(text.contains("--service-node-port-range") && text.contains("is empty"), "{text}");
    }
}
