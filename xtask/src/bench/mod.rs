//! `./x bench [SUBJECT]`: what is promised about time, memory and rates, measured.
//!
//! One file for each subject; each returns a [`report::Report`], which is printed and kept.

mod control_plane;
mod controllers;
mod datapath;
mod dns;
mod report;

use std::path::PathBuf;

use anyhow::Result;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    subject: Option<Subject>,
    /// Where the JSON files go
    #[arg(long, default_value = "benches/runs", global = true)]
    runs: PathBuf,
}

#[derive(clap::Subcommand)]
enum Subject {
    /// Memory, start-up times, writes and reads per second of the API server (the default)
    ControlPlane(control_plane::Arguments),
    /// Queries per second, latencies, memory and changes of the cluster's DNS, beside CoreDNS
    Dns(dns::Arguments),
    /// Syncs, changes, connections and memory of the node proxy's modes, beside kube-proxy
    Datapath(datapath::Arguments),
    /// Writes and time of rolling many pods behind a Service
    Controllers(controllers::Arguments),
    /// What `datapath` runs in namespaces
    #[command(hide = true)]
    DatapathInside(datapath::InnerArguments),
    #[command(hide = true)]
    DatapathAgent(datapath::AgentArguments),
    #[command(hide = true)]
    DatapathAsker(datapath::AskerArguments),
}

pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let subject =
        arguments.subject.unwrap_or(Subject::ControlPlane(control_plane::Arguments::default()));
    let report = match &subject {
        Subject::ControlPlane(arguments) => control_plane::run(arguments)?,
        Subject::Dns(arguments) => dns::run(arguments)?,
        Subject::Datapath(datapath) => {
            // It takes long: what was measured before something failed is kept.
            let mut report = report::Report::new("datapath");
            let result = datapath::run(datapath, &mut report);
            if !report.measured.is_empty() {
                report.print();
                report.write(&arguments.runs)?;
            }
            return result;
        }
        Subject::Controllers(arguments) => controllers::run(arguments)?,
        Subject::DatapathInside(arguments) => return datapath::inner(arguments),
        Subject::DatapathAgent(arguments) => return datapath::agent(arguments),
        Subject::DatapathAsker(arguments) => return datapath::asker(arguments),
    };
    report.print();
    report.write(&arguments.runs)
}
