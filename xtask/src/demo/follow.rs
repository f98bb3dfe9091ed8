//! The demo's moving part: a pod is deleted under traffic, and everything follows.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
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

pub(crate) fn pod_replaced(lab: &Lab) -> Result<Replaced> {
    show::heading("A pod goes, everything follows");
    show::prose("50 requests a second from outside to worker-1:30002, while blue-1 is deleted:");
    let traffic = Traffic::start(lab)?;
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
    let (answers, lost) = traffic.stop()?;
    let requests = answers.values().sum::<usize>() + lost;
    at(deleted.elapsed(), &format!("{requests} requests, {lost} lost; answered by"));
    show::bars(&answers.into_iter().collect::<Vec<_>>());
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

/// curl, fifty times a second, until it is stopped.
struct Traffic {
    child: Child,
    output: std::thread::JoinHandle<(String, String)>,
}

impl Traffic {
    fn start(lab: &Lab) -> Result<Self> {
        let node = lab.kubectl(&[
            "get",
            "node",
            "worker-1",
            "-o",
            "jsonpath={.status.addresses[0].address}",
        ])?;
        let urls = format!("http://{node}:30002/hostname?[1-100000]");
        // Closing the shell's input ends curl, whatever stands between us and it.
        let mut words = vec!["sh", "-c", r#"curl "$@" </dev/null & read -r _; kill $!"#, "sh"];
        words.extend(["-sS", "--no-buffer", "--fail", "--rate", "50/s", "--max-time", "5"]);
        words.extend(["-H", "Connection: close", "-w", "\n", &urls]);
        let mut child = lab
            .exec_command("outside", &words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting curl")?;
        let mut stdout = child.stdout.take().context("curl's output")?;
        let mut stderr = child.stderr.take().context("curl's output")?;
        let output = std::thread::spawn(move || {
            let errors = std::thread::spawn(move || {
                let mut text = String::new();
                let _ = stderr.read_to_string(&mut text);
                text
            });
            let mut text = String::new();
            let _ = stdout.read_to_string(&mut text);
            (text, errors.join().unwrap_or_default())
        });
        Ok(Self { child, output })
    }

    /// How often each pod answered, and how many requests were lost.
    fn stop(mut self) -> Result<(BTreeMap<String, usize>, usize)> {
        drop(self.child.stdin.take());
        self.child.wait()?;
        let (stdout, stderr) = self.output.join().unwrap_or_default();
        let mut answers = BTreeMap::new();
        for line in stdout.lines().map(str::trim).filter(|line| !line.is_empty()) {
            *answers.entry(line.to_owned()).or_insert(0) += 1;
        }
        Ok((answers, stderr.lines().filter(|line| line.starts_with("curl: (")).count()))
    }
}
