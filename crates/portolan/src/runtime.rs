//! Runtimes sized for what runs on them, and the signals that end a program.

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// One thread: for components that wait most of the time.
pub fn small() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().max_blocking_threads(8).build()
}

/// Two workers: for the API server, whose requests must not wait for one another.
pub fn server() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).enable_all().max_blocking_threads(16).build()
}

/// Cancelled by the first SIGTERM or SIGINT; a second one ends the process at once.
pub fn stop_on_signal() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if token.is_cancelled() {
                std::process::exit(130);
            }
            tracing::info!("stopping");
            token.cancel();
        }
    });
    Ok(stop)
}
