//! Connections of HTTP/1.1: a head, a body, a reply, and the next head.
//!
//! Written by hand because of what a large tensor costs: its body goes from the socket
//! straight into one buffer that has been used before (`pieces`), and request, model and
//! reply are one task without channels in between. Only the length of a body is looked
//! at here; heads are read in `head`.
//!
//! Invariant: what is left of a request's body when its reply is written is skipped, or
//! the connection ends; no byte of a body is ever read as a head.

mod head;

use std::io::{self, IoSlice, Write as _};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Method, Response, StatusCode, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::body::{Held, ReplyBody, RequestBody};
use super::listen::{HEADER_BYTES, stopped};
use super::pieces::PIECE_BYTES_MAX;
use super::{Front, Service, http};
use crate::config::duration;
use crate::error::{Error, Result};
use crate::tensor::Rope;
use crate::tls::Stream;
use head::{Head, Length, Refusal, take_head};

/// Room for heads, small bodies and what follows them.
const INPUT_BYTES: usize = 8 << 10;
/// Longest body that comes through the input.
const SMALL_BYTES: u64 = 16 << 10;
/// Bytes behind a large body that may come with it.
const OVERLAP_BYTES: usize = 64;
/// Pieces of a reply below this are copied behind its head.
const JOINED_BYTES: usize = 1 << 10;
/// Longest line of a chunk's length, and most bytes of trailers.
const CHUNK_LINE_BYTES: usize = 4 << 10;
/// How long a client whose request was not read may go on sending it: if the connection
/// ended at once, it would lose the reply.
const LINGER: Duration = Duration::from_secs(1);
/// A time that never comes.
const NEVER: Duration = Duration::from_secs(86_400 * 365);

/// Serves a connection until one of both sides ends it.
///
/// ## Errors
/// What the socket says.
pub async fn serve(
    front: Arc<Front>,
    service: Service,
    peer: IpAddr,
    stream: Stream,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut wire = Wire::new(stream);
    let patience = duration(front.server.settings.limits.header_seconds).unwrap_or(NEVER);
    let mut stopping = pin!(stopped(stop.clone()));
    loop {
        let Some(head) = wire.head(patience, stopping.as_mut()).await? else {
            return wire.close(false).await;
        };
        let Head { parts, length, is_expecting, keeps_alive } = match head {
            Ok(head) => head,
            Err((status, why)) => {
                let mut response = http::json_reply(&serde_json::json!({ "error": why }));
                *response.status_mut() = status;
                wire.reply(response, false, Version::HTTP_11, false).await?;
                return wire.close(true).await;
            }
        };
        (wire.rest, wire.is_expecting) = (length, is_expecting);
        let (is_head, version) = (parts.method == Method::HEAD, parts.version);
        let body = RequestBody::Http1(&mut wire);
        let response = http::handle(Arc::clone(&front), service, peer, parts, body).await;
        let is_over = wire.skip_rest();
        let keeps_alive = keeps_alive && is_over && !*stop.borrow();
        wire.reply(response, is_head, version, keeps_alive).await?;
        if !keeps_alive {
            return wire.close(!is_over).await;
        }
    }
}

/// A connection, and the request that is under way on it.
pub struct Wire {
    stream: Stream,
    /// What was read and is nobody's yet.
    input: BytesMut,
    /// The head of the reply.
    output: Vec<u8>,
    /// What has not been read of the body.
    rest: Length,
    /// Whether the client waits for a word before it sends the body.
    is_expecting: bool,
    /// Whether the client has hung up.
    is_gone: bool,
    /// Never set to a later time than what is waited for, and often to an earlier one,
    /// since to set it costs more than to wake once in vain.
    timer: Pin<Box<Sleep>>,
    /// The header `date` of a second.
    date: (u64, String),
}

impl Wire {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            input: BytesMut::with_capacity(INPUT_BYTES),
            output: Vec::new(),
            rest: Length::Known(0),
            is_expecting: false,
            is_gone: false,
            timer: Box::pin(tokio::time::sleep(NEVER)),
            date: Default::default(),
        }
    }

    /// Reads the next head, for which a client has `patience`; `None` if there will be
    /// none, or the server stops.
    async fn head(
        &mut self,
        patience: Duration,
        mut stopping: Pin<&mut impl Future<Output = ()>>,
    ) -> io::Result<Option<Result<Head, Refusal>>> {
        let deadline = Instant::now() + patience;
        // How much of the input is known not to end a head.
        let mut seen: usize = 0;
        loop {
            let has_end = seen == 0 || has_blank_line(&self.input[seen.saturating_sub(3)..]);
            match if has_end { take_head(&mut self.input) } else { Ok(None) } {
                Ok(Some(head)) => return Ok(Some(Ok(head))),
                Err(refusal) => return Ok(Some(Err(refusal))),
                Ok(None) if self.input.len() >= HEADER_BYTES as usize => {
                    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                    return Ok(Some(Err((status, "the request's head is too long"))));
                }
                Ok(None) => seen = self.input.len(),
            }
            self.input.reserve(INPUT_BYTES.saturating_sub(seen).max(INPUT_BYTES / 4));
            let Self { stream, input, timer, .. } = self;
            let read = std::future::poll_fn(|cx| {
                if let Poll::Ready(read) = pin!(stream.read_buf(input)).poll(cx) {
                    return Poll::Ready(read.map(Some));
                }
                let is_idle = seen == 0 && stopping.as_mut().poll(cx).is_ready();
                if is_idle || is_late(timer, deadline, cx) {
                    return Poll::Ready(Ok(None));
                }
                Poll::Pending
            });
            match read.await? {
                Some(0) => return Ok(None),
                Some(_) => {}
                None if seen == 0 => return Ok(None),
                None => {
                    let why = "the head did not come in time ([limits] header_seconds)";
                    return Ok(Some(Err((StatusCode::REQUEST_TIMEOUT, why))));
                }
            }
        }
    }

    /// Reads the whole body, within the limits of the front; with what it holds of the
    /// memory limit.
    ///
    /// ## Errors
    /// [`Error::TooLarge`], [`Error::QueueFull`] if there is no memory, [`Error::Invalid`]
    /// for one that comes too slowly or wrong, [`Error::Cancelled`] if it breaks off.
    pub async fn body(&mut self, front: &Arc<Front>) -> Result<(Rope, Held)> {
        let limit = front.server.settings.limits.message_bytes;
        let mut held = Held::new(front);
        let len = match self.rest {
            Length::Known(0) => return Ok((Rope::default(), held)),
            Length::Known(len) if len > limit => return Err(too_large(len, limit)),
            Length::Known(len) if len <= self.input.len() as u64 => {
                held.add(len)?;
                self.rest = Length::Known(0);
                return Ok((self.input.split_to(len as usize).freeze().into(), held));
            }
            Length::Known(len) => Some(len),
            Length::Chunked => None,
        };
        if std::mem::take(&mut self.is_expecting) {
            let go_on = self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
            go_on.await.map_err(|_| Error::Cancelled)?;
            self.stream.flush().await.map_err(|_| Error::Cancelled)?;
        }
        let deadline = Instant::now() + front.body_time();
        let body = match len {
            Some(len) if len <= SMALL_BYTES => {
                held.add(len)?;
                while (self.input.len() as u64) < len {
                    self.fill(len as usize, deadline).await?;
                }
                self.input.split_to(len as usize).freeze().into()
            }
            Some(len) => self.large(len, front, &mut held, deadline).await?,
            None => self.chunks(limit, &mut held, deadline).await?,
        };
        self.rest = Length::Known(0);
        Ok((body, held))
    }

    /// Reads a large body straight to where it stays, in as few pieces as may be set
    /// aside for bytes that have not come.
    async fn large(
        &mut self,
        len: u64,
        front: &Front,
        held: &mut Held,
        deadline: Instant,
    ) -> Result<Rope> {
        let mut body = Rope::default();
        let mut left = len;
        while left > 0 {
            let size = left.min(PIECE_BYTES_MAX as u64) as usize;
            held.add(size as u64)?;
            let mut piece = front.pieces.take(size);
            let early = self.input.len().min(size);
            piece.bytes.extend_from_slice(&self.input[..early]);
            self.input.advance(early);
            while piece.bytes.len() < size {
                // Room for a little more: a read that fills all of it says nothing of
                // whether there is more, and the socket is asked again in vain.
                let room = piece.bytes.capacity().min(size + OVERLAP_BYTES) - piece.bytes.len();
                let mut target = (&mut piece.bytes).limit(room);
                read(&mut self.stream, &mut target, &mut self.timer, deadline).await?;
            }
            let beyond = &piece.bytes[size..];
            self.input.extend_from_slice(beyond);
            piece.bytes.truncate(size);
            body.push(piece.freeze());
            left -= size as u64;
        }
        Ok(body)
    }

    /// Reads a body in chunks.
    async fn chunks(&mut self, limit: u64, held: &mut Held, deadline: Instant) -> Result<Rope> {
        let mut body = Vec::new();
        loop {
            let line = self.line(deadline).await?;
            let len = head::chunk_len(&line);
            let mut left = len.ok_or_else(|| Error::invalid("a chunk without its length"))?;
            if left == 0 {
                break;
            }
            let total = (body.len() as u64).saturating_add(left);
            if total > limit {
                return Err(too_large(total, limit));
            }
            while left > 0 {
                if self.input.is_empty() {
                    self.fill(INPUT_BYTES, deadline).await?;
                }
                let part = left.min(self.input.len() as u64);
                held.add(part)?;
                body.extend_from_slice(&self.input[..part as usize]);
                self.input.advance(part as usize);
                left -= part;
            }
            if !self.line(deadline).await?.is_empty() {
                return Err(Error::invalid("a chunk is longer than its length"));
            }
        }
        let mut trailers = 0;
        loop {
            let line = self.line(deadline).await?;
            trailers += line.len();
            if line.is_empty() {
                return Ok(body.into());
            }
            if trailers > CHUNK_LINE_BYTES {
                return Err(Error::invalid("the body's trailers are too long"));
            }
        }
    }

    /// Takes a line off the input, without its end. A bare `\n` or `\r` in it is refused,
    /// since a proxy in front may take it for the end of a line or not.
    async fn line(&mut self, deadline: Instant) -> Result<Bytes> {
        loop {
            if let Some(end) = self.input.iter().position(|&byte| byte == b'\n') {
                let line = self.input.split_to(end + 1).freeze();
                return match line.strip_suffix(b"\r\n") {
                    Some(rest) if !rest.contains(&b'\r') => Ok(line.slice(..rest.len())),
                    _ => Err(Error::invalid("a chunk's line does not end with CR LF")),
                };
            }
            if self.input.len() > CHUNK_LINE_BYTES {
                return Err(Error::invalid("a chunk's line is too long"));
            }
            self.fill(self.input.len() + 1, deadline).await?;
        }
    }

    /// Reads more into the input, which shall have room for `len` bytes in all.
    async fn fill(&mut self, len: usize, deadline: Instant) -> Result<()> {
        self.input.reserve(len.saturating_sub(self.input.len()).max(INPUT_BYTES / 4));
        read(&mut self.stream, &mut self.input, &mut self.timer, deadline).await
    }

    /// Skips what of the body has come though nobody wanted it; whether that is all of it.
    fn skip_rest(&mut self) -> bool {
        match self.rest {
            Length::Known(left) if left <= self.input.len() as u64 => {
                self.input.advance(left as usize);
                self.rest = Length::Known(0);
                true
            }
            _ => false,
        }
    }

    /// Does `work`, which answers the request, unless the client hangs up meanwhile.
    ///
    /// ## Errors
    /// [`Error::Cancelled`], and those of the work.
    pub async fn unless_gone<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Pending if self.is_gone(cx) => Poll::Ready(Err(Error::Cancelled)),
            done => done,
        })
        .await
    }

    fn is_gone(&mut self, cx: &mut Context<'_>) -> bool {
        // The next request waits until this one is answered, and with it what follows.
        if self.input.is_empty() && !self.is_gone {
            self.input.reserve(INPUT_BYTES);
            let read = pin!(self.stream.read_buf(&mut self.input)).poll(cx);
            self.is_gone = matches!(read, Poll::Ready(Ok(0) | Err(_)));
        }
        self.is_gone
    }

    /// Writes a reply.
    async fn reply(
        &mut self,
        mut response: Response<ReplyBody>,
        is_head: bool,
        version: Version,
        keeps_alive: bool,
    ) -> io::Result<()> {
        if !keeps_alive {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        } else if version == Version::HTTP_10 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("keep-alive"));
        }
        let (head, body) = response.into_parts();
        let ReplyBody::Whole { mut parts, .. } = body else {
            return Err(io::Error::other("a stream has no length to tell in HTTP/1.1"));
        };
        let output = &mut self.output;
        output.clear();
        let reason = head.status.canonical_reason().unwrap_or("Unknown");
        let len: usize = parts.iter().map(Bytes::len).sum();
        write!(output, "HTTP/1.1 {} {reason}\r\ncontent-length: {len}\r\n", head.status.as_str())?;
        for (name, value) in &head.headers {
            output.extend_from_slice(name.as_str().as_bytes());
            output.extend_from_slice(b": ");
            output.extend_from_slice(value.as_bytes());
            output.extend_from_slice(b"\r\n");
        }
        let now = SystemTime::now();
        let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if self.date.0 != second {
            self.date = (second, httpdate::fmt_http_date(now));
        }
        write!(output, "date: {}\r\n\r\n", self.date.1)?;
        if is_head {
            parts.clear();
        }
        while let Some(part) = parts.pop_front_if(|part| part.len() < JOINED_BYTES) {
            output.extend_from_slice(&part);
        }
        if parts.is_empty() {
            self.stream.write_all(output).await?;
        } else {
            let mut slices: Vec<IoSlice<'_>> = std::iter::once(&**output)
                .chain(parts.iter().map(|it| &**it))
                .map(IoSlice::new)
                .collect();
            let mut left = &mut slices[..];
            while !left.is_empty() {
                let written = self.stream.write_vectored(left).await?;
                if written == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                IoSlice::advance_slices(&mut left, written);
            }
        }
        self.stream.flush().await
    }

    /// Ends the connection, and if there is something that was not read, takes a while
    /// to throw it away.
    async fn close(mut self, is_lingering: bool) -> io::Result<()> {
        let end = async {
            self.stream.shutdown().await?;
            if !is_lingering {
                return Ok(());
            }
            loop {
                self.input.clear();
                self.input.reserve(INPUT_BYTES);
                if self.stream.read_buf(&mut self.input).await? == 0 {
                    return Ok(());
                }
            }
        };
        tokio::time::timeout(LINGER, end).await.unwrap_or(Ok(()))
    }
}

/// Reads something of a body.
async fn read(
    stream: &mut Stream,
    target: &mut impl BufMut,
    timer: &mut Pin<Box<Sleep>>,
    deadline: Instant,
) -> Result<()> {
    let read = std::future::poll_fn(|cx| match pin!(stream.read_buf(target)).poll(cx) {
        Poll::Pending if is_late(timer, deadline, cx) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
        Poll::Ready(read) => Poll::Ready(Some(read)),
    });
    match read.await {
        // A body that breaks off is a client that went away.
        Some(Ok(0) | Err(_)) => Err(Error::Cancelled),
        Some(Ok(_)) => Ok(()),
        None => Err(Error::invalid("the body did not come in time ([limits] body_seconds)")),
    }
}

/// Whether the deadline is past; whoever is told that it is not is woken when it is.
fn is_late(timer: &mut Pin<Box<Sleep>>, deadline: Instant, cx: &mut Context<'_>) -> bool {
    if timer.deadline() > deadline {
        timer.as_mut().reset(deadline);
    }
    while timer.as_mut().poll(cx).is_ready() {
        if Instant::now() >= deadline {
            return true;
        }
        timer.as_mut().reset(deadline);
    }
    false
}

fn has_blank_line(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|two| two == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

fn too_large(found: u64, limit: u64) -> Error {
    let setting = "[limits] message_bytes";
    Error::TooLarge { what: "the request's body", found, limit, setting }
}
