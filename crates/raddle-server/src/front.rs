//! What talks to clients: sockets, connections and the limits on both.
//!
//! One handler serves both protocols; which one a request speaks is seen from its
//! content type. Every limit is held here: connections, bytes in memory, requests of
//! one client, time for heads and bodies.

mod body;
mod compress;
mod grpc;
mod http;
mod http1;
mod listen;
mod pieces;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response};

use crate::error::{Error, Result};
use crate::page::History;
use crate::protocol::{InferReply, InferRequest};
use crate::server::{Context, Server};
use crate::tls::Identity;
use crate::trace::{Begun, Tracer};

use body::{Reader, RequestBody};
use pieces::Pieces;

pub use body::{Held, ReplyBody};
pub use listen::{Bound, Listeners};

/// Everything that connections share.
pub struct Front {
    /// The server.
    pub server: Arc<Server>,
    /// Bearer tokens, if there must be one.
    tokens: Option<Vec<String>>,
    /// What TLS shows to clients, if there is TLS.
    pub identity: Option<Identity>,
    /// Where traces go, if they go anywhere.
    pub tracer: Option<Arc<Tracer>>,
    /// Connections that are open.
    pub connections: AtomicUsize,
    /// Connections that were closed at once since there were too many.
    pub refused: AtomicU64,
    /// Bytes of requests under way.
    pub memory: AtomicU64,
    clients: Mutex<HashMap<IpAddr, usize>>,
    bound: OnceLock<Bound>,
    /// What the status page draws.
    pub history: History,
    /// Memory that large bodies land in.
    pub pieces: Arc<Pieces>,
}

/// Which service a listener offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// HTTP/1.1 and the status page.
    Http,
    /// HTTP/2 with gRPC.
    Grpc,
    /// Metrics only.
    Metrics,
}

impl Front {
    /// The front of a server.
    ///
    /// ## Errors
    /// [`Error::File`] if the file with the tokens cannot be read or has none, or if
    /// certificate and key cannot be used; [`Error::Invalid`] for a collector of traces
    /// that cannot be one.
    pub fn new(server: Arc<Server>) -> Result<Arc<Self>> {
        let tokens = server.settings.tokens_file.as_deref().map(tokens);
        let identity = server.settings.tls.as_ref().map(Identity::open).transpose()?;
        let tracer = server.settings.traces.as_ref().map(Tracer::open).transpose()?;
        Ok(Arc::new(Self {
            server,
            tokens: tokens.transpose()?,
            identity,
            tracer: tracer.map(Arc::new),
            connections: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            memory: AtomicU64::new(0),
            clients: Mutex::default(),
            bound: OnceLock::new(),
            history: History::default(),
            pieces: Arc::default(),
        }))
    }

    /// Ports that are listened at.
    pub fn ports(&self) -> Vec<u16> {
        let bound = self.bound.get();
        bound.map_or_else(Vec::new, |it| vec![it.http.port(), it.grpc.port()])
    }

    /// Answers a request of HTTP/2.
    async fn handle(
        self: Arc<Self>,
        peer: IpAddr,
        request: Request<Incoming>,
    ) -> Response<ReplyBody> {
        let kind = request.headers().get(hyper::header::CONTENT_TYPE);
        if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
            return grpc::handle(self, peer, request).await;
        }
        let (head, body) = request.into_parts();
        let body = RequestBody::Http2(Reader::new(&self, body, false));
        http::handle(self, Service::Grpc, peer, head, body).await
    }

    /// Whether a request may come in.
    ///
    /// ## Errors
    /// [`Error::Unauthenticated`].
    fn authenticate(&self, headers: &hyper::HeaderMap) -> Result<()> {
        let Some(tokens) = &self.tokens else { return Ok(()) };
        let given = headers.get(hyper::header::AUTHORIZATION).and_then(|it| it.to_str().ok());
        let given = given.and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        // Every token is looked at in full, so that the time tells nothing.
        let is_known = |given: &str| {
            tokens
                .iter()
                .fold(false, |known, own| known | is_equal(own.as_bytes(), given.as_bytes()))
        };
        match given.is_some_and(is_known) {
            true => Ok(()),
            false => Err(Error::Unauthenticated),
        }
    }

    /// Counts a request of a client until the guard is dropped.
    ///
    /// ## Errors
    /// [`Error::TooManyRequests`].
    fn enter(self: &Arc<Self>, peer: IpAddr) -> Result<Option<Entered>> {
        let limit = self.server.settings.limits.requests_per_client;
        if limit == 0 {
            return Ok(None);
        }
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(peer).or_default();
        if *count >= limit {
            return Err(Error::TooManyRequests { client: peer.to_string(), limit });
        }
        *count += 1;
        Ok(Some(Entered { front: Arc::clone(self), peer }))
    }

    /// Begins the span of a request, if it is to be traced.
    fn trace(&self, headers: &hyper::HeaderMap) -> Option<Begun> {
        self.tracer.as_ref()?.begin(headers)
    }

    /// Answers an inference request, and traces it if a span was begun.
    async fn infer(
        &self,
        method: &'static str,
        begun: Option<Begun>,
        request: InferRequest,
        context: &Context,
    ) -> Result<InferReply> {
        let (Some(tracer), Some(begun)) = (&self.tracer, begun) else {
            return self.server.infer(request, context).await.map(|(reply, _)| reply);
        };
        let followed = tracer.follow(begun, method, &request);
        let answered = self.server.infer(request, context).await;
        followed.end(answered.as_ref().map(|(_, timeline)| timeline));
        answered.map(|(reply, _)| reply)
    }

    /// Time for a body to be complete.
    fn body_time(&self) -> Duration {
        let seconds = self.server.settings.limits.body_seconds;
        crate::config::duration(seconds).unwrap_or(Duration::from_secs(86_400))
    }
}

/// Reads a file of bearer tokens, one a line.
///
/// ## Errors
/// [`Error::File`] if it cannot be read or has none.
pub fn tokens(path: &std::path::Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|why| Error::file(path, why))?;
    let lines = text.lines().map(str::trim);
    let is_token = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let tokens: Vec<String> = lines.filter(is_token).map(str::to_owned).collect();
    match tokens.is_empty() {
        true => Err(Error::file(path, "has no token, so that nobody could get in")),
        false => Ok(tokens),
    }
}

/// Compares in a time that depends on the lengths only.
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && std::hint::black_box(differences) == 0
}

/// A client's request that is counted.
struct Entered {
    front: Arc<Front>,
    peer: IpAddr,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut clients = self.front.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&self.peer);
            }
        }
    }
}

/// A connection that is counted.
struct Connected(Arc<Front>);

impl Connected {
    /// `None` if there are as many as there may be.
    fn new(front: &Arc<Front>) -> Option<Self> {
        let limit = front.server.settings.limits.connections;
        if front.connections.fetch_add(1, Relaxed) >= limit {
            front.connections.fetch_sub(1, Relaxed);
            front.refused.fetch_add(1, Relaxed);
            return None;
        }
        Some(Self(Arc::clone(front)))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}
