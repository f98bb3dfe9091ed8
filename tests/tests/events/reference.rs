//! What should be, by the shortest way: sets of pods and Services, and one rule that joins them.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use serde_json::{Value, json};

/// The labels `app: app-N` that there are.
const APPS: u32 = 5;
const SERVICES: u32 = 14;
/// Pods' addresses are 10.244.0.1 and up, one for each pod name, so that they come and go and come again.
pub(crate) const PODS: u8 = 24;
pub(crate) const TCP_PORTS: [u16; 2] = [8080, 9090];
pub(crate) const UDP_PORT: u16 = 8081;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pod {
    app: u32,
    ready: bool,
    terminating: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Service {
    /// `None`: without a selector, endpoints by the user
    pub(crate) app: Option<u32>,
    pub(crate) headless: bool,
    node_port: bool,
    external_ip: Option<u8>,
    pub(crate) affinity: bool,
    /// Which of [`TCP_PORTS`] port 80 leads to, by number or by name
    target: usize,
    named: bool,
    /// The addresses in the user's own slice
    by_hand: BTreeSet<u8>,
}

/// What should be in the cluster.
#[derive(Debug, Default)]
pub(crate) struct Reference {
    pub(crate) pods: BTreeMap<u8, Pod>,
    pub(crate) services: BTreeMap<u32, Service>,
}

/// One request to the API.
#[derive(Debug)]
pub(crate) enum Request {
    Create(&'static str, Value),
    Replace(&'static str, String, Value),
    /// A merge patch; of the status with the second
    Patch(String, Value),
    Delete(String, Value),
}

pub(crate) fn address(pod: u8) -> String {
    format!("10.244.0.{}", pod + 1)
}

impl Pod {
    fn object(&self, name: u8) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("pod-{name}"), "labels": {"app": format!("app-{}", self.app)}},
            "spec": {
                "nodeName": format!("node-{}", name % 2),
                "containers": [{"name": "c", "image": "none", "ports": [
                    {"name": "first", "containerPort": TCP_PORTS[0]},
                    {"name": "second", "containerPort": TCP_PORTS[1]},
                ]}],
            },
        })
    }

    fn status(&self, name: u8) -> Value {
        let ready = if self.ready { "True" } else { "False" };
        json!({"status": {
            "phase": "Running", "podIP": address(name), "podIPs": [{"ip": address(name)}],
            "conditions": [{"type": "Ready", "status": ready}],
        }})
    }
}

impl Service {
    fn random(number: u32, dice: &mut StdRng) -> Self {
        // Always the same ones: an Endpoints object that outlives its Service is taken for the user's
        // own when a Service of that name comes back without a selector, in any cluster.
        let app = (!number.is_multiple_of(7)).then(|| dice.random_range(0..APPS));
        let headless = dice.random_ratio(1, 8);
        Self {
            app,
            headless,
            node_port: !headless && dice.random_ratio(1, 3),
            external_ip: (!headless && dice.random_ratio(1, 4)).then(|| dice.random_range(1..200)),
            affinity: dice.random_ratio(1, 6),
            target: dice.random_range(0..TCP_PORTS.len()),
            named: app.is_some() && dice.random(),
            by_hand: BTreeSet::new(),
        }
    }

    fn object(&self, number: u32) -> Value {
        let target = if self.named {
            json!(["first", "second"][self.target])
        } else {
            json!(TCP_PORTS[self.target])
        };
        let mut spec = json!({
            "type": if self.node_port { "NodePort" } else { "ClusterIP" },
            "sessionAffinity": if self.affinity { "ClientIP" } else { "None" },
            "ports": [
                {"name": "web", "port": 80, "targetPort": target},
                {"name": "lines", "port": 81, "targetPort": UDP_PORT, "protocol": "UDP"},
            ],
        });
        if let Some(app) = self.app {
            spec["selector"] = json!({"app": format!("app-{app}")});
        }
        if self.headless {
            spec["clusterIP"] = json!("None");
        }
        if let Some(last) = self.external_ip {
            // One for each Service: two may not claim the same address and port.
            spec["externalIPs"] = json!([format!("198.51.{number}.{last}")]);
        }
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("service-{number}")}, "spec": spec})
    }

    fn slice(&self, number: u32) -> Value {
        let endpoints: Vec<Value> =
            self.by_hand.iter().map(|pod| json!({"addresses": [address(*pod)]})).collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": format!("by-hand-{number}"), "labels": {"kubernetes.io/service-name": format!("service-{number}")}},
            "addressType": "IPv4",
            "ports": [
                {"name": "web", "port": TCP_PORTS[self.target], "protocol": "TCP"},
                {"name": "lines", "port": UDP_PORT, "protocol": "UDP"},
            ],
            "endpoints": endpoints,
        })
    }

    pub(crate) fn target_port(&self) -> u16 {
        TCP_PORTS[self.target]
    }
}

impl Reference {
    /// The addresses that take new connections of a Service: the rule.
    pub(crate) fn endpoints(&self, service: &Service) -> BTreeSet<String> {
        match service.app {
            None => service.by_hand.iter().map(|pod| address(*pod)).collect(),
            Some(app) => {
                let takes = |pod: &Pod| pod.app == app && pod.ready && !pod.terminating;
                self.pods
                    .iter()
                    .filter(|(_, pod)| takes(pod))
                    .map(|(name, _)| address(*name))
                    .collect()
            }
        }
    }

    /// Where new connections go if none of the endpoints is ready: to those that are on their way
    /// out but still serve (KEP-1669).
    pub(crate) fn fallback(&self, service: &Service) -> BTreeSet<String> {
        let takes = |pod: &Pod| Some(pod.app) == service.app && pod.ready && pod.terminating;
        self.pods.iter().filter(|(_, pod)| takes(pod)).map(|(name, _)| address(*name)).collect()
    }

    /// Makes one random event happen here, and says what to ask of the API for it.
    pub(crate) fn event(&mut self, dice: &mut StdRng) -> Vec<Request> {
        match dice.random_range(0..100) {
            0..12 => self.service_comes_or_changes(dice),
            12..17 => self.service_goes(dice),
            17..22 => self.slice_changes(dice),
            22..50 => self.pod_comes(dice),
            50..70 => self.pod_changes(dice, |pod, _| pod.ready = !pod.ready),
            70..78 => self.pod_changes(dice, |pod, dice| pod.app = dice.random_range(0..APPS)),
            78..85 => self.pod_terminates(dice),
            _ => self.pod_goes(dice),
        }
    }

    fn service_comes_or_changes(&mut self, dice: &mut StdRng) -> Vec<Request> {
        let number = dice.random_range(0..SERVICES);
        let name = format!("service-{number}");
        let mut service = Service::random(number, dice);
        let Some(old) = self.services.get(&number) else {
            let object = service.object(number);
            self.services.insert(number, service);
            return vec![Request::Create("services", object)];
        };
        // An address cannot be taken away or given; whoever wants that makes another Service.
        service.headless = old.headless;
        if service.headless {
            (service.node_port, service.external_ip) = (false, None);
        }
        if old.app.is_none() {
            // The user's slice goes on to name the same port.
            (service.by_hand, service.target) = (old.by_hand.clone(), old.target);
        }
        let object = service.object(number);
        self.services.insert(number, service);
        vec![Request::Replace("services", name, object)]
    }

    fn service_goes(&mut self, dice: &mut StdRng) -> Vec<Request> {
        let Some(number) = self.services.keys().copied().choose(dice) else {
            return self.pod_comes(dice);
        };
        let gone = self.services.remove(&number);
        let mut requests = vec![Request::Delete(
            format!("api/v1/namespaces/default/services/service-{number}"),
            json!({}),
        )];
        if gone.is_some_and(|service| !service.by_hand.is_empty()) {
            let path = format!(
                "apis/discovery.k8s.io/v1/namespaces/default/endpointslices/by-hand-{number}"
            );
            requests.push(Request::Delete(path, json!({})));
        }
        requests
    }

    fn slice_changes(&mut self, dice: &mut StdRng) -> Vec<Request> {
        let bare = self.services.iter_mut().filter(|(_, service)| service.app.is_none());
        let Some((number, service)) = bare.choose(dice) else {
            return self.service_comes_or_changes(dice);
        };
        let had = !service.by_hand.is_empty();
        let count = dice.random_range(0..4);
        service.by_hand = (0..PODS).choose_multiple(dice, count).into_iter().collect();
        let name = format!("by-hand-{number}");
        let path = format!("apis/discovery.k8s.io/v1/namespaces/default/endpointslices/{name}");
        match (had, service.by_hand.is_empty()) {
            (false, true) => Vec::new(),
            (true, true) => vec![Request::Delete(path, json!({}))],
            (false, false) => vec![Request::Create("endpointslices", service.slice(*number))],
            (true, false) => vec![Request::Replace("endpointslices", name, service.slice(*number))],
        }
    }

    fn pod_comes(&mut self, dice: &mut StdRng) -> Vec<Request> {
        let Some(name) = (0..PODS).filter(|name| !self.pods.contains_key(name)).choose(dice) else {
            return self.pod_goes(dice);
        };
        let pod = Pod {
            app: dice.random_range(0..APPS),
            ready: dice.random_ratio(3, 4),
            terminating: false,
        };
        let requests = vec![
            Request::Create("pods", pod.object(name)),
            Request::Patch(format!("pods/pod-{name}/status"), pod.status(name)),
        ];
        self.pods.insert(name, pod);
        requests
    }

    fn pod_changes(
        &mut self,
        dice: &mut StdRng,
        change: impl FnOnce(&mut Pod, &mut StdRng),
    ) -> Vec<Request> {
        let Some((name, mut pod)) =
            self.pods.iter().map(|(name, pod)| (*name, pod.clone())).choose(dice)
        else {
            return self.pod_comes(dice);
        };
        change(&mut pod, dice);
        let labels = json!({"metadata": {"labels": {"app": format!("app-{}", pod.app)}}});
        let requests = vec![
            Request::Patch(format!("pods/pod-{name}"), labels),
            Request::Patch(format!("pods/pod-{name}/status"), pod.status(name)),
        ];
        self.pods.insert(name, pod);
        requests
    }

    /// Deleted with a grace period: there until its kubelet says otherwise.
    fn pod_terminates(&mut self, dice: &mut StdRng) -> Vec<Request> {
        let Some((name, pod)) = self.pods.iter_mut().choose(dice) else {
            return self.pod_comes(dice);
        };
        pod.terminating = true;
        let path = format!("api/v1/namespaces/default/pods/pod-{name}");
        vec![Request::Delete(path, json!({"gracePeriodSeconds": 3600}))]
    }

    fn pod_goes(&mut self, dice: &mut StdRng) -> Vec<Request> {
        let Some(name) = self.pods.keys().copied().choose(dice) else {
            return self.pod_comes(dice);
        };
        self.pods.remove(&name);
        let path = format!("api/v1/namespaces/default/pods/pod-{name}");
        vec![Request::Delete(path, json!({"gracePeriodSeconds": 0}))]
    }
}
