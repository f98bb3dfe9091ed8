//! As much of a Kubernetes API server as a DNS server or a node's proxy watches: made-up objects,
//! in pages, and Services that change. Plain HTTP with a thread for each connection.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::objects::NAMESPACES;
pub(in crate::bench) use super::objects::{Extra, NODE, Objects};

/// What is announced to watches.
struct Kind {
    version: &'static str,
    name: &'static str,
    resource: &'static str,
}

const SERVICE: Kind = Kind { version: "v1", name: "Service", resource: "services" };
const SLICE: Kind =
    Kind { version: "discovery.k8s.io/v1", name: "EndpointSlice", resource: "endpointslices" };

pub(in crate::bench) struct Api {
    pub(in crate::bench) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    objects: Objects,
    revision: AtomicU64,
    /// All there is now, by resource.
    lists: RwLock<BTreeMap<&'static str, Vec<Arc<str>>>>,
    /// Open watches with the resource of each.
    watches: Mutex<Vec<(String, TcpStream)>>,
}

impl Api {
    pub(in crate::bench) fn start(objects: Objects) -> Result<Self> {
        Self::serve(objects, TcpListener::bind("127.0.0.1:0")?)
    }

    /// Serves at a listener, which may be one of another network namespace.
    pub(in crate::bench) fn serve(objects: Objects, listener: TcpListener) -> Result<Self> {
        let address = listener.local_addr()?;
        let shared = |texts: Vec<String>| texts.into_iter().map(Arc::from).collect();
        let namespaces =
            (0..NAMESPACES).map(|n| json!({"metadata": {"name": format!("ns{n}")}}).to_string());
        let lists = [
            (SERVICE.resource, shared(objects.all_services())),
            (SLICE.resource, shared(objects.all_slices([10, 98, 0, 1]))),
            ("namespaces", shared(namespaces.collect())),
            ("nodes", shared(vec![objects.node()])),
        ];
        let shared = Arc::new(Shared {
            objects,
            revision: AtomicU64::new(1),
            lists: RwLock::new(lists.into()),
            watches: Mutex::default(),
        });
        let api = Self { address, shared: shared.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || {
                    let _ = shared.answer(stream);
                });
            }
        });
        Ok(api)
    }

    /// A question that only the last Service of the list answers.
    pub(super) fn last_service(&self) -> String {
        let last = self.shared.objects.services - 1;
        format!("s{last}.ns{}.svc.cluster.local A", last % NAMESPACES)
    }

    /// A question that only the last pod of the list answers, where pods are verified.
    pub(super) fn last_pod(&self) -> String {
        let Objects { services, endpoints, .. } = self.shared.objects;
        let address = Objects::pod_ip(services * endpoints - 1).to_string().replace('.', "-");
        format!("{address}.ns{}.pod.cluster.local A", (services - 1) % NAMESPACES)
    }

    /// Gives the headless Service `one` another endpoint and tells the watches.
    pub(super) fn change_one(&self, address: [u8; 4]) -> Result<()> {
        let at = self.shared.objects.services + 1;
        self.shared.tell_of(&SLICE, Some(at), &self.shared.objects.slice(at, address))
    }

    /// Gives the first of the chosen Services one other endpoint.
    pub(in crate::bench) fn move_extra(&self, address: Ipv4Addr) -> Result<()> {
        let mut extra = self.shared.objects.extra.first().context("no such Service")?.clone();
        extra.endpoints = vec![address];
        self.shared.tell_of(&SLICE, Some(self.shared.objects.services + 2), &extra.slice())
    }

    /// Adds a Service, with a number that none has, and its endpoints.
    pub(in crate::bench) fn add_service(&self, number: usize) -> Result<()> {
        let objects = &self.shared.objects;
        self.shared.tell_of(&SERVICE, None, &objects.service(number))?;
        self.shared.tell_of(&SLICE, None, &objects.slice(number, [0; 4]))
    }

    /// Makes everybody list anew: their place in the history is gone.
    pub(super) fn relist(&self) {
        let gone = json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1",
            "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"}});
        self.shared.tell("", &(gone.to_string() + "\n"));
        if let Ok(mut watches) = self.shared.watches.lock() {
            for (_, stream) in watches.drain(..) {
                let _ = (&stream).write_all(b"0\r\n\r\n");
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        }
    }
}

impl Shared {
    /// Changes the object at that place of its list, or adds one, and tells the watches.
    fn tell_of(&self, kind: &Kind, at: Option<usize>, text: &str) -> Result<()> {
        let mut object: Value = serde_json::from_str(text)?;
        let revision = self.revision.fetch_add(1, Ordering::SeqCst) + 1;
        object["apiVersion"] = json!(kind.version);
        object["kind"] = json!(kind.name);
        object["metadata"]["resourceVersion"] = json!(revision.to_string());
        let mut lists = self.lists.write().ok().context("the lists are lost")?;
        let list = lists.entry(kind.resource).or_default();
        let text = object.to_string().into();
        match at.and_then(|at| list.get_mut(at)) {
            Some(old) => *old = text,
            None => list.push(text),
        }
        drop(lists);
        let what = if at.is_some() { "MODIFIED" } else { "ADDED" };
        self.tell(kind.resource, &(json!({"type": what, "object": object}).to_string() + "\n"));
        Ok(())
    }

    fn tell(&self, resource: &str, event: &str) {
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        if let Ok(mut watches) = self.watches.lock() {
            watches.retain(|(of, stream)| {
                let concerned = resource.is_empty() || of == resource;
                !concerned || (&*stream).write_all(chunk.as_bytes()).is_ok()
            });
        }
    }

    fn answer(&self, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            let mut lines = reader.by_ref().lines();
            let Some(request) = lines.next().transpose()? else { return Ok(()) };
            let mut body = 0;
            for header in lines {
                let header = header?.to_ascii_lowercase();
                if header.is_empty() {
                    break;
                }
                if let Some(length) = header.strip_prefix("content-length:") {
                    body = length.trim().parse()?;
                }
            }
            std::io::copy(&mut reader.by_ref().take(body), &mut std::io::sink())?;
            let target = request.split(' ').nth(1).unwrap_or_default();
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let parameter = |name: &str| {
                query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
            };
            let resource = path.rsplit('/').next().unwrap_or_default().to_owned();
            if matches!(parameter("watch"), Some("true" | "1")) {
                // Streamed lists are an offer that a server may turn down.
                if parameter("sendInitialEvents").is_some() {
                    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                        "code": 422, "reason": "Invalid", "message": "no streamed lists"});
                    respond(&stream, "422 Unprocessable Entity", &[&status.to_string()])?;
                    continue;
                }
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                            Transfer-Encoding: chunked\r\n\r\n";
                (&stream).write_all(head.as_bytes())?;
                if let Ok(mut watches) = self.watches.lock() {
                    watches.push((resource, stream.try_clone()?));
                }
                // The connection is the watch's from now on.
                std::io::copy(&mut reader, &mut std::io::sink())?;
                return Ok(());
            }
            let number = |name: &str| parameter(name).and_then(|text| text.parse().ok());
            let limit = number("limit").filter(|limit| *limit > 0).unwrap_or(usize::MAX);
            self.list(&stream, path, &resource, number("continue").unwrap_or(0), limit)?;
        }
    }

    fn list(
        &self,
        stream: &TcpStream,
        path: &str,
        resource: &str,
        from: usize,
        limit: usize,
    ) -> Result<()> {
        let (kind, version) = match resource {
            "services" => ("ServiceList", "v1"),
            "endpointslices" => ("EndpointSliceList", "discovery.k8s.io/v1"),
            "namespaces" => ("NamespaceList", "v1"),
            "nodes" => ("NodeList", "v1"),
            "pods" => ("PodList", "v1"),
            "servicecidrs" => ("ServiceCIDRList", "networking.k8s.io/v1"),
            // One object by its name.
            NODE if path.ends_with(&format!("/nodes/{NODE}")) => {
                let mut node: Value = serde_json::from_str(&self.objects.node())?;
                (node["kind"], node["apiVersion"]) = (json!("Node"), json!("v1"));
                return respond(stream, "200 OK", &[&node.to_string()]);
            }
            _ => ("List", "v1"),
        };
        let until = |total: usize| total.min(from.saturating_add(limit));
        let (items, total): (Vec<Arc<str>>, usize) = if resource == "pods" {
            // So many that they are made when they are asked for.
            let total = self.objects.services * self.objects.endpoints;
            ((from..until(total)).map(|n| self.objects.pod(n).into()).collect(), total)
        } else {
            let lists = self.lists.read().ok().context("the lists are lost")?;
            let all = lists.get(resource).map_or(&[][..], Vec::as_slice);
            (all.get(from..until(all.len())).unwrap_or_default().to_vec(), all.len())
        };
        let next = if until(total) < total { until(total).to_string() } else { String::new() };
        let revision = self.revision.load(Ordering::SeqCst).to_string();
        let metadata = json!({"resourceVersion": revision, "continue": next});
        let head = format!(
            r#"{{"kind":"{kind}","apiVersion":"{version}","metadata":{metadata},"items":["#
        );
        let mut parts: Vec<&str> = vec![&head];
        for (n, item) in items.iter().enumerate() {
            parts.extend((n > 0).then_some(","));
            parts.push(item);
        }
        parts.push("]}");
        respond(stream, "200 OK", &parts)
    }
}

fn respond(stream: &TcpStream, status: &str, body: &[&str]) -> Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 18, stream);
    let length: usize = body.iter().map(|part| part.len()).sum();
    write!(
        writer,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )?;
    for part in body {
        writer.write_all(part.as_bytes())?;
    }
    Ok(writer.flush()?)
}
