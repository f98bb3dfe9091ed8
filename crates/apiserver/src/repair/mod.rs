//! Compares claims with the Services that should hold them, mends what differs and says so.
//!
//! Claims are committed together with their Services, so differences come from outside: an
//! `IPAddress` that somebody deleted or made by hand, a copied store, another program on it, a
//! `ServiceCIDR` or a flag that no longer covers what was given. Everything is compared at start and
//! then every three minutes; what a client writes to an `IPAddress` is looked at right away.

mod plan;
mod report;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt as _;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;

use self::plan::{Mend, Step, View};
use crate::cache::{TableId, store_key};
use crate::handlers::{claim_store_key, claim_value, owner_of};
use crate::resource::Resource;
use crate::server::Server;
use crate::status::ApiError;
use crate::store::{CommitError, Operation, Transaction};

/// Mends under way at once; the store commits them in groups.
const AT_ONCE: usize = 64;

/// The `IPAddress` objects that clients wrote to since the last look at them.
#[derive(Debug, Default)]
pub(crate) struct Meddled {
    state: Mutex<MeddledState>,
    pub(crate) notify: Arc<Notify>,
}

#[derive(Debug, Default)]
struct MeddledState {
    addresses: BTreeSet<String>,
    owners: BTreeSet<String>,
}

impl Meddled {
    /// Somebody wrote to the object of this name, which was this before.
    pub(crate) fn add(&self, name: &str, before: Option<&Value>) {
        let mut state = self.state.lock();
        state.addresses.insert(name.to_owned());
        state.owners.extend(before.map(owner_of));
        drop(state);
        self.notify.notify_one();
    }
}

impl Server {
    /// Looks at everything, before anybody else writes.
    pub(crate) async fn repair_at_start(&self) -> Result<(), ApiError> {
        let (services, addresses) = self.claim_tables()?;
        self.repair(&view::all(self, services, addresses)).await
    }

    /// Looks at everything, without holding up requests.
    pub(crate) async fn repair_all(self: &Arc<Self>) -> Result<(), ApiError> {
        let (services, addresses) = self.claim_tables()?;
        let server = self.clone();
        let look = move || view::all(&server, services, addresses);
        let view = tokio::task::spawn_blocking(look).await.map_err(ApiError::internal)?;
        self.repair(&view).await
    }

    /// Looks at what clients wrote to.
    pub(crate) async fn repair_meddled(&self) -> Result<(), ApiError> {
        let MeddledState { addresses: names, owners } =
            std::mem::take(&mut *self.meddled.state.lock());
        let (services, addresses) = self.claim_tables()?;
        let view = view::around(self, services, addresses, &names, &owners);
        self.repair(&view).await
    }

    fn claim_tables(&self) -> Result<(TableId, TableId), ApiError> {
        let (_, services) = self.find("", "services")?;
        let (_, addresses) = self.find("networking.k8s.io", "ipaddresses")?;
        Ok((services, addresses))
    }

    pub(crate) fn find(
        &self,
        group: &str,
        plural: &str,
    ) -> Result<(&'static Resource, TableId), ApiError> {
        self.cache.find(group, plural).ok_or_else(ApiError::no_such_resource)
    }

    async fn repair(&self, view: &View) -> Result<(), ApiError> {
        let ranges = self.service_ranges();
        let in_range = |ip| ranges.covers(ip);
        let steps = plan::plan(view, &in_range, &self.config.cluster.node_ports);
        let done = futures::stream::iter(steps).map(|step| self.carry_out(step));
        let results: Vec<_> = done.buffer_unordered(AT_ONCE).collect().await;
        results.into_iter().collect()
    }

    async fn carry_out(&self, step: Step) -> Result<(), ApiError> {
        if let Some(mend) = &step.mend {
            match self.commit(self.transaction(mend)?).await {
                Ok(_) => tracing::info!(?mend, "mended"),
                // Something changed meanwhile; the next look decides anew.
                Err(CommitError::Failed { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(finding) = &step.finding
            && let Err(error) = self.report(finding).await
        {
            tracing::debug!(%error, "the event was not written");
        }
        Ok(())
    }

    fn transaction(&self, mend: &Mend) -> Result<Transaction, ApiError> {
        let (services, _) = self.find("", "services")?;
        let claimed = |key| claim_store_key(key).ok_or_else(ApiError::no_such_resource);
        let (operation, owner, expect) = match mend {
            Mend::Claim { key, owner, expect, service } => {
                let value = claim_value(key, owner);
                let put = Operation::Put { key: claimed(key)?, value, expect: *expect };
                (put, owner, *service)
            }
            Mend::Release { key, owner, revision, service } => {
                let expect = crate::store::Expect::Revision(*revision);
                (Operation::Delete { key: claimed(key)?, expect }, owner, *service)
            }
        };
        let mut operations = vec![operation];
        if let Some((namespace, name)) = owner.split_once('/') {
            let key = store_key(services, namespace, name);
            operations.push(Operation::Check { key, expect });
        }
        Ok(Transaction { operations })
    }
}
