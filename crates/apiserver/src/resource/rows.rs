//! The rows of the table, by group and then by plural.

use super::addresses::{IpAddress, ServiceCidr};
use super::config::{ConfigMap, Secret};
use super::endpoint_slice::EndpointSlice;
use super::endpoints::Endpoints;
use super::event::{CoreEvent, NewEvent};
use super::ingress::Ingress;
use super::ingress_class::IngressClass;
use super::lease::Lease;
use super::namespace::Namespace;
use super::node::Node;
use super::pod::Pod;
use super::review::Review;
use super::service::Service;
use super::service_account::ServiceAccount;
use super::workload::{ControllerRevision, Workload};
use super::{Resource, Subresource, Verb};

const ALL: &[Verb] = &[
    Verb::Create,
    Verb::Delete,
    Verb::DeleteCollection,
    Verb::Get,
    Verb::List,
    Verb::Patch,
    Verb::Update,
    Verb::Watch,
];
/// Namespaces cannot be deleted by the collection.
const SINGLE: &[Verb] =
    &[Verb::Create, Verb::Delete, Verb::Get, Verb::List, Verb::Patch, Verb::Update, Verb::Watch];
const CREATE: &[Verb] = &[Verb::Create];
const CONNECT: &[Verb] = &[Verb::Create, Verb::Get];
const PROXY: &[Verb] = &[Verb::Create, Verb::Delete, Verb::Get, Verb::Patch, Verb::Update];
const SUBRESOURCE: &[Verb] = &[Verb::Get, Verb::Patch, Verb::Update];
const SCALE: Subresource = sub("scale", "autoscaling", "v1", "Scale", SUBRESOURCE);

const fn sub(
    name: &'static str,
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    verbs: &'static [Verb],
) -> Subresource {
    Subresource { name, group, version, kind, verbs }
}

const fn status(group: &'static str, version: &'static str, kind: &'static str) -> Subresource {
    sub("status", group, version, kind, SUBRESOURCE)
}

/// All resources that this API server knows.
pub fn table() -> &'static [Resource] {
    TABLE
}

/// The resource of that group, version and plural.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    TABLE.iter().find(|r| r.group == group && r.version == version && r.plural == plural)
}

/// The resource of that group, version and kind.
pub fn find_kind(group: &str, version: &str, kind: &str) -> Option<&'static Resource> {
    TABLE.iter().find(|r| r.group == group && r.version == version && r.kind == kind)
}

static TABLE: &[Resource] = &[
    Resource {
        group: "",
        version: "v1",
        kind: "ConfigMap",
        plural: "configmaps",
        singular: "configmap",
        short_names: &["cm"],
        categories: &[],
        namespaced: true,
        verbs: ALL,
        subresources: &[],
        strategy: &ConfigMap,
        stored_as: None,
    },
    Resource {
        group: "",
        version: "v1",
        kind: "Endpoints",
        plural: "endpoints",
        singular: "endpoints",
        short_names: &["ep"],
        categories: &[],
        namespaced: true,
        verbs: ALL,
        subresources: &[],
        strategy: &Endpoints,
        stored_as: None,
    },
    Resource {
        group: "",
        version: "v1",
        kind: "Event",
        plural: "events",
        singular: "event",
        short_names: &["ev"],
        categories: &[],
        namespaced: true,
        verbs: ALL,
        subresources: &[],
        strategy: &CoreEvent,
        stored_as: None,
    },
    Resource {
        group: "",
        version: "v1",
        kind: "Namespace",
        plural: "namespaces",
        singular: "namespace",
        short_names: &["ns"],
        categories: &[],
        namespaced: false,
        verbs: SINGLE,
        subresources: &[
            sub("finalize", "", "v1", "Namespace", &[Verb::Update]),
            status("", "v1", "Namespace"),
        ],
        strategy: &Namespace,
        stored_as: None,
    },
    Resource {
        group: "",
        version: "v1",
        kind: "Node",
        plural: "nodes",
        singular: "node",
        short_names: &["no"],
        categories: &[],
        namespaced: false,
        verbs: ALL,
        subresources: &[
            sub("proxy", "", "v1", "NodeProxyOptions", PROXY),
            status("", "v1", "Node"),
        ],
        strategy: &Node,
        stored_as: None,
    },
    Resource {
        group: "",
        version: "v1",
        kind: "Pod",
        plural: "pods",
        singular: "pod",
        short_names: &["po"],
        categories: &["all"],
        namespaced: true,
        verbs: ALL,
        subresources: &[
            sub("attach", "", "v1", "PodAttachOptions", CONNECT),
            sub("binding", "", "v1", "Binding", &[Verb::Create]),
            sub("eviction", "policy", "v1", "Eviction", &[Verb::Create]),
            sub("exec", "", "v1", "PodExecOptions", CONNECT),
            sub("log", "", "v1", "Pod", &[Verb::Get]),
            sub("portforward", "", "v1", "PodPortForwardOptions", CONNECT),
            sub("proxy", "", "v1", "PodProxyOptions", PROXY),
            status("", "v1", "Pod"),
        ],
        strategy: &Pod,
        stored_as: None,
    },
    Resource {
        group: "",
        version: "v1",
        kind: "ReplicationController",
        plural: "replicationcontrollers",
        singular: "replicationcontroller",
        short_names: &["rc"],
        categories: &["all"],
        namespaced: true,
        verbs: ALL,
        subresources: &[SCALE, status("", "v1", "ReplicationController")],
        strategy: &Workload::ReplicationController,
        stored_as: None,
    },
    Resource {
        group: "",
        version: "v1",
        kind: "Secret",
        plural: "secrets",
        singular: "secret",
        short_names: &[],
        categories: &[],
        namespaced: true,
        verbs: ALL,
        subresources: &[],
        strategy: &Secret,
        stored_as: None,
    },
    Resource {
        group: "",
        version: "v1",
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        singular: "serviceaccount",
        short_names: &["sa"],
        categories: &[],
        namespaced: true,
        verbs: ALL,
        subresources: &[sub(
            "token",
            "authentication.k8s.io",
            "v1",
            "TokenRequest",
            &[Verb::Create],
        )],
        strategy: &ServiceAccount,
        stored_as: None,
    },
    Resource {
        group: "",
        version: "v1",
        kind: "Service",
        plural: "services",
        singular: "service",
        short_names: &["svc"],
        categories: &["all"],
        namespaced: true,
        verbs: ALL,
        subresources: &[
            sub("proxy", "", "v1", "ServiceProxyOptions", PROXY),
            status("", "v1", "Service"),
        ],
        strategy: &Service,
        stored_as: None,
    },
    Resource {
        group: "apps",
        version: "v1",
        kind: "ControllerRevision",
        plural: "controllerrevisions",
        singular: "controllerrevision",
        short_names: &[],
        categories: &[],
        namespaced: true,
        verbs: ALL,
        subresources: &[],
        strategy: &ControllerRevision,
        stored_as: None,
    },
    Resource {
        group: "apps",
        version: "v1",
        kind: "DaemonSet",
        plural: "daemonsets",
        singular: "daemonset",
        short_names: &["ds"],
        categories: &["all"],
        namespaced: true,
        verbs: ALL,
        subresources: &[status("apps", "v1", "DaemonSet")],
        strategy: &Workload::DaemonSet,
        stored_as: None,
    },
    Resource {
        group: "apps",
        version: "v1",
        kind: "Deployment",
        plural: "deployments",
        singular: "deployment",
        short_names: &["deploy"],
        categories: &["all"],
        namespaced: true,
        verbs: ALL,
        subresources: &[SCALE, status("apps", "v1", "Deployment")],
        strategy: &Workload::Deployment,
        stored_as: None,
    },
    Resource {
        group: "apps",
        version: "v1",
        kind: "ReplicaSet",
        plural: "replicasets",
        singular: "replicaset",
        short_names: &["rs"],
        categories: &["all"],
        namespaced: true,
        verbs: ALL,
        subresources: &[SCALE, status("apps", "v1", "ReplicaSet")],
        strategy: &Workload::ReplicaSet,
        stored_as: None,
    },
    Resource {
        group: "apps",
        version: "v1",
        kind: "StatefulSet",
        plural: "statefulsets",
        singular: "statefulset",
        short_names: &["sts"],
        categories: &["all"],
        namespaced: true,
        verbs: ALL,
        subresources: &[SCALE, status("apps", "v1", "StatefulSet")],
        strategy: &Workload::StatefulSet,
        stored_as: None,
    },
    Resource {
        group: "authentication.k8s.io",
        version: "v1",
        kind: "SelfSubjectReview",
        plural: "selfsubjectreviews",
        singular: "selfsubjectreview",
        short_names: &[],
        categories: &[],
        namespaced: false,
        verbs: CREATE,
        subresources: &[],
        strategy: &Review,
        stored_as: None,
    },
    Resource {
        group: "authorization.k8s.io",
        version: "v1",
        kind: "SelfSubjectAccessReview",
        plural: "selfsubjectaccessreviews",
        singular: "selfsubjectaccessreview",
        short_names: &[],
        categories: &[],
        namespaced: false,
        verbs: CREATE,
        subresources: &[],
        strategy: &Review,
        stored_as: None,
    },
    Resource {
        group: "authorization.k8s.io",
        version: "v1",
        kind: "SelfSubjectRulesReview",
        plural: "selfsubjectrulesreviews",
        singular: "selfsubjectrulesreview",
        short_names: &[],
        categories: &[],
        namespaced: false,
        verbs: CREATE,
        subresources: &[],
        strategy: &Review,
        stored_as: None,
    },
    Resource {
        group: "coordination.k8s.io",
        version: "v1",
        kind: "Lease",
        plural: "leases",
        singular: "lease",
        short_names: &[],
        categories: &[],
        namespaced: true,
        verbs: ALL,
        subresources: &[],
        strategy: &Lease,
        stored_as: None,
    },
    Resource {
        group: "discovery.k8s.io",
        version: "v1",
        kind: "EndpointSlice",
        plural: "endpointslices",
        singular: "endpointslice",
        short_names: &[],
        categories: &[],
        namespaced: true,
        verbs: ALL,
        subresources: &[],
        strategy: &EndpointSlice,
        stored_as: None,
    },
    Resource {
        group: "events.k8s.io",
        version: "v1",
        kind: "Event",
        plural: "events",
        singular: "event",
        short_names: &["ev"],
        categories: &[],
        namespaced: true,
        verbs: ALL,
        subresources: &[],
        strategy: &NewEvent,
        stored_as: Some(("", "events")),
    },
    Resource {
        group: "networking.k8s.io",
        version: "v1",
        kind: "IngressClass",
        plural: "ingressclasses",
        singular: "ingressclass",
        short_names: &[],
        categories: &[],
        namespaced: false,
        verbs: ALL,
        subresources: &[],
        strategy: &IngressClass,
        stored_as: None,
    },
    Resource {
        group: "networking.k8s.io",
        version: "v1",
        kind: "Ingress",
        plural: "ingresses",
        singular: "ingress",
        short_names: &["ing"],
        categories: &[],
        namespaced: true,
        verbs: ALL,
        subresources: &[status("networking.k8s.io", "v1", "Ingress")],
        strategy: &Ingress,
        stored_as: None,
    },
    Resource {
        group: "networking.k8s.io",
        version: "v1",
        kind: "IPAddress",
        plural: "ipaddresses",
        singular: "ipaddress",
        short_names: &["ip"],
        categories: &[],
        namespaced: false,
        verbs: ALL,
        subresources: &[],
        strategy: &IpAddress,
        stored_as: None,
    },
    Resource {
        group: "networking.k8s.io",
        version: "v1",
        kind: "ServiceCIDR",
        plural: "servicecidrs",
        singular: "servicecidr",
        short_names: &[],
        categories: &[],
        namespaced: false,
        verbs: ALL,
        subresources: &[status("networking.k8s.io", "v1", "ServiceCIDR")],
        strategy: &ServiceCidr,
        stored_as: None,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_found_by_its_names() {
        for row in table() {
            assert_eq!(find(row.group, row.version, row.plural).unwrap().kind, row.kind);
            assert_eq!(find_kind(row.group, row.version, row.kind).unwrap().plural, row.plural);
            assert!(row.is_stored() || row.verbs == CREATE, "{row:?}");
        }
        assert!(find("", "v1", "endpoint").is_none());
    }

    #[test]
    fn only_the_plural_of_endpoints_exists() {
        // kubectl maps singular names: with `endpoint` it would accept what the promise forbids.
        assert_eq!(find("", "v1", "endpoints").unwrap().singular, "endpoints");
    }

    #[test]
    fn short_names_are_unambiguous_within_a_group() {
        for (i, row) in table().iter().enumerate() {
            for other in &table()[i + 1..] {
                let clash = row.short_names.iter().any(|s| other.short_names.contains(s));
                assert!(!clash || row.group != other.group, "{row:?} {other:?}");
            }
        }
    }
}
