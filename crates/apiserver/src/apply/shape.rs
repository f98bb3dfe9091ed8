//! Which parts of an object merge, and by what.
//!
//! The API's Go types mark this with `+listType`, `+listMapKey`, `+mapType` and `+structType`
//! (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy>). Without a
//! mark a list is atomic, and a map or a struct is granular; so the table below holds only what
//! departs from that, for the kinds that are served here.

/// How the value at one path merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A scalar, or a map or list that is owned and replaced as a whole.
    Atomic,
    /// A map or struct whose members have owners of their own.
    Granular,
    /// A list of scalars, each with owners of its own.
    Set,
    /// A list of objects identified by these fields.
    Keyed(&'static [Key]),
}

/// One field of a list item's identity.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) field: &'static str,
    /// What an absent field stands for, where the API has a default.
    pub(super) default: Option<&'static str>,
}

const fn key(field: &'static str) -> Key {
    Key { field, default: None }
}

const NAME: &[Key] = &[key("name")];
const TYPE: &[Key] = &[key("type")];
const IP: &[Key] = &[key("ip")];
const PROTOCOL: Key = Key { field: "protocol", default: Some("TCP") };

/// One row: the end of the path (field names only, list items skipped), optionally for one kind
/// alone. The first row that fits decides, so the narrower stands above the wider.
struct Row {
    kind: Option<&'static str>,
    path: &'static [&'static str],
    shape: Shape,
}

const fn any(path: &'static [&'static str], shape: Shape) -> Row {
    Row { kind: None, path, shape }
}

const fn only(kind: &'static str, path: &'static [&'static str], shape: Shape) -> Row {
    Row { kind: Some(kind), path, shape }
}

static ROWS: &[Row] = &[
    // metadata
    any(&["metadata", "finalizers"], Shape::Set),
    any(&["metadata", "ownerReferences"], Shape::Keyed(&[key("uid")])),
    any(&["ownerReferences"], Shape::Atomic),
    // selectors and references that are one value
    any(&["labelSelector"], Shape::Atomic),
    any(&["podSelector"], Shape::Atomic),
    any(&["namespaceSelector"], Shape::Atomic),
    any(&["selector"], Shape::Atomic),
    any(&["nodeSelector"], Shape::Atomic),
    any(&["nodeSelectorTerms"], Shape::Atomic),
    any(&["requiredDuringSchedulingIgnoredDuringExecution"], Shape::Atomic),
    any(&["fieldRef"], Shape::Atomic),
    any(&["resourceFieldRef"], Shape::Atomic),
    any(&["configMapKeyRef"], Shape::Atomic),
    any(&["secretKeyRef"], Shape::Atomic),
    any(&["targetRef"], Shape::Atomic),
    any(&["involvedObject"], Shape::Atomic),
    any(&["regarding"], Shape::Atomic),
    any(&["related"], Shape::Atomic),
    any(&["secretRef"], Shape::Atomic),
    any(&["claimRef"], Shape::Atomic),
    only("Ingress", &["backend", "resource"], Shape::Atomic),
    // Services
    only("Service", &["spec", "ports"], Shape::Keyed(&[key("port"), PROTOCOL])),
    // pods and their templates
    any(&["containers", "ports"], Shape::Keyed(&[key("containerPort"), PROTOCOL])),
    any(&["initContainers", "ports"], Shape::Keyed(&[key("containerPort"), PROTOCOL])),
    any(&["ephemeralContainers", "ports"], Shape::Keyed(&[key("containerPort"), PROTOCOL])),
    any(&["spec", "containers"], Shape::Keyed(NAME)),
    any(&["spec", "initContainers"], Shape::Keyed(NAME)),
    any(&["spec", "ephemeralContainers"], Shape::Keyed(NAME)),
    any(&["spec", "volumes"], Shape::Keyed(NAME)),
    any(&["spec", "imagePullSecrets"], Shape::Keyed(NAME)),
    any(&["spec", "schedulingGates"], Shape::Keyed(NAME)),
    any(&["spec", "resourceClaims"], Shape::Keyed(NAME)),
    any(&["spec", "hostAliases"], Shape::Keyed(IP)),
    any(
        &["spec", "topologySpreadConstraints"],
        Shape::Keyed(&[key("topologyKey"), key("whenUnsatisfiable")]),
    ),
    any(&["env"], Shape::Keyed(NAME)),
    any(&["volumeMounts"], Shape::Keyed(&[key("mountPath")])),
    any(&["volumeDevices"], Shape::Keyed(&[key("devicePath")])),
    only("Pod", &["status", "podIPs"], Shape::Keyed(IP)),
    // nodes
    only("Node", &["spec", "podCIDRs"], Shape::Set),
    only("Node", &["status", "addresses"], Shape::Keyed(TYPE)),
    // service accounts
    only("ServiceAccount", &["secrets"], Shape::Keyed(NAME)),
    only("ServiceAccount", &["imagePullSecrets"], Shape::Keyed(NAME)),
    // every status
    any(&["status", "conditions"], Shape::Keyed(TYPE)),
];

/// The shape of the value at `path`, whose last element is the field's name.
pub(super) fn shape(kind: &str, path: &[&str], value: &serde_json::Value) -> Shape {
    let row = ROWS
        .iter()
        .find(|row| row.kind.is_none_or(|only| only == kind) && path.ends_with(row.path))
        .map(|row| row.shape);
    match (row, value) {
        (Some(Shape::Atomic), _) => Shape::Atomic,
        (Some(shape), serde_json::Value::Array(_)) => shape,
        (_, serde_json::Value::Object(_)) => Shape::Granular,
        _ => Shape::Atomic,
    }
}
