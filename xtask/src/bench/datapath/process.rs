//! One proxy as a whole process: its start from an API with everything, single changes from the
//! API's event to the connection that shows it, and memory.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::place::{Group, Place, move_into};
use super::proxy::{Proxy, Subject};
use crate::bench::dns::api::{Api, Extra, Objects};

/// Everything of 10.0.0.0/8 is here, and this is who asks.
const HERE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
/// The Service whose one endpoint changes.
const MOVED: Ipv4Addr = Ipv4Addr::new(10, 95, 0, 1);
const START_LIMIT: Duration = Duration::from_secs(240);
const CHANGE_LIMIT: Duration = Duration::from_secs(60);

pub(super) fn measure(
    subject: &Subject,
    services: usize,
    endpoints: usize,
    changes: usize,
) -> Result<Value> {
    let place = Place::create("process")?;
    place.ip(&format!(
        "address add {HERE}/32 dev lo\nroute add local 10.0.0.0/8 dev lo src {HERE}\n"
    ))?;
    // Servers close first; their ports are to be free again.
    place.set("ipv4/tcp_max_tw_buckets", "0")?;
    let moved = Extra {
        name: "moved",
        cluster_ip: MOVED,
        node_port: None,
        endpoints: vec![Ipv4Addr::new(10, 97, 0, 1)],
        on_node: false,
    };
    let objects = Objects { extra: vec![moved], ..Objects::of(services, endpoints) };
    let api = place.enter(|| Api::serve(objects, TcpListener::bind("127.0.0.1:0")?))?;
    let listener = place.enter(|| Ok(TcpListener::bind("0.0.0.0:8080")?))?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // Who answers is what is asked.
            if let Ok(SocketAddr::V4(own)) = stream.local_addr() {
                let _ = stream.write_all(&own.ip().octets());
            }
        }
    });
    let begun = Instant::now();
    let mut proxy = Proxy::start(subject, &api, &place)?;
    let asker = Asker::new(&place, proxy.sockets())?;
    let sample: Vec<Ipv4Addr> =
        (0..16).map(|n| Objects::cluster_ip(n * (services - 1) / 15)).collect();
    if !wait_for_start(&mut proxy, &asker, &sample, begun)? {
        return Ok(json!({"gave_up_ms": milliseconds(begun.elapsed())}));
    }
    let start = begun.elapsed();
    // Nothing changes any more, so what comes after this does not count into it.
    std::thread::sleep(Duration::from_secs(2));
    let full = proxy.written()?.seconds;
    let resident = proxy.memory("VmRSS")?;
    let anonymous = proxy.memory("RssAnon")?;
    let peak = proxy.memory("VmHWM")?;
    let moved = follow(&proxy, &asker, subject.peer, changes, |step| {
        let address = Ipv4Addr::new(10, 97, 1 + (step / 250) as u8, (step % 250 + 1) as u8);
        api.move_extra(address)?;
        Ok((MOVED, Some(address)))
    })?;
    let added = follow(&proxy, &asker, subject.peer, changes, |step| {
        let number = services + 3 + step;
        api.add_service(number)?;
        Ok((Objects::cluster_ip(number), None))
    })?;
    let peak_after = proxy.memory("VmHWM")?;
    proxy.end();
    std::thread::sleep(Duration::from_millis(500));
    let kernel = proxy.memory.kernel_memory()?;
    drop(place);
    proxy.memory.wait_until_free(Duration::from_secs(30));
    Ok(json!({
        "start_ms": milliseconds(start),
        "full_ms": full * 1e3,
        "resident_mib": resident,
        "anonymous_mib": anonymous,
        "peak_mib": peak,
        "peak_after_changes_mib": peak_after,
        "kernel_mib": kernel,
        "moved": moved,
        "added": added,
    }))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Waits until all of `sample` answer and the program has counted its first pass. Returns false
/// when that has not happened in [`START_LIMIT`].
fn wait_for_start(
    proxy: &mut Proxy,
    asker: &Asker,
    sample: &[Ipv4Addr],
    begun: Instant,
) -> Result<bool> {
    let mut waiting = sample.iter().peekable();
    loop {
        while waiting.next_if(|address| asker.ask(**address).is_some()).is_some() {}
        let all = waiting.peek().is_none();
        if all && proxy.written().is_ok_and(|written| written.times > 0.0) {
            return Ok(true);
        }
        ensure!(proxy.runs(), "the proxy does not come up: {}", proxy.said());
        if begun.elapsed() > START_LIMIT {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Milliseconds of each change: from the event until it shows, and what the program says that its
/// writing took, where a change takes long enough to ask for that.
fn follow(
    proxy: &Proxy,
    asker: &Asker,
    peer: bool,
    count: usize,
    mut change: impl FnMut(usize) -> Result<(Ipv4Addr, Option<Ipv4Addr>)>,
) -> Result<Value> {
    let (mut shown, mut written) = (Vec::new(), Vec::new());
    for step in 0..count {
        let before = if peer { Some(proxy.written()?) } else { None };
        let begun = Instant::now();
        let (address, wanted) = change(step)?;
        loop {
            match (asker.ask(address), wanted) {
                (Some(got), Some(wanted)) if got == wanted => break,
                (Some(_), None) => break,
                _ => ensure!(begun.elapsed() < CHANGE_LIMIT, "a change is not followed"),
            }
            if peer {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        shown.push(milliseconds(begun.elapsed()));
        if let Some(before) = before {
            let after = loop {
                let after = proxy.written()?;
                if after.times > before.times {
                    break after;
                }
                ensure!(begun.elapsed() < CHANGE_LIMIT, "a change is not counted");
                std::thread::sleep(Duration::from_millis(20));
            };
            written.push((after.seconds - before.seconds) * 1e3);
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    Ok(json!({"shown_ms": shown, "written_ms": written}))
}

/// Asks Services who answers them, from within the namespace and, for mode `ebpf`, the group: so
/// it is a process of its own.
struct Asker {
    process: std::process::Child,
    pipes: std::sync::Mutex<(std::process::ChildStdin, std::process::ChildStdout)>,
}

impl Drop for Asker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Asker {
    fn new(place: &Place, group: Option<&std::path::Path>) -> Result<Self> {
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command.args(["bench", "datapath-asker"]).arg(place.path());
        if let Some(group) = group {
            command.arg(group);
        }
        let mut process = command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .context("starting ourselves")?;
        let pipes = (process.stdin.take(), process.stdout.take());
        let (Some(input), Some(output)) = pipes else { bail!("no pipes") };
        Ok(Self { process, pipes: std::sync::Mutex::new((input, output)) })
    }

    fn ask(&self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        let mut pipes = self.pipes.lock().ok()?;
        pipes.0.write_all(&address.octets()).ok()?;
        let mut answer = [0; 4];
        pipes.1.read_exact(&mut answer).ok()?;
        (answer != [0; 4]).then(|| answer.into())
    }
}

/// What the asking process runs with: addresses in, answers out, four octets each.
#[derive(clap::Args)]
pub(in crate::bench) struct AskerArguments {
    netns: std::path::PathBuf,
    group: Option<std::path::PathBuf>,
}

pub(in crate::bench) fn asker(arguments: &AskerArguments) -> Result<()> {
    if let Some(group) = &arguments.group {
        Group::join(group)?;
    }
    move_into(&arguments.netns)?;
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut address = [0; 4];
    loop {
        match input.read_exact(&mut address) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        output.write_all(&ask(address.into()).unwrap_or_default())?;
        output.flush()?;
    }
}

fn ask(address: Ipv4Addr) -> Option<[u8; 4]> {
    let to = SocketAddr::from((address, 80));
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_millis(500)).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).ok()?;
    Some(answer)
}
