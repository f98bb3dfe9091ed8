//! `metadata.managedFields`: who set which field.

use serde_json::{Value, json};

use super::field_set::FieldSet;

/// How a manager came by its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// One entry of the list.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: Option<String>,
    pub(super) fields: FieldSet,
}

impl Entry {
    pub(super) fn is(&self, manager: &str, operation: Operation, subresource: &str) -> bool {
        self.manager == manager && self.operation == operation && self.subresource == subresource
    }
}

/// Reads the list; entries that make no sense are dropped, as kube-apiserver resets them.
pub(super) fn read(object: &Value) -> Vec<Entry> {
    let text = |entry: &Value, field: &str| {
        entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            Some(Entry {
                manager: text(entry, "manager"),
                operation: match entry.get("operation")?.as_str()? {
                    "Apply" => Operation::Apply,
                    "Update" => Operation::Update,
                    _ => return None,
                },
                api_version: text(entry, "apiVersion"),
                subresource: text(entry, "subresource"),
                time: entry.get("time").and_then(Value::as_str).map(str::to_owned),
                fields: FieldSet::from_fields_v1(entry.get("fieldsV1")?),
            })
        })
        .collect()
}

/// Writes the list: appliers first, then by time and name, as kube-apiserver sorts it. Managers
/// without a field left disappear.
pub(super) fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    entries.sort_by(|a, b| {
        let rank = |entry: &Entry| {
            let updated = entry.operation == Operation::Update;
            (updated, entry.time.clone(), entry.manager.clone(), entry.subresource.clone())
        };
        rank(a).cmp(&rank(b))
    });
    let list: Vec<Value> = entries.iter().map(entry_json).collect();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        if list.is_empty() {
            metadata.remove("managedFields");
        } else {
            metadata.insert("managedFields".to_owned(), Value::Array(list));
        }
    }
}

fn entry_json(entry: &Entry) -> Value {
    let mut value = json!({
        "manager": entry.manager,
        "operation": entry.operation.as_str(),
        "apiVersion": entry.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": entry.fields.to_fields_v1(),
    });
    if let Some(time) = &entry.time {
        value["time"] = Value::from(time.as_str());
    }
    if !entry.subresource.is_empty() {
        value["subresource"] = Value::from(entry.subresource.as_str());
    }
    value
}
