//! Up to which resource version Services and EndpointSlices have been heard of.

use std::sync::atomic::{AtomicU64, Ordering};

/// What has a progress of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Services,
    EndpointSlices,
}

/// Resource versions of one resource: comparable numbers since Kubernetes 1.35 (KEP-5504).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revisions {
    pub services: u64,
    pub endpoint_slices: u64,
}

/// Kept by the stream of news as it hands them out: whoever has taken in all that it got has
/// taken in everything up to here.
#[derive(Debug, Default)]
pub struct Reached {
    pub(crate) services: Progress,
    pub(crate) endpoint_slices: Progress,
}

impl Reached {
    /// As of the last news.
    pub fn revisions(&self) -> Revisions {
        Revisions {
            services: self.services.heard.load(Ordering::Acquire),
            endpoint_slices: self.endpoint_slices.heard.load(Ordering::Acquire),
        }
    }
}

/// One resource.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    heard: AtomicU64,
    /// What the list that is under way will have brought.
    listing: AtomicU64,
}

impl Progress {
    /// An event is handed out.
    pub(crate) fn event(&self, version: Option<&str>) {
        self.heard.fetch_max(number(version), Ordering::AcqRel);
    }

    /// A list begins, of objects not older than `newest`.
    pub(crate) fn begin(&self, newest: Option<&str>) {
        self.listing.store(number(newest), Ordering::Release);
    }

    /// The list has this object.
    pub(crate) fn listed(&self, version: Option<&str>) {
        self.listing.fetch_max(number(version), Ordering::AcqRel);
    }

    /// The list is handed out.
    pub(crate) fn end(&self) {
        self.heard.fetch_max(self.listing.load(Ordering::Acquire), Ordering::AcqRel);
    }
}

fn number(version: Option<&str>) -> u64 {
    version.and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_counts_when_it_is_handed_out() {
        let reached = Reached::default();
        let heard = || reached.revisions().services;
        let progress = &reached.services;
        progress.begin(Some("7"));
        progress.listed(Some("5"));
        assert_eq!(heard(), 0);
        progress.end();
        assert_eq!(heard(), 7, "the last change may have been a deletion");
        progress.event(Some("9"));
        progress.event(None);
        progress.begin(None);
        progress.listed(Some("8"));
        progress.end();
        assert_eq!((heard(), reached.revisions().endpoint_slices), (9, 0));
    }
}
