//! The control socket's side that talks: connections become calls, replies become lines.

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::children::Outbox;
use crate::lab::control::Request;

/// One request, and where its answers go.
pub(super) struct Call {
    pub(super) request: Request,
    pub(super) reply: Reply,
}

/// Takes answers; when the last clone is gone, the connection ends.
#[derive(Clone)]
pub(super) struct Reply(Outbox);

impl Reply {
    /// False once nobody listens any more.
    pub(super) fn send(&self, answer: &impl Serialize) -> bool {
        match serde_json::to_string(answer) {
            Ok(line) => self.0.send(line + "\n").is_ok(),
            Err(_) => false,
        }
    }
}

/// Accepts connections for as long as the receiver lives.
pub(super) fn listen(listener: UnixListener) -> mpsc::Receiver<Call> {
    let (calls, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let calls = calls.clone();
            tokio::spawn(async move {
                if let Err(error) = converse(stream, calls).await {
                    tracing::debug!(%error, "a control connection ended");
                }
            });
        }
    });
    receiver
}

async fn converse(stream: UnixStream, calls: mpsc::Sender<Call>) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader);
    reader.read_line(&mut line).await?;
    let (outbox, mut answers) = mpsc::unbounded_channel();
    let request = serde_json::from_str(&line)?;
    if calls.send(Call { request, reply: Reply(outbox) }).await.is_err() {
        return Ok(());
    }
    let mut end = Vec::new();
    loop {
        tokio::select! {
            answer = answers.recv() => match answer {
                Some(answer) => writer.write_all(answer.as_bytes()).await?,
                None => return Ok(()),
            },
            // The asker went away: dropping the channel tells whoever still answers.
            _ = reader.read_until(b'\n', &mut end) => return Ok(()),
        }
    }
}
