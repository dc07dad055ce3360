//! Our client: HTTP/1.1 and gRPC, for the load generator and the tests.
//!
//! One connection each; requests on a gRPC connection may overlap, those on an HTTP
//! connection follow each other.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpStream;

use crate::error::{Error, Result, Status};
use crate::front::ReplyBody;
use crate::protocol::{InferReply, InferRequest, json, wire};
use crate::tensor::Rope;
use crate::tls::{Stream, Trust};

/// A connection over HTTP/1.1.
pub struct HttpClient {
    sender: http1::SendRequest<ReplyBody>,
    host: HeaderValue,
    /// Headers of every request.
    pub headers: HeaderMap,
}

/// A connection over HTTP/2 for gRPC. Clones share it.
#[derive(Clone)]
pub struct GrpcClient {
    sender: http2::SendRequest<ReplyBody>,
    /// Scheme and address.
    base: String,
    /// Headers of every request.
    pub headers: HeaderMap,
}

fn lost(why: impl std::fmt::Display) -> Error {
    Error::Protocol(format!("the connection broke: {why}"))
}

/// Trust and the name that the server must prove.
pub type Secret<'a> = (&'a Trust, &'a str);

async fn connect(
    address: SocketAddr,
    secret: Option<Secret<'_>>,
    is_http2: bool,
) -> Result<TokioIo<Stream>> {
    let stream = TcpStream::connect(address).await;
    let stream =
        stream.map_err(|why| Error::Protocol(format!("cannot connect to {address}: {why}")))?;
    stream.set_nodelay(true).map_err(lost)?;
    let stream = match secret {
        None => Stream::Plain(stream),
        Some((trust, name)) => trust.connect(stream, name, is_http2).await?,
    };
    Ok(TokioIo::new(stream))
}

async fn collect(mut body: Incoming) -> Result<(Rope, Option<HeaderMap>)> {
    let mut rope = Rope::default();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        match frame.map_err(lost)?.into_data() {
            Ok(data) => rope.push(data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((rope, trailers))
}

impl HttpClient {
    /// Connects.
    ///
    /// ## Errors
    /// [`Error::Protocol`].
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        Self::connect_with(address, None).await
    }

    /// Connects, with TLS if there is something to trust.
    ///
    /// ## Errors
    /// [`Error::Protocol`].
    pub async fn connect_with(address: SocketAddr, secret: Option<Secret<'_>>) -> Result<Self> {
        let io = connect(address, secret, false).await?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(1 << 20);
        let (sender, connection) = builder.handshake(io).await.map_err(lost)?;
        // It ends with the client, and what breaks it is seen there.
        tokio::spawn(connection);
        let host = HeaderValue::from_str(&address.to_string()).map_err(lost)?;
        Ok(Self { sender, host, headers: HeaderMap::new() })
    }

    /// Sends a request and reads the whole reply.
    ///
    /// ## Errors
    /// [`Error::Protocol`] if the connection breaks.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
        body: Rope,
    ) -> Result<(StatusCode, HeaderMap, Rope)> {
        self.sender.ready().await.map_err(lost)?;
        let mut request = Request::new(ReplyBody::from(body));
        *request.method_mut() = method;
        *request.uri_mut() =
            path.parse().map_err(|why| Error::Protocol(format!("{path}: {why}")))?;
        request.headers_mut().extend(self.headers.clone());
        request.headers_mut().insert("host", self.host.clone());
        for (name, value) in headers {
            let value =
                HeaderValue::from_str(value).map_err(|why| Error::invalid(why.to_string()))?;
            request.headers_mut().insert(*name, value);
        }
        let response = self.sender.send_request(request).await.map_err(lost)?;
        let (head, body) = response.into_parts();
        let (body, _) = collect(body).await?;
        Ok((head.status, head.headers, body))
    }

    /// Sends a request without a body and reads the reply as JSON.
    ///
    /// ## Errors
    /// [`Error::Remote`], [`Error::Protocol`].
    pub async fn json(&mut self, method: Method, path: &str) -> Result<serde_json::Value> {
        let (status, _, body) = self.send(method, path, &[], Rope::default()).await?;
        let value = serde_json::from_slice(&body.to_bytes());
        let value: serde_json::Value =
            value.map_err(|why| Error::Protocol(format!("{path}: no JSON: {why}")))?;
        match status.is_success() {
            true => Ok(value),
            false => Err(remote(status, &value)),
        }
    }

    /// Asks for an inference, with binary tensors both ways.
    ///
    /// ## Errors
    /// [`Error::Remote`], [`Error::Protocol`].
    pub async fn infer(&mut self, request: &InferRequest) -> Result<InferReply> {
        let (body, head_len) = json::write_request(request);
        let version = match request.version.as_str() {
            "" => String::new(),
            version => format!("/versions/{version}"),
        };
        let path = format!("/v2/models/{}{version}/infer", request.model);
        let headers = [("inference-header-content-length", head_len.to_string())];
        let (status, headers, body) = self.send(Method::POST, &path, &headers, body).await?;
        if !status.is_success() {
            let value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
            return Err(remote(status, &value));
        }
        let head_len = headers.get("inference-header-content-length");
        let head_len = head_len.and_then(|len| len.to_str().ok()?.parse().ok());
        json::read_reply(body, head_len)
    }
}

fn remote(status: StatusCode, value: &serde_json::Value) -> Error {
    let message = value["error"].as_str().unwrap_or("without a message").to_owned();
    Error::Remote { status: Status::from_http(status.as_u16()), message }
}

impl GrpcClient {
    /// Connects.
    ///
    /// ## Errors
    /// [`Error::Protocol`].
    pub async fn connect(address: SocketAddr) -> Result<Self> {
        Self::connect_with(address, None).await
    }

    /// Connects, with TLS if there is something to trust.
    ///
    /// ## Errors
    /// [`Error::Protocol`].
    pub async fn connect_with(address: SocketAddr, secret: Option<Secret<'_>>) -> Result<Self> {
        let io = connect(address, secret, true).await?;
        let scheme = if secret.is_some() { "https" } else { "http" };
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .initial_stream_window_size(8 << 20)
            .initial_connection_window_size(64 << 20)
            .max_frame_size(1 << 20);
        let (sender, connection) = builder.handshake(io).await.map_err(lost)?;
        tokio::spawn(connection);
        let base = format!("{scheme}://{address}");
        Ok(Self { sender, base, headers: HeaderMap::new() })
    }

    /// Calls a method of the inference service.
    ///
    /// ## Errors
    /// [`Error::Remote`], [`Error::Protocol`].
    pub async fn call<T: Message + Default>(
        &self,
        method: &str,
        request: &impl Message,
    ) -> Result<T> {
        let path = format!("/inference.GRPCInferenceService/{method}");
        let reply = self.unary(&path, request.encode_to_vec().into(), None).await?;
        T::decode(reply.to_bytes()).map_err(|why| Error::Protocol(format!("{method}: {why}")))
    }

    /// Asks for an inference.
    ///
    /// ## Errors
    /// [`Error::Remote`], [`Error::Protocol`].
    pub async fn infer(
        &self,
        request: &InferRequest,
        timeout: Option<Duration>,
    ) -> Result<InferReply> {
        let path = "/inference.GRPCInferenceService/ModelInfer";
        wire::read_reply(self.unary(path, wire::write_request(request), timeout).await?)
    }

    /// Sends one message and reads one.
    ///
    /// ## Errors
    /// [`Error::Remote`], [`Error::Protocol`].
    pub async fn unary(
        &self,
        path: &str,
        message: Rope,
        timeout: Option<Duration>,
    ) -> Result<Rope> {
        let response = self.start(path, framed(message), timeout).await?;
        let (head, body) = response.into_parts();
        check_status(&head.headers)?;
        let (mut body, trailers) = collect(body).await?;
        check_status(&trailers.unwrap_or_default())?;
        next_message(&mut body)?.ok_or_else(|| Error::Protocol("a reply without a message".into()))
    }

    /// Begins a call with a body.
    ///
    /// ## Errors
    /// [`Error::Protocol`].
    pub async fn start(
        &self,
        path: &str,
        body: Rope,
        timeout: Option<Duration>,
    ) -> Result<Response<Incoming>> {
        let mut sender = self.sender.clone();
        sender.ready().await.map_err(lost)?;
        let uri = format!("{}{path}", self.base);
        let mut request = Request::new(ReplyBody::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.parse().map_err(|why| Error::Protocol(format!("{uri}: {why}")))?;
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        if let Some(timeout) = timeout {
            let micros = timeout.as_micros().min(99_999_999);
            let value = HeaderValue::from_str(&format!("{micros}u")).map_err(lost)?;
            headers.insert("grpc-timeout", value);
        }
        sender.send_request(request).await.map_err(lost)
    }
}

/// A message with its prefix.
pub fn framed(message: Rope) -> Rope {
    let mut prefix = BytesMut::with_capacity(5);
    prefix.put_u8(0);
    prefix.put_u32(message.len() as u32);
    let mut framed = Rope::from(prefix.freeze());
    message.into_parts().into_iter().for_each(|part| framed.push(part));
    framed
}

/// Takes the next message of a body; `None` at its end.
///
/// ## Errors
/// [`Error::Protocol`] if it is cut off.
pub fn next_message(body: &mut Rope) -> Result<Option<Rope>> {
    if body.is_empty() {
        return Ok(None);
    }
    let cut = || Error::Protocol("a message is cut off".into());
    let prefix: Bytes = body.split_to(5).ok_or_else(cut)?.to_bytes();
    let len = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
    body.split_to(len as usize).ok_or_else(cut).map(Some)
}

fn check_status(headers: &HeaderMap) -> Result<()> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status").and_then(|code| code.parse::<u8>().ok()) {
        None | Some(0) => Ok(()),
        Some(code) => Err(Error::Remote {
            status: Status::from_grpc(code),
            message: text("grpc-message").unwrap_or("without a message").into(),
        }),
    }
}
