//! How many queries the DNS server answers, measured with dnsperf, against the floor of a bare
//! recvmmsg/sendmmsg echo on the same machine.
//!
//! ```text
//! cargo run --release -p portolan-node --example dns_bench [SECONDS]
//! ```
//!
//! The index holds 10,000 Services and 100,000 endpoints, loaded through the same watches as in a
//! cluster. dnsperf takes part of the processor, so besides queries per second it reports what one
//! query costs the server in processor time: that is the figure to compare.
#![allow(clippy::print_stdout)]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use portolan_linux::datagram::{Batch, bind};
use portolan_node::dns::{DnsConfig, run};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const SERVICES: usize = 10_000;
const PER_SERVICE: usize = 10;
const HEADLESS: usize = 100;

fn main() {
    let seconds: u32 = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(5);
    let echo: SocketAddr = "127.0.0.1:15301".parse().expect("an address");
    let dns: SocketAddr = "127.0.0.1:15300".parse().expect("an address");
    std::thread::spawn(move || echo_forever(echo));
    let directory = tempfile::tempdir().expect("a directory");
    let corefile = directory.path().join("Corefile");
    let text = ".:53 {\n kubernetes cluster.local in-addr.arpa {\n pods insecure\n ttl 30\n }\n \
                prometheus 127.0.0.1:15302\n ready 127.0.0.1:15302\n loadbalance\n hosts {\n \
                192.0.2.1 box.lan\n }\n}\n";
    std::fs::write(&corefile, text).expect("written");
    let before = resident();
    let begun = Instant::now();
    let config = DnsConfig { corefile: Some(corefile), listen: Some(dns), ..DnsConfig::default() };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async move {
            let client = kube::Client::new(tower::service_fn(respond), "default");
            run(Some(client), config, CancellationToken::new()).await.expect("serving");
        });
    });
    while !is_ready() {
        std::thread::sleep(Duration::from_millis(5));
    }
    println!(
        "{SERVICES} Services, {} endpoints: loaded in {:?}, resident {} KiB ({} KiB before)",
        SERVICES * PER_SERVICE + HEADLESS,
        begun.elapsed(),
        resident(),
        before
    );
    let hits: String = (0..20_000).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "s{}.ns{}.svc.cluster.local A", n * 7919 % SERVICES, n * 7919 % 100);
        text
    });
    let misses: String = (0..20_000).fold(String::new(), |mut text, n| {
        let _ = writeln!(text, "web.s{n}.ns{}.svc.cluster.local A", n % 100);
        text
    });
    let srv: String = (0..20_000).fold(String::new(), |mut text, n| {
        let s = n * 7919 % SERVICES;
        let _ = writeln!(text, "_http._tcp.s{s}.ns{}.svc.cluster.local SRV", s % 100);
        text
    });
    println!(
        "{:<22} {:>10} {:>12} {:>12} {:>10}",
        "questions", "queries/s", "CPU ns/query", "mean latency", "lost"
    );
    for (name, server, questions) in [
        ("echo floor", echo, hits.as_str()),
        ("hits", dns, hits.as_str()),
        ("SRV", dns, srv.as_str()),
        ("NXDOMAIN", dns, misses.as_str()),
        ("headless set of 100", dns, "crowd.ns0.svc.cluster.local A\n"),
        ("echo floor again", echo, hits.as_str()),
    ] {
        let file = directory.path().join("questions");
        std::fs::write(&file, questions).expect("written");
        let cpu = cpu_time();
        let output = Command::new("dnsperf")
            .args(["-s", "127.0.0.1", "-p", &server.port().to_string(), "-c", "16", "-q", "256"])
            .args(["-e", "-T", "1", "-l", &seconds.to_string(), "-d"])
            .arg(&file)
            .output()
            .expect("dnsperf is installed");
        let cpu = cpu_time() - cpu;
        let text = String::from_utf8_lossy(&output.stdout);
        let field = |label: &str| -> String {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(label));
            line.unwrap_or("?").split_whitespace().next().unwrap_or("?").to_owned()
        };
        let completed: f64 = field("Queries completed:").parse().unwrap_or(1.0);
        println!(
            "{name:<22} {:>10} {:>12.0} {:>10}us {:>10}",
            field("Queries per second:").split('.').next().unwrap_or("?"),
            cpu.as_nanos() as f64 / completed,
            field("Average Latency (s):").parse::<f64>().map_or(0, |s| (s * 1e6) as u64),
            field("Queries lost:"),
        );
    }
    println!("resident at the end {} KiB", resident());
}

/// The floor: each datagram goes back with QR set.
fn echo_forever(address: SocketAddr) {
    let socket = bind(address).expect("bound");
    socket.set_nonblocking(false).expect("blocking");
    let mut batch = Batch::new(2048);
    loop {
        let _ = socket.peek(&mut [0]);
        let Ok(count) = batch.receive(socket.as_fd()) else { continue };
        for slot in 0..count {
            let (message, _, out) = batch.slot(slot);
            let start = out.len();
            out.extend_from_slice(message);
            if let Some(flags) = out.get_mut(start + 2) {
                *flags |= 0x80;
            }
            batch.reply(slot, start);
        }
        batch.send(socket.as_fd());
    }
}

/// An API server that has everything from the start and never changes.
async fn respond(
    request: Request<kube::client::Body>,
) -> Result<Response<UnsyncBoxBody<Bytes, std::convert::Infallible>>, tower::BoxError> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let parameter =
        |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    if parameter("watch").is_some() {
        let never = futures::stream::pending::<Result<http_body::Frame<Bytes>, _>>();
        return Ok(Response::new(http_body_util::StreamBody::new(never).boxed_unsync()));
    }
    let from: usize = parameter("continue").and_then(|token| token.parse().ok()).unwrap_or(0);
    let (kind, version, total, item): (_, _, _, fn(usize) -> Value) =
        match request.uri().path().rsplit('/').next().unwrap_or_default() {
            "services" => ("ServiceList", "v1", SERVICES + 1, service),
            "endpointslices" => ("EndpointSliceList", "discovery.k8s.io/v1", SERVICES + 1, slice),
            _ => ("NamespaceList", "v1", 100, |n| json!({"metadata": {"name": format!("ns{n}")}})),
        };
    let until = total.min(from + 500);
    let next = if until < total { until.to_string() } else { String::new() };
    let list = json!({"kind": kind, "apiVersion": version,
        "metadata": {"resourceVersion": "1", "continue": next},
        "items": (from..until).map(item).collect::<Vec<_>>()});
    Ok(Response::new(Full::new(Bytes::from(list.to_string())).boxed_unsync()))
}

fn service(n: usize) -> Value {
    if n == SERVICES {
        return json!({"metadata": {"name": "crowd", "namespace": "ns0"}, "spec":
            {"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}});
    }
    let ip = format!("10.96.{}.{}", n / 250, n % 250 + 1);
    json!({"metadata": {"name": format!("s{n}"), "namespace": format!("ns{}", n % 100)},
        "spec": {"clusterIP": ip, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}})
}

fn slice(n: usize) -> Value {
    let (service, count) =
        if n == SERVICES { ("crowd".into(), HEADLESS) } else { (format!("s{n}"), PER_SERVICE) };
    let endpoints: Vec<_> = (0..count)
        .map(|e| {
            let number = n * PER_SERVICE + e;
            let ip =
                format!("10.{}.{}.{}", 100 + number / 62_500, number / 250 % 250, number % 250);
            json!({"addresses": [ip], "conditions": {"ready": true}})
        })
        .collect();
    json!({"metadata": {"name": format!("{service}-x"), "namespace": format!("ns{}", n % 100),
        "labels": {"kubernetes.io/service-name": service}}, "addressType": "IPv4",
        "endpoints": endpoints, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]})
}

fn is_ready() -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::net::TcpStream::connect("127.0.0.1:15302") else { return false };
    let mut text = String::new();
    let sent = stream.write_all(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    sent.is_ok() && stream.read_to_string(&mut text).is_ok() && text.starts_with("HTTP/1.1 200")
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// User and system time of this process, from proc_pid_stat(5); a tick is 10 ms.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit(')').next().unwrap_or_default();
    let ticks: u64 =
        after.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
