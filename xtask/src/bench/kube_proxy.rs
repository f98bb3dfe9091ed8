//! The real kube-proxy in nftables mode, in a network namespace that it shares with an API made up
//! for it. Its own metrics say how long it took: from the changes it has gathered to the kernel.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::dns::api::{Api, NODE, Objects};
use super::dns::client::percentile;
use super::report::Measured;
use crate::lab::output;

const METRICS: &str = "127.0.0.1:10249";
/// kube-proxy gathers changes for a second, so each change takes more than that.
const CHANGES: usize = 15;

/// What runs inside the namespace.
#[derive(clap::Args)]
pub(super) struct Inside {
    program: PathBuf,
    services: usize,
    endpoints: usize,
}

/// Measures from outside: this program again, in a network namespace.
pub(super) fn measure(
    program: &Path,
    services: usize,
    endpoints: usize,
    size: &str,
) -> Result<Vec<Measured>> {
    let said = output(
        Command::new("unshare")
            .args(["--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"])
            .arg(std::env::current_exe()?)
            .args(["bench", "kube-proxy-inside"])
            .arg(program)
            .args([services, endpoints].map(|number| number.to_string()))
            .stderr(Stdio::inherit()),
    )?;
    let figures: Value = serde_json::from_str(&said)?;
    // By the name of the mode that it is compared with.
    let row = |what: &str, key: &str, unit| -> Result<Measured> {
        let value = figures[key].as_f64().with_context(|| format!("no {key}"))?;
        Ok(Measured::new(format!("nftables, {size}: {what}"), value, unit, ""))
    };
    Ok(vec![
        row("full sync from empty", "full_ms", "ms")?,
        row("one endpoint changed, p50", "endpoint_p50_ms", "ms")?,
        row("one endpoint changed, p99", "endpoint_p99_ms", "ms")?,
        row("one Service added, p50", "service_p50_ms", "ms")?,
        row("one Service added, p99", "service_p99_ms", "ms")?,
        row("peak memory", "peak_mib", "MiB")?,
    ])
}

pub(super) fn inside(inside: &Inside) -> Result<()> {
    output(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    let api = Api::start(Objects { services: inside.services, endpoints: inside.endpoints })?;
    let proxy = Proxy::start(&inside.program, &api)?;
    let full = proxy.synced(inside.services)?;
    let endpoint = proxy.follow(CHANGES, |step| api.move_endpoint(7, step))?;
    let service = proxy.follow(CHANGES, |step| api.add_service(inside.services + 2 + step))?;
    println!(
        "{}",
        json!({
            "full_ms": full,
            "endpoint_p50_ms": percentile(&endpoint, 50),
            "endpoint_p99_ms": percentile(&endpoint, 99),
            "service_p50_ms": percentile(&service, 50),
            "service_p99_ms": percentile(&service, 99),
            "peak_mib": proxy.peak()?,
        })
    );
    Ok(())
}

/// A running kube-proxy; killed when dropped.
struct Proxy {
    process: Child,
    directory: PathBuf,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// How often it has written to the kernel, and the seconds of all that.
#[derive(Clone, Copy, Default)]
struct Written {
    times: f64,
    seconds: f64,
}

impl Proxy {
    fn start(program: &Path, api: &Api) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("portolan-bench-{}", api.address.port()));
        std::fs::create_dir_all(&directory)?;
        let kubeconfig = directory.join("kubeconfig");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "c",
                "cluster": {"server": format!("http://{}", api.address)}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(&kubeconfig, text.to_string())?;
        let log = std::fs::File::create(directory.join("log"))?;
        let process = Command::new(program)
            .args(["--proxy-mode=nftables", "--hostname-override", NODE])
            .args(["--cluster-cidr=10.0.0.0/8", "--kube-api-content-type=application/json"])
            .args(["--conntrack-max-per-core=0", "--conntrack-min=0"])
            .args(["--metrics-bind-address", METRICS])
            .arg("--kubeconfig")
            .arg(&kubeconfig)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start kube-proxy")?;
        Ok(Self { process, directory })
    }

    /// Waits until every Service is in the kernel; the milliseconds of writing them there.
    fn synced(&self, services: usize) -> Result<f64> {
        let begun = Instant::now();
        while programmed().unwrap_or(0) < services {
            if begun.elapsed() > Duration::from_secs(240) {
                let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(12).collect();
                anyhow::bail!("kube-proxy has not programmed the Services: {tail:#?}");
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        // Nothing changes any more, so what comes after this does not count into it.
        std::thread::sleep(Duration::from_secs(3));
        Ok(written()?.seconds * 1e3)
    }

    /// Milliseconds that it spent on each change.
    fn follow(&self, count: usize, change: impl Fn(usize)) -> Result<Vec<f64>> {
        (0..count)
            .map(|step| {
                let before = written()?;
                change(step);
                let begun = Instant::now();
                loop {
                    let after = written()?;
                    if after.times > before.times {
                        return Ok((after.seconds - before.seconds) * 1e3);
                    }
                    ensure!(begun.elapsed().as_secs() < 60, "a change is not followed");
                    std::thread::sleep(Duration::from_millis(50));
                }
            })
            .collect()
    }

    fn peak(&self) -> Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmHWM")?;
        Ok(kib.parse::<f64>()? / 1024.0)
    }
}

/// How many Services' addresses its table in the kernel has.
fn programmed() -> Result<usize> {
    let map = ["-j", "list", "map", "ip", "kube-proxy", "service-ips"];
    Ok(output(Command::new("nft").args(map))?.matches("\"concat\"").count())
}

fn written() -> Result<Written> {
    let mut stream = TcpStream::connect(METRICS)?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: metrics\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let mut written = Written::default();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("kubeproxy_sync_proxy_rules_duration_seconds_") else {
            continue;
        };
        let Some((name, value)) = rest.rsplit_once(' ') else { continue };
        let value: f64 = value.parse()?;
        // One series for each family of addresses.
        if name.starts_with("sum") {
            written.seconds += value;
        } else if name.starts_with("count") {
            written.times += value;
        }
    }
    Ok(written)
}
