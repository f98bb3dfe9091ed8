//! What becomes of an object, from its owners' states.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PropagationPolicy;

use super::graph::{FOREGROUND, ORPHAN, waits};

/// The state of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// It exists.
    Solid,
    /// It does not exist, or is another object of the same name.
    Absent,
    /// It is being deleted in the foreground, and waits for this object.
    WaitsForUs,
}

/// What to do with an object.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Nothing.
    Leave,
    /// Drop the references to these owners, others still hold it.
    Unlink(Vec<String>),
    /// Delete it.
    Delete(PropagationPolicy),
    /// Delete it in the foreground. One of whose dependents waits itself may be in a circle, and then no
    /// longer blocks its owners: all of them would wait for ever.
    DeleteWithDependents { unblock: bool },
    /// It waits for its dependents: delete those that block, go when none is left.
    AwaitDependents,
    /// It lets its dependents go, then goes.
    ReleaseDependents,
}

/// What is known of an object's dependents.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dependents {
    pub(super) any: bool,
    /// One of them waits for its own dependents.
    pub(super) waiting: bool,
}

/// Decides about an object from its present metadata, the states of its owners, and its dependents.
pub(super) fn decide(
    meta: &ObjectMeta,
    state: impl Fn(&OwnerReference) -> Owner,
    dependents: Dependents,
) -> Verdict {
    match waits(meta) {
        Some(ORPHAN) => return Verdict::ReleaseDependents,
        Some(_) => return Verdict::AwaitDependents,
        None if meta.deletion_timestamp.is_some() => return Verdict::Leave,
        None => (),
    }
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    if owners.is_empty() {
        return Verdict::Leave;
    }
    let state = &state;
    let of = |wanted: Owner| owners.iter().filter(move |o| state_of(o, state) == wanted);
    let unlink: Vec<String> =
        of(Owner::Absent).chain(of(Owner::WaitsForUs)).map(|o| o.uid.clone()).collect();
    if of(Owner::Solid).next().is_some() {
        return if unlink.is_empty() { Verdict::Leave } else { Verdict::Unlink(unlink) };
    }
    if of(Owner::WaitsForUs).next().is_some() && dependents.any {
        return Verdict::DeleteWithDependents { unblock: dependents.waiting };
    }
    let finalizers = meta.finalizers.as_deref().unwrap_or_default();
    let has = |f: &str| finalizers.iter().any(|g| g == f);
    Verdict::Delete(if has(ORPHAN) {
        PropagationPolicy::Orphan
    } else if has(FOREGROUND) {
        PropagationPolicy::Foreground
    } else {
        PropagationPolicy::Background
    })
}

fn state_of(owner: &OwnerReference, state: &impl Fn(&OwnerReference) -> Owner) -> Owner {
    match state(owner) {
        // It does not wait for those that do not block it.
        Owner::WaitsForUs if owner.block_owner_deletion != Some(true) => Owner::Solid,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn meta(owners: &[&str], finalizers: &[&str], deleting: bool) -> ObjectMeta {
        let reference = |o: &&str| OwnerReference {
            uid: (*o).into(),
            block_owner_deletion: Some(!o.starts_with("waits-unblocked")),
            ..Default::default()
        };
        ObjectMeta {
            owner_references: Some(owners.iter().map(reference).collect()),
            finalizers: Some(finalizers.iter().map(|f| (*f).into()).collect()),
            deletion_timestamp: deleting.then_some(Time(jiff::Timestamp::UNIX_EPOCH)),
            ..Default::default()
        }
    }

    #[test]
    fn verdicts() {
        let state = |o: &OwnerReference| match o.uid.as_str() {
            uid if uid.starts_with("absent") => Owner::Absent,
            uid if uid.starts_with("waits") => Owner::WaitsForUs,
            _ => Owner::Solid,
        };
        let of = |owners: &[&str], finalizers: &[&str], deleting, dependents| {
            decide(
                &meta(owners, finalizers, deleting),
                state,
                Dependents { any: dependents, waiting: dependents },
            )
        };
        assert_eq!(of(&[], &[], false, true), Verdict::Leave);
        assert_eq!(of(&["solid"], &[], false, true), Verdict::Leave);
        assert_eq!(
            of(&["solid", "absent"], &[], false, true),
            Verdict::Unlink(vec!["absent".into()])
        );
        assert_eq!(
            of(&["absent"], &[], false, true),
            Verdict::Delete(PropagationPolicy::Background)
        );
        assert_eq!(
            of(&["absent"], &[ORPHAN], false, true),
            Verdict::Delete(PropagationPolicy::Orphan)
        );
        assert_eq!(
            of(&["absent"], &[FOREGROUND], false, true),
            Verdict::Delete(PropagationPolicy::Foreground)
        );
        assert_eq!(
            of(&["waits"], &[], false, false),
            Verdict::Delete(PropagationPolicy::Background)
        );
        assert_eq!(
            of(&["waits"], &[], false, true),
            Verdict::DeleteWithDependents { unblock: true }
        );
        assert_eq!(of(&["waits-unblocked"], &[], false, true), Verdict::Leave);
        assert_eq!(
            of(&["solid", "waits"], &[], false, true),
            Verdict::Unlink(vec!["waits".into()])
        );
        assert_eq!(of(&["absent"], &[], true, true), Verdict::Leave);
        assert_eq!(of(&[], &[FOREGROUND], true, true), Verdict::AwaitDependents);
        assert_eq!(of(&["solid"], &[ORPHAN], true, true), Verdict::ReleaseDependents);
    }
}
