//! How patches and server-side apply treat lists and maps: facts that the typed structs do not
//! carry. They are those of the `patchStrategy`, `listType`, `listMapKey` and `mapType` markers in
//! `k8s.io/api/*/types.go` (Kubernetes 1.36). Everything that is not named here is replaced whole
//! by a strategic merge patch, and lists are atomic under server-side apply.

use super::{Lists, Patch};

/// `(struct, field, patch, lists)`.
type Hint = (&'static str, &'static str, Patch, Lists);

const NAME: &[&str] = &["name"];
const TYPE: &[&str] = &["type"];
const IP: &[&str] = &["ip"];

pub(super) const FIELDS: &[Hint] = &[
    ("ObjectMeta", "finalizers", Patch::MergeSet, Lists::Set),
    ("ObjectMeta", "ownerReferences", Patch::Merge("uid"), Lists::Map(&["uid"])),
    ("ServiceSpec", "ports", Patch::Merge("port"), Lists::Map(&["port", "protocol"])),
    ("ServiceStatus", "conditions", Patch::Merge("type"), Lists::Map(TYPE)),
    ("ServiceAccount", "secrets", Patch::Merge("name"), Lists::Map(NAME)),
    ("NamespaceStatus", "conditions", Patch::Merge("type"), Lists::Map(TYPE)),
    ("NodeSpec", "podCIDRs", Patch::MergeSet, Lists::Set),
    ("NodeStatus", "addresses", Patch::Merge("type"), Lists::Map(TYPE)),
    ("NodeStatus", "conditions", Patch::Merge("type"), Lists::Map(TYPE)),
    ("PodSpec", "containers", Patch::Merge("name"), Lists::Map(NAME)),
    ("PodSpec", "ephemeralContainers", Patch::Merge("name"), Lists::Map(NAME)),
    ("PodSpec", "hostAliases", Patch::Merge("ip"), Lists::Map(IP)),
    ("PodSpec", "imagePullSecrets", Patch::Merge("name"), Lists::Map(NAME)),
    ("PodSpec", "initContainers", Patch::Merge("name"), Lists::Map(NAME)),
    ("PodSpec", "resourceClaims", Patch::MergeRetainKeys("name"), Lists::Map(NAME)),
    ("PodSpec", "schedulingGates", Patch::Merge("name"), Lists::Map(NAME)),
    (
        "PodSpec",
        "topologySpreadConstraints",
        Patch::Merge("topologyKey"),
        Lists::Map(&["topologyKey", "whenUnsatisfiable"]),
    ),
    ("PodSpec", "volumes", Patch::MergeRetainKeys("name"), Lists::Map(NAME)),
    ("PodStatus", "conditions", Patch::Merge("type"), Lists::Map(TYPE)),
    ("PodStatus", "hostIPs", Patch::Merge("ip"), Lists::Atomic),
    ("PodStatus", "podIPs", Patch::Merge("ip"), Lists::Map(IP)),
    ("PodStatus", "resourceClaimStatuses", Patch::MergeRetainKeys("name"), Lists::Map(NAME)),
    ("Container", "env", Patch::Merge("name"), Lists::Map(NAME)),
    (
        "Container",
        "ports",
        Patch::Merge("containerPort"),
        Lists::Map(&["containerPort", "protocol"]),
    ),
    ("Container", "volumeDevices", Patch::Merge("devicePath"), Lists::Map(&["devicePath"])),
    ("Container", "volumeMounts", Patch::Merge("mountPath"), Lists::Map(&["mountPath"])),
    ("EphemeralContainer", "env", Patch::Merge("name"), Lists::Map(NAME)),
    (
        "EphemeralContainer",
        "ports",
        Patch::Merge("containerPort"),
        Lists::Map(&["containerPort", "protocol"]),
    ),
    (
        "EphemeralContainer",
        "volumeDevices",
        Patch::Merge("devicePath"),
        Lists::Map(&["devicePath"]),
    ),
    ("EphemeralContainer", "volumeMounts", Patch::Merge("mountPath"), Lists::Map(&["mountPath"])),
    ("ContainerStatus", "allocatedResourcesStatus", Patch::Merge("name"), Lists::Map(NAME)),
    ("ContainerStatus", "volumeMounts", Patch::Merge("mountPath"), Lists::Map(&["mountPath"])),
    ("ResourceRequirements", "claims", Patch::Replace, Lists::Map(NAME)),
    ("ResourceStatus", "resources", Patch::Replace, Lists::Map(&["resourceID"])),
    ("ContainerRestartRuleOnExitCodes", "values", Patch::Replace, Lists::Set),
    ("ReplicationControllerStatus", "conditions", Patch::Merge("type"), Lists::Map(TYPE)),
    ("DeploymentSpec", "strategy", Patch::RetainKeys, Lists::Atomic),
    ("DeploymentStatus", "conditions", Patch::Merge("type"), Lists::Map(TYPE)),
    ("DaemonSetStatus", "conditions", Patch::Merge("type"), Lists::Map(TYPE)),
    ("ReplicaSetStatus", "conditions", Patch::Merge("type"), Lists::Map(TYPE)),
    ("StatefulSetStatus", "conditions", Patch::Merge("type"), Lists::Map(TYPE)),
    ("Endpoint", "addresses", Patch::Replace, Lists::Set),
    ("ServiceCIDRStatus", "conditions", Patch::Merge("type"), Lists::Map(TYPE)),
];

/// Maps that are one value under server-side apply.
pub(super) const ATOMIC_MAPS: &[(&str, &str)] = &[
    ("ServiceSpec", "selector"),
    ("ReplicationControllerSpec", "selector"),
    ("PodSpec", "nodeSelector"),
    ("Endpoint", "deprecatedTopology"),
];

/// Structs that are one value under server-side apply.
pub(super) const ATOMIC_STRUCTS: &[&str] = &[
    "ConfigMapKeySelector",
    "EndpointAddress",
    "EndpointPort",
    "FileKeySelector",
    "LabelSelector",
    "LocalObjectReference",
    "NodeSelector",
    "NodeSelectorTerm",
    "ObjectFieldSelector",
    "ObjectReference",
    "OwnerReference",
    "ResourceFieldSelector",
    "SecretKeySelector",
    "TypedLocalObjectReference",
];
