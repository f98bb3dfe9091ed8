//! What the API server says about itself: `/api`, `/apis` and their lists of resources, plain and
//! aggregated (`apidiscovery.k8s.io`).

use base64::Engine as _;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::resource::{Resource, Subresource, Verb, table};

/// The forms of aggregated discovery that clients ask for with `g=apidiscovery.k8s.io;v=…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregatedVersion {
    V2,
    V2Beta1,
}

impl AggregatedVersion {
    /// The form named by the `v` parameter of the media type.
    pub fn parse(version: &str) -> Option<Self> {
        match version {
            "v2" => Some(Self::V2),
            "v2beta1" => Some(Self::V2Beta1),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2Beta1 => "v2beta1",
        }
    }
}

/// `/api`. `server_address` is where clients reach this server, as `host:port`.
pub fn api_versions(server_address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [
            {"clientCIDR": "0.0.0.0/0", "serverAddress": server_address},
        ],
    })
}

/// `/apis`.
pub fn api_groups() -> Value {
    let groups: Vec<Value> = group_names().into_iter().map(group_entry).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`.
pub fn group(name: &str) -> Option<Value> {
    if name.is_empty() || !group_names().contains(&name) {
        return None;
    }
    let mut entry = group_entry(name);
    entry["kind"] = "APIGroup".into();
    entry["apiVersion"] = "v1".into();
    Some(entry)
}

/// `/api/v1` and `/apis/GROUP/VERSION`.
pub fn resources(group: &str, version: &str) -> Option<Value> {
    let mut list = Vec::new();
    let mut group_version = None;
    for resource in rows(group, version) {
        group_version.get_or_insert_with(|| resource.api_version());
        list.push(resource_entry(resource));
        list.extend(resource.subresources.iter().map(|s| subresource_entry(resource, s)));
    }
    list.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version?,
        "resources": list,
    }))
}

/// `/apis` for clients that take the aggregated form.
pub fn aggregated_apis(version: AggregatedVersion) -> Value {
    let items = group_names().into_iter().map(|g| aggregated_group(g, &group_versions(g)));
    aggregated(version, items.collect())
}

/// `/api` for clients that take the aggregated form.
pub fn aggregated_api(version: AggregatedVersion) -> Value {
    aggregated(version, vec![aggregated_group("", &["v1"])])
}

/// Where kubectl looks for custom resources before it calls a kind unknown.
pub const CUSTOM_RESOURCES: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// The custom resources of this server: it has none. Without the list kubectl would blame the
/// missing list instead of the misspelt kind.
pub fn custom_resources() -> Value {
    json!({
        "kind": "CustomResourceDefinitionList",
        "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": {"resourceVersion": "1"},
        "items": [],
    })
}

fn aggregated(version: AggregatedVersion, items: Vec<Value>) -> Value {
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{}", version.as_str()),
        "metadata": {},
        "items": items,
    })
}

fn rows<'a>(group: &'a str, version: &'a str) -> impl Iterator<Item = &'static Resource> + 'a {
    table().iter().filter(move |r| r.group == group && r.version == version)
}

/// The named groups, in the table's order.
fn group_names() -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for resource in table() {
        if !resource.group.is_empty() && !names.contains(&resource.group) {
            names.push(resource.group);
        }
    }
    names
}

fn group_versions(group: &str) -> Vec<&'static str> {
    let mut versions: Vec<&'static str> = Vec::new();
    for resource in table().iter().filter(|r| r.group == group) {
        if !versions.contains(&resource.version) {
            versions.push(resource.version);
        }
    }
    versions
}

fn group_entry(name: &str) -> Value {
    let versions: Vec<Value> = group_versions(name)
        .into_iter()
        .map(|v| json!({"groupVersion": format!("{name}/{v}"), "version": v}))
        .collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    json!({"name": name, "versions": versions, "preferredVersion": preferred})
}

fn verbs(verbs: &[Verb]) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = verbs.iter().map(|v| v.as_str()).collect();
    names.sort_unstable();
    names
}

fn resource_entry(resource: &Resource) -> Value {
    let mut entry = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": verbs(resource.verbs),
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = resource.short_names.into();
    }
    if !resource.categories.is_empty() {
        entry["categories"] = resource.categories.into();
    }
    if resource.is_stored() {
        entry["storageVersionHash"] = storage_version_hash(resource).into();
    }
    entry
}

fn subresource_entry(resource: &Resource, sub: &Subresource) -> Value {
    let mut entry = json!({
        "name": format!("{}/{}", resource.plural, sub.name),
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": sub.kind,
        "verbs": verbs(sub.verbs),
    });
    if (sub.group, sub.version) != (resource.group, resource.version) {
        entry["group"] = sub.group.into();
        entry["version"] = sub.version.into();
    }
    entry
}

/// The first eight bytes of the SHA-256 of the stored kind's name, as Kubernetes shows them.
fn storage_version_hash(resource: &Resource) -> String {
    let (group, _) = resource.storage();
    let name = format!("{group}/{}/{}", resource.version, resource.kind);
    let digest = Sha256::digest(name.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(&digest[..8])
}

fn aggregated_group(group: &str, versions: &[&str]) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| {
            let resources: Vec<Value> = rows(group, version).map(aggregated_resource).collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let mut metadata = json!({"creationTimestamp": null});
    if !group.is_empty() {
        metadata["name"] = group.into();
    }
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(resource: &Resource) -> Value {
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": {
            "group": resource.group,
            "version": resource.version,
            "kind": resource.kind,
        },
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": verbs(resource.verbs),
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = resource.short_names.into();
    }
    if !resource.categories.is_empty() {
        entry["categories"] = resource.categories.into();
    }
    let subresources: Vec<Value> = resource
        .subresources
        .iter()
        .map(|sub| {
            json!({
                "subresource": sub.name,
                "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind},
                "verbs": verbs(sub.verbs),
            })
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kubernetes() {
        // As any kube-apiserver shows them under /api/v1 and /apis/apps/v1.
        for (group, plural, expected) in [
            ("", "pods", "xPOwRZ+Yhw8="),
            ("", "services", "0/CO1lhkEBI="),
            ("apps", "deployments", "8aSe+NMegvE="),
        ] {
            let row = crate::resource::find(group, "v1", plural).unwrap();
            assert_eq!(storage_version_hash(row), expected, "{plural}");
        }
    }

    #[test]
    fn core_lists_its_resources_and_subresources() {
        let list = resources("", "v1").unwrap();
        assert_eq!(list["groupVersion"], "v1");
        let names: Vec<&str> = list["resources"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|r| r["name"].as_str())
            .collect();
        assert!(names.is_sorted());
        for name in ["services", "services/status", "pods/log", "endpoints", "namespaces/finalize"]
        {
            assert!(names.contains(&name), "{name}");
        }
        let scale = list["resources"]
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["name"] == "replicationcontrollers/scale")
            .unwrap();
        assert_eq!((&scale["group"], &scale["kind"]), (&"autoscaling".into(), &"Scale".into()));
        assert!(resources("", "v2").is_none());
        assert!(resources("nope", "v1").is_none());
    }

    #[test]
    fn groups_are_listed_once() {
        let groups = api_groups();
        let names: Vec<&str> = groups["groups"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|g| g["name"].as_str())
            .collect();
        assert!(names.contains(&"apps") && names.contains(&"networking.k8s.io"));
        assert_eq!(names.iter().filter(|n| **n == "apps").count(), 1);
        assert_eq!(group("apps").unwrap()["preferredVersion"]["groupVersion"], "apps/v1");
        assert!(group("").is_none());
    }

    #[test]
    fn the_aggregated_form_says_the_same() {
        let apis = aggregated_apis(AggregatedVersion::V2);
        assert_eq!(apis["apiVersion"], "apidiscovery.k8s.io/v2");
        let apps = &apis["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|i| i["metadata"]["name"] == "apps")
            .unwrap();
        let deployments = apps["versions"][0]["resources"]
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["resource"] == "deployments")
            .unwrap();
        assert_eq!(deployments["scope"], "Namespaced");
        assert_eq!(deployments["shortNames"], json!(["deploy"]));
        assert_eq!(deployments["subresources"][0]["responseKind"]["kind"], "Scale");
        let core = aggregated_api(AggregatedVersion::V2Beta1);
        assert_eq!(core["apiVersion"], "apidiscovery.k8s.io/v2beta1");
        assert_eq!(core["items"].as_array().unwrap().len(), 1);
    }
}
