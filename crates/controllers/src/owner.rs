//! Owner references: who controls an object, and who may take it over.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

/// The reference to the object that controls this one.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.as_ref()?.iter().find(|o| o.controller == Some(true))
}

/// A reference by which `owner` controls a new object.
pub fn controller_ref<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What a controller does with an object of the kind that it controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is and stays its own.
    Keep,
    /// It has no controller and matches: take it over.
    Adopt,
    /// It is its own and no longer matches: let it go.
    Release,
    /// It is none of its business.
    Ignore,
}

/// Decides about `object` for the owner `owner`, whose selector `matches` it or not.
pub fn claim(owner: &ObjectMeta, object: &ObjectMeta, matches: bool) -> Claim {
    let deleting = owner.deletion_timestamp.is_some();
    match controller_of(object) {
        Some(controller) if Some(&controller.uid) != owner.uid.as_ref() => Claim::Ignore,
        Some(_) if matches => Claim::Keep,
        Some(_) if deleting => Claim::Ignore,
        Some(_) => Claim::Release,
        None if !matches || deleting || object.deletion_timestamp.is_some() => Claim::Ignore,
        None if owner.namespace != object.namespace => Claim::Ignore,
        None => Claim::Adopt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn meta(uid: &str, controller: Option<&str>, deleting: bool) -> ObjectMeta {
        ObjectMeta {
            uid: Some(uid.into()),
            owner_references: controller.map(|uid| {
                vec![OwnerReference {
                    uid: uid.into(),
                    controller: Some(true),
                    ..Default::default()
                }]
            }),
            deletion_timestamp: deleting.then_some(Time(jiff::Timestamp::UNIX_EPOCH)),
            ..Default::default()
        }
    }

    #[test]
    fn claims() {
        let (me, dying) = (meta("me", None, false), meta("me", None, true));
        for (expected, owner, object, matches) in [
            (Claim::Keep, &me, meta("p", Some("me"), false), true),
            (Claim::Release, &me, meta("p", Some("me"), false), false),
            (Claim::Ignore, &dying, meta("p", Some("me"), false), false),
            (Claim::Keep, &dying, meta("p", Some("me"), false), true),
            (Claim::Adopt, &me, meta("p", None, false), true),
            (Claim::Ignore, &me, meta("p", None, true), true),
            (Claim::Ignore, &dying, meta("p", None, false), true),
            (Claim::Ignore, &me, meta("p", None, false), false),
            (Claim::Ignore, &me, meta("p", Some("other"), false), true),
        ] {
            assert_eq!(claim(owner, &object, matches), expected, "{object:?}");
        }
    }
}
