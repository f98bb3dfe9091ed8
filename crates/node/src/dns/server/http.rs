//! `/health`, `/ready` and `/metrics`.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Gives the status and text of a page; `None` when there is none of that name here.
pub(crate) type Pages = dyn Fn(&str) -> Option<(StatusCode, String)> + Send + Sync;

/// Probes and scrapers are few.
const MAX_CONNECTIONS: usize = 64;

/// Serves `pages` until `stop`.
///
/// # Errors
/// When the socket cannot be used with this runtime.
pub(crate) fn serve(
    sockets: TcpListener,
    pages: Arc<Pages>,
    tasks: &TaskTracker,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let sockets = tokio::net::TcpListener::from_std(sockets)?;
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let of_connections = tasks.clone();
    tasks.spawn(async move {
        let accepting = async {
            loop {
                let Ok(permit) = connections.clone().acquire_owned().await else { return };
                let Ok((stream, _)) = sockets.accept().await else {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let pages = pages.clone();
                let stop = stop.clone();
                of_connections.spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        let response = respond(&*pages, request.uri().path());
                        async move { Ok::<_, Infallible>(response) }
                    });
                    let serving = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(Duration::from_secs(10))
                        .max_buf_size(16 * 1024)
                        .serve_connection(TokioIo::new(stream), service);
                    if let Some(Err(error)) = stop.run_until_cancelled(serving).await {
                        tracing::debug!(%error, "connection ended");
                    }
                    drop(permit);
                });
            }
        };
        stop.run_until_cancelled(accepting).await;
    });
    Ok(())
}

fn respond(pages: &Pages, path: &str) -> Response<Full<Bytes>> {
    let (status, text) =
        pages(path).unwrap_or_else(|| (StatusCode::NOT_FOUND, "404 page not found\n".to_owned()));
    let kind = if path == "/metrics" {
        "text/plain; version=0.0.4; charset=utf-8"
    } else {
        "text/plain; charset=utf-8"
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
