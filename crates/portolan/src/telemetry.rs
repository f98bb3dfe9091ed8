//! Where log lines go and which are written.

use std::io::IsTerminal;
use std::sync::OnceLock;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// The logging flags that every long-running command takes.
#[derive(Clone, Debug, Default, Args)]
pub struct LogFlags {
    /// Say more: -v for debug, -vv for trace. RUST_LOG, where set, decides instead.
    #[arg(short = 'v', long = "verbose", action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// How log lines are written to standard error.
    #[arg(long, value_enum, default_value_t, global = true)]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// What is written, once it is decided.
static FILTER: OnceLock<String> = OnceLock::new();

/// The filter of this process in the form of RUST_LOG, for processes that shall log as it does.
pub fn filter() -> &'static str {
    FILTER.get().map_or("info", String::as_str)
}

/// Installs the subscriber; to be called once, before anything logs.
pub fn init(flags: &LogFlags) {
    let own = match flags.verbose {
        // The client complains of every request that a restart of the API server ends; whoever
        // made the request says so where it matters.
        0 => "info,kube_client::client=off",
        1 => {
            "info,portolan=debug,portolan_apiserver=debug,portolan_controllers=debug,portolan_linux=debug,portolan_node=debug"
        }
        _ => {
            "debug,portolan=trace,portolan_apiserver=trace,portolan_controllers=trace,portolan_linux=trace,portolan_node=trace"
        }
    };
    let asked = std::env::var("RUST_LOG").ok().filter(|text| EnvFilter::try_new(text).is_ok());
    let text = FILTER.get_or_init(|| asked.unwrap_or_else(|| own.to_owned()));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(text))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match flags.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
