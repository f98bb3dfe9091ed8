//! Which of the nodes that fit is best: what the pod prefers first, then the even spread of its kind.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::{Place, View, affinity, spread};
use crate::{owner, pod, selector, taints};

/// By what nodes are compared, the smallest wins: taints that would rather not have the pod, wishes not
/// fulfilled, unevenness asked to be avoided, pods of the same kind, whether the node has other duties, pods.
type Rank = (usize, i64, i64, usize, bool, usize, String);

/// Whether a pod is of the same kind: of the same controller, or, without one, behind the same Service.
fn is_of_kind(view: &View, of: &Pod, other: &Pod) -> bool {
    if of.metadata.namespace != other.metadata.namespace || pod::is_terminating(other) {
        return false;
    }
    let controller = |p: &Pod| owner::controller_of(&p.metadata).map(|o| o.uid.clone());
    if let Some(mine) = controller(of) {
        return controller(other) == Some(mine);
    }
    view.services.iter().any(|service| {
        let wanted =
            service.spec.as_ref().and_then(|s| s.selector.as_ref()).filter(|s| !s.is_empty());
        wanted.is_some_and(|w| {
            selector::matches_map(w, &of.metadata.labels)
                && selector::matches_map(w, &other.metadata.labels)
        })
    })
}

/// The best of the nodes that fit.
pub(super) fn best(view: &View, of: &Pod, fitting: &[&Place]) -> Option<String> {
    let asked = spread::count(view, of, "ScheduleAnyway");
    let tolerations = pod::spec(of).tolerations.as_deref().unwrap_or_default();
    let rank = |place: &&&Place| -> Rank {
        let unwelcome = taints::of(&place.node)
            .iter()
            .filter(|t| {
                t.effect == "PreferNoSchedule"
                    && !tolerations.iter().any(|o| taints::tolerates(o, t))
            })
            .count();
        let wishes = affinity::preference(of, &place.node) + affinity::company(view, of, place);
        let uneven = asked.iter().map(|c| c.unevenness(place)).sum();
        let kind = place.pods.iter().filter(|p: &&Arc<Pod>| is_of_kind(view, of, p)).count();
        let duties = place.has_duties(view);
        (unwelcome, -wishes, uneven, kind, duties, place.pods.len(), place.name().to_string())
    };
    fitting.iter().min_by_key(rank).map(|place| place.name().to_string())
}
