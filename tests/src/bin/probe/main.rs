//! `portolan-probe`: small clients that the tests and the benchmark run, often inside a lab's
//! network namespaces. Each prints JSON; those that go on end when their standard input closes.

#![allow(clippy::print_stdout)]

mod dns;
mod first_answer;
mod hold;
mod load;
mod requests;
mod tally;
mod udp;

use clap::Parser;

#[derive(Parser)]
#[command(name = "portolan-probe", about = "Clients for Portolan's tests and benchmarks")]
enum Command {
    /// HTTP requests, each on a connection of its own, until standard input closes
    Requests(requests::Arguments),
    /// One TCP connection and a line on it now and then, until standard input closes
    Hold(hold::Arguments),
    /// UDP lines, each from a socket of its own
    Udp(udp::Arguments),
    /// One DNS question, or the same again and again until standard input closes
    Dns(dns::Arguments),
    /// The time from starting a program to its API server's first answer
    FirstAnswer(first_answer::Arguments),
    /// Requests to an API server over TLS by many clients at once, as fast as they are answered
    Load(load::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Requests(arguments) => requests::run(&arguments),
        Command::Hold(arguments) => hold::run(&arguments),
        Command::Udp(arguments) => udp::run(&arguments),
        Command::Dns(arguments) => dns::run(&arguments),
        Command::FirstAnswer(arguments) => first_answer::run(&arguments),
        Command::Load(arguments) => load::run(&arguments),
    }
}
