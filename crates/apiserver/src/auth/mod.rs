//! Who somebody is, and what they may do.

use crate::request::ObjectPath;

/// An authenticated user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
}

impl Identity {
    /// A member of `system:masters`, who may do everything.
    pub fn admin() -> Self {
        Self::new("kubernetes-admin", ["system:masters".to_owned()])
    }

    /// A user by name and groups; `system:authenticated` is added.
    pub fn new(name: &str, groups: impl IntoIterator<Item = String>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().collect();
        groups.push("system:authenticated".to_owned());
        Self { name: name.to_owned(), uid: String::new(), groups }
    }
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl<'a> Attributes<'a> {
    pub(crate) fn of(verb: &'a str, path: &'a ObjectPath) -> Self {
        Self {
            verb,
            group: path.resource.group,
            resource: path.resource.plural,
            subresource: path.subresource.as_deref().unwrap_or(""),
            namespace: &path.namespace,
            name: path.name.as_deref().unwrap_or(""),
        }
    }
}

mod certificate;
