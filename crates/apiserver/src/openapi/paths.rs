//! `paths`: the requests that each resource takes, with their query parameters.

use serde_json::{Map, Value, json};

use super::components::{PREFIX, schema_name};
use crate::patch::PatchKind;
use crate::resource::{Resource, Subresource, Verb};

/// Query parameters by the verbs that take them.
const FIELD_VALIDATION: (&str, &str, &str) = (
    "fieldValidation",
    "string",
    "What to do with unknown and duplicate fields: Ignore, Warn (the default) or Strict.",
);
const DRY_RUN: (&str, &str, &str) = ("dryRun", "string", "With the value All nothing is stored.");
const FIELD_MANAGER: (&str, &str, &str) =
    ("fieldManager", "string", "The name of the actor that makes the change.");
const FORCE: (&str, &str, &str) =
    ("force", "boolean", "Whether an apply takes over the fields of other managers.");
const LIST: &[(&str, &str, &str)] = &[
    ("allowWatchBookmarks", "boolean", "Whether a watch may send BOOKMARK events."),
    ("continue", "string", "Where the previous part of the list ended."),
    ("fieldSelector", "string", "Restricts the list by the objects' fields."),
    ("labelSelector", "string", "Restricts the list by the objects' labels."),
    ("limit", "integer", "How many objects to return at most."),
    ("resourceVersion", "string", "The version from which on, or at which, to read."),
    ("resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan."),
    ("sendInitialEvents", "boolean", "Whether a watch starts with what exists."),
    ("timeoutSeconds", "integer", "How long a watch may take."),
    ("watch", "boolean", "Whether to go on reporting changes."),
];
const DELETE: &[(&str, &str, &str)] = &[
    DRY_RUN,
    ("gracePeriodSeconds", "integer", "How long the object may take to end."),
    ("orphanDependents", "boolean", "Deprecated: use propagationPolicy."),
    (
        "propagationPolicy",
        "string",
        "What happens to dependents: Orphan, Background or Foreground.",
    ),
];

pub(super) fn paths(rows: &[&Resource]) -> Map<String, Value> {
    let mut paths = Map::new();
    for row in rows {
        let root = match row.group {
            "" => format!("/api/{}", row.version),
            group => format!("/apis/{group}/{}", row.version),
        };
        let scope = if row.namespaced { "/namespaces/{namespace}" } else { "" };
        let collection = format!("{root}{scope}/{}", row.plural);
        let item = format!("{collection}/{{name}}");
        let namespace = row.namespaced;
        paths.insert(collection, collection_item(row, namespace));
        if !row.is_stored() {
            continue;
        }
        if namespace {
            let mut all = path_item(false, false);
            all["get"] = operation(row, "list", "listForAllNamespaces", kind_of(row), LIST);
            paths.insert(format!("{root}/{}", row.plural), all);
        }
        paths.insert(item.clone(), object_item(row, namespace));
        for sub in row.subresources {
            paths.insert(format!("{item}/{}", sub.name), subresource_item(row, sub, namespace));
        }
    }
    paths
}

type Kind<'a> = (&'a str, &'a str, &'a str);

fn kind_of(row: &Resource) -> Kind<'_> {
    (row.group, row.version, row.kind)
}

fn path_item(namespace: bool, name: bool) -> Value {
    let mut parameters = Vec::new();
    let mut path = |text: &str, description: &str| {
        parameters.push(json!({
            "name": text, "in": "path", "required": true, "description": description,
            "schema": {"type": "string", "uniqueItems": true},
        }));
    };
    if name {
        path("name", "The object's name.");
    }
    if namespace {
        path("namespace", "The object's namespace.");
    }
    if parameters.is_empty() { json!({}) } else { json!({"parameters": parameters}) }
}

fn collection_item(row: &Resource, namespace: bool) -> Value {
    let mut item = path_item(namespace, false);
    for verb in row.verbs {
        match verb {
            Verb::List => item["get"] = operation(row, "list", "list", kind_of(row), LIST),
            Verb::Create => {
                let parameters = [DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
                let mut create = operation(row, "post", "create", kind_of(row), &parameters);
                create["requestBody"] = body(kind_of(row), &["*/*"]);
                item["post"] = create;
            }
            Verb::DeleteCollection => {
                let parameters = [DELETE, LIST].concat();
                let mut delete = operation(
                    row,
                    "deletecollection",
                    "deleteCollection",
                    kind_of(row),
                    &parameters,
                );
                delete["requestBody"] = body(("", "v1", "DeleteOptions"), &["*/*"]);
                item["delete"] = delete;
            }
            _ => {}
        }
    }
    item
}

fn object_item(row: &Resource, namespace: bool) -> Value {
    let mut item = path_item(namespace, true);
    add_verbs(&mut item, row, "", kind_of(row), row.verbs);
    if row.verbs.contains(&Verb::Delete) {
        let mut delete = operation(row, "delete", "delete", kind_of(row), DELETE);
        delete["requestBody"] = body(("", "v1", "DeleteOptions"), &["*/*"]);
        item["delete"] = delete;
    }
    item
}

fn subresource_item(row: &Resource, sub: &Subresource, namespace: bool) -> Value {
    let mut item = path_item(namespace, true);
    let kind = (sub.group, sub.version, sub.kind);
    if sub.kind.ends_with("Options") {
        for (verb, method) in [
            (Verb::Get, "get"),
            (Verb::Create, "post"),
            (Verb::Update, "put"),
            (Verb::Patch, "patch"),
            (Verb::Delete, "delete"),
        ] {
            if sub.verbs.contains(&verb) {
                item[method] =
                    operation(row, "connect", &format!("connect_{method}_{}", sub.name), kind, &[]);
            }
        }
        return item;
    }
    add_verbs(&mut item, row, sub.name, kind, sub.verbs);
    if sub.verbs.contains(&Verb::Create) {
        let parameters = [DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
        let mut create = operation(row, "post", &format!("create_{}", sub.name), kind, &parameters);
        create["requestBody"] = body(kind, &["*/*"]);
        item["post"] = create;
    }
    item
}

/// GET, PUT and PATCH of one object.
fn add_verbs(item: &mut Value, row: &Resource, sub: &str, kind: Kind<'_>, verbs: &[Verb]) {
    for verb in verbs {
        match verb {
            Verb::Get => item["get"] = operation(row, "get", &format!("read{sub}"), kind, &[]),
            Verb::Update => {
                let parameters = [DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
                let mut put = operation(row, "put", &format!("replace{sub}"), kind, &parameters);
                put["requestBody"] = body(kind, &["*/*"]);
                item["put"] = put;
            }
            Verb::Patch => {
                let parameters = [DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE];
                let mut patch = operation(row, "patch", &format!("patch{sub}"), kind, &parameters);
                let media: Vec<&str> =
                    PatchKind::MEDIA_TYPES.iter().map(|(name, _)| *name).collect();
                patch["requestBody"] =
                    body_of("io.k8s.apimachinery.pkg.apis.meta.v1.Patch", &media);
                item["patch"] = patch;
            }
            _ => {}
        }
    }
}

fn body((group, version, kind): Kind<'_>, media: &[&str]) -> Value {
    match schema_name(group, version, kind) {
        Some(name) => body_of(name, media),
        None => json!({"content": {"*/*": {"schema": {"type": "object"}}}}),
    }
}

fn body_of(name: &str, media: &[&str]) -> Value {
    let schema = json!({"schema": {"$ref": format!("{PREFIX}{name}")}});
    let content: Map<String, Value> =
        media.iter().map(|media| ((*media).to_owned(), schema.clone())).collect();
    json!({"content": content, "required": true})
}

fn operation(
    row: &Resource,
    action: &str,
    id: &str,
    (group, version, kind): Kind<'_>,
    parameters: &[(&str, &str, &str)],
) -> Value {
    let parameters: Vec<Value> = parameters
        .iter()
        .map(|(name, kind, description)| {
            json!({
                "name": name, "in": "query", "description": description,
                "schema": {"type": kind, "uniqueItems": true},
            })
        })
        .collect();
    let list = action == "list";
    let answer = match schema_name(group, version, kind) {
        Some(name) => {
            let suffix = if list { "List" } else { "" };
            json!({"$ref": format!("{PREFIX}{name}{suffix}")})
        }
        None => json!({"type": "string"}),
    };
    json!({
        "operationId": format!("{id}_{}_{}_{}", row.group, row.version, row.plural),
        "tags": [if row.group.is_empty() { "core_v1".to_owned() } else { format!("{}_{}", row.group, row.version) }],
        "parameters": parameters,
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": answer}}},
            "401": {"description": "Unauthorized"},
        },
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    })
}
