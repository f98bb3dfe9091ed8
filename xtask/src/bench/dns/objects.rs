//! The made-up objects: as much of each as a real API server would send, written as JSON text once.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

/// The one node; of the Services made up by number, no endpoint is on it.
pub(in crate::bench) const NODE: &str = "bench-node";
/// The node that all the others are on.
const ELSEWHERE: &str = "node-1";

pub(super) const NAMESPACES: usize = 100;
/// The set that one question asks for in full.
const CROWD: usize = 100;

/// How large a cluster is.
#[derive(Clone, Debug)]
pub(in crate::bench) struct Objects {
    pub(in crate::bench) services: usize,
    /// Of each Service.
    pub(in crate::bench) endpoints: usize,
    /// The node's InternalIP.
    pub(in crate::bench) node_ip: Ipv4Addr,
    /// Services with endpoints that really answer, last in every list.
    pub(in crate::bench) extra: Vec<Extra>,
}

/// A Service whose addresses are chosen.
#[derive(Clone, Debug)]
pub(in crate::bench) struct Extra {
    pub(in crate::bench) name: &'static str,
    pub(in crate::bench) cluster_ip: Ipv4Addr,
    pub(in crate::bench) node_port: Option<u16>,
    pub(in crate::bench) endpoints: Vec<Ipv4Addr>,
    /// Whether these run on [`NODE`].
    pub(in crate::bench) on_node: bool,
}

/// The namespace of [`Extra`]; it sorts last.
const LAST: &str = "zz";

impl Objects {
    /// `services` Services, each with so many endpoints.
    pub(in crate::bench) fn of(services: usize, endpoints: usize) -> Self {
        Self { services, endpoints, node_ip: Ipv4Addr::LOCALHOST, extra: Vec::new() }
    }

    /// All Services there are at first: two after those by number are headless.
    pub(super) fn all_services(&self) -> Vec<String> {
        let numbered = (0..self.services + 2).map(|n| self.service(n));
        numbered.chain(self.extra.iter().map(|extra| extra.service())).collect()
    }

    /// Their EndpointSlices, in the same order.
    pub(super) fn all_slices(&self, one: [u8; 4]) -> Vec<String> {
        let numbered = (0..self.services + 2).map(|n| self.slice(n, one));
        numbered.chain(self.extra.iter().map(|extra| extra.slice())).collect()
    }

    pub(super) fn node(&self) -> String {
        json!({"metadata": {"name": NODE, "resourceVersion": "1"},
            "status": {"addresses": [{"type": "InternalIP", "address": self.node_ip}]}})
        .to_string()
    }

    /// Those after the Services that there are at first are `crowd` and `one`.
    fn name(&self, n: usize) -> (String, String) {
        match n.checked_sub(self.services) {
            Some(0) => ("crowd".into(), "ns0".into()),
            Some(1) => ("one".into(), "ns0".into()),
            _ => (format!("s{n}"), format!("ns{}", n % NAMESPACES)),
        }
    }

    /// The address of the Service of that number.
    pub(in crate::bench) fn cluster_ip(n: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 96, (n / 250) as u8, (n % 250 + 1) as u8)
    }

    pub(super) fn service(&self, n: usize) -> String {
        let (name, namespace) = self.name(n);
        let ip = match n.checked_sub(self.services) {
            Some(0 | 1) => "None".into(),
            _ => Self::cluster_ip(n).to_string(),
        };
        service(&name, &namespace, &ip, None)
    }

    /// The address of the pod of that number.
    pub(super) fn pod_ip(n: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, (100 + n / 62_500) as u8, (n / 250 % 250) as u8, (n % 250 + 1) as u8)
    }

    /// A pod of a Service, with about as much around it as a small real one has.
    pub(super) fn pod(&self, n: usize) -> String {
        let service = n / self.endpoints;
        let namespace = format!("ns{}", service % NAMESPACES);
        let (name, ip) = (format!("s{service}-{}", n % self.endpoints), Self::pod_ip(n));
        let now = "2026-01-01T00:00:00Z";
        let condition = |kind: &str| {
            json!({"type": kind, "status": "True", "lastProbeTime": null,
                "lastTransitionTime": now})
        };
        let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map(condition);
        let image = "registry.example/team/service:v1.2.3";
        json!({"metadata": {"name": name, "namespace": namespace, "uid": format!("p{n}"),
                "resourceVersion": "1", "creationTimestamp": now,
                "labels": {"app": format!("s{service}")},
                "managedFields": [{"manager": "kubelet", "operation": "Update", "time": now,
                    "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:status": {
                    "f:conditions": {}, "f:containerStatuses": {}, "f:phase": {}, "f:podIP": {}}}}]},
            "spec": {"nodeName": ELSEWHERE, "serviceAccountName": "default",
                "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "x",
                "containers": [{"name": "c", "image": image,
                    "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                    "env": [{"name": "A", "value": "b"}, {"name": "C", "value": "d"}],
                    "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                    "volumeMounts": [{"name": "t", "readOnly": true,
                        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]}]},
            "status": {"phase": "Running", "hostIP": "192.0.2.1", "podIP": ip,
                "podIPs": [{"ip": ip}], "startTime": now, "conditions": conditions,
                "containerStatuses": [{"name": "c", "ready": true, "restartCount": 0,
                    "image": image, "imageID": "sha256:0",
                    "state": {"running": {"startedAt": now}}}]}})
        .to_string()
    }

    pub(super) fn slice(&self, n: usize, one: [u8; 4]) -> String {
        let (service, namespace) = self.name(n);
        let per = self.endpoints;
        let addresses: Vec<Ipv4Addr> = match n.checked_sub(self.services) {
            Some(0) => (0..CROWD).map(|e| Self::pod_ip(self.services * per + e)).collect(),
            Some(1) => vec![one.into()],
            _ => (0..per).map(|e| Self::pod_ip(n * per + e)).collect(),
        };
        slice(&service, &namespace, &addresses, ELSEWHERE)
    }
}

impl Extra {
    pub(super) fn service(&self) -> String {
        service(self.name, LAST, &self.cluster_ip.to_string(), self.node_port)
    }

    pub(super) fn slice(&self) -> String {
        let node = if self.on_node { NODE } else { ELSEWHERE };
        slice(self.name, LAST, &self.endpoints, node)
    }
}

fn service(name: &str, namespace: &str, ip: &str, node_port: Option<u16>) -> String {
    let kind = if node_port.is_some() { "NodePort" } else { "ClusterIP" };
    let mut port = json!({"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080});
    if let Some(number) = node_port {
        port["nodePort"] = json!(number);
    }
    json!({"metadata": metadata(name, namespace, &json!({"app": name})),
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "type": kind, "selector": {"app": name},
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster", "ports": [port]},
        "status": {"loadBalancer": {}}})
    .to_string()
}

fn slice(service: &str, namespace: &str, addresses: &[Ipv4Addr], node: &str) -> String {
    let endpoint = |(number, address): (usize, &Ipv4Addr)| {
        let pod = format!("{service}-{number}");
        json!({"addresses": [address], "nodeName": node, "zone": "zone-1",
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "targetRef": {"kind": "Pod", "name": pod, "namespace": namespace,
                "uid": format!("7d0b4a5e-6f2c-4c1d-9a3e-{:012x}", u32::from(*address))}})
    };
    let endpoints: Vec<Value> = addresses.iter().enumerate().map(endpoint).collect();
    let labels = json!({"kubernetes.io/service-name": service,
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"});
    json!({"metadata": metadata(&format!("{service}-x"), namespace, &labels),
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]})
    .to_string()
}

fn metadata(name: &str, namespace: &str, labels: &Value) -> Value {
    json!({"name": name, "namespace": namespace, "uid": format!("{namespace}-{name}"),
        "resourceVersion": "1", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": labels})
}
