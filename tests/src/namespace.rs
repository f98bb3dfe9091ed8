//! A Kubernetes namespace for one test in a shared lab.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::wait::{check, eventually};
use crate::{Lab, Outcome};

/// Deleted (without waiting) when dropped; shows what it held when the test is failing.
#[derive(Debug)]
pub struct Namespace<'lab> {
    pub lab: &'lab Lab,
    pub name: String,
}

impl<'lab> Namespace<'lab> {
    #[track_caller]
    pub(crate) fn create(lab: &'lab Lab, name: &str) -> Self {
        lab.kubectl(&["create", "namespace", name]).ok();
        // Pods are admitted once the namespace has its service account, as in any cluster.
        let namespace = Self { lab, name: name.to_owned() };
        eventually("the service account `default`", || {
            let got = namespace.kubectl(&["get", "serviceaccount", "default"]);
            check(got.succeeded(), &got.stderr)
        });
        namespace
    }

    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> Outcome {
        let mut all = vec!["--namespace", self.name.as_str()];
        all.extend(arguments);
        self.lab.kubectl(&all)
    }

    #[track_caller]
    pub fn apply(&self, yaml: &str) -> Outcome {
        self.lab.kubectl_with(&["--namespace", &self.name, "apply", "-f", "-"], yaml)
    }

    #[track_caller]
    pub fn create_from(&self, yaml: &str) -> Outcome {
        self.lab.kubectl_with(&["--namespace", &self.name, "create", "-f", "-"], yaml)
    }

    /// An object as JSON.
    #[track_caller]
    pub fn get(&self, kind: &str, name: &str) -> Value {
        self.kubectl(&["get", kind, name, "-o", "json"]).ok().json()
    }

    /// One value of an object, by kubectl's JSONPath without its braces.
    #[track_caller]
    pub fn field(&self, kind: &str, name: &str, path: &str) -> String {
        let path = format!("jsonpath={{{path}}}");
        self.kubectl(&["get", kind, name, "-o", &path]).ok().text().to_owned()
    }

    /// Waits until every pod of a StatefulSet, Deployment, … is ready.
    #[track_caller]
    pub fn rolled_out(&self, what: &str) {
        let rollout = self.kubectl(&["rollout", "status", what, "--timeout=60s"]);
        if !rollout.succeeded() {
            panic!("{rollout}\n{}", self.kubectl(&["get", "pods", "-o", "wide"]));
        }
    }

    #[track_caller]
    pub fn wait_ready(&self, pods: &[&str]) {
        let mut arguments = vec!["wait", "--for=condition=Ready", "--timeout=60s", "pod"];
        arguments.extend(pods);
        self.kubectl(&arguments).ok();
    }

    /// The (sorted) `address:port` of the Endpoints object's ready addresses; empty if there is none.
    #[track_caller]
    pub fn endpoints(&self, service: &str) -> Vec<String> {
        let got =
            self.kubectl(&["get", "endpoints", service, "-o", "json", "--ignore-not-found"]).ok();
        let object: Value = serde_json::from_str(got.text()).unwrap_or_default();
        let mut endpoints = Vec::new();
        for subset in object["subsets"].as_array().into_iter().flatten() {
            for address in subset["addresses"].as_array().into_iter().flatten() {
                for port in subset["ports"].as_array().into_iter().flatten() {
                    endpoints.push(format!(
                        "{}:{}",
                        address["ip"].as_str().unwrap_or("?"),
                        port["port"]
                    ));
                }
            }
        }
        endpoints.sort();
        endpoints
    }

    /// The (sorted) ready addresses in the Service's EndpointSlices.
    #[track_caller]
    pub fn slice_addresses(&self, service: &str) -> Vec<String> {
        let selector = format!("kubernetes.io/service-name={service}");
        let slices =
            self.kubectl(&["get", "endpointslices", "-l", &selector, "-o", "json"]).ok().json();
        let mut addresses = Vec::new();
        for slice in slices["items"].as_array().into_iter().flatten() {
            for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
                if endpoint["conditions"]["ready"] != Value::Bool(false) {
                    addresses.extend(endpoint["addresses"][0].as_str().map(str::to_owned));
                }
            }
        }
        addresses.sort();
        addresses
    }

    /// Waits until `service` has `count` ready addresses in Endpoints and EndpointSlices alike, and
    /// returns them with their ports.
    #[track_caller]
    pub fn wait_endpoints(&self, service: &str, count: usize) -> Vec<String> {
        eventually(&format!("{count} endpoints of {service}"), || {
            let endpoints = self.endpoints(service);
            let slices = self.slice_addresses(service);
            let address = |endpoint: &String| {
                endpoint.rsplit_once(':').map(|(address, _)| address.to_owned())
            };
            let addresses: BTreeSet<_> = endpoints.iter().filter_map(address).collect();
            check(addresses.len() == count && slices.len() == count, &(&endpoints, &slices))?;
            Ok(endpoints)
        })
    }

    /// The address of a pod.
    #[track_caller]
    pub fn pod_ip(&self, pod: &str) -> String {
        self.field("pod", pod, ".status.podIP")
    }

    #[track_caller]
    pub fn cluster_ip(&self, service: &str) -> String {
        self.field("service", service, ".spec.clusterIP")
    }

    /// Where `lab exec` finds a pod of this namespace.
    pub fn pod(&self, pod: &str) -> String {
        format!("pod/{}/{pod}", self.name)
    }

    /// The full name of one of this namespace's Services, or of a pod in it.
    pub fn dns(&self, name: &str) -> String {
        format!("{name}.{}.svc.cluster.local", self.name)
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kinds =
                "services,endpoints,endpointslices,pods,statefulsets,deployments,replicasets";
            for arguments in
                [&["get", kinds, "-o", "wide"][..], &["get", "events"], &["describe", "pods"]]
            {
                eprintln!("=== namespace {}: {}", self.name, self.kubectl(arguments));
            }
        }
        self.lab.kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}
