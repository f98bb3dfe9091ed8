//! Services and pods that come and go.

use std::collections::BTreeSet;
use std::time::Instant;
use std::{fmt, fs};

use portolan_tests::manifest::{deployment, service};
use portolan_tests::wait::check;
use portolan_tests::{Lab, Namespace};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

/// How many Deployments and Services there are at most.
const NAMES: usize = 4;

fn name(number: usize) -> String {
    format!("moving-{number}")
}

pub(super) struct Objects<'lab> {
    namespace: &'lab Namespace<'lab>,
    dice: StdRng,
    changes: usize,
}

impl<'lab> Objects<'lab> {
    pub(super) fn new(namespace: &'lab Namespace<'lab>, seed: u64) -> Self {
        Self { namespace, dice: StdRng::seed_from_u64(seed), changes: 0 }
    }

    pub(super) fn change_until(&mut self, end: Instant) {
        while Instant::now() < end {
            self.change();
            self.changes += 1;
        }
    }

    /// Something happens; the API server may be away just then, which is no matter.
    fn change(&mut self) {
        let Self { namespace, dice, .. } = self;
        let name = name(dice.random_range(0..NAMES));
        let replicas = dice.random_range(0..4);
        let spec = format!(
            "type: {}, selector: {{app: {name}}}, ports: [{{port: 80, targetPort: http}}]",
            ["ClusterIP", "NodePort"][dice.random_range(0..2)],
        );
        match dice.random_range(0..6) {
            0 => namespace.kubectl(&["delete", "service", &name, "--ignore-not-found"]),
            1 => namespace.kubectl(&[
                "delete",
                "deployment",
                &name,
                "--ignore-not-found",
                "--wait=false",
            ]),
            2 | 3 => {
                let objects = deployment(&name, replicas, "") + "\n---\n" + &service(&name, &spec);
                namespace.apply(&objects)
            }
            _ => namespace.kubectl(&[
                "scale",
                "deployment",
                &name,
                &format!("--replicas={replicas}"),
            ]),
        };
    }

    /// Takes away all that comes and goes, so that one quiet point is like the other.
    pub(super) fn clear(&self) {
        let all = (0..NAMES)
            .flat_map(|n| [format!("deployment/{}", name(n)), format!("service/{}", name(n))]);
        let all: Vec<String> = all.collect();
        let mut words = vec!["delete", "--ignore-not-found", "--wait=false"];
        words.extend(all.iter().map(String::as_str));
        self.namespace.kubectl(&words).ok();
    }

    /// Whether every pod that is wanted is ready, and no other is there.
    pub(super) fn settled(&self) -> Result<(), String> {
        let got = self.namespace.kubectl(&["get", "deployments,pods", "-o", "json"]);
        check(got.succeeded(), &got.stderr)?;
        let items = got.json()["items"].as_array().cloned().unwrap_or_default();
        let (pods, deployments): (Vec<_>, Vec<_>) =
            items.into_iter().partition(|item| item["kind"] == "Pod");
        let is_ready = |pod: &Value| {
            let all = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
            all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
                && pod["metadata"]["deletionTimestamp"].is_null()
        };
        // The client is nobody's.
        let wanted = 1 + deployments
            .iter()
            .map(|one| one["spec"]["replicas"].as_u64().unwrap_or_default())
            .sum::<u64>();
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        check(
            pods.len() == ready && ready as u64 == wanted,
            &format!("{} pods, {ready} of them ready, {wanted} wanted", pods.len()),
        )
    }
}

/// Whether the nodes keep the pods that there are, and nothing of others.
pub(super) fn no_pod_left_anything(lab: &Lab) -> Result<(), String> {
    let got = lab.kubectl(&["get", "pods", "--all-namespaces", "-o", "json"]);
    check(got.succeeded(), &got.stderr)?;
    let pods = got.json()["items"].as_array().cloned().unwrap_or_default();
    for node in lab.nodes() {
        let here = pods.iter().filter(|pod| pod["spec"]["nodeName"] == node);
        let uids: BTreeSet<String> =
            here.filter_map(|pod| Some(pod["metadata"]["uid"].as_str()?.to_owned())).collect();
        let run = format!("/run/portolan/{}/node/{node}/run/pods", lab.name);
        let kept: BTreeSet<String> = fs::read_dir(run)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        check(kept == uids, &format!("{node} keeps {kept:?} of the pods {uids:?}"))?;
        let links = lab.exec(node, &["ip", "-o", "link", "show", "type", "veth"]).ok();
        let links = links.lines().iter().filter(|line| line.contains(": veth")).count();
        check(links == uids.len(), &format!("{node}: {links} links of {} pods", uids.len()))?;
    }
    Ok(())
}

impl fmt::Display for Objects<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} changes", self.changes)
    }
}
