//! Bodies of answers, without copies where the bytes exist already.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use futures::Stream;
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Small pieces are joined into frames of about this size.
const FRAME_BYTES: usize = 32 << 10;

/// The body of an answer.
pub struct Body(Inner);

enum Inner {
    Full(Option<Bytes>),
    Parts { parts: VecDeque<Bytes>, left: u64 },
    Stream(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
    Boxed(UnsyncBoxBody<Bytes, BoxError>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Inner::Full(_) => "Body::Full",
            Inner::Parts { .. } => "Body::Parts",
            Inner::Stream(_) => "Body::Stream",
            Inner::Boxed(_) => "Body::Boxed",
        })
    }
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self(Inner::Full(None))
    }

    /// Pieces that make up one document; its length is known.
    pub(crate) fn parts(parts: VecDeque<Bytes>) -> Self {
        let left = parts.iter().map(|part| part.len() as u64).sum();
        Self(Inner::Parts { parts, left })
    }

    /// Frames as they come, until the stream ends.
    pub(crate) fn stream(stream: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self(Inner::Stream(Box::pin(stream)))
    }

    /// Somebody else's body, passed on.
    pub(crate) fn boxed<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        use http_body_util::BodyExt;
        Self(Inner::Boxed(body.map_err(Into::into).boxed_unsync()))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Inner::Full(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Inner::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Parts { parts, left } => {
                let Some(first) = parts.pop_front() else { return Poll::Ready(None) };
                let mut bytes = first;
                if bytes.len() < FRAME_BYTES && !parts.is_empty() {
                    let mut joined = BytesMut::with_capacity(FRAME_BYTES + bytes.len());
                    joined.put(bytes);
                    while joined.len() < FRAME_BYTES {
                        let Some(part) = parts.pop_front() else { break };
                        joined.put(part);
                    }
                    bytes = joined.freeze();
                }
                *left -= bytes.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Inner::Stream(stream) => {
                stream.as_mut().poll_next(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Inner::Boxed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Full(bytes) => bytes.is_none(),
            Inner::Parts { parts, .. } => parts.is_empty(),
            Inner::Stream(_) => false,
            Inner::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Inner::Parts { left, .. } => SizeHint::with_exact(*left),
            Inner::Stream(_) => SizeHint::default(),
            Inner::Boxed(body) => body.size_hint(),
        }
    }
}
