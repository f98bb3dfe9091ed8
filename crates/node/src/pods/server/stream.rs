//! The WebSocket side of `kubectl exec` and `attach`: the subprotocols `v4.channel.k8s.io` and
//! `v5.channel.k8s.io`, in which the first byte of each message names a channel.

use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

use super::{Answer, text};

pub(super) const STDIN: u8 = 0;
pub(super) const STDOUT: u8 = 1;
pub(super) const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// What the client says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Input(Vec<u8>),
    /// No more input will come.
    InputEnds,
    /// The client's terminal has this many columns and rows.
    Resize(u16, u16),
    Gone,
}

/// The two directions of a stream.
pub(super) struct Reader(SplitStream<Socket>);
pub(super) struct Writer(SplitSink<Socket, Message>);

/// Agrees to the upgrade that `request` asks for and lets `serve` run on the stream.
pub(super) fn upgrade<F, Fut>(mut request: Request<Incoming>, serve: F) -> Answer
where
    F: FnOnce(Reader, Writer) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let headers = request.headers();
    let get = |name: header::HeaderName| {
        headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    };
    if !get(header::UPGRADE).eq_ignore_ascii_case("websocket") {
        return text(StatusCode::BAD_REQUEST, "this needs a WebSocket connection");
    }
    let asked: Vec<&str> = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(str::trim)
        .collect();
    let Some(protocol) = PROTOCOLS.into_iter().find(|p| asked.contains(p)) else {
        return text(
            StatusCode::BAD_REQUEST,
            format!("unable to upgrade: none of the protocols {asked:?} is supported"),
        );
    };
    let accept = derive_accept_key(get(header::SEC_WEBSOCKET_KEY).as_bytes());
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgraded.await {
            Ok(upgraded) => {
                let socket =
                    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None)
                        .await;
                let (writer, reader) = socket.split();
                serve(Reader(reader), Writer(writer)).await;
            }
            Err(e) => tracing::debug!(error = %e, "an upgrade failed"),
        }
    });
    let mut answer = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    answer
}

impl Reader {
    pub(super) async fn next(&mut self) -> Said {
        loop {
            let bytes = match self.0.next().await {
                Some(Ok(Message::Binary(bytes))) => bytes.to_vec(),
                Some(Ok(Message::Text(text))) => text.as_bytes().to_vec(),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Said::Gone,
                Some(Ok(_)) => continue,
            };
            if let Some(said) = understand(&bytes) {
                return said;
            }
        }
    }
}

fn understand(bytes: &[u8]) -> Option<Said> {
    let (channel, data) = bytes.split_first()?;
    match *channel {
        STDIN if !data.is_empty() => Some(Said::Input(data.to_vec())),
        CLOSE if data == [STDIN] => Some(Said::InputEnds),
        RESIZE => {
            let size: Value = serde_json::from_slice(data).ok()?;
            let number = |key: &str| size[key].as_u64().and_then(|n| u16::try_from(n).ok());
            Some(Said::Resize(number("Width")?, number("Height")?))
        }
        _ => None,
    }
}

impl Writer {
    /// Sends output; false once nobody listens any more.
    pub(super) async fn send(&mut self, channel: u8, data: &[u8]) -> bool {
        let mut bytes = Vec::with_capacity(data.len() + 1);
        bytes.push(channel);
        bytes.extend_from_slice(data);
        self.0.send(Message::Binary(bytes.into())).await.is_ok()
    }

    /// Says how it ended and closes the stream.
    pub(super) async fn finish(mut self, end: &Value) {
        self.send(ERROR, end.to_string().as_bytes()).await;
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let _ = self.0.send(Message::Close(Some(frame))).await;
        let _ = self.0.close().await;
    }
}

/// The Status that tells of a command's end.
pub(super) fn ended(code: i32) -> Value {
    if code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
           "message": format!("command terminated with non-zero exit code: exit status {code}"),
           "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}})
}

/// The Status that tells why a command did not even start.
pub(super) fn failed(why: &str) -> Value {
    json!({"metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
           "message": format!("Internal error occurred: {why}")})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_understood() {
        assert_eq!(understand(b"\0hello"), Some(Said::Input(b"hello".to_vec())));
        assert_eq!(understand(b"\xff\0"), Some(Said::InputEnds));
        assert_eq!(understand(b"\x04{\"Width\":80,\"Height\":24}"), Some(Said::Resize(80, 24)));
        for nothing in [&b""[..], b"\0", b"\x09x", b"\x04{}", b"\xff\x07"] {
            assert_eq!(understand(nothing), None);
        }
        assert_eq!(ended(0)["status"], "Success");
        assert_eq!(ended(3)["details"]["causes"][0]["message"], "3");
    }
}
