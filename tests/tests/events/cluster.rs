//! The API server and the controllers, in process.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use portolan_apiserver::store::memory::MemoryStore;
use portolan_apiserver::{ApiServer, Config};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::reference::{Reference, Request};

/// Addresses and ports that clients dial.
pub(crate) type Dialled = Vec<(Ipv4Addr, u16)>;

/// What a Service's virtual addresses should lead to, with the addresses as the API gave them out.
#[derive(Debug)]
pub(crate) struct Expected {
    pub(crate) name: String,
    /// Addresses and ports that TCP clients dial.
    pub(crate) web: Dialled,
    /// The same for UDP.
    pub(crate) lines: Dialled,
    pub(crate) endpoints: BTreeSet<String>,
    /// Endpoints that go, and may finish what they have.
    pub(crate) leaving: BTreeSet<String>,
    pub(crate) target_port: u16,
    /// A client stays with one endpoint.
    pub(crate) affine: bool,
}

pub(crate) struct Cluster {
    pub(crate) api: ApiServer,
    client: kube::Client,
    runtime: Runtime,
    _stop: DropGuard,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let stop = CancellationToken::new();
        let (api, client) = runtime.block_on(async {
            let api = ApiServer::start(Arc::new(MemoryStore::new()), Config::default())
                .await
                .expect("an API server");
            let client = kube::Client::new(api.service(), "default");
            let config = portolan_controllers::Config {
                // The nodes here have nobody who reports for them.
                node_monitor_grace_period: Duration::from_secs(3600),
                node_startup_grace_period: Duration::from_secs(3600),
                ..Default::default()
            };
            let controllers = kube::Client::new(api.service(), "default");
            tokio::spawn(portolan_controllers::run(controllers, config, stop.clone()));
            (api, client)
        });
        let cluster = Self { api, client, runtime, _stop: stop.drop_guard() };
        for node in 0..2 {
            let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("node-{node}")},
                "spec": {"podCIDR": format!("10.244.{node}.0/24")},
                "status": {"addresses": [{"type": "InternalIP", "address": format!("192.0.2.{}", node + 1)}]}});
            cluster.call("POST", "api/v1/nodes", Some(&node)).expect("a node");
        }
        cluster
    }

    /// Does what the reference asks for; all of it must be granted.
    #[track_caller]
    pub(crate) fn perform(&self, requests: &[Request]) {
        for request in requests {
            let done = match request {
                Request::Create(kind, object) => self.call("POST", &collection(kind), Some(object)),
                Request::Replace(kind, name, object) => {
                    self.replace(&format!("{}/{name}", collection(kind)), object)
                }
                Request::Patch(path, patch) => {
                    self.call("PATCH", &format!("api/v1/namespaces/default/{path}"), Some(patch))
                }
                Request::Delete(path, options) => self.call("DELETE", path, Some(options)),
            };
            done.unwrap_or_else(|error| panic!("{request:?}: {error}"));
        }
    }

    /// An update, as clients make it: with the resourceVersion and the addresses that are there, and
    /// once more where somebody else (who writes the status) came first.
    fn replace(&self, path: &str, object: &Value) -> Result<Value, String> {
        let mut object = object.clone();
        let mut attempts = 0;
        loop {
            let current = self.call("GET", path, None)?;
            object["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"].clone();
            if object["kind"] == "Service" {
                object["spec"]["clusterIP"] = current["spec"]["clusterIP"].clone();
                object["spec"]["clusterIPs"] = current["spec"]["clusterIPs"].clone();
            }
            attempts += 1;
            match self.call("PUT", path, Some(&object)) {
                Err(error) if error.contains("the object has been modified") && attempts < 20 => {}
                other => return other,
            }
        }
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let content =
            if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let body = body.map(Value::to_string).unwrap_or_default().into_bytes();
        let request = http::Request::builder()
            .method(method)
            .uri(format!("/{path}"))
            .header("content-type", content);
        let request = request.body(body).map_err(|error| error.to_string())?;
        self.runtime
            .block_on(self.client.request::<Value>(request))
            .map_err(|error| error.to_string())
    }

    /// Checks the EndpointSlices; returns what the kernel should do for each Service with an address.
    pub(crate) fn compare(&self, reference: &Reference) -> Result<Vec<Expected>, String> {
        let ready = self.ready_by_service()?;
        let services = self.call("GET", "api/v1/namespaces/default/services", None)?;
        let services: BTreeMap<&str, &Value> = services["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|service| Some((service["metadata"]["name"].as_str()?, service)))
            .collect();
        let names: BTreeSet<String> =
            reference.services.keys().map(|number| format!("service-{number}")).collect();
        let stray = ready.keys().find(|name| !names.contains(*name));
        if let Some(stray) = stray {
            return Err(format!("slices of {stray}, which is gone"));
        }
        let mut expected = Vec::new();
        for (number, service) in &reference.services {
            let name = format!("service-{number}");
            let should = reference.endpoints(service);
            let is = ready.get(&name).cloned().unwrap_or_default();
            if is != should {
                return Err(format!(
                    "the slices of {name} have {is:?} ready, not {should:?} ({service:?})"
                ));
            }
            if service.headless {
                continue;
            }
            let object = services.get(name.as_str()).ok_or_else(|| format!("no {name}"))?;
            let leaving = reference.fallback(service);
            let endpoints = if should.is_empty() { leaving.clone() } else { should };
            let (web, lines) = frontends(object);
            expected.push(Expected {
                name,
                web,
                lines,
                endpoints,
                leaving,
                target_port: service.target_port(),
                affine: service.affinity,
            });
        }
        Ok(expected)
    }

    fn ready_by_service(&self) -> Result<BTreeMap<String, BTreeSet<String>>, String> {
        let slices =
            self.call("GET", "apis/discovery.k8s.io/v1/namespaces/default/endpointslices", None)?;
        let mut ready: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for slice in slices["items"].as_array().into_iter().flatten() {
            let Some(service) = slice["metadata"]["labels"]["kubernetes.io/service-name"].as_str()
            else {
                continue;
            };
            let of_service = ready.entry(service.to_owned()).or_default();
            for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
                if endpoint["conditions"]["ready"] != Value::Bool(false) {
                    of_service.extend(endpoint["addresses"][0].as_str().map(str::to_owned));
                }
            }
        }
        Ok(ready)
    }
}

fn collection(kind: &str) -> String {
    let group = if kind == "endpointslices" { "apis/discovery.k8s.io/v1" } else { "api/v1" };
    format!("{group}/namespaces/default/{kind}")
}

/// All addresses and ports at which a Service is dialled: `web`, then `lines`.
fn frontends(service: &Value) -> (Dialled, Dialled) {
    let address = |value: &Value| value.as_str().and_then(|text| text.parse::<Ipv4Addr>().ok());
    let port = |index: usize, field: &str| {
        service["spec"]["ports"][index][field].as_u64().and_then(|port| u16::try_from(port).ok())
    };
    let mut addresses: Vec<Ipv4Addr> = address(&service["spec"]["clusterIP"]).into_iter().collect();
    addresses.extend(
        service["spec"]["externalIPs"].as_array().into_iter().flatten().filter_map(address),
    );
    let of = |index: usize| {
        let mut dialled: Vec<_> =
            addresses.iter().filter_map(|address| Some((*address, port(index, "port")?))).collect();
        dialled.extend(port(index, "nodePort").map(|port| (crate::kernel::NODE, port)));
        dialled
    };
    (of(0), of(1))
}
