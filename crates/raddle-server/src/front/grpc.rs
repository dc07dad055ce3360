//! gRPC on top of HTTP/2: framing, deadlines, status in trailers, and the methods of
//! `inference.GRPCInferenceService`.
//!
//! Written by hand because a message must reach `protocol::wire` as the pieces that
//! arrived and leave as the pieces that the model made, without a codec's buffer in
//! between.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Request, Response};
use prost::Message;
use tokio::sync::mpsc;

use super::body::{Reader, ReplyBody};
use super::compress::Encoding;
use super::{Entered, Front};
use crate::error::{Error, Result};
use crate::log;
use crate::protocol::{proto, wire};
use crate::server::{Context, config_message};
use crate::tensor::Rope;
use crate::trace::Begun;

/// Path of the service, with what follows it.
const SERVICE: &str = "/inference.GRPCInferenceService/";
/// Requests of one stream that are under way at once.
const STREAM_DEPTH: usize = 64;

/// Answers a request.
pub async fn handle(
    front: Arc<Front>,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Response<ReplyBody> {
    match answer(&front, peer, request).await {
        Ok(response) => response,
        Err(error) => status_only(&error),
    }
}

async fn answer(
    front: &Arc<Front>,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    if path == "/grpc.health.v1.Health/Check" {
        return health(front, Reader::new(front, body, false)).await.map(|reply| message(&reply));
    }
    let method = path.strip_prefix(SERVICE);
    let method = method.ok_or_else(|| Error::Unsupported(format!("the method {path}")))?.to_owned();
    front.authenticate(&head.headers)?;
    let entered = front.enter(peer)?;
    let call = Call {
        begun: front.trace(&head.headers),
        front: Arc::clone(front),
        encoding: Encoding::of(text(&head.headers, "grpc-encoding"))?,
        context: Context {
            deadline: deadline(&head.headers)?,
            ..super::http::context(&head.headers)
        },
    };
    match method.as_str() {
        "ModelInfer" => call.infer(body).await,
        "ModelStreamInfer" => Ok(call.stream(body, entered)),
        _ => call.other(&method, body).await,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// When the client stops waiting: `grpc-timeout` is up to eight digits and a unit.
fn deadline(headers: &HeaderMap) -> Result<Option<Instant>> {
    let value = text(headers, "grpc-timeout");
    if value.is_empty() {
        return Ok(None);
    }
    let wrong = || Error::invalid(format!("grpc-timeout is {value:?}"));
    let unit = value.chars().last().filter(char::is_ascii).ok_or_else(wrong)?;
    let number: u64 = value[..value.len() - 1].parse().map_err(|_| wrong())?;
    let time = match unit {
        'H' => Duration::from_secs(number.saturating_mul(3600)),
        'M' => Duration::from_secs(number.saturating_mul(60)),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        'n' => Duration::from_nanos(number),
        _ => return Err(wrong()),
    };
    Ok(Instant::now().checked_add(time))
}

/// A call of a method.
struct Call {
    front: Arc<Front>,
    encoding: Option<Encoding>,
    context: Context,
    /// The span of the call, if it is to be traced.
    begun: Option<Begun>,
}

impl Call {
    fn unpack(&self, is_packed: bool, message: Rope) -> Result<Rope> {
        match (is_packed, self.encoding) {
            (false, _) => Ok(message),
            (true, Some(encoding)) => {
                encoding.unpack(&message, self.front.server.settings.limits.message_bytes)
            }
            (true, None) => Err(Error::invalid("a compressed message without grpc-encoding")),
        }
    }

    /// The only message of a call.
    async fn only(&self, reader: &mut Reader) -> Result<Rope> {
        let found = reader.message().await?;
        let (is_packed, message) =
            found.ok_or_else(|| Error::invalid("a call without a message"))?;
        self.unpack(is_packed, message)
    }

    async fn infer(mut self, body: Incoming) -> Result<Response<ReplyBody>> {
        let mut reader = Reader::new(&self.front, body, false);
        let message = self.only(&mut reader).await?;
        let request = wire::read_request(message)?;
        self.context.received = Instant::now();
        let begun = self.begun.take();
        let reply = self.front.infer("ModelInfer", begun, request, &self.context).await?;
        Ok(whole(wire::write_reply(reply)))
    }

    /// Answers each message of a stream, in their order.
    fn stream(self, body: Incoming, entered: Option<Entered>) -> Response<ReplyBody> {
        let (frames, receiver) = mpsc::channel(STREAM_DEPTH);
        tokio::spawn(async move {
            let _entered = entered;
            let status = self.serve_stream(body, &frames).await;
            // Whoever hung up needs no status.
            let _ = frames.send(Frame::trailers(trailers(status.err().as_ref()))).await;
        });
        response(ReplyBody::Stream(receiver))
    }

    async fn serve_stream(self, body: Incoming, frames: &mpsc::Sender<Frame<Bytes>>) -> Result<()> {
        let mut reader = Reader::new(&self.front, body, true);
        let call = Arc::new(self);
        // Answers in the order of the requests, each a task that may be ready earlier.
        let (order, mut ordered) = mpsc::channel::<Answer>(STREAM_DEPTH);
        let writer = tokio::spawn({
            let frames = frames.clone();
            async move {
                while let Some(mut answer) = ordered.recv().await {
                    let Ok(message) = (&mut answer.0).await else { continue };
                    let parts = framed(message).into_parts();
                    for part in parts {
                        if frames.send(Frame::data(part)).await.is_err() {
                            return;
                        }
                    }
                }
            }
        });
        let outcome = loop {
            let (is_packed, message) = match reader.message().await {
                Ok(Some(message)) => message,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            let held = reader.release();
            let call = Arc::clone(&call);
            let answer = tokio::spawn(async move {
                let _held = held;
                call.answer_in_stream(is_packed, message).await
            });
            if order.send(Answer(answer)).await.is_err() {
                break Err(Error::Cancelled);
            }
        };
        drop(order);
        // Its only failure is a client that hung up.
        let _ = writer.await;
        outcome
    }

    /// `ModelStreamInferResponse`: 1 is an error's text, 2 the reply.
    async fn answer_in_stream(&self, is_packed: bool, message: Rope) -> Rope {
        let answered = async {
            let request = wire::read_request(self.unpack(is_packed, message)?)?;
            let context = Context { received: Instant::now(), ..self.context.clone() };
            let begun = self.begun.as_ref().map(Begun::again);
            self.front.infer("ModelStreamInfer", begun, request, &context).await
        };
        let (key, content) = match answered.await {
            Ok(reply) => (0x12, wire::write_reply(reply)),
            Err(error) => (0x0a, Rope::from(error.to_string().into_bytes())),
        };
        let mut head = BytesMut::with_capacity(11);
        head.put_u8(key);
        prost::encoding::encode_varint(content.len() as u64, &mut head);
        let mut message = Rope::from(head.freeze());
        content.into_parts().into_iter().for_each(|part| message.push(part));
        message
    }

    async fn other(self, method: &str, body: Incoming) -> Result<Response<ReplyBody>> {
        let mut reader = Reader::new(&self.front, body, false);
        let bytes = self.only(&mut reader).await?.to_bytes();
        let server = &self.front.server;
        Ok(match method {
            "ServerLive" => message(&proto::Live { live: true }),
            "ServerReady" => message(&proto::Ready { ready: server.is_ready() }),
            "ServerMetadata" => message(&server.metadata()),
            "ModelReady" => {
                let proto::ModelName { name, version } = decode(bytes)?;
                message(&proto::Ready { ready: server.version(&name, &version).is_ok() })
            }
            "ModelMetadata" => {
                let proto::ModelName { name, version } = decode(bytes)?;
                message(&server.model_metadata(&name, &version)?)
            }
            "ModelConfig" => {
                let proto::ModelName { name, version } = decode(bytes)?;
                let config = config_message(&server.version(&name, &version)?.config);
                message(&proto::ModelConfigReply { config: Some(config) })
            }
            "ModelStatistics" => {
                let proto::ModelName { name, version } = decode(bytes)?;
                message(&server.statistics(&name, &version)?)
            }
            _ => self.manage(method, bytes).await?,
        })
    }

    async fn manage(&self, method: &str, bytes: Bytes) -> Result<Response<ReplyBody>> {
        let server = &self.front.server;
        let shared = &server.shared_memory;
        match method {
            "RepositoryIndex" => {
                let asked: proto::RepositoryIndexRequest = decode(bytes)?;
                let models = server.index(asked.ready).into_iter().map(|it| proto::ModelIndex {
                    name: it.name,
                    version: it.version,
                    state: it.state.into(),
                    reason: it.reason,
                });
                return Ok(message(&proto::RepositoryIndex { models: models.collect() }));
            }
            "RepositoryModelLoad" => {
                let asked: proto::RepositoryModel = decode(bytes)?;
                let config = load_config(&asked)?;
                super::http::load(&self.front, asked.model_name, config).await?;
            }
            "RepositoryModelUnload" => {
                let asked: proto::RepositoryModel = decode(bytes)?;
                super::http::unload(&self.front, asked.model_name).await?;
            }
            "SystemSharedMemoryStatus" => {
                let asked: proto::SharedMemoryName = decode(bytes)?;
                let regions = shared.status(&asked.name)?.into_iter().map(|(name, region)| {
                    let about = proto::SharedMemoryRegister {
                        name: name.clone(),
                        key: region.key.clone(),
                        offset: region.offset,
                        byte_size: region.bytes,
                    };
                    (name, about)
                });
                return Ok(message(&proto::SharedMemoryStatus { regions: regions.collect() }));
            }
            "SystemSharedMemoryRegister" => {
                let it: proto::SharedMemoryRegister = decode(bytes)?;
                shared.register(&it.name, &it.key, it.offset, it.byte_size)?;
            }
            "SystemSharedMemoryUnregister" => {
                let asked: proto::SharedMemoryName = decode(bytes)?;
                shared.unregister(&asked.name)?;
            }
            // Clients ask for this even when they use system shared memory only, and
            // nothing is registered here to forget.
            "CudaSharedMemoryUnregister" | "CudaSharedMemoryStatus" => {}
            "LogSettings" => return log_settings(decode(bytes)?),
            _ => return Err(Error::Unsupported(format!("the method {method}"))),
        }
        Ok(message(&proto::Empty {}))
    }
}

/// An answer under way in a stream; given up when nobody will read it.
struct Answer(tokio::task::JoinHandle<Rope>);

impl Drop for Answer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The configuration that a load request brings.
fn load_config(asked: &proto::RepositoryModel) -> Result<Option<String>> {
    let mut config = None;
    for (name, parameter) in &asked.parameters {
        match (name.as_str(), &parameter.choice) {
            ("config", Some(proto::RepositoryChoice::String(text))) => config = Some(text.clone()),
            _ => return Err(Error::Unsupported(format!("the load parameter {name}"))),
        }
    }
    Ok(config)
}

/// Reads and changes what is logged.
fn log_settings(asked: proto::LogSettings) -> Result<Response<ReplyBody>> {
    for (name, setting) in asked.settings {
        let value = match setting.choice {
            Some(proto::LogChoice::Bool(flag)) => flag.into(),
            Some(proto::LogChoice::Uint32(number)) => number.into(),
            Some(proto::LogChoice::String(text)) => text.into(),
            None => continue,
        };
        log::change(&name, &value)?;
    }
    let settings = log::settings().into_iter().map(|(name, value)| {
        let choice = match value {
            serde_json::Value::Bool(flag) => proto::LogChoice::Bool(flag),
            serde_json::Value::Number(number) => {
                proto::LogChoice::Uint32(number.as_u64().unwrap_or(0) as u32)
            }
            other => proto::LogChoice::String(other.as_str().unwrap_or_default().into()),
        };
        (name.to_owned(), proto::LogSetting { choice: Some(choice) })
    });
    Ok(message(&proto::LogSettings { settings: settings.collect() }))
}

async fn health(front: &Arc<Front>, mut reader: Reader) -> Result<proto::HealthStatus> {
    let asked = reader.message().await?.map(|(_, message)| message.to_bytes()).unwrap_or_default();
    let asked: proto::HealthCheck = decode(asked)?;
    match asked.service.as_str() {
        "" | "inference.GRPCInferenceService" => {
            Ok(proto::HealthStatus { status: if front.server.is_ready() { 1 } else { 2 } })
        }
        other => Err(Error::UnknownModel { model: format!("(service) {other}") }),
    }
}

fn decode<T: Message + Default>(bytes: Bytes) -> Result<T> {
    T::decode(bytes).map_err(|why| Error::invalid(format!("the message cannot be read: {why}")))
}

fn message(reply: &impl Message) -> Response<ReplyBody> {
    whole(reply.encode_to_vec().into())
}

/// A message with its prefix; joined with a first piece that is small.
fn framed(message: Rope) -> Rope {
    /// Pieces below this are copied behind the prefix.
    const JOINED_MAX: usize = 16_384;
    let mut prefix = BytesMut::with_capacity(5 + 256);
    prefix.put_u8(0);
    prefix.put_u32(message.len() as u32);
    let mut framed = Rope::default();
    for part in message.into_parts() {
        if part.len() <= JOINED_MAX {
            prefix.put_slice(&part);
        } else {
            framed.push(prefix.split().freeze());
            framed.push(part);
        }
    }
    framed.push(prefix.freeze());
    framed
}

fn whole(message: Rope) -> Response<ReplyBody> {
    let parts = framed(message).into_parts().into();
    response(ReplyBody::Whole { parts, trailers: Some(trailers(None)) })
}

fn response(body: ReplyBody) -> Response<ReplyBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// A response that is only a status, in its head.
fn status_only(error: &Error) -> Response<ReplyBody> {
    let mut response = response(Bytes::new().into());
    response.headers_mut().extend(trailers(Some(error)));
    response
}

fn trailers(error: Option<&Error>) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(3);
    let code = error.map_or(0, |error| error.status().grpc());
    trailers.insert("grpc-status", u16::from(code).into());
    let Some(error) = error else { return trailers };
    if let Ok(text) = HeaderValue::from_str(&percent(&error.to_string())) {
        trailers.insert("grpc-message", text);
    }
    if let Some(after) = error.retry_after() {
        trailers.insert("grpc-retry-pushback-ms", (after.as_millis() as u64).into());
    }
    trailers
}

/// Text as `grpc-message` carries it: printable ASCII but for `%`.
fn percent(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_str(value).unwrap());
            deadline(&headers).map(|it| it.map(|it| it.saturating_duration_since(Instant::now())))
        };
        let seconds = |value| read(value).unwrap().unwrap().as_secs_f64().round();
        assert_eq!((seconds("2H"), seconds("3M"), seconds("4S")), (7200.0, 180.0, 4.0));
        assert_eq!((seconds("5000m"), seconds("6000000u")), (5.0, 6.0));
        for wrong in ["1", "S", "-1S", "1x", "99999999999999999999S"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(deadline(&HeaderMap::new()).unwrap().is_none());
    }

    #[test]
    fn messages_are_ascii_in_headers() {
        assert_eq!(percent("a b\n50 % ü"), "a b%0A50 %25 %C3%BC");
    }

    #[test]
    fn large_pieces_are_not_copied() {
        let large = Bytes::from(vec![1; 100_000]);
        let mut rope = Rope::from(b"head".to_vec());
        rope.push(large.clone());
        let framed = framed(rope);
        assert_eq!(&framed.parts()[0][..], b"\0\x00\x01\x86\xa4head");
        assert_eq!(framed.parts()[1].as_ptr(), large.as_ptr());
    }
}
