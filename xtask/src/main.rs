//! What `./x` hands over to: `cargo xtask demo | test | vm | bench | bpf | lint`.

#![allow(clippy::print_stdout)]

mod bench;
mod bpf;
mod cargo;
mod check;
mod demo;
mod lab;
mod show;
mod steps;
mod vm;

use clap::Parser;

#[derive(Parser)]
#[command(name = "x", bin_name = "./x", about = "Portolan's tasks; ./x installs what they need")]
enum Task {
    /// Start a cluster of three nodes on this machine, apply examples/ and show each part at work
    Demo(demo::Arguments),
    /// Formatting, lints, unit tests, then the end-to-end tests in labs
    Test(check::TestArguments),
    /// The tests of proxy mode ipvs in a virtual machine, as `test` runs them too
    Vm(vm::Arguments),
    /// What is promised about time, memory and rates, measured: of the control plane, DNS, datapaths, controllers
    Bench(bench::Arguments),
    /// Rebuild the BPF object from its sources, byte for byte; needs Debian 12's clang
    Bpf(bpf::Arguments),
    /// Formatting, lints, house rules, and cargo-deny where it is installed
    Lint,
}

fn main() -> anyhow::Result<()> {
    if vm::is_init() {
        vm::init();
    }
    match Task::parse() {
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Test(arguments) => check::test(&arguments),
        Task::Vm(arguments) => vm::run(&arguments),
        Task::Bench(arguments) => bench::run(arguments),
        Task::Bpf(arguments) => bpf::run(&arguments),
        Task::Lint => check::lint(),
    }
}
