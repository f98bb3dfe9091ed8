//! Which resources the API server has, as its discovery says.

use kube::{
    Client,
    core::{ApiResource, discovery::ApiCapabilities, discovery::Scope},
    discovery::Discovery,
};

/// A resource that exists.
#[derive(Clone, Debug)]
pub struct Discovered {
    /// Group, version, kind and plural.
    pub resource: ApiResource,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    verbs: Vec<String>,
}

impl Discovered {
    fn new(resource: ApiResource, capabilities: ApiCapabilities) -> Self {
        let namespaced = capabilities.scope == Scope::Namespaced;
        Self { resource, namespaced, verbs: capabilities.operations }
    }

    /// Whether the resource has a verb.
    pub fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }
}

/// All resources in their preferred versions, without subresources, sorted by group and name.
///
/// # Errors
/// When the API server does not answer.
pub async fn discover(client: &Client) -> Result<Vec<Discovered>, kube::Error> {
    let discovery = match Discovery::new(client.clone()).run_aggregated().await {
        Ok(discovery) => discovery,
        // API servers before 1.26.
        Err(_) => Discovery::new(client.clone()).run().await?,
    };
    let resources =
        discovery.groups_alphabetical().into_iter().flat_map(|g| g.recommended_resources());
    let mut found: Vec<_> =
        resources.map(|(resource, capabilities)| Discovered::new(resource, capabilities)).collect();
    found.sort_by(|a, b| {
        (&a.resource.group, &a.resource.plural).cmp(&(&b.resource.group, &b.resource.plural))
    });
    Ok(found)
}
