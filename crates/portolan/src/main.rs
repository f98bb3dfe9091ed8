//! Portolan: Kubernetes Services, whole, as one program.

#![expect(unreachable_pub, reason = "a program has no outside that could reach its items")]

mod bootstrap;
mod cli;
mod config;
mod explain;
mod host;
mod image;
mod lab;
mod runtime;
mod server;
mod supervise;
mod telemetry;

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    portolan_linux::memory::stay_small();
    let args: Vec<OsString> = std::env::args_os().collect();
    // What runs once per container starts without a parser and without a runtime.
    match args.get(1).and_then(|word| word.to_str()) {
        Some("shim") => {
            let status = portolan_node::pods::shim::main(args.into_iter().skip(2));
            ExitCode::from(u8::try_from(status).unwrap_or(1))
        }
        Some("image") => image::run(&args[2..]),
        _ => cli::run(args),
    }
}
