//! Cleaning up connections beside the loop: the kernel's table is read on a thread of its own, and
//! judged batch by batch between changes.

use std::io;
use std::time::Instant;

use portolan_linux::conntrack::Flow;
use portolan_linux::netlink::NetlinkError;
use portolan_linux::process;
use tokio::sync::mpsc;

use super::conntrack::{Listing, Sweep, Sweeper};
use super::datapath::Redialled;
use super::reconcile::Work;

/// Moves the UDP sockets that were handed a backend that is gone.
fn redial_sockets(work: &mut Work) {
    let Work { snapshot, desired, datapath, sweeper, .. } = work;
    if !sweeper.concerns_udp() {
        return;
    }
    let done = datapath.redial_stale(&mut |dialled, backend| {
        sweeper.is_stale_socket(snapshot, desired, dialled, backend)
    });
    match done {
        Ok(Redialled { moved: 0, ended: 0 }) => {}
        Ok(Redialled { moved, ended }) => {
            tracing::debug!(moved, ended, "UDP sockets whose endpoint is gone were connected anew");
        }
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "clients may go on sending UDP to endpoints that are gone",
        ),
    }
}

/// A sweep of connections, and what is read for it meanwhile.
pub(super) struct Sweeping {
    pub(super) sweep: Sweep,
    pub(super) begun: Instant,
    news: mpsc::Receiver<Swept>,
}

/// What comes next of a sweep.
pub(super) enum Swept {
    Read(Vec<Flow>),
    End(Result<(), NetlinkError>),
}

/// What comes next of a sweep, if there is one.
pub(super) async fn next_of(sweeping: &mut Option<Sweeping>) -> Option<Swept> {
    let news = sweeping.as_mut()?.news.recv().await;
    Some(news.unwrap_or(Swept::End(Err(NetlinkError::Unsteady))))
}

/// Begins what is due; what cannot be begun is tried again later.
pub(super) fn begin_sweep(mut work: Work) -> (Work, Option<Sweeping>) {
    redial_sockets(&mut work);
    let sweep = match work.sweeper.begin(&work.desired) {
        Ok(sweep) => sweep,
        Err(error) => {
            not_swept(&mut work.sweeper, None, &error);
            return (work, None);
        }
    };
    match read_connections(sweep.listing(&work.desired.view.families)) {
        Ok(news) => (work, Some(Sweeping { sweep, begun: Instant::now(), news })),
        Err(source) => {
            let error = NetlinkError::Io { what: "start a thread that reads", source };
            not_swept(&mut work.sweeper, Some(sweep), &error);
            (work, None)
        }
    }
}

/// Reads on a thread of its own: its lower priority would stay with one that others use.
fn read_connections(listing: Listing) -> io::Result<mpsc::Receiver<Swept>> {
    let (sender, news) = mpsc::channel(1);
    std::thread::Builder::new().name("connections".to_owned()).spawn(move || {
        process::give_way();
        // Whoever stops listening needs no more.
        let result = listing.read(|batch| drop(sender.blocking_send(Swept::Read(batch))));
        let _ = sender.blocking_send(Swept::End(result));
    })?;
    Ok(news)
}

/// Judges a batch; ends the sweep when that fails.
pub(super) fn go_on_sweeping(
    mut work: Work,
    mut sweeping: Sweeping,
    batch: &[Flow],
) -> (Work, Option<Sweeping>) {
    match sweeping.sweep.judge(&work.snapshot, &work.desired, batch) {
        Ok(deleted) => {
            work.metrics.conntrack_deleted.inc_by(deleted as u64);
            (work, Some(sweeping))
        }
        Err(error) => {
            not_swept(&mut work.sweeper, Some(sweeping.sweep), &error);
            (work, None)
        }
    }
}

pub(super) fn not_swept(sweeper: &mut Sweeper, sweep: Option<Sweep>, error: &NetlinkError) {
    let error_chain = error as &dyn std::error::Error;
    if sweeper.failed(sweep, error) {
        tracing::warn!(
            error = error_chain,
            "cannot clean up connections, trying again; clients may go on sending to endpoints that are gone",
        );
    } else {
        // Mode `userspace` without rights.
        tracing::debug!(error = error_chain, "no connections to clean up");
    }
}
