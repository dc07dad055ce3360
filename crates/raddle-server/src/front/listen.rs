//! Listeners and connections: accept, bound, serve, and stop without cutting anybody
//! off.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{Connected, Front, Service, http1};
use crate::config::duration;
use crate::error::{Error, Result};
use crate::log::{self, field};
use crate::tls::Stream;

/// Window of an HTTP/2 stream: a whole image tensor, so that its sender never waits.
/// The default of 64 KiB costs two and a half times the CPU.
const STREAM_WINDOW: u32 = 8 << 20;
/// Window of a connection.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Largest HTTP/2 frame: large enough to be few, and small enough that the allocator
/// reuses its memory. With frames of 1 MiB each tensor of 602 KB costs 88 page faults
/// and twice the CPU.
const FRAME_MAX: u32 = 64 << 10;
/// Most bytes of a request's headers.
pub const HEADER_BYTES: u32 = 64 << 10;
/// How long a listener waits after a failure of the system, such as too many files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Sockets that listen and are not served yet.
pub struct Listeners {
    sockets: Vec<(Service, TcpListener)>,
}

/// Where the services can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// HTTP.
    pub http: SocketAddr,
    /// gRPC.
    pub grpc: SocketAddr,
    /// Metrics.
    pub metrics: SocketAddr,
}

impl Listeners {
    /// Opens the sockets of the settings; port 0 takes any that is free. Must be
    /// called within a runtime.
    ///
    /// ## Errors
    /// [`Error::Invalid`] with the address and what the system says.
    pub fn bind(front: &Front) -> Result<(Self, Bound)> {
        let settings = &front.server.settings;
        let mut sockets = Vec::new();
        let mut open = |service, address: SocketAddr| {
            let opened = listen(address, settings.limits.backlog);
            let (socket, bound) = opened.map_err(|why| {
                Error::invalid(format!("cannot listen at {address}: {why}; choose another address"))
            })?;
            sockets.push((service, socket));
            Ok(bound)
        };
        let bound = Bound {
            http: open(Service::Http, settings.http)?,
            grpc: open(Service::Grpc, settings.grpc)?,
            metrics: open(Service::Metrics, settings.metrics)?,
        };
        // Set once: a front has one set of listeners.
        let _ = front.bound.set(bound);
        Ok((Self { sockets }, bound))
    }

    /// Serves until `stop` says so; then lets requests under way end, for as long as
    /// the settings allow.
    pub async fn serve(self, front: Arc<Front>, stop: watch::Receiver<bool>) {
        for (service, socket) in self.sockets {
            tokio::spawn(accept(Arc::clone(&front), service, socket, stop.clone()));
        }
        stopped(stop).await;
        let patience = duration(front.server.settings.drain_seconds).unwrap_or_default();
        let is_drained = async {
            while front.connections.load(Relaxed) > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(patience, is_drained).await.is_err() {
            log::warn(
                "connections were cut off",
                &[field("connections", front.connections.load(Relaxed))],
            );
        }
    }
}

fn listen(address: SocketAddr, backlog: u32) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    let listener = TcpListener::from_std(socket.into())?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// Returns when the flag is set, or nobody can set it any more.
pub async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|is_stopping| *is_stopping).await;
}

async fn accept(
    front: Arc<Front>,
    service: Service,
    socket: TcpListener,
    stop: watch::Receiver<bool>,
) {
    let mut stopping = std::pin::pin!(stopped(stop.clone()));
    loop {
        let accepted = std::future::poll_fn(|cx| {
            if stopping.as_mut().poll(cx).is_ready() {
                return std::task::Poll::Ready(None);
            }
            socket.poll_accept(cx).map(Some)
        });
        match accepted.await {
            None => return,
            Some(Ok((stream, peer))) => {
                // Replies go out at once: waiting for more costs 40 ms.
                let _ = stream.set_nodelay(true);
                let Some(connected) = Connected::new(&front) else { continue };
                let connection = Connection { front: Arc::clone(&front), service, peer };
                let stop = stop.clone();
                tokio::spawn(async move {
                    let _connected = connected;
                    connection.serve(stream, stop).await;
                });
            }
            Some(Err(why)) => {
                log::warn("a connection was not accepted", &[field("why", why)]);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Connection {
    front: Arc<Front>,
    service: Service,
    peer: SocketAddr,
}

impl Connection {
    /// Makes the connection secret if it shall be, in the time that a head may take.
    async fn greet(&self, stream: TcpStream) -> Option<Stream> {
        let identity = self.front.identity.as_ref().filter(|_| self.service != Service::Metrics);
        let Some(identity) = identity else { return Some(Stream::Plain(stream)) };
        let limit = duration(self.front.server.settings.limits.header_seconds);
        let limit = limit.unwrap_or(Duration::from_secs(86_400));
        let acceptor = identity.acceptor(self.service == Service::Grpc);
        let why = match tokio::time::timeout(limit, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => return Some(Stream::Tls(Box::new(stream.into()))),
            Ok(Err(why)) => why.to_string(),
            Err(_) => "no greeting in time ([limits] header_seconds)".into(),
        };
        log::debug("no TLS with a client", &[field("peer", self.peer), field("why", why)]);
        None
    }

    async fn serve(self, stream: TcpStream, stop: watch::Receiver<bool>) {
        let Some(stream) = self.greet(stream).await else { return };
        let (service, peer) = (self.service, self.peer);
        let ended = match service {
            Service::Grpc => self.serve_http2(stream, stop).await.map_err(|why| why.to_string()),
            Service::Http | Service::Metrics => {
                let served = http1::serve(self.front, service, peer.ip(), stream, stop).await;
                served.map_err(|why| why.to_string())
            }
        };
        if let Err(why) = ended {
            log::debug("a connection ended badly", &[field("peer", peer), field("why", why)]);
        }
    }

    async fn serve_http2(self, stream: Stream, stop: watch::Receiver<bool>) -> hyper::Result<()> {
        let limits = self.front.server.settings.limits.clone();
        let (front, ip) = (self.front, self.peer.ip());
        let handler = service_fn(move |request| {
            let front = Arc::clone(&front);
            async move { Ok::<_, std::convert::Infallible>(front.handle(ip, request).await) }
        });
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_MAX)
            .max_concurrent_streams(limits.streams_per_connection)
            .max_header_list_size(HEADER_BYTES)
            .keep_alive_interval(duration(limits.keepalive_seconds))
            .keep_alive_timeout(Duration::from_secs(20));
        let mut connection =
            std::pin::pin!(builder.serve_connection(TokioIo::new(stream), handler));
        let mut stopping = std::pin::pin!(stopped(stop));
        let mut is_stopping = false;
        std::future::poll_fn(|cx| {
            if !is_stopping && stopping.as_mut().poll(cx).is_ready() {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            connection.as_mut().poll(cx)
        })
        .await
    }
}
