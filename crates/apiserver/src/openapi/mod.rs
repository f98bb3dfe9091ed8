//! OpenAPI documents, made when they are asked for and kept by nobody: the typed structs describe
//! themselves, the table adds paths, and the schema table what patches need to know.

mod components;
mod paths;
mod v2;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::resource::{Resource, table};

pub use v2::v2_protobuf_minimal;

/// Counted up when the documents change in shape: clients cache them by their hash.
const REVISION: &str = "1";

/// `/openapi/v3`: where the documents of the group versions are.
pub fn v3_index() -> Value {
    let mut paths = Map::new();
    for (group, version) in group_versions() {
        let name = document_name(group, version);
        let url = format!("/openapi/v3/{name}?hash={}", hash(&name));
        paths.insert(name, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

/// `/openapi/v3/NAME`, where NAME is `api/v1` or `apis/GROUP/VERSION`.
pub fn v3(name: &str) -> Option<Arc<[u8]>> {
    let (group, version) = group_versions()
        .into_iter()
        .find(|(group, version)| document_name(group, version) == name)?;
    let rows: Vec<&Resource> =
        table().iter().filter(|r| r.group == group && r.version == version).collect();
    let document = json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "components": {
            "schemas": components::schemas(&rows),
            "securitySchemes": {"BearerToken": {
                "type": "apiKey", "name": "authorization", "in": "header",
                "description": "Bearer Token authentication",
            }},
        },
        "paths": paths::paths(&rows),
    });
    serde_json::to_vec(&document).ok().map(Arc::from)
}

/// What names the version of a document, for `?hash=` and `ETag`.
pub fn hash(name: &str) -> String {
    let digest = Sha256::new()
        .chain_update(env!("CARGO_PKG_VERSION"))
        .chain_update(REVISION)
        .chain_update(name)
        .finalize();
    digest.iter().take(16).map(|byte| format!("{byte:02X}")).collect()
}

fn group_versions() -> Vec<(&'static str, &'static str)> {
    let mut all: Vec<(&str, &str)> = table().iter().map(|r| (r.group, r.version)).collect();
    all.dedup();
    all
}

fn document_name(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_is_whole() {
        let index = v3_index();
        let names: Vec<&String> = index["paths"].as_object().unwrap().keys().collect();
        assert!(
            names.contains(&&"api/v1".to_owned()) && names.contains(&&"apis/apps/v1".to_owned())
        );
        for name in names {
            let bytes = v3(name).unwrap();
            let text = std::str::from_utf8(&bytes).unwrap();
            let document: Value = serde_json::from_str(text).unwrap();
            let schemas = document["components"]["schemas"].as_object().unwrap();
            // Every reference leads somewhere.
            for part in text.split("\"#/components/schemas/").skip(1) {
                let target = part.split('"').next().unwrap();
                assert!(schemas.contains_key(target), "{name}: {target}");
            }
        }
        assert!(v3("apis/nope/v1").is_none());
    }

    #[test]
    fn kubectl_finds_what_it_looks_for() {
        let document: Value = serde_json::from_slice(&v3("api/v1").unwrap()).unwrap();
        // It trusts the server's validation when PATCH takes `fieldValidation`.
        let patch = &document["paths"]["/api/v1/namespaces/{namespace}/services/{name}"]["patch"];
        assert_eq!(
            patch["x-kubernetes-group-version-kind"],
            json!({"group": "", "version": "v1", "kind": "Service"})
        );
        assert!(
            patch["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .any(|p| p["name"] == "fieldValidation" && p["in"] == "query")
        );
        let schemas = &document["components"]["schemas"];
        let service = &schemas["io.k8s.api.core.v1.Service"];
        assert_eq!(
            service["x-kubernetes-group-version-kind"],
            json!([{"group": "", "version": "v1", "kind": "Service"}])
        );
        assert_eq!(
            service["properties"]["spec"]["allOf"],
            json!([{"$ref": "#/components/schemas/io.k8s.api.core.v1.ServiceSpec"}])
        );
        let ports = &schemas["io.k8s.api.core.v1.ServiceSpec"]["properties"]["ports"];
        assert_eq!(ports["x-kubernetes-patch-merge-key"], "port");
        assert_eq!(ports["x-kubernetes-patch-strategy"], "merge");
        assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["port", "protocol"]));
        assert_eq!(
            schemas["io.k8s.api.core.v1.ServiceList"]["properties"]["items"]["type"],
            "array"
        );
        assert!(
            document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/log"]["get"].is_object()
        );
        assert!(document["paths"]["/api/v1/services"]["get"].is_object());
    }
}
