//! Bodies: read within limits of size, memory and time; written from the pieces that
//! the outputs lie in.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::Front;
use super::http1::Wire;
use crate::error::{Error, Result};
use crate::tensor::Rope;

/// Bytes of requests under way; given back when dropped.
pub struct Held {
    front: Arc<Front>,
    bytes: u64,
}

impl Held {
    /// No bytes yet.
    pub fn new(front: &Arc<Front>) -> Self {
        Self { front: Arc::clone(front), bytes: 0 }
    }

    /// Takes bytes from what all requests together may hold.
    ///
    /// ## Errors
    /// [`Error::QueueFull`] if that is too much.
    pub fn add(&mut self, bytes: u64) -> Result<()> {
        let limit = self.front.server.settings.limits.memory_bytes;
        let before = self.front.memory.fetch_add(bytes, Relaxed);
        self.bytes += bytes;
        if before + bytes <= limit {
            return Ok(());
        }
        Err(Error::QueueFull {
            model: format!("any (all requests hold {before} of {limit} bytes)"),
            limit: 0,
            retry_after: std::time::Duration::from_millis(20),
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.front.memory.fetch_sub(self.bytes, Relaxed);
    }
}

/// The body of a request that is not gRPC.
pub enum RequestBody<'a> {
    /// From a connection of HTTP/1.1.
    Http1(&'a mut Wire),
    /// From a stream of HTTP/2.
    Http2(Reader),
}

impl RequestBody<'_> {
    /// Reads everything; with what it holds of the memory limit.
    ///
    /// ## Errors
    /// See [`Wire::body`].
    pub async fn all(&mut self, front: &Arc<Front>) -> Result<(Rope, Held)> {
        match self {
            Self::Http1(wire) => wire.body(front).await,
            Self::Http2(reader) => reader.all().await,
        }
    }

    /// Does `work`, which answers the request, unless the client gives up meanwhile.
    ///
    /// ## Errors
    /// [`Error::Cancelled`], and those of the work.
    pub async fn unless_gone<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match self {
            Self::Http1(wire) => wire.unless_gone(work).await,
            // Whoever reads the streams drops the future of one that is reset.
            Self::Http2(_) => work.await,
        }
    }
}

/// An incoming body of HTTP/2, read piece by piece.
pub struct Reader {
    body: Incoming,
    /// What was read and not asked for yet.
    rest: Rope,
    held: Held,
    deadline: Instant,
    total: u64,
    limit: u64,
    is_stream: bool,
}

impl Reader {
    /// A reader within the limits of the front. A stream may be long in all, and take
    /// its time.
    pub fn new(front: &Arc<Front>, body: Incoming, is_stream: bool) -> Self {
        let deadline = Instant::now() + front.body_time();
        let limit = front.server.settings.limits.message_bytes;
        let (rest, held) = (Rope::default(), Held::new(front));
        Self { body, rest, held, deadline, total: 0, limit, is_stream }
    }

    /// Reads a piece; false at the end.
    async fn fill(&mut self) -> Result<bool> {
        let frame = if self.is_stream {
            self.body.frame().await
        } else {
            timeout_at(self.deadline, self.body.frame()).await.map_err(|_| {
                Error::invalid("the body did not come in time ([limits] body_seconds)")
            })?
        };
        let Some(frame) = frame else { return Ok(false) };
        // A body that breaks off is a client that went away.
        let frame = frame.map_err(|_| Error::Cancelled)?;
        if let Ok(data) = frame.into_data() {
            self.total += data.len() as u64;
            if !self.is_stream && self.total > self.limit + 5 {
                return Err(self.too_large(self.total));
            }
            self.held.add(data.len() as u64)?;
            self.rest.push(data);
        }
        Ok(true)
    }

    fn too_large(&self, found: u64) -> Error {
        let setting = "[limits] message_bytes";
        Error::TooLarge { what: "the request's body", found, limit: self.limit, setting }
    }

    /// Reads everything; with what it holds of the memory limit.
    pub async fn all(&mut self) -> Result<(Rope, Held)> {
        if let Some(expected) = self.body.size_hint().exact().filter(|&it| it > self.limit) {
            return Err(self.too_large(expected));
        }
        while self.fill().await? {}
        let held = Held::new(&self.held.front);
        Ok((std::mem::take(&mut self.rest), std::mem::replace(&mut self.held, held)))
    }

    /// Reads a message of gRPC: whether it is compressed, and its bytes; `None` at
    /// the end.
    pub async fn message(&mut self) -> Result<Option<(bool, Rope)>> {
        while self.rest.len() < 5 {
            if !self.fill().await? {
                return match self.rest.is_empty() {
                    true => Ok(None),
                    false => Err(Error::invalid("the body ends within a message's prefix")),
                };
            }
        }
        let prefix = self.rest.split_to(5).map(|prefix| prefix.to_bytes()).unwrap_or_default();
        let len = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
        if u64::from(len) > self.limit {
            return Err(self.too_large(len.into()));
        }
        while self.rest.len() < len as usize {
            if !self.fill().await? {
                return Err(Error::invalid(format!(
                    "the body ends within a message: expected {len} bytes, found {}",
                    self.rest.len()
                )));
            }
        }
        let message = self.rest.split_to(len as usize).unwrap_or_default();
        match prefix[0] {
            0 => Ok(Some((false, message))),
            1 => Ok(Some((true, message))),
            other => Err(Error::invalid(format!("a message's first byte is {other}, not 0 or 1"))),
        }
    }

    /// Gives back what the messages so far held.
    pub fn release(&mut self) -> Held {
        let rest = self.rest.len() as u64;
        let front = Arc::clone(&self.held.front);
        let given = Held { front: Arc::clone(&front), bytes: self.held.bytes - rest };
        self.held.bytes = rest;
        given
    }
}

/// An outgoing body.
pub enum ReplyBody {
    /// Pieces that are there, and trailers of gRPC.
    Whole {
        /// The pieces.
        parts: VecDeque<Bytes>,
        /// Fields behind them.
        trailers: Option<HeaderMap>,
    },
    /// Pieces that are still to come.
    Stream(mpsc::Receiver<Frame<Bytes>>),
}

impl From<Bytes> for ReplyBody {
    fn from(bytes: Bytes) -> Self {
        Rope::from(bytes).into()
    }
}

impl From<Rope> for ReplyBody {
    fn from(rope: Rope) -> Self {
        Self::Whole { parts: rope.into_parts().into(), trailers: None }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole { parts, trailers } => {
                let next = parts.pop_front().map(Frame::data);
                Poll::Ready(next.or_else(|| trailers.take().map(Frame::trailers)).map(Ok))
            }
            Self::Stream(frames) => frames.poll_recv(cx).map(|frame| frame.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole { parts, trailers: None } if parts.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole { parts, .. } => {
                SizeHint::with_exact(parts.iter().map(|part| part.len() as u64).sum())
            }
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
