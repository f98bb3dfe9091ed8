//! Forwarded ports: connections that `kubectl port-forward` hands over, each as a pair of SPDY
//! streams (one for data, one for what went wrong), made again inside the pod's network.

use std::{collections::HashMap, net::Ipv4Addr, path::PathBuf, sync::Arc};

use futures::{SinkExt, StreamExt};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use portolan_linux::netns::NetNs;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, handshake::derive_accept_key, protocol::Role},
};

use super::{
    Answer, refusal,
    spdy::{self, Decoder, Encoder, Frame},
};
use crate::pods::{Runtime, report, sandbox::Sandbox};

const PROTOCOL: &str = "portforward.k8s.io";
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// Where a pod's ports are: its namespace, or the node's own.
#[derive(Clone, Debug)]
struct Target {
    pod: String,
    netns: Option<PathBuf>,
}

pub(super) fn forward(runtime: &Arc<Runtime>, pod: &str, mut request: Request<Incoming>) -> Answer {
    let uid = runtime.views.lock().get(pod).map(|v| v.uid.clone()).unwrap_or_default();
    let dir = runtime.pod_dir(&uid);
    let Some(sandbox) = Sandbox::load(&dir).filter(|_| !uid.is_empty()) else {
        return refusal(
            StatusCode::NOT_FOUND,
            "NotFound",
            &format!("pod {pod:?} does not run on this node"),
        );
    };
    let target = Target { pod: pod.to_owned(), netns: sandbox.netns(&dir) };
    let headers = request.headers();
    let get = |name: header::HeaderName| {
        headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    };
    let asked = get(header::UPGRADE).to_ascii_lowercase();
    let accept = derive_accept_key(get(header::SEC_WEBSOCKET_KEY).as_bytes());
    let tunnelled = get(header::SEC_WEBSOCKET_PROTOCOL).split(',').any(|p| p.trim() == TUNNEL);
    let upgraded = hyper::upgrade::on(&mut request);
    let mut answer = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    match asked.as_str() {
        "spdy/3.1" => {
            headers.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
            headers.insert("x-stream-protocol-version", HeaderValue::from_static(PROTOCOL));
            tokio::spawn(async move {
                if let Ok(upgraded) = upgraded.await {
                    serve(TokioIo::new(upgraded), target).await;
                }
            });
        }
        "websocket" if tunnelled => {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(TUNNEL));
            if let Ok(accept) = HeaderValue::from_str(&accept) {
                headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
            }
            tokio::spawn(async move {
                if let Ok(upgraded) = upgraded.await {
                    let socket = WebSocketStream::from_raw_socket(
                        TokioIo::new(upgraded),
                        Role::Server,
                        None,
                    )
                    .await;
                    let (near, far) = tokio::io::duplex(64 * 1024);
                    tokio::join!(serve(near, target), tunnel(socket, far));
                }
            });
        }
        _ => {
            let why = format!("unable to upgrade: {TUNNEL} over WebSocket or SPDY/3.1 is needed");
            return refusal(StatusCode::BAD_REQUEST, "BadRequest", &why);
        }
    }
    answer
}

/// Carries bytes in and out of WebSocket messages.
async fn tunnel(socket: WebSocketStream<TokioIo<Upgraded>>, far: tokio::io::DuplexStream) {
    let (mut out, mut messages) = socket.split();
    let (mut read, mut write) = tokio::io::split(far);
    let inward = async {
        while let Some(Ok(message)) = messages.next().await {
            match message {
                Message::Binary(bytes) if write.write_all(&bytes).await.is_err() => break,
                Message::Close(_) => break,
                _ => {}
            }
        }
        let _ = write.shutdown().await;
    };
    let outward = async {
        let mut chunk = vec![0; 16 * 1024];
        while let Ok(n) = read.read(&mut chunk).await {
            if n == 0 || out.send(Message::Binary(chunk[..n].to_vec().into())).await.is_err() {
                break;
            }
        }
        let _ = out.close().await;
    };
    tokio::join!(inward, outward);
}

/// What is known of one stream.
struct Stream {
    headers: std::collections::BTreeMap<String, String>,
    /// Data on its way to the pod.
    to_pod: Option<mpsc::Sender<Vec<u8>>>,
}

/// Serves the streams of one client until it goes away.
async fn serve(io: impl AsyncRead + AsyncWrite + Send + 'static, target: Target) {
    let (mut read, mut write) = tokio::io::split(io);
    let (frames, mut queue) = mpsc::channel::<Vec<u8>>(16);
    let writer = tokio::spawn(async move {
        while let Some(frame) = queue.recv().await {
            if write.write_all(&frame).await.is_err() || write.flush().await.is_err() {
                return;
            }
        }
        let _ = write.shutdown().await;
    });
    let mut connections = tokio::task::JoinSet::new();
    let mut streams: HashMap<u32, Stream> = HashMap::new();
    let (mut decoder, mut encoder) = (Decoder::new(), Encoder::default());
    let mut chunk = vec![0; 16 * 1024];
    'client: loop {
        let n = match read.read(&mut chunk).await {
            Ok(n) if n > 0 => n,
            _ => break,
        };
        decoder.feed(&chunk[..n]);
        loop {
            match decoder.next() {
                Ok(Some(Frame::Open { stream, headers, .. })) => {
                    if frames.send(encoder.reply(stream)).await.is_err() {
                        break 'client;
                    }
                    let is_data = headers.get("streamtype").is_some_and(|t| t == "data");
                    let request = headers.get("requestid").cloned().unwrap_or_default();
                    let port = headers.get("port").and_then(|p| p.parse::<u16>().ok());
                    let mut to_pod = None;
                    if let (true, Some(port)) = (is_data, port) {
                        let same = |s: &&u32| {
                            streams[*s].headers.get("requestid").is_some_and(|r| *r == request)
                        };
                        let errors = streams.keys().find(same).copied();
                        let (sender, receiver) = mpsc::channel(16);
                        connections.spawn(connection(
                            target.clone(),
                            port,
                            stream,
                            errors,
                            receiver,
                            frames.clone(),
                        ));
                        to_pod = Some(sender);
                    }
                    streams.insert(stream, Stream { headers, to_pod });
                }
                Ok(Some(Frame::Data { stream, bytes, fin })) => {
                    if let Some(held) = streams.get_mut(&stream) {
                        if let Some(to_pod) = held.to_pod.as_ref().filter(|_| !bytes.is_empty()) {
                            let _ = to_pod.send(bytes).await;
                        }
                        if fin {
                            held.to_pod = None;
                        }
                    }
                }
                Ok(Some(Frame::Reset { stream })) => drop(streams.remove(&stream)),
                Ok(Some(Frame::Ping(id))) => {
                    let _ = frames.send(spdy::pong(id)).await;
                }
                Ok(Some(Frame::GoAway)) => break 'client,
                Ok(Some(Frame::Other)) => {}
                Ok(None) => break,
                Err(e) => {
                    tracing::debug!(pod = target.pod, error = report(&e), "port forwarding ended");
                    break 'client;
                }
            }
        }
    }
    connections.shutdown().await;
    drop(frames);
    let _ = writer.await;
}

/// One forwarded connection, from the streams to the pod's port and back.
async fn connection(
    target: Target,
    port: u16,
    stream: u32,
    errors: Option<u32>,
    mut from_client: mpsc::Receiver<Vec<u8>>,
    frames: mpsc::Sender<Vec<u8>>,
) {
    match connect(&target, port).await {
        Ok(connected) => {
            let (mut read, mut write) = connected.into_split();
            let inward = async {
                while let Some(bytes) = from_client.recv().await {
                    if write.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                let _ = write.shutdown().await;
            };
            let outward = async {
                let mut chunk = vec![0; 16 * 1024];
                while let Ok(n) = read.read(&mut chunk).await {
                    if frames.send(spdy::data(stream, &chunk[..n], n == 0)).await.is_err() || n == 0
                    {
                        return;
                    }
                }
                let _ = frames.send(spdy::data(stream, &[], true)).await;
            };
            // When the pod has said all, there is nothing more to forward.
            tokio::pin!(inward, outward);
            tokio::select! {
                () = &mut outward => {}
                () = &mut inward => outward.await,
            }
        }
        Err(why) => {
            let text = format!("error forwarding port {port} to pod {}: {why}", target.pod);
            if let Some(errors) = errors {
                let _ = frames.send(spdy::data(errors, text.as_bytes(), false)).await;
            }
            let _ = frames.send(spdy::data(stream, &[], true)).await;
        }
    }
    if let Some(errors) = errors {
        let _ = frames.send(spdy::data(errors, &[], true)).await;
    }
}

/// Connects to a port on the loopback of the pod's network.
async fn connect(target: &Target, port: u16) -> Result<TcpStream, String> {
    let netns = target.netns.clone();
    let connected = tokio::task::spawn_blocking(move || {
        let dial = || {
            let four = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port));
            four.or_else(|e| std::net::TcpStream::connect(("::1", port)).map_err(|_| e))
        };
        match netns {
            Some(path) => NetNs::open(path).and_then(|n| n.run(dial)).map_err(|e| report(&e))?,
            None => dial(),
        }
        .map_err(|e| format!("failed to connect to localhost:{port} inside the pod: {e}"))
    });
    let stream = connected.await.map_err(|e| e.to_string())??;
    stream
        .set_nonblocking(true)
        .and_then(|()| TcpStream::from_std(stream))
        .map_err(|e| e.to_string())
}
