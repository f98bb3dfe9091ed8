//! Words for one ReplicaSet of a Deployment, and the numbers that its strategy means.

use std::sync::Arc;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

/// The label that tells the pods of one template from those of another.
pub(super) const HASH: &str = "pod-template-hash";

/// A ReplicaSet as it is, and as it should be; `was` is missing for one that is to be created.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) was: Option<Arc<ReplicaSet>>,
    pub(super) set: ReplicaSet,
}

impl Set {
    pub(super) fn existing(set: &Arc<ReplicaSet>) -> Self {
        Self { was: Some(set.clone()), set: (**set).clone() }
    }

    pub(super) fn name(&self) -> &str {
        self.set.metadata.name.as_deref().unwrap_or("")
    }

    pub(super) fn uid(&self) -> &str {
        self.set.metadata.uid.as_deref().unwrap_or("")
    }

    /// `spec.replicas`.
    pub(super) fn size(&self) -> i32 {
        self.set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }

    pub(super) fn resize(&mut self, replicas: i32) {
        self.set.spec.get_or_insert_default().replicas = Some(replicas);
    }

    /// `status.replicas`.
    pub(super) fn actual(&self) -> i32 {
        self.set.status.as_ref().map_or(0, |s| s.replicas)
    }

    pub(super) fn ready(&self) -> i32 {
        self.set.status.as_ref().and_then(|s| s.ready_replicas).unwrap_or(0)
    }

    pub(super) fn available(&self) -> i32 {
        self.set.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0)
    }

    pub(super) fn terminating(&self) -> i32 {
        self.set.status.as_ref().and_then(|s| s.terminating_replicas).unwrap_or(0)
    }

    /// For orders by age; one to be created is the youngest.
    pub(super) fn created(&self) -> (i64, String) {
        let at =
            self.set.metadata.creation_timestamp.as_ref().map_or(i64::MAX, |t| t.0.as_second());
        (at, self.name().to_string())
    }

    pub(super) fn template(&self) -> Option<&PodTemplateSpec> {
        self.set.spec.as_ref()?.template.as_ref()
    }
}

/// Whether two templates make the same pods.
pub(super) fn same_template(a: Option<&PodTemplateSpec>, b: Option<&PodTemplateSpec>) -> bool {
    let plain = |t: Option<&PodTemplateSpec>| {
        let mut t = t.cloned().unwrap_or_default();
        let meta = t.metadata.get_or_insert_default();
        if let Some(labels) = &mut meta.labels {
            labels.remove(HASH);
        }
        meta.labels = meta.labels.take().filter(|l| !l.is_empty());
        t
    };
    plain(a) == plain(b)
}

/// `spec.replicas` of a Deployment.
pub(super) fn desired(d: &Deployment) -> i32 {
    d.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
}

pub(super) fn is_rolling(d: &Deployment) -> bool {
    let strategy = d.spec.as_ref().and_then(|s| s.strategy.as_ref());
    strategy.and_then(|s| s.type_.as_deref()).unwrap_or("RollingUpdate") == "RollingUpdate"
}

/// A number, or a percentage of `total` rounded up or down.
pub(crate) fn resolve(value: Option<&IntOrString>, default: &str, total: i32, up: bool) -> i32 {
    let percent = |text: &str| -> Option<i32> {
        let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
        let parts = percent * i64::from(total);
        let whole = if up { (parts + 99).div_euclid(100) } else { parts.div_euclid(100) };
        i32::try_from(whole).ok()
    };
    match value {
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(text)) => percent(text).or_else(|| text.parse().ok()).unwrap_or(0),
        None => percent(default).unwrap_or(0),
    }
}

/// How many pods may be there beyond the wanted ones, and how many of those may be missing.
pub(super) fn surge_and_unavailable(d: &Deployment) -> (i32, i32) {
    if !is_rolling(d) {
        return (0, 0);
    }
    let rolling =
        d.spec.as_ref().and_then(|s| s.strategy.as_ref()).and_then(|s| s.rolling_update.as_ref());
    let surge = resolve(rolling.and_then(|r| r.max_surge.as_ref()), "25%", desired(d), true);
    let unavailable =
        resolve(rolling.and_then(|r| r.max_unavailable.as_ref()), "25%", desired(d), false);
    // Nothing could ever move.
    let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
    (surge, unavailable.min(desired(d)))
}

pub(super) fn total<'a>(sets: impl IntoIterator<Item = &'a Set>, of: impl Fn(&Set) -> i32) -> i32 {
    sets.into_iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages() {
        let text = |t: &str| Some(IntOrString::String(t.into()));
        assert_eq!(resolve(None, "25%", 3, true), 1);
        assert_eq!(resolve(None, "25%", 3, false), 0);
        assert_eq!(resolve(text("50%").as_ref(), "25%", 5, true), 3);
        assert_eq!(resolve(text("100%").as_ref(), "25%", 5, false), 5);
        assert_eq!(resolve(Some(&IntOrString::Int(7)), "25%", 5, false), 7);
    }
}
