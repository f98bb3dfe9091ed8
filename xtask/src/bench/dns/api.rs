//! As much of a Kubernetes API server as a DNS server or kube-proxy watches: objects made up on the
//! fly, in pages, and Services that change. Plain HTTP with a thread for each connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::Result;
use serde_json::{Value, json};

/// How large a cluster is.
#[derive(Clone, Copy)]
pub(in crate::bench) struct Objects {
    pub(in crate::bench) services: usize,
    /// Of each Service.
    pub(in crate::bench) endpoints: usize,
}

/// The one node; no endpoint is on it.
pub(in crate::bench) const NODE: &str = "bench-node";

const NAMESPACES: usize = 100;
/// The set that one question asks for in full.
const CROWD: usize = 100;

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
    /// Open watches with the resource of each.
    watches: Mutex<Vec<(String, TcpStream)>>,
    /// The address of the endpoint that changes.
    one: Mutex<[u8; 4]>,
}

impl Api {
    pub(in crate::bench) fn start(objects: Objects) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            objects,
            revision: AtomicU64::new(1),
            watches: Mutex::default(),
            one: Mutex::new([10, 98, 0, 1]),
        });
        let api = Self { address, shared: shared.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || {
                    let _ = shared.serve(stream);
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
        let Objects { services, endpoints } = self.shared.objects;
        let last = services * endpoints - 1;
        let address = numbered(last).replace('.', "-");
        format!("{address}.ns{}.pod.cluster.local A", (services - 1) % NAMESPACES)
    }

    /// Gives the Service `one` another endpoint and tells the watches.
    pub(super) fn change_one(&self, address: [u8; 4]) {
        if let Ok(mut one) = self.shared.one.lock() {
            *one = address;
        }
        self.tell_of(&SLICE, "MODIFIED", self.shared.slice(self.shared.objects.services + 1));
    }

    /// Moves the first endpoint of the Service to another address.
    pub(in crate::bench) fn move_endpoint(&self, service: usize, step: usize) {
        let mut slice = self.shared.slice(service);
        slice["endpoints"][0]["addresses"] = json!([format!("10.97.0.{}", step % 250 + 1)]);
        self.tell_of(&SLICE, "MODIFIED", slice);
    }

    /// Adds a Service, with a number that none has, and its endpoints.
    pub(in crate::bench) fn add_service(&self, number: usize) {
        self.tell_of(&SERVICE, "ADDED", self.shared.service(number));
        self.tell_of(&SLICE, "ADDED", self.shared.slice(number));
    }

    fn tell_of(&self, kind: &Kind, what: &str, mut object: Value) {
        let revision = self.shared.revision.fetch_add(1, Ordering::SeqCst) + 1;
        object["apiVersion"] = json!(kind.version);
        object["kind"] = json!(kind.name);
        object["metadata"]["resourceVersion"] = json!(revision.to_string());
        let event = json!({"type": what, "object": object}).to_string() + "\n";
        self.tell(kind.resource, &event);
    }

    /// Makes everybody list anew: their place in the history is gone.
    pub(super) fn relist(&self) {
        let gone = json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1",
            "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"}});
        self.tell("", &(gone.to_string() + "\n"));
        if let Ok(mut watches) = self.shared.watches.lock() {
            for (_, stream) in watches.drain(..) {
                let _ = (&stream).write_all(b"0\r\n\r\n");
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        }
    }

    fn tell(&self, resource: &str, event: &str) {
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        if let Ok(mut watches) = self.shared.watches.lock() {
            watches.retain(|(of, stream)| {
                let concerned = resource.is_empty() || of == resource;
                !concerned || (&*stream).write_all(chunk.as_bytes()).is_ok()
            });
        }
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> Result<()> {
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
                    respond(&stream, "422 Unprocessable Entity", &status.to_string())?;
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
            respond(
                &stream,
                "200 OK",
                &self.list(&resource, number("continue").unwrap_or(0), limit),
            )?;
        }
    }

    fn list(&self, resource: &str, from: usize, limit: usize) -> String {
        let with_extra = self.objects.services + 2;
        let (kind, version, total) = match resource {
            "services" => ("ServiceList", "v1", with_extra),
            "endpointslices" => ("EndpointSliceList", "discovery.k8s.io/v1", with_extra),
            "namespaces" => ("NamespaceList", "v1", NAMESPACES),
            "nodes" => ("NodeList", "v1", 1),
            "pods" => ("PodList", "v1", self.objects.services * self.objects.endpoints),
            "servicecidrs" => ("ServiceCIDRList", "networking.k8s.io/v1", 0),
            _ => ("List", "v1", 0),
        };
        let until = total.min(from.saturating_add(limit));
        let items: Vec<Value> = (from..until)
            .map(|n| match resource {
                "services" => self.service(n),
                "endpointslices" => self.slice(n),
                "pods" => self.pod(n),
                "nodes" => json!({"metadata": {"name": NODE},
                    "status": {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}}),
                _ => json!({"metadata": {"name": format!("ns{n}")}}),
            })
            .collect();
        let next = if until < total { until.to_string() } else { String::new() };
        let revision = self.revision.load(Ordering::SeqCst).to_string();
        json!({"kind": kind, "apiVersion": version, "items": items,
            "metadata": {"resourceVersion": revision, "continue": next}})
        .to_string()
    }

    /// Two after the Services that there are at first are headless: `crowd` and `one`.
    fn name(&self, n: usize) -> (String, String) {
        match n.checked_sub(self.objects.services) {
            Some(0) => ("crowd".into(), "ns0".into()),
            Some(1) => ("one".into(), "ns0".into()),
            _ => (format!("s{n}"), format!("ns{}", n % NAMESPACES)),
        }
    }

    fn service(&self, n: usize) -> Value {
        let (name, namespace) = self.name(n);
        let ip = match n.checked_sub(self.objects.services) {
            Some(0 | 1) => "None".into(),
            _ => format!("10.96.{}.{}", n / 250, n % 250 + 1),
        };
        json!({"metadata": {"name": name, "namespace": namespace, "uid": format!("u{n}"),
                "resourceVersion": "1", "labels": {"app": name}},
            "spec": {"clusterIP": ip, "clusterIPs": [ip], "type": "ClusterIP",
                "selector": {"app": name},
                "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}})
    }

    /// A pod of a Service, with about as much around it as a small real one has.
    fn pod(&self, n: usize) -> Value {
        let service = n / self.objects.endpoints;
        let namespace = format!("ns{}", service % NAMESPACES);
        let name = format!("s{service}-{}", n % self.objects.endpoints);
        let now = "2026-01-01T00:00:00Z";
        let condition = |kind: &str| {
            json!({"type": kind, "status": "True",
            "lastProbeTime": null, "lastTransitionTime": now})
        };
        let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map(condition);
        json!({"metadata": {"name": name, "namespace": namespace, "uid": format!("p{n}"),
                "resourceVersion": "1", "creationTimestamp": now, "labels": {"app": format!("s{service}")},
                "managedFields": [{"manager": "kubelet", "operation": "Update", "time": now,
                    "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:status": {
                    "f:conditions": {}, "f:containerStatuses": {}, "f:phase": {}, "f:podIP": {}}}}]},
            "spec": {"nodeName": "node-1", "serviceAccountName": "default",
                "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "x",
                "containers": [{"name": "c", "image": "registry.example/team/service:v1.2.3",
                    "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                    "env": [{"name": "A", "value": "b"}, {"name": "C", "value": "d"}],
                    "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                    "volumeMounts": [{"name": "t", "readOnly": true,
                        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]}]},
            "status": {"phase": "Running", "hostIP": "192.0.2.1", "podIP": numbered(n),
                "podIPs": [{"ip": numbered(n)}], "startTime": now, "conditions": conditions,
                "containerStatuses": [{"name": "c", "ready": true, "restartCount": 0,
                    "image": "registry.example/team/service:v1.2.3", "imageID": "sha256:0",
                    "state": {"running": {"startedAt": now}}}]}})
    }

    fn slice(&self, n: usize) -> Value {
        let (service, namespace) = self.name(n);
        let per = self.objects.endpoints;
        let endpoint = |address: String, pod: String| {
            json!({"addresses": [address], "nodeName": "node-1",
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "targetRef": {"kind": "Pod", "name": pod, "namespace": namespace}})
        };
        let endpoints: Vec<Value> = match n.checked_sub(self.objects.services) {
            Some(0) => {
                let first = self.objects.services * per;
                (0..CROWD).map(|e| endpoint(numbered(first + e), format!("crowd-{e}"))).collect()
            }
            Some(1) => {
                let [a, b, c, d] = self.one.lock().map(|one| *one).unwrap_or_default();
                vec![endpoint(format!("{a}.{b}.{c}.{d}"), "one-0".into())]
            }
            _ => (0..per).map(|e| endpoint(numbered(n * per + e), format!("s{n}-{e}"))).collect(),
        };
        json!({"metadata": {"name": format!("{service}-x"), "namespace": namespace,
                "uid": format!("e{n}"), "resourceVersion": "1",
                "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4", "endpoints": endpoints,
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]})
    }
}

/// The address of a pod.
fn numbered(number: usize) -> String {
    let (a, b) = (100 + number / 62_500, number / 250 % 250);
    format!("10.{a}.{b}.{}", number % 250 + 1)
}

fn respond(mut stream: &TcpStream, status: &str, body: &str) -> Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    Ok(stream.write_all(body.as_bytes())?)
}
