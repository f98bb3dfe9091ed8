//! `components.schemas`: the kinds of a group version and all that they refer to.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::resource::Resource;
use crate::schema::roots::ROOTS;
use crate::schema::{self, Lists, Patch, Type};

pub(super) const PREFIX: &str = "#/components/schemas/";

pub(super) fn schemas(rows: &[&Resource]) -> Map<String, Value> {
    let settings =
        SchemaSettings::default().with(|s| s.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let mut kinds: Vec<(&str, &str, &str)> = vec![("", "v1", "DeleteOptions")];
    for row in rows {
        kinds.push((row.group, row.version, row.kind));
        kinds.extend(row.subresources.iter().map(|s| (s.group, s.version, s.kind)));
    }
    kinds.sort_unstable();
    kinds.dedup();
    let mut roots: Vec<((&str, &str, &str), String)> = Vec::new();
    for root in ROOTS {
        let key = (root.group, root.version, root.kind);
        if kinds.contains(&key) {
            let reference = Value::from((root.add)(&mut generator));
            if let Some(name) = reference["$ref"].as_str() {
                roots.push((key, name.trim_start_matches(PREFIX).to_owned()));
            }
        }
    }
    generator.subschema_for::<k8s_openapi::apimachinery::pkg::apis::meta::v1::Status>();
    generator.subschema_for::<k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta>();
    generator.subschema_for::<k8s_openapi::apimachinery::pkg::apis::meta::v1::Patch>();

    let mut schemas: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    for (name, schema) in &mut schemas {
        refine(name, schema);
    }
    for ((group, version, kind), name) in &roots {
        if let Some(found) = schema::find(group, version, kind) {
            annotate(found, &mut schemas);
        }
        if let Some(schema) = schemas.get_mut(name) {
            let gvk = json!({"group": group, "version": version, "kind": kind});
            schema["x-kubernetes-group-version-kind"] = json!([gvk]);
        }
    }
    for row in rows.iter().filter(|row| row.is_stored()) {
        let item = roots.iter().find(|(key, _)| *key == (row.group, row.version, row.kind));
        if let Some((_, name)) = item {
            schemas.insert(format!("{name}List"), list(row, name));
        }
    }
    schemas
}

/// The name of the schema of a kind: `io.k8s.api.core.v1.Service`.
pub(super) fn schema_name(group: &str, version: &str, kind: &str) -> Option<&'static str> {
    schema::find(group, version, kind).map(|found| found.name)
}

fn list(row: &Resource, item: &str) -> Value {
    let reference = |name: &str| json!([{"$ref": format!("{PREFIX}{name}")}]);
    json!({
        "description": format!("{}List is a list of {}.", row.kind, row.plural),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": "The version of the schema."},
            "kind": {"type": "string", "description": "The kind of the list."},
            "metadata": {
                "allOf": reference("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"),
                "default": {},
                "description": "Standard list metadata.",
            },
            "items": {
                "type": "array",
                "description": format!("The {}.", row.plural),
                "items": {"allOf": reference(item), "default": {}},
            },
        },
        "x-kubernetes-group-version-kind": [
            {"group": row.group, "version": row.version, "kind": format!("{}List", row.kind)},
        ],
    })
}

/// Brings a schema into the form that Kubernetes publishes.
fn refine(name: &str, schema: &mut Value) {
    match name.rsplit('.').next() {
        Some("IntOrString") => {
            schema["format"] = "int-or-string".into();
            schema["oneOf"] = json!([{"type": "integer"}, {"type": "string"}]);
        }
        Some("Quantity") => schema["oneOf"] = json!([{"type": "string"}, {"type": "number"}]),
        _ => {}
    }
    if let Some(map) = schema.as_object_mut() {
        map.remove("x-kubernetes-int-or-string");
    }
    wrap_references(schema);
}

/// OpenAPI 3.0 allows nothing beside a `$ref`: descriptions stand next to an `allOf`.
fn wrap_references(schema: &mut Value) {
    if let Some(reference) = schema.as_object_mut().and_then(|map| map.remove("$ref")) {
        schema["allOf"] = json!([{"$ref": reference}]);
        return;
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(wrap_references);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(inner) {
            wrap_references(inner);
        }
    }
}

/// Adds what patches and apply do with lists and maps.
fn annotate(found: &'static schema::Struct, schemas: &mut Map<String, Value>) {
    let Some(schema) = schemas.get_mut(found.name) else { return };
    if schema.get("x-portolan-seen").is_some() {
        return;
    }
    // Recursive types end here; the mark is removed below.
    schema["x-portolan-seen"] = true.into();
    if found.atomic {
        schema["x-kubernetes-map-type"] = "atomic".into();
    }
    let mut inner: Vec<&'static schema::Struct> = Vec::new();
    for field in found.fields {
        let property = &mut schema["properties"][field.name];
        let (key, strategy) = match field.patch {
            Patch::Replace => (None, None),
            Patch::Merge(key) => (Some(key), Some("merge")),
            Patch::MergeRetainKeys(key) => (Some(key), Some("merge,retainKeys")),
            Patch::MergeSet => (None, Some("merge")),
            Patch::RetainKeys => (None, Some("retainKeys")),
        };
        if let Some(key) = key {
            property["x-kubernetes-patch-merge-key"] = key.into();
        }
        if let Some(strategy) = strategy {
            property["x-kubernetes-patch-strategy"] = strategy.into();
        }
        match field.kind {
            Type::List(_) => match field.lists {
                Lists::Atomic => property["x-kubernetes-list-type"] = "atomic".into(),
                Lists::Set => property["x-kubernetes-list-type"] = "set".into(),
                Lists::Map(keys) => {
                    property["x-kubernetes-list-type"] = "map".into();
                    property["x-kubernetes-list-map-keys"] = keys.into();
                }
            },
            Type::AtomicMap(_) => property["x-kubernetes-map-type"] = "atomic".into(),
            _ => {}
        }
        let mut kind = field.kind;
        while let Type::List(element) | Type::Map(element) | Type::AtomicMap(element) = kind {
            kind = *element;
        }
        if let Type::Struct(next) = kind {
            inner.push(next);
        }
    }
    for next in inner {
        annotate(next, schemas);
    }
    if let Some(Value::Object(schema)) = schemas.get_mut(found.name) {
        schema.remove("x-portolan-seen");
    }
}
