//! The typed structs behind the kinds that this server reads and writes.

use k8s_openapi::api::{
    apps::v1 as apps, authentication::v1 as authentication, authorization::v1 as authorization,
    autoscaling::v1 as autoscaling, coordination::v1 as coordination, core::v1 as core,
    discovery::v1 as discovery, events::v1 as events, networking::v1 as networking,
    policy::v1 as policy,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// Adds one kind, and all that it refers to, to a generator.
pub(crate) type AddSchema = fn(&mut SchemaGenerator) -> Schema;

/// A kind of an API group and version with its generator.
pub(crate) struct Root {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) add: AddSchema,
}

const fn root<T: JsonSchema>(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
) -> Root {
    Root { group, version, kind, add: SchemaGenerator::subschema_for::<T> }
}

/// Every kind that can stand in a request's body.
pub(crate) static ROOTS: &[Root] = &[
    root::<core::Binding>("", "v1", "Binding"),
    root::<core::ConfigMap>("", "v1", "ConfigMap"),
    root::<meta::DeleteOptions>("", "v1", "DeleteOptions"),
    root::<core::Endpoints>("", "v1", "Endpoints"),
    root::<core::Event>("", "v1", "Event"),
    root::<core::Namespace>("", "v1", "Namespace"),
    root::<core::Node>("", "v1", "Node"),
    root::<core::Pod>("", "v1", "Pod"),
    root::<core::ReplicationController>("", "v1", "ReplicationController"),
    root::<core::Secret>("", "v1", "Secret"),
    root::<core::Service>("", "v1", "Service"),
    root::<core::ServiceAccount>("", "v1", "ServiceAccount"),
    root::<apps::ControllerRevision>("apps", "v1", "ControllerRevision"),
    root::<apps::DaemonSet>("apps", "v1", "DaemonSet"),
    root::<apps::Deployment>("apps", "v1", "Deployment"),
    root::<apps::ReplicaSet>("apps", "v1", "ReplicaSet"),
    root::<apps::StatefulSet>("apps", "v1", "StatefulSet"),
    root::<authentication::SelfSubjectReview>("authentication.k8s.io", "v1", "SelfSubjectReview"),
    root::<authentication::TokenRequest>("authentication.k8s.io", "v1", "TokenRequest"),
    root::<authorization::SelfSubjectAccessReview>(
        "authorization.k8s.io",
        "v1",
        "SelfSubjectAccessReview",
    ),
    root::<authorization::SelfSubjectRulesReview>(
        "authorization.k8s.io",
        "v1",
        "SelfSubjectRulesReview",
    ),
    root::<autoscaling::Scale>("autoscaling", "v1", "Scale"),
    root::<coordination::Lease>("coordination.k8s.io", "v1", "Lease"),
    root::<discovery::EndpointSlice>("discovery.k8s.io", "v1", "EndpointSlice"),
    root::<events::Event>("events.k8s.io", "v1", "Event"),
    root::<networking::Ingress>("networking.k8s.io", "v1", "Ingress"),
    root::<networking::IngressClass>("networking.k8s.io", "v1", "IngressClass"),
    root::<networking::IPAddress>("networking.k8s.io", "v1", "IPAddress"),
    root::<networking::ServiceCIDR>("networking.k8s.io", "v1", "ServiceCIDR"),
    root::<policy::Eviction>("policy", "v1", "Eviction"),
];
