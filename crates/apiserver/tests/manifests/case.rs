//! What the files say: groups of cases, each an object sent to the API and its verdict.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    /// What the cases have in common.
    #[allow(dead_code)]
    pub(crate) group: String,
    /// Where Kubernetes says so: file and function of its source.
    #[allow(dead_code)]
    pub(crate) source: String,
    #[serde(default)]
    pub(crate) cluster: Cluster,
    /// The collection: `/api/v1/namespaces/default/services`.
    pub(crate) path: String,
    /// What every object of the group starts from; named `x` unless the case says otherwise.
    pub(crate) base: Value,
    pub(crate) cases: Vec<Case>,
}

/// How the cluster was started that a group is about.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cluster {
    #[default]
    Ipv4,
    DualStack,
    /// IPv4, with the admission plugin `DenyServiceExternalIPs`.
    DenyExternalIps,
}

impl Cluster {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::DualStack => "dual-stack",
            Self::DenyExternalIps => "deny-external-ips",
        }
    }
}

/// One object and one verdict. Objects are merge patches over the group's base.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) case: String,
    /// Other objects that exist: the collection's path and the whole object.
    #[serde(default)]
    pub(crate) beside: Vec<Beside>,
    /// The object that exists before an update.
    #[serde(default)]
    pub(crate) given: Option<Value>,
    /// POST of the base with this.
    #[serde(default)]
    pub(crate) create: Option<Value>,
    /// GET, this merged into what came, PUT.
    #[serde(default)]
    pub(crate) update: Option<Value>,
    /// PUT of the base with this, as a client does that has not read.
    #[serde(default)]
    pub(crate) replace: Option<Value>,
    /// PATCH with this as a merge patch.
    #[serde(default)]
    pub(crate) patch: Option<Value>,
    /// GET, this merged into what came, PUT to the `status` subresource.
    #[serde(default)]
    pub(crate) status: Option<Value>,

    /// Where Portolan departs from Kubernetes: why, and its own verdict.
    #[serde(default)]
    pub(crate) departs: Option<Departure>,

    /// What is complained about, each once and sorted: `field: message`.
    #[serde(default)]
    pub(crate) refused: Option<Vec<String>>,
    /// How the answer differs from what was sent, as a merge patch; null where it does not.
    /// Random addresses and ports are `(allocated)`; those the object had before are `(kept)`.
    #[serde(default)]
    pub(crate) accepted: Option<Value>,
    /// The texts of the `Warning` headers, in order.
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
}

/// A verdict that is not that of Kubernetes, and the reason.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Departure {
    #[allow(dead_code)]
    pub(crate) because: String,
    #[serde(default)]
    pub(crate) refused: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) accepted: Option<Value>,
    /// Those of Kubernetes where nothing is said.
    #[serde(default)]
    pub(crate) warnings: Option<Vec<String>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Beside {
    pub(crate) path: String,
    pub(crate) object: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Create,
    Update,
    Replace,
    Patch,
    Status,
}

impl Case {
    /// The one thing that the case does.
    pub(crate) fn action(&self) -> (Action, &Value) {
        let all = [
            (Action::Create, &self.create),
            (Action::Update, &self.update),
            (Action::Replace, &self.replace),
            (Action::Patch, &self.patch),
            (Action::Status, &self.status),
        ];
        let mut given =
            all.into_iter().filter_map(|(action, value)| Some((action, value.as_ref()?)));
        match (given.next(), given.next()) {
            (Some(only), None) => only,
            _ => panic!("{:?} must do one thing", self.case),
        }
    }
}

/// All groups below the directory, sorted by path.
pub(crate) fn load(directory: &Path) -> Vec<(PathBuf, Group)> {
    let mut paths = Vec::new();
    walk(directory, &mut paths);
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("the file can be read");
        let group = serde_saphyr::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, group)
    };
    paths.into_iter().map(read).collect()
}

fn walk(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("the directory can be read") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            walk(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            paths.push(path);
        }
    }
}

/// RFC 7386.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (key, value) in patch {
        if value.is_null() {
            if let Value::Object(map) = target {
                map.remove(key);
            }
        } else {
            merge(&mut target[key.as_str()], value);
        }
    }
}

/// Drops nulls and empty lists, which mean the same as nothing.
pub(crate) fn without_empty(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().map(|(key, value)| (key.clone(), without_empty(value)));
            let empty =
                |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            Value::Object(kept.filter(|(_, value)| !empty(value)).collect())
        }
        Value::Array(list) => list.iter().map(without_empty).collect(),
        other => other.clone(),
    }
}

/// The merge patch that makes `before` into `after`; null where they are the same.
pub(crate) fn difference(before: &Value, after: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return if before == after { Value::Null } else { after.clone() };
    };
    let mut changes = Map::new();
    for (key, value) in new {
        match old.get(key) {
            Some(was) if was == value => {}
            Some(was) => {
                changes.insert(key.clone(), difference(was, value));
            }
            None => {
                changes.insert(key.clone(), value.clone());
            }
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        changes.insert(key.clone(), Value::Null);
    }
    if changes.is_empty() { Value::Null } else { Value::Object(changes) }
}
