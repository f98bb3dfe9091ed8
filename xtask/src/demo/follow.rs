//! The demo's moving part: a pod is deleted under traffic, and everything follows.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::lab::Lab;
use crate::show;
use crate::steps::{seconds, style};

const LIMIT: Duration = Duration::from_secs(30);
const SELECTOR: &str = "kubernetes.io/service-name=blue";

/// What happened.
#[derive(Debug)]
pub(crate) struct Replaced {
    /// From the deletion to an EndpointSlice in which the pod takes no new traffic.
    pub(crate) withdrawn: Duration,
    /// From the deletion to an EndpointSlice with all three again.
    pub(crate) back: Duration,
    pub(crate) requests: usize,
    pub(crate) lost: usize,
}

/// An EndpointSlice as it was at a time: ready addresses by pod.
type Ready = (Instant, BTreeMap<String, String>);

pub(crate) fn pod_replaced(lab: &Lab, probe: &Path) -> Result<Replaced> {
    show::heading("A pod goes, everything follows");
    show::prose("100 requests a second from outside to worker-1:30002, while blue-1 is deleted:");
    let traffic = Traffic::start(lab, probe)?;
    let (mut watch, slices) = watch(lab)?;
    let (_, before) = slices.recv_timeout(LIMIT).context("no EndpointSlice of blue")?;
    let old = before.get("blue-1").context("blue-1 is not ready")?.clone();
    let deleted = Instant::now();
    at(Duration::ZERO, "kubectl delete pod blue-1");
    lab.kubectl(&["delete", "pod", "blue-1", "--wait=false"])?;
    let (gone, _) = until(&slices, |ready| !ready.values().any(|address| *address == old))?;
    let withdrawn = gone - deleted;
    at(
        withdrawn,
        &format!("the EndpointSlice has no ready endpoint {old}: no new connection goes there"),
    );
    let (again, now) = until(&slices, |ready| ready.len() == 3 && ready.contains_key("blue-1"))?;
    let back = again - deleted;
    let new = now.get("blue-1").context("blue-1 is not back")?.clone();
    at(back, &format!("the new blue-1 is ready as {new}"));
    let name = "blue-1.blue-peers.default.svc.cluster.local";
    let resolved = resolve(lab, name, &new)?;
    at(deleted.elapsed(), &format!("{name} is {resolved}"));
    let _ = watch.kill();
    let _ = watch.wait();
    std::thread::sleep(Duration::from_millis(500));
    let seen = traffic.stop()?;
    let (requests, lost) = (seen.answered + seen.failed, seen.failed);
    at(deleted.elapsed(), &format!("{requests} requests, {lost} lost; answered by"));
    show::bars(&seen.bodies.into_iter().collect::<Vec<_>>());
    for failure in seen.failures {
        show::prose(&format!("  lost: {failure}"));
    }
    Ok(Replaced { withdrawn, back, requests, lost })
}

fn at(time: Duration, what: &str) {
    println!("  {}  {what}", style("2", &format!("{:>7}", seconds(time))));
}

fn until(
    slices: &mpsc::Receiver<Ready>,
    done: impl Fn(&BTreeMap<String, String>) -> bool,
) -> Result<Ready> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let (time, ready) = slices
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .context("the EndpointSlice did not follow")?;
        if done(&ready) {
            return Ok((time, ready));
        }
    }
}

/// `kubectl get --watch`, which prints one JSON object after the other.
fn watch(lab: &Lab) -> Result<(Child, mpsc::Receiver<Ready>)> {
    let mut child = lab
        .kubectl_command()
        .args(["get", "endpointslices", "-l", SELECTOR, "--watch", "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("starting kubectl")?;
    let output = BufReader::new(child.stdout.take().context("kubectl's output")?);
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for slice in
            serde_json::Deserializer::from_reader(output).into_iter::<Value>().map_while(Result::ok)
        {
            if sender.send((Instant::now(), ready(&slice))).is_err() {
                return;
            }
        }
    });
    Ok((child, receiver))
}

fn ready(slice: &Value) -> BTreeMap<String, String> {
    let mut ready = BTreeMap::new();
    for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
        let name = endpoint["targetRef"]["name"].as_str();
        let address = endpoint["addresses"][0].as_str();
        if let (Some(name), Some(address), true) =
            (name, address, endpoint["conditions"]["ready"] != Value::Bool(false))
        {
            ready.insert(name.to_owned(), address.to_owned());
        }
    }
    ready
}

fn resolve(lab: &Lab, name: &str, expected: &str) -> Result<String> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let said = lab.exec("worker-1", &["dig", "@10.96.0.10", "+short", name])?;
        if said.trim() == expected {
            return Ok(expected.to_owned());
        }
        if Instant::now() > deadline {
            bail!("{name} is {:?}, not {expected}", said.trim());
        }
    }
}

/// What the probe saw.
#[derive(Deserialize)]
struct Seen {
    answered: usize,
    failed: usize,
    failures: Vec<String>,
    bodies: BTreeMap<String, usize>,
}

/// Requests from outside to a node port, a hundred a second, until they are stopped.
struct Traffic {
    child: Child,
}

impl Traffic {
    fn start(lab: &Lab, probe: &Path) -> Result<Self> {
        let node = lab.kubectl(&[
            "get",
            "node",
            "worker-1",
            "-o",
            "jsonpath={.status.addresses[0].address}",
        ])?;
        let door = format!("{node}:30002");
        let probe = probe.to_str().context("the target directory's path is not UTF-8")?;
        let child = lab
            .exec_command("outside", &[probe, "requests", &door, "--interval-ms", "10"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the requests")?;
        Ok(Self { child })
    }

    /// Ends the requests by closing their input.
    fn stop(self) -> Result<Seen> {
        let output = self.child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let summary = text.lines().last().context("the requests said nothing")?;
        serde_json::from_str(summary).with_context(|| format!("the requests said {summary:?}"))
    }
}
