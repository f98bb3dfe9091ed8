//! Container logs, read from the files that the shims write.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use portolan_linux::watch::FileWatch;
use tokio::sync::mpsc;

use super::{Answer, Query, refusal, text};
use crate::pods::{
    Runtime,
    shim::spec::{self, EXIT},
};

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Options {
    follow: bool,
    timestamps: bool,
    tail: Option<usize>,
    since: Option<Timestamp>,
    limit: Option<usize>,
}

impl Options {
    fn of(query: &Query, now: Timestamp) -> Self {
        let seconds = query
            .number("sinceSeconds")
            .and_then(|s| now.checked_sub(jiff::SignedDuration::from_secs(s)).ok());
        Self {
            follow: query.on(&["follow"]),
            timestamps: query.on(&["timestamps"]),
            tail: query.number("tailLines").and_then(|n| usize::try_from(n).ok()),
            since: seconds.or_else(|| query.get("sinceTime")?.parse().ok()),
            limit: query.number("limitBytes").and_then(|n| usize::try_from(n).ok()),
        }
    }
}

/// One entry of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    time: &'a str,
    pub(super) stderr: bool,
    /// Whether the line ends here.
    pub(super) whole: bool,
    pub(super) text: &'a [u8],
}

impl<'a> Entry<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.splitn(4, |b| *b == b' ');
        let time = std::str::from_utf8(parts.next()?).ok()?;
        let stream = parts.next()?;
        let tag = parts.next()?;
        Some(Self { time, stderr: stream == b"stderr", whole: tag == b"F", text: parts.next()? })
    }

    fn render(&self, timestamps: bool, continued: bool, out: &mut Vec<u8>) {
        if timestamps && !continued {
            out.extend_from_slice(self.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(self.text);
        if self.whole {
            out.push(b'\n');
        }
    }
}

/// The part of a log that was asked for, as text.
fn render(log: &[u8], options: &Options) -> Vec<u8> {
    let entries: Vec<Entry<'_>> = log.split(|b| *b == b'\n').filter_map(Entry::parse).collect();
    let mut from = 0;
    if let Some(tail) = options.tail {
        let mut seen = 0;
        from = entries.len();
        while from > 0 {
            if entries[from - 1].whole {
                if seen == tail {
                    break;
                }
                seen += 1;
            }
            from -= 1;
        }
        if tail == 0 {
            from = entries.len();
        }
    }
    let mut out = Vec::new();
    let mut continued = false;
    for entry in &entries[from..] {
        let young =
            options.since.is_none_or(|s| entry.time.parse::<Timestamp>().is_ok_and(|t| t >= s));
        if young {
            entry.render(options.timestamps, continued, &mut out);
        }
        continued = !entry.whole;
    }
    if let Some(limit) = options.limit {
        out.truncate(limit);
    }
    out
}

/// The end of a log as a message, at most so many lines and bytes.
pub(crate) fn tail_text(log: &Path, lines: usize, bytes: usize) -> String {
    let held = std::fs::read(log).unwrap_or_default();
    let mut text = render(&held, &Options { tail: Some(lines), ..Options::default() });
    let excess = text.len().saturating_sub(bytes);
    text.drain(..excess);
    String::from_utf8_lossy(&text).into_owned()
}

/// Where a container's present run, or the one before, writes.
pub(super) struct Run {
    pub(super) log: PathBuf,
    /// The directory of the run.
    pub(super) directory: PathBuf,
}

/// Finds a run of a container; the error says why there is none.
pub(super) fn find(
    runtime: &Runtime,
    pod: &str,
    container: &str,
    previous: bool,
) -> Result<Run, String> {
    let uid = runtime.views.lock().get(pod).map(|v| v.uid.clone());
    let uid = uid.ok_or_else(|| format!("pod {pod:?} not found on this node"))?;
    let directory = runtime.pod_dir(&uid).join("containers").join(container);
    let memory: serde_json::Value = spec::read(&directory.join("state.json")).unwrap_or_default();
    let attempt = memory["attempt"].as_u64().unwrap_or(0);
    let name = pod.rsplit('/').next().unwrap_or(pod);
    if attempt == 0 {
        return Err(format!(
            "container {container:?} in pod {name:?} is waiting to start: ContainerCreating"
        ));
    }
    if previous && attempt < 2 {
        return Err(format!(
            "previous terminated container {container:?} in pod {name:?} not found"
        ));
    }
    let attempt = attempt - u64::from(previous);
    Ok(Run {
        log: directory.join(format!("{attempt}.log")),
        directory: directory.join(attempt.to_string()),
    })
}

pub(super) fn serve(
    runtime: &Arc<Runtime>,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
) -> Answer {
    let options = Options::of(query, Timestamp::now());
    let run = match find(runtime, &format!("{namespace}/{pod}"), container, query.on(&["previous"]))
    {
        Ok(run) => run,
        Err(why) => return refusal(StatusCode::BAD_REQUEST, "BadRequest", &why),
    };
    if !options.follow {
        let log = match std::fs::read(&run.log) {
            Ok(log) => log,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return text(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()),
        };
        let mut answer = text(StatusCode::OK, "");
        *answer.body_mut() = http_body_util::Full::new(Bytes::from(render(&log, &options)))
            .map_err(|never| match never {})
            .boxed();
        answer
            .headers_mut()
            .insert(header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
        return answer;
    }
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut options = options;
        let mut left = options.limit.take();
        let mut lines = follow(run);
        while let Some(bytes) = lines.recv().await {
            let mut out = render(&bytes, &options);
            // What was asked to be left out is only of what was there before.
            (options.tail, options.since) = (None, None);
            if let Some(left) = &mut left {
                out.truncate(*left);
                *left -= out.len();
            }
            if sender.send(out).await.is_err() || left == Some(0) {
                return;
            }
        }
    });
    let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let frames = stream.map(|bytes| Ok::<_, io::Error>(Frame::data(Bytes::from(bytes))));
    let mut answer = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    answer.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    answer
}

/// A log's complete lines as they come, until the run is over.
pub(super) fn follow(run: Run) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        tokio::select! {
            () = read_along(&run, &sender) => {}
            () = sender.closed() => {}
        }
    });
    receiver
}

async fn read_along(run: &Run, lines: &mpsc::Sender<Vec<u8>>) {
    let exit = run.directory.join(EXIT);
    let Ok(mut ends) = FileWatch::new([exit.as_path()]) else { return };
    // The run may have ended before the watch began.
    let mut over = exit.exists();
    let mut held = Vec::new();
    while let Ok(mut file) = File::open(&run.log) {
        let Ok(mut writes) = FileWatch::writes(&run.log) else { return };
        let mut offset = 0;
        loop {
            let was_over = over;
            if file.seek(SeekFrom::Start(offset)).is_err() {
                return;
            }
            let read = file.read_to_end(&mut held).unwrap_or(0);
            offset += read as u64;
            let end = held.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
            if end > 0 && lines.send(held[..end].to_vec()).await.is_err() {
                return;
            }
            held.drain(..end);
            if was_over && read == 0 {
                return;
            }
            // The file was moved aside and a new one begun.
            let fresh = std::fs::metadata(&run.log).is_ok_and(|m| m.len() < offset);
            if fresh {
                break;
            }
            if over {
                continue;
            }
            tokio::select! {
                _ = writes.changed() => {}
                _ = ends.changed() => over = exit.exists(),
                // A shim that was killed writes no end.
                () = tokio::time::sleep(Duration::from_secs(1)) => over = exit.exists() || !run.directory.exists(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[u8] = b"2026-01-01T00:00:01.000000000Z stdout F one\n2026-01-01T00:00:02.000000000Z stderr P tw\n2026-01-01T00:00:02.000000001Z stderr F o\n2026-01-01T00:00:03.000000000Z stdout F \nrubbish\n";

    fn with(change: impl FnOnce(&mut Options)) -> String {
        let mut options = Options::default();
        change(&mut options);
        String::from_utf8(render(LOG, &options)).unwrap()
    }

    #[test]
    fn lines_are_chosen_and_joined() {
        assert_eq!(with(|_| ()), "one\ntwo\n\n");
        assert_eq!(with(|o| o.tail = Some(2)), "two\n\n");
        assert_eq!(with(|o| o.tail = Some(0)), "");
        assert_eq!(with(|o| o.tail = Some(9)), "one\ntwo\n\n");
        assert_eq!(with(|o| o.limit = Some(5)), "one\nt");
        assert_eq!(with(|o| o.since = Some("2026-01-01T00:00:02Z".parse().unwrap())), "two\n\n");
        assert_eq!(
            with(|o| (o.timestamps, o.tail) = (true, Some(2))),
            "2026-01-01T00:00:02.000000000Z two\n2026-01-01T00:00:03.000000000Z \n"
        );
    }

    #[tokio::test]
    async fn a_log_is_followed_to_the_end_of_its_run() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        let run = Run { log: dir.path().join("1.log"), directory: dir.path().join("1") };
        std::fs::create_dir(&run.directory).unwrap();
        std::fs::write(&run.log, &LOG[..44]).unwrap();
        let (log, exit) = (run.log.clone(), run.directory.join(EXIT));
        let writer = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(30)).await;
            let mut file = File::options().append(true).open(log).unwrap();
            file.write_all(&LOG[44..60]).unwrap();
            tokio::time::sleep(Duration::from_millis(30)).await;
            file.write_all(&LOG[60..]).unwrap();
            std::fs::write(exit, "{}").unwrap();
        });
        let mut found = Vec::new();
        let mut lines = follow(run);
        while let Some(bytes) = lines.recv().await {
            found.extend(bytes);
        }
        writer.await.unwrap();
        assert_eq!(found, LOG);
    }
}
