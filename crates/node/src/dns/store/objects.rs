//! API objects with what names need of them and nothing else.
//!
//! A page of a list is decoded whole before the first of its objects is looked at. Whole pods and
//! slices would take a hundred times what is kept of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portolan_model::object::{self, AddressType, EndpointPort, ObjectName, Protocol};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// The labels and annotations that somebody looks at.
const KEPT: [&str; 4] = [
    "kubernetes.io/service-name",
    "service.kubernetes.io/headless",
    "service.kubernetes.io/service-proxy-name",
    "endpoints.kubernetes.io/last-change-trigger-time",
];

/// An EndpointSlice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slice {
    meta: ObjectMeta,
    address_type: Option<AddressType>,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug)]
struct Endpoint {
    address: IpAddr,
    ready: bool,
    hostname: Option<Box<str>>,
    pod: Option<Box<str>>,
}

/// A pod with the addresses that names may have of it: none once it is on its way out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pod {
    meta: ObjectMeta,
    pub(crate) addresses: Vec<IpAddr>,
}

/// Lets a type be asked for in the place of a whole one.
macro_rules! in_place_of {
    ($whole:ty, $trimmed:ty) => {
        impl kube::Resource for $trimmed {
            type DynamicType = ();
            type Scope = <$whole as kube::Resource>::Scope;

            fn kind(of: &()) -> Cow<'_, str> {
                <$whole as kube::Resource>::kind(of)
            }

            fn group(of: &()) -> Cow<'_, str> {
                <$whole as kube::Resource>::group(of)
            }

            fn version(of: &()) -> Cow<'_, str> {
                <$whole as kube::Resource>::version(of)
            }

            fn plural(of: &()) -> Cow<'_, str> {
                <$whole as kube::Resource>::plural(of)
            }

            fn meta(&self) -> &ObjectMeta {
                &self.meta
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.meta
            }
        }
    };
}

in_place_of!(discovery::EndpointSlice, Slice);
in_place_of!(core::Pod, Pod);

impl Slice {
    /// What the model takes; the names of pods are left out where nobody needs them.
    pub(crate) fn trimmed(&self, pod_names: bool) -> object::EndpointSlice {
        let name = super::object_name(self);
        let namespace = name.namespace.clone();
        let service = self.meta.labels.as_ref().and_then(|labels| labels.get(KEPT[0]));
        let service = service.map(|service| ObjectName::new(namespace.clone(), service.as_str()));
        let endpoints = self.endpoints.iter().map(|endpoint| {
            let pod = endpoint.pod.as_deref().filter(|_| pod_names);
            let ready = endpoint.ready;
            object::Endpoint { ready, serving: ready, ..object::Endpoint::new(endpoint.address) }
                .with_names(
                    endpoint.hostname.as_deref().map(Arc::from),
                    pod.map(|pod| ObjectName::new(namespace.clone(), pod)),
                )
        });
        object::EndpointSlice {
            endpoints: endpoints.collect(),
            service,
            address_type: self.address_type.unwrap_or(AddressType::Ipv4),
            ports: self.ports.clone(),
            name,
        }
    }
}

/// Text that is copied only where it is escaped.
#[derive(Default, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawMeta<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    namespace: Option<Text<'a>>,
    resource_version: Option<Text<'a>>,
    deletion_timestamp: Option<IgnoredAny>,
    labels: Option<Kept>,
    annotations: Option<Kept>,
}

impl From<RawMeta<'_>> for ObjectMeta {
    fn from(raw: RawMeta<'_>) -> Self {
        let owned = |text: Option<Text<'_>>| text.map(|text| text.0.into_owned());
        let kept = |map: Option<Kept>| map.map(|kept| kept.0).filter(|kept| !kept.is_empty());
        Self {
            name: owned(raw.name),
            namespace: owned(raw.namespace),
            resource_version: owned(raw.resource_version),
            labels: kept(raw.labels),
            annotations: kept(raw.annotations),
            ..Self::default()
        }
    }
}

/// Those of a map's entries that are in [`KEPT`].
#[derive(Default)]
struct Kept(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keeper;
        impl<'de> Visitor<'de> for Keeper {
            type Value = Kept;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kept, A::Error> {
                let mut kept = Kept::default();
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    if KEPT.contains(&&*key.0) {
                        kept.0.insert(key.0.into_owned(), map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(kept)
            }
        }
        deserializer.deserialize_map(Keeper)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSlice<'a> {
    #[serde(borrow, default)]
    metadata: RawMeta<'a>,
    #[serde(default)]
    address_type: Text<'a>,
    ports: Option<Vec<RawPort<'a>>>,
    endpoints: Option<Vec<RawEndpoint<'a>>>,
}

#[derive(Deserialize)]
struct RawPort<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    protocol: Option<Text<'a>>,
    port: Option<i32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEndpoint<'a> {
    #[serde(borrow)]
    addresses: Option<Vec<Text<'a>>>,
    conditions: Option<Conditions>,
    hostname: Option<Text<'a>>,
    target_ref: Option<Target<'a>>,
}

#[derive(Deserialize)]
struct Conditions {
    ready: Option<bool>,
}

#[derive(Deserialize)]
struct Target<'a> {
    #[serde(borrow)]
    kind: Option<Text<'a>>,
    name: Option<Text<'a>>,
}

impl<'de> Deserialize<'de> for Slice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = RawSlice::deserialize(deserializer)?;
        let address_type = match &*raw.address_type.0 {
            "IPv6" => AddressType::Ipv6,
            "FQDN" => AddressType::Fqdn,
            _ => AddressType::Ipv4,
        };
        let ports = raw.ports.unwrap_or_default().into_iter().filter_map(|port| {
            let protocol = port.protocol.as_ref().map(|text| &*text.0);
            Some(EndpointPort {
                name: port.name.unwrap_or_default().0.into(),
                protocol: Protocol::from_api(protocol)?,
                port: port.port.and_then(|number| u16::try_from(number).ok()),
            })
        });
        let endpoints = raw.endpoints.unwrap_or_default().into_iter().filter_map(endpoint);
        Ok(Self {
            meta: raw.metadata.into(),
            address_type: Some(address_type),
            ports: ports.collect(),
            endpoints: endpoints.collect(),
        })
    }
}

/// Only the first address means something: the API defines nothing for more, and the EndpointSlice
/// controller never writes more (discovery.k8s.io/v1, `Endpoint.addresses`).
fn endpoint(raw: RawEndpoint<'_>) -> Option<Endpoint> {
    let boxed = |text: Text<'_>| (!text.0.is_empty()).then(|| Box::<str>::from(text.0));
    let pod = |target: &Target<'_>| target.kind.as_ref().is_some_and(|kind| kind.0 == "Pod");
    Some(Endpoint {
        address: raw.addresses?.first()?.0.parse().ok()?,
        ready: raw.conditions.and_then(|conditions| conditions.ready).unwrap_or(true),
        hostname: raw.hostname.and_then(boxed),
        pod: raw.target_ref.filter(pod).and_then(|target| target.name).and_then(boxed),
    })
}

#[derive(Deserialize)]
struct RawPod<'a> {
    #[serde(borrow, default)]
    metadata: RawMeta<'a>,
    status: Option<RawStatus<'a>>,
}

#[derive(Default, Deserialize)]
struct RawStatus<'a> {
    #[serde(borrow)]
    phase: Option<Text<'a>>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<RawIp<'a>>>,
}

#[derive(Deserialize)]
struct RawIp<'a> {
    #[serde(borrow)]
    ip: Option<Text<'a>>,
}

impl<'de> Deserialize<'de> for Pod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = RawPod::deserialize(deserializer)?;
        let status = raw.status.unwrap_or_default();
        let phase = status.phase.as_ref().map(|phase| &*phase.0);
        let finished = raw.metadata.deletion_timestamp.is_some()
            || matches!(phase, Some("Succeeded" | "Failed" | "Unknown"));
        let listed = status.pod_ips.unwrap_or_default();
        let addresses = listed.iter().filter(|_| !finished);
        let addresses = addresses.filter_map(|of| of.ip.as_ref()?.0.parse().ok()).collect();
        Ok(Self { meta: raw.metadata.into(), addresses })
    }
}

#[cfg(test)]
mod tests {
    use portolan_model::names::{NameOptions, Names, RecordType, to_wire};
    use serde_json::json;

    use super::*;

    /// Both ways of reading a slice, as far as names tell them apart.
    #[test]
    fn slices_read_as_whole_ones_do() {
        let whole = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "e", "namespace": "default", "uid": "u", "generation": 3,
                "resourceVersion": "12", "labels": {"kubernetes.io/service-name": "web\u{e9}",
                "app": "x", "service.kubernetes.io/headless": ""},
                "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "now",
                    "other": "{\"large\": \"\\n\"}"},
                "managedFields": [{"manager": "m", "fieldsV1": {"f:x": {}}}]},
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.0.0.1", "10.0.0.9"], "conditions": {"ready": true},
                    "hostname": "a", "nodeName": "n", "zone": "z",
                    "targetRef": {"kind": "Pod", "name": "pod-a", "namespace": "default"}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": true},
                    "targetRef": {"kind": "Pod", "name": "pod-b", "namespace": "default"},
                    "hints": {"forZones": [{"name": "z"}]}},
                {"addresses": ["10.0.0.3"], "conditions": {},
                    "targetRef": {"kind": "Node", "name": "node"}},
                {"addresses": ["10.0.0.4"], "hostname": ""},
                {"addresses": ["no address"]},
                {"addresses": []}],
            "ports": [{"name": "http", "port": 80}, {"port": 70_000, "protocol": "UDP"},
                {"name": "x", "protocol": "SCTP"}, {"name": "y", "protocol": "?", "port": 1}]});
        for document in [
            whole.clone(),
            json!({"metadata": {"name": "e", "labels": null}, "addressType": "FQDN",
                "endpoints": null, "ports": null}),
            json!({"metadata": {}, "addressType": "IPv6", "endpoints": [
                {"addresses": ["fd00::1"], "conditions": null, "hostname": null}]}),
        ] {
            let text = document.to_string();
            let read: discovery::EndpointSlice = serde_json::from_str(&text).expect("a slice");
            let mut expected = object::EndpointSlice::from(&read);
            for endpoint in &mut expected.endpoints {
                endpoint.serving = endpoint.ready;
                endpoint.terminating = false;
                endpoint.node_name = None;
                endpoint.hints = None;
            }
            let trimmed: Slice = serde_json::from_str(&text).expect("a slice");
            assert_eq!(trimmed.trimmed(true), expected, "{document}");
            // As events have them, which are read twice.
            let trimmed: Slice = serde_json::from_value(document).expect("a slice");
            assert_eq!(trimmed.trimmed(true), expected);
            assert!(trimmed.trimmed(false).endpoints.iter().all(|of| of.pod().is_none()));
        }
        let trimmed: Slice = serde_json::from_value(whole).expect("a slice");
        assert_eq!(trimmed.meta.resource_version.as_deref(), Some("12"));
        let kept = trimmed.meta.labels.expect("labels");
        assert_eq!(kept.keys().collect::<Vec<_>>(), [KEPT[0], KEPT[1]]);
        let kept = trimmed.meta.annotations.expect("annotations");
        assert_eq!(kept.keys().collect::<Vec<_>>(), [KEPT[3]]);
    }

    #[test]
    fn pods_that_are_going_have_no_address() {
        let pod = |metadata, status| -> Pod {
            let document = json!({"metadata": metadata, "status": status,
                "spec": {"containers": [{"name": "c", "env": [{"name": "A", "value": "\""}]}]}});
            serde_json::from_str(&document.to_string()).expect("a pod")
        };
        let ips = json!({"phase": "Running", "podIP": "10.0.0.1",
            "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}, {"ip": "?"}, {}]});
        let running = pod(json!({"name": "a", "namespace": "b"}), ips.clone());
        assert_eq!(running.addresses.len(), 2);
        assert_eq!(super::super::object_name(&running), ObjectName::new("b", "a"));
        let going = pod(json!({"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z"}), ips);
        assert!(going.addresses.is_empty());
        let done = json!({"phase": "Succeeded", "podIPs": [{"ip": "10.0.0.1"}]});
        assert!(pod(json!({"name": "a"}), done).addresses.is_empty());
        assert!(pod(json!({"name": "a"}), json!(null)).addresses.is_empty());
    }

    /// What is watched under a trimmed type is what is watched under the whole one.
    #[test]
    fn trimmed_types_are_asked_for_like_whole_ones() {
        use kube::Resource;
        let path = |namespace| Slice::url_path(&(), namespace);
        assert_eq!(path(None), "/apis/discovery.k8s.io/v1/endpointslices");
        assert_eq!(Pod::url_path(&(), None), "/api/v1/pods");
        let mut names = Names::new(NameOptions::default(), 1);
        names.upsert_slice(&Slice::default().trimmed(false));
        let wire = to_wire("x.y.svc").expect("a name");
        let answer = names.lookup(&wire, RecordType::A);
        assert!(matches!(answer, portolan_model::names::Answer::NxDomain));
    }
}
