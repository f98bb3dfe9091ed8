//! The HTTP half of `portolan/echo`.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Identity, canonical, next};

/// How long a new connection may take to ask while the server ends.
const FIRST_REQUEST: Duration = Duration::from_secs(2);

pub(super) async fn serve(
    listener: TcpListener,
    identity: Arc<Identity>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    while let Some((stream, peer)) = next(&listener, &stop).await {
        let (identity, stop) = (Arc::clone(&identity), stop.clone());
        let peer = canonical(peer);
        tasks.spawn(async move {
            let asked = AtomicBool::new(false);
            let service = service_fn(|request| {
                asked.store(true, Ordering::Relaxed);
                answer(request, peer, &identity)
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => {}
                () = stop.cancelled() => {
                    // A connection that is just open is about to ask.
                    if !asked.load(Ordering::Relaxed) {
                        tokio::select! {
                            _ = connection.as_mut() => return,
                            () = tokio::time::sleep(FIRST_REQUEST) => {}
                        }
                    }
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    identity: &Identity,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let query = request.uri().query().unwrap_or_default();
    let (status, body) = match request.uri().path() {
        "/" | "/hostname" => (StatusCode::OK, identity.name.clone()),
        "/clientip" => (StatusCode::OK, peer.to_string()),
        "/echo" => (StatusCode::OK, parameter(query, "msg").unwrap_or_default().into_owned()),
        "/healthz" => health(query, identity),
        "/header" => {
            let key = parameter(query, "key").unwrap_or_default();
            let value = request.headers().get(key.as_ref());
            let text = value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
            (StatusCode::OK, text.unwrap_or_default())
        }
        "/sleep" => match parameter(query, "ms").unwrap_or(Cow::Borrowed("0")).parse::<u64>() {
            Ok(milliseconds) => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                (StatusCode::OK, format!("slept {milliseconds} ms"))
            }
            Err(_) => (StatusCode::BAD_REQUEST, "ms must be a number of milliseconds".to_owned()),
        },
        _ => (StatusCode::NOT_FOUND, "not found".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        hyper::header::CONTENT_TYPE,
        hyper::header::HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    Ok(response)
}

fn health(query: &str, identity: &Identity) -> (StatusCode, String) {
    match parameter(query, "fail").as_deref() {
        Some("0") => identity.failing.store(false, Ordering::Relaxed),
        Some(_) => identity.failing.store(true, Ordering::Relaxed),
        None => {}
    }
    if identity.failing.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "failing".to_owned())
    } else {
        (StatusCode::OK, "ok".to_owned())
    }
}

/// The first value of a query parameter, decoded.
fn parameter<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn health_fails_until_told_otherwise() {
        let identity = Identity { name: "web-0".to_owned(), failing: AtomicBool::new(false) };
        let status = |query: &str| health(query, &identity).0.as_u16();
        assert_eq!([status(""), status("fail=1"), status("")], [200, 503, 503]);
        assert_eq!([status("fail=0"), status("")], [200, 200]);
    }

    #[test]
    fn parameters_are_decoded() {
        assert_eq!(parameter("msg=a%20b+c&x=1", "msg").as_deref(), Some("a b c"));
        assert_eq!(parameter("x=1", "msg"), None);
    }
}
