//! Random clusters.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, Patch, PatchParams, PostParams};
use portolan_apiserver::store::memory::MemoryStore;
use portolan_apiserver::{ApiServer, Config};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

pub(super) const NAMESPACES: [&str; 3] = ["one", "two", "three"];
pub(super) const PORTS: [&str; 4] = ["http", "Web-UI", "dns", ""];

/// An API server and the names that its objects have.
pub(super) struct Cluster {
    pub(super) api: ApiServer,
    /// Namespace and name.
    pub(super) services: Vec<(String, String)>,
    /// What endpoints may be called below their Service.
    pub(super) hosts: Vec<String>,
    pub(super) addresses: Vec<String>,
}

fn object<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object")
}

impl Cluster {
    pub(super) async fn make(random: &mut StdRng) -> Self {
        let mut config = Config::default();
        config.cluster.service_ranges.push("fd00:10:96::/112".parse().expect("a network"));
        let api = ApiServer::start(Arc::new(MemoryStore::default()), config).await;
        let api = api.expect("an API server");
        let mut cluster =
            Self { api, services: Vec::new(), hosts: Vec::new(), addresses: Vec::new() };
        let client = kube::Client::new(cluster.api.service(), "default");
        let namespaces: Api<Namespace> = Api::all(client.clone());
        for name in NAMESPACES {
            let team = if random.random_bool(0.5) { "red" } else { "blue" };
            let value = json!({"metadata": {"name": name, "labels": {"team": team}}});
            namespaces.create(&PostParams::default(), &object(value)).await.expect("created");
        }
        for number in 0..16 {
            let namespace = *NAMESPACES.choose(random).expect("some");
            let name = format!("s{number}");
            cluster.service(random, &client, namespace, &name).await;
            cluster.services.push((namespace.to_owned(), name));
        }
        for namespace in NAMESPACES {
            cluster.pods(random, &client, namespace).await;
        }
        cluster
    }

    async fn service(
        &mut self,
        random: &mut StdRng,
        client: &kube::Client,
        namespace: &str,
        name: &str,
    ) {
        let mut names = PORTS.to_vec();
        let count = random.random_range(1..=3);
        let ports: Vec<Value> = (0..count)
            .map(|index| {
                let port = names.remove(random.random_range(0..names.len()));
                // Only a single port may have no name.
                let port = if port.is_empty() && count > 1 { "other" } else { port };
                let protocol = if random.random_bool(0.7) { "TCP" } else { "UDP" };
                json!({"name": port.to_ascii_lowercase(), "port": 80 + index, "protocol": protocol})
            })
            .collect();
        let spec = match random.random_range(0..10) {
            0..=3 => {
                let families = [json!(["IPv4"]), json!(["IPv6"]), json!(["IPv4", "IPv6"])];
                let index = random.random_range(0..3);
                let policy = if index == 2 { "RequireDualStack" } else { "SingleStack" };
                json!({"ports": ports, "ipFamilies": families[index], "ipFamilyPolicy": policy})
            }
            4..=7 => json!({"clusterIP": "None", "ports": ports,
                "ipFamilyPolicy": "RequireDualStack"}),
            _ => {
                let targets = [
                    "www.Example.org".to_owned(),
                    "missing.example.org".to_owned(),
                    "192.0.2.1".to_owned(),
                    format!("s{}.{namespace}.svc.cluster.local", random.random_range(0..16)),
                    format!("s1.{}.svc.cluster.local", NAMESPACES[random.random_range(0..3)]),
                ];
                let target = targets.choose(random).expect("some");
                json!({"type": "ExternalName", "externalName": target.to_ascii_lowercase()})
            }
        };
        let tier = if random.random_bool(0.5) { "gold" } else { "tin" };
        let value = json!({"metadata": {"name": name, "labels": {"tier": tier}}, "spec": spec});
        let services: Api<Service> = Api::namespaced(client.clone(), namespace);
        let made = services.create(&PostParams::default(), &object(value)).await.expect("created");
        let ips = made.spec.and_then(|spec| spec.cluster_ips).unwrap_or_default();
        self.addresses.extend(ips.into_iter().filter(|ip| ip != "None"));
        let is_external = spec["type"] == "ExternalName";
        for slice in 0..random.random_range(0..=3) {
            if is_external {
                continue;
            }
            let v6 = slice == 2;
            let value = self.slice(random, namespace, name, slice, v6, &ports, tier);
            let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
            slices.create(&PostParams::default(), &object(value)).await.expect("created");
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn slice(
        &mut self,
        random: &mut StdRng,
        namespace: &str,
        service: &str,
        number: usize,
        v6: bool,
        ports: &[Value],
        tier: &str,
    ) -> Value {
        let endpoints: Vec<Value> = (0..random.random_range(0..5))
            .map(|_| {
                let host = random.random_range(1..60);
                let address = if v6 {
                    format!("fd00:10:244::{host:x}")
                } else {
                    format!("10.244.{number}.{host}")
                };
                self.addresses.push(address.clone());
                self.hosts.push(address.replace(['.', ':'], "-"));
                let mut endpoint = json!({"addresses": [address]});
                if random.random_bool(0.3) {
                    endpoint["hostname"] = json!(format!("h{}", random.random_range(0..4)));
                }
                if random.random_bool(0.3) {
                    endpoint["conditions"] = json!({"ready": random.random_bool(0.5)});
                }
                if random.random_bool(0.5) {
                    let pod = format!("pod-{}", random.random_range(0..6));
                    endpoint["targetRef"] =
                        json!({"kind": "Pod", "name": pod, "namespace": namespace});
                }
                endpoint
            })
            .collect();
        let ports: Vec<Value> = ports
            .iter()
            .map(|port| {
                let number = port["port"].as_u64().unwrap_or_default() + 8000;
                json!({"name": port["name"], "port": number, "protocol": port["protocol"]})
            })
            .collect();
        json!({"metadata": {"name": format!("{service}-{number}"),
                "labels": {"kubernetes.io/service-name": service, "tier": tier}},
            "addressType": if v6 { "IPv6" } else { "IPv4" }, "endpoints": endpoints, "ports": ports})
    }

    async fn pods(&mut self, random: &mut StdRng, client: &kube::Client, namespace: &str) {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
        let account = object(json!({"metadata": {"name": "default"}}));
        accounts.create(&PostParams::default(), &account).await.expect("created");
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        for number in 0..6 {
            let name = format!("pod-{number}");
            let value = json!({"metadata": {"name": name}, "spec": {"containers": [
                {"name": "c", "image": "portolan/pause"}]}});
            pods.create(&PostParams::default(), &object(value)).await.expect("created");
            let ip = format!("10.244.9.{}", random.random_range(1..20));
            let phase = *["Running", "Running", "Pending", "Succeeded", "Failed"]
                .choose(random)
                .expect("some");
            self.hosts.push(ip.replace('.', "-"));
            let status = json!({"status": {"phase": phase, "podIP": ip, "podIPs": [{"ip": ip}]}});
            let (params, status) = (PatchParams::default(), Patch::Merge(status));
            pods.patch_status(&name, &params, &status).await.expect("patched");
        }
    }
}
