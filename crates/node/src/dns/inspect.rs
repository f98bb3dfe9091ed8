//! What a question is answered with, and why: put together from the API's objects by the code that
//! answers, without a server.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use domain::base::Message;
use domain::base::iana::Rtype;
use domain::rdata::AllRecordData;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use portolan_model::names::{Names, Objects, candidates, to_text, why};
use portolan_model::object::{EndpointSlice, Service};

use super::config::Config;
use super::plugin::kubernetes::{Kubernetes, KubernetesConfig};
use super::site::{Now, Site};
use super::store::{self, NameStore};
use super::wire::{Query, Transport, type_name};
use super::zone::Zone;
use super::{CorefileError, default_corefile};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// As a pod would write it; short names are completed by its search list.
    pub name: String,
    /// A record type's name, such as `A`.
    pub kind: String,
    /// The namespace of the pod that asks.
    pub namespace: String,
    /// The Corefile's text; without it, the one that kubeadm lays.
    pub corefile: Option<String>,
    pub cluster_domain: String,
}

/// What it is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The name that was found, or the first that was tried.
    pub name: String,
    pub kind: String,
    /// The response code, or that an upstream has to be asked.
    pub outcome: String,
    /// Records as in a zone file.
    pub records: Vec<String>,
    pub additional: Vec<String>,
    /// The objects that decide it.
    pub why: Vec<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error("list the cluster's objects")]
    List(#[from] kube::Error),
    #[error(transparent)]
    Corefile(#[from] CorefileError),
    #[error("the Corefile has no plugin kubernetes: no name is the cluster's")]
    NoKubernetes,
    #[error("{0} is no record type")]
    Kind(String),
    #[error("{0} is no name")]
    Name(String),
}

/// Answers a question from the objects that the API server has now.
///
/// # Errors
/// When the question, the Corefile or the API server cannot be used.
pub async fn explain(client: &Client, question: &Question) -> Result<Explained, InspectError> {
    let text = match &question.corefile {
        Some(text) => text.clone(),
        None => default_corefile(&question.cluster_domain),
    };
    let config = Config::read(&text)?;
    let plugin = config.sites.iter().flat_map(|site| &site.kubernetes).next();
    let plugin = plugin.ok_or(InspectError::NoKubernetes)?;
    let objects = list(client, plugin).await?;
    answer(plugin, &objects, question)
}

async fn list(client: &Client, plugin: &KubernetesConfig) -> Result<Objects, kube::Error> {
    let all = ListParams::default();
    let chosen = |labels: &Option<String>| match labels {
        Some(labels) => ListParams::default().labels(labels),
        None => ListParams::default(),
    };
    let namespaces = Api::<core::Namespace>::all(client.clone());
    let services = Api::<core::Service>::all(client.clone());
    let slices = Api::<discovery::EndpointSlice>::all(client.clone());
    let pods = Api::<store::Pod>::all(client.clone());
    let namespaces = namespaces.list(&chosen(&plugin.store.namespace_labels)).await?;
    let services = services.list(&chosen(&plugin.store.labels)).await?;
    let slices = match plugin.store.endpoints {
        true => slices.list(&chosen(&plugin.store.labels)).await?.items,
        false => Vec::new(),
    };
    let pods = pods.list(&all).await?;
    Ok(Objects {
        namespaces: namespaces.iter().map(|object| Arc::from(object.name_any())).collect(),
        services: services.iter().map(Service::from).collect(),
        slices: slices.iter().map(EndpointSlice::from).collect(),
        pods: pods.into_iter().map(|pod| (store::object_name(&pod), pod.addresses)).collect(),
    })
}

/// The pure half of [`explain`].
fn answer(
    plugin: &KubernetesConfig,
    objects: &Objects,
    question: &Question,
) -> Result<Explained, InspectError> {
    let kind = Rtype::from_str(&question.kind.to_ascii_uppercase())
        .map_err(|_| InspectError::Kind(question.kind.clone()))?;
    let store = Arc::new(NameStore::new(plugin.store.clone(), None));
    store.update(|names| fill(names, objects));
    store.set_synced();
    let kubernetes = Kubernetes::new(plugin.clone(), store);
    let site = Site { kubernetes: vec![kubernetes], ..Site::default() };
    let zone = plugin.zones.iter().find(|zone| !zone.is_reverse());
    let zone = zone.cloned().unwrap_or_else(Zone::root);
    let domain = zone.to_string();
    let tried = candidates(&question.name, &question.namespace, domain.trim_end_matches('.'));
    let mut denied = Vec::new();
    for name in &tried {
        let explained = one(&site, plugin, &zone, objects, name, kind)?;
        if explained.outcome == "NOERROR" {
            return Ok(explained);
        }
        denied.push((names_a_service(name, &zone, objects), explained));
    }
    // Of several denials, that of the name which spells a Service in a namespace that there is.
    let best = denied.iter().position(|(is_service, _)| *is_service).unwrap_or(0);
    let best = (best < denied.len()).then(|| denied.swap_remove(best).1);
    best.ok_or_else(|| InspectError::Name(question.name.clone()))
}

/// Whether a name reads `SERVICE.NAMESPACE.svc.ZONE`, with a namespace that there is.
fn names_a_service(name: &[u8], zone: &Zone, objects: &Objects) -> bool {
    let relative = zone.relative(name).map(to_text).unwrap_or_default();
    match relative.split('.').collect::<Vec<_>>()[..] {
        [_, namespace, "svc", ""] => objects.namespaces.contains(namespace),
        _ => false,
    }
}

fn fill(names: &mut Names, objects: &Objects) {
    for namespace in &objects.namespaces {
        names.upsert_namespace(namespace);
    }
    for service in &objects.services {
        names.upsert_service(service);
    }
    for slice in &objects.slices {
        names.upsert_slice(slice);
    }
    for (name, addresses) in &objects.pods {
        names.upsert_pod(name, addresses);
    }
}

fn one(
    site: &Site,
    plugin: &KubernetesConfig,
    zone: &Zone,
    objects: &Objects,
    name: &[u8],
    kind: Rtype,
) -> Result<Explained, InspectError> {
    let bad = || InspectError::Name(to_text(name));
    let mut message = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(name);
    message.push(0);
    message.extend_from_slice(&kind.to_int().to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    let query = Query::parse(&message, Transport::Tcp).map_err(|_| bad())?;
    let mut out = Vec::new();
    let mut lines = why(query.name(), zone.wire(), &plugin.store.names, objects);
    let is_ours = plugin.zones.iter().any(|zone| zone.relative(query.name()).is_some());
    let outcome = match site.answer_now(&query, Instant::now(), &mut out) {
        _ if !is_ours => "forwarded".to_owned(),
        Now::Later(_) => {
            lines.push("the alias leads out of the cluster: an upstream is asked".to_owned());
            "forwarded".to_owned()
        }
        Now::Done(rcode, _) => rcode.name().to_owned(),
    };
    let mut explained = Explained {
        name: to_text(name),
        kind: type_name(kind.to_int()),
        outcome,
        records: Vec::new(),
        additional: Vec::new(),
        why: lines,
    };
    if explained.outcome != "forwarded" {
        let message = Message::from_octets(out).map_err(|_| bad())?;
        if let Ok((_, answer, _, additional)) = message.sections() {
            let text = |section: domain::base::message::RecordSection<'_, Vec<u8>>| {
                let records = section.limit_to::<AllRecordData<_, _>>().flatten();
                records
                    .map(|r| {
                        let ttl = r.ttl().as_secs();
                        format!("{}. {ttl} IN {} {}", r.owner(), r.rtype(), r.data())
                    })
                    .collect()
            };
            explained.records = text(answer);
            explained.additional = text(additional);
        }
        if explained.outcome == "NOERROR" && explained.records.is_empty() {
            explained.why.push(format!("the name exists, without a record of type {kind}"));
        }
    }
    Ok(explained)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dns::tests::harness::{service, slice};

    fn ask(name: &str, kind: &str) -> (String, Vec<String>, String) {
        let objects = Objects {
            namespaces: ["default".into(), "shop".into()].into(),
            services: vec![
                service(
                    "web",
                    json!({"clusterIP": "10.96.0.80", "ports": [
                    {"name": "http", "port": 80}]}),
                ),
                service("db", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 1}]})),
                service("ext", json!({"type": "ExternalName", "externalName": "www.example.org"})),
            ],
            slices: vec![slice(
                "db-1",
                "db",
                json!([{"addresses": ["10.244.1.3"], "hostname": "db-0"},
                    {"addresses": ["10.244.3.3"], "conditions": {"ready": false}}]),
                json!([{"name": "sql", "port": 15432}]),
            )],
            pods: Vec::new(),
        };
        let config = Config::read(&default_corefile("cluster.local")).expect("a Corefile");
        let question = Question {
            name: name.into(),
            kind: kind.into(),
            namespace: "default".into(),
            corefile: None,
            cluster_domain: String::new(),
        };
        let explained =
            answer(&config.sites[0].kubernetes[0], &objects, &question).expect("an answer");
        (explained.outcome, explained.records, explained.why.join("; "))
    }

    #[test]
    fn the_objects_behind_an_answer_are_named() {
        for (name, kind, outcome, record, words) in [
            ("web", "A", "NOERROR", "A 10.96.0.80", "Service default/web (ClusterIP)"),
            ("web.default", "A", "NOERROR", "A 10.96.0.80", "Service default/web"),
            (
                "web.default.svc.cluster.local.",
                "aaaa",
                "NOERROR",
                "",
                "without a record of type AAAA",
            ),
            (
                "db",
                "A",
                "NOERROR",
                "A 10.244.1.3",
                "slice db-1: 10.244.3.3 called 10-244-3-3: not ready",
            ),
            ("db-0.db", "A", "NOERROR", "A 10.244.1.3", "10.244.1.3 called db-0: ready"),
            ("db-9.db", "A", "NXDOMAIN", "", "none of its endpoints is called db-9"),
            ("_sql._tcp.db", "SRV", "NOERROR", "SRV 0 100 15432", "its port sql over tcp is 15432"),
            ("_x._tcp.web", "SRV", "NXDOMAIN", "", "port 80 over tcp, called http"),
            ("nope", "A", "NXDOMAIN", "", "the namespace default has no Service nope"),
            ("web.shop", "A", "NXDOMAIN", "", "there is a Service default/web"),
            ("web.mars.svc.cluster.local", "A", "NXDOMAIN", "", "no namespace mars"),
            ("ext", "CNAME", "NOERROR", "CNAME www.example.org", "an alias of www.example.org"),
            ("10-1-2-3.default.pod.cluster.local", "A", "NOERROR", "A 10.1.2.3", "pods insecure"),
            ("80.0.96.10.in-addr.arpa", "PTR", "NOERROR", "PTR web.default", "virtual address"),
            (
                "3.1.244.10.in-addr.arpa",
                "PTR",
                "NOERROR",
                "PTR db-0.db",
                "Service default/db, slice db-1",
            ),
        ] {
            let (code, records, why) = ask(name, kind);
            let records = records.join("; ");
            assert_eq!(code, outcome, "{name} {kind}: {why}");
            assert!(records.contains(record), "{name} {kind}: {records}");
            assert!(why.contains(words), "{name} {kind}: {why}");
        }
    }
}
