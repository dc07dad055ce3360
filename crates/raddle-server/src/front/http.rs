//! HTTP: the KServe v2 routes with Triton's extensions, canaries, metrics and the
//! status page.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    RETRY_AFTER,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::body::{Held, ReplyBody, RequestBody};
use super::compress::Encoding;
use super::{Front, Service};
use crate::canary::Verdict;
use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::protocol::{self, proto};
use crate::served::Hints;
use crate::server::Context;
use crate::tensor::Rope;
use crate::{log, metrics, page};

/// Most parts of a path: no route has as many.
const PARTS_MAX: usize = 8;
/// Header that says how long the JSON before binary tensors is.
const HEAD_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// Headers that say which version a request wants.
static CANARY: HeaderName = HeaderName::from_static("x-raddle-canary");
static ROUTE_KEY: HeaderName = HeaderName::from_static("x-raddle-route-key");

/// Answers a request.
pub async fn handle(
    front: Arc<Front>,
    service: Service,
    peer: IpAddr,
    head: Parts,
    body: RequestBody<'_>,
) -> Response<ReplyBody> {
    let call = Call { front, service, peer, head };
    let answered = call.answer(body).await;
    answered.unwrap_or_else(|error| failed(&error))
}

/// What headers say about a request's way.
pub fn context(headers: &HeaderMap) -> Context {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let canary = match text(&CANARY) {
        Some("always") => Some(true),
        Some("never") => Some(false),
        _ => None,
    };
    let key = text(&ROUTE_KEY).map(|key| {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        hasher.finish()
    });
    Context { received: Instant::now(), deadline: None, hints: Hints { canary, key } }
}

/// Loads a model as a request asks.
///
/// ## Errors
/// [`Error::Off`], and why the model does not load.
pub async fn load(front: &Arc<Front>, model: String, config: Option<String>) -> Result<()> {
    may_control(front)?;
    let config = config.map(|text| ModelConfig::from_json(&text).map(Box::new)).transpose()?;
    let server = Arc::clone(&front.server);
    let reason = crate::server::Reason::Request(config);
    let loaded = tokio::task::spawn_blocking(move || server.sync(&model, reason)).await;
    loaded.unwrap_or_else(|_| Err(Error::NotReady("the server".into())))
}

/// Unloads a model as a request asks; returns when its last request is answered.
///
/// ## Errors
/// [`Error::Off`], [`Error::UnknownModel`].
pub async fn unload(front: &Arc<Front>, model: String) -> Result<()> {
    may_control(front)?;
    let server = Arc::clone(&front.server);
    let unloaded = tokio::task::spawn_blocking(move || server.unload(&model)).await;
    unloaded.unwrap_or_else(|_| Err(Error::NotReady("the server".into())))
}

fn may_control(front: &Front) -> Result<()> {
    match front.server.settings.allow_model_control {
        true => Ok(()),
        false => Err(Error::Off {
            what: "loading and unloading by request",
            remedy: "start the server with allow_model_control = true",
        }),
    }
}

/// A request without its body.
struct Call {
    front: Arc<Front>,
    service: Service,
    peer: IpAddr,
    head: Parts,
}

impl Call {
    async fn answer(self, body: RequestBody<'_>) -> Result<Response<ReplyBody>> {
        let uri = self.head.uri.clone();
        let path = uri.path();
        let mut parts = [""; PARTS_MAX];
        let mut count = 0;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            *parts.get_mut(count).ok_or_else(|| unknown_path(path))? = part;
            count += 1;
        }
        let parts = &parts[..count];
        let is_get = matches!(self.head.method, Method::GET | Method::HEAD);
        let server = &self.front.server;
        match (self.service, parts) {
            // Whoever watches the server needs no token for this.
            (_, ["v2", "health", "live"]) if is_get => {
                return Ok(json_reply(&json!({ "live": true })));
            }
            (_, ["v2", "health", "ready"]) if is_get => {
                let is_ready = server.is_ready();
                if is_ready {
                    return Ok(json_reply(&json!({ "ready": true })));
                }
                let waiting = server.loading.to_json();
                let mut reply = json_reply(&json!({ "ready": false, "waiting_for": waiting }));
                *reply.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                return Ok(reply);
            }
            (Service::Metrics, ["metrics"]) if is_get => return Ok(metrics::reply(&self.front)),
            (Service::Metrics, _) => return Err(unknown_path(path)),
            _ => {}
        }
        self.front.authenticate(&self.head.headers)?;
        match parts {
            [] if is_get => Ok(page::reply()),
            ["status.json"] if is_get => Ok(json_reply(&page::status(&self.front))),
            ["v2", "models", model, rest @ ..] => {
                let (version, rest) = match rest {
                    ["versions", version, rest @ ..] => (*version, rest),
                    rest => ("", rest),
                };
                if is_get {
                    self.ask(model, version, rest)
                } else {
                    self.act(model, version, rest, body).await
                }
            }
            _ if is_get => self.ask_server(parts),
            _ => self.act_on_server(parts, body).await,
        }
    }

    /// Questions about a model.
    fn ask(&self, model: &str, version: &str, rest: &[&str]) -> Result<Response<ReplyBody>> {
        let server = &self.front.server;
        Ok(match rest {
            [] if model == "stats" => json_reply(&statistics(&server.statistics("", "")?)),
            [] => {
                let about = server.model_metadata(model, version)?;
                let tensor = |it: &proto::TensorMetadata| json!({ "name": it.name, "datatype": it.datatype, "shape": it.shape });
                json_reply(&json!({
                    "name": about.name, "versions": about.versions, "platform": about.platform,
                    "inputs": about.inputs.iter().map(tensor).collect::<Vec<_>>(),
                    "outputs": about.outputs.iter().map(tensor).collect::<Vec<_>>(),
                }))
            }
            ["ready"] => {
                server.version(model, version)?;
                json_reply(&json!({ "name": model, "ready": true }))
            }
            ["config"] => json_reply(&server.version(model, version)?.config.to_json()),
            ["stats"] => json_reply(&statistics(&server.statistics(model, version)?)),
            ["canary"] => json_reply(&server.canary_json(&*server.model(model)?)),
            _ => return Err(unknown_path(self.head.uri.path())),
        })
    }

    fn ask_server(&self, parts: &[&str]) -> Result<Response<ReplyBody>> {
        let server = &self.front.server;
        Ok(match parts {
            ["v2"] => {
                let about = server.metadata();
                json_reply(&json!({
                    "name": about.name, "version": about.version, "extensions": about.extensions,
                }))
            }
            ["v2", "logging"] => json_reply(&log_settings()),
            ["v2", "systemsharedmemory", "status"] => self.regions("")?,
            ["v2", "systemsharedmemory", "region", name, "status"] => self.regions(name)?,
            ["v2", "cudasharedmemory", .., "status"] => json_reply(&json!([])),
            _ => return Err(unknown_path(self.head.uri.path())),
        })
    }

    fn regions(&self, name: &str) -> Result<Response<ReplyBody>> {
        let regions = self.front.server.shared_memory.status(name)?;
        let list: Vec<Value> = regions
            .iter()
            .map(|(name, it)| {
                json!({ "name": name, "key": it.key, "offset": it.offset, "byte_size": it.bytes })
            })
            .collect();
        Ok(json_reply(&list.into()))
    }

    /// Orders to a model.
    async fn act(
        self,
        model: &str,
        version: &str,
        rest: &[&str],
        body: RequestBody<'_>,
    ) -> Result<Response<ReplyBody>> {
        match rest {
            ["infer"] => self.infer(model, version, body).await,
            ["canary", order @ ("promote" | "rollback")] => {
                may_control(&self.front)?;
                let verdict = match *order {
                    "promote" => Verdict::Promote,
                    _ => Verdict::RollBack("by request".into()),
                };
                let (server, model) = (Arc::clone(&self.front.server), model.to_owned());
                let decided = tokio::task::spawn_blocking(move || {
                    server.decide_by_request(&model, &verdict)?;
                    Ok(server.canary_json(&*server.model(&model)?))
                });
                let view: Result<Value> = decided.await.unwrap_or(Err(Error::Cancelled));
                Ok(json_reply(&view?))
            }
            _ => Err(unknown_path(self.head.uri.path())),
        }
    }

    async fn act_on_server(
        self,
        parts: &[&str],
        mut body: RequestBody<'_>,
    ) -> Result<Response<ReplyBody>> {
        let (body, _held) = self.body(&mut body).await?;
        let server = &self.front.server;
        let asked = || -> Result<Value> {
            if body.is_empty() {
                return Ok(json!({}));
            }
            serde_json::from_slice(&body.to_bytes())
                .map_err(|why| Error::invalid(format!("the body is no JSON: {why}")))
        };
        match parts {
            ["v2", "repository", "index"] => {
                let is_ready = asked()?["ready"].as_bool().unwrap_or(false);
                let list: Vec<Value> = server
                    .index(is_ready)
                    .into_iter()
                    .map(|it| {
                        json!({
                            "name": it.name, "version": it.version, "state": it.state,
                            "reason": it.reason,
                        })
                    })
                    .collect();
                return Ok(json_reply(&list.into()));
            }
            ["v2", "repository", "models", model, "load"] => {
                let asked = asked()?;
                let parameters = asked["parameters"].as_object().cloned().unwrap_or_default();
                if let Some(name) = parameters.keys().find(|name| *name != "config") {
                    return Err(Error::Unsupported(format!("the load parameter {name}")));
                }
                let config = parameters.get("config").and_then(Value::as_str).map(str::to_owned);
                load(&self.front, (*model).to_owned(), config).await?;
            }
            ["v2", "repository", "models", model, "unload"] => {
                unload(&self.front, (*model).to_owned()).await?;
            }
            ["v2", "systemsharedmemory", "region", name, "register"] => {
                let asked = asked()?;
                let number = |field: &str| {
                    asked[field].as_u64().ok_or_else(|| {
                        Error::invalid(format!("{field} is missing or no whole number"))
                    })
                };
                let offset = if asked["offset"].is_null() { 0 } else { number("offset")? };
                let key = asked["key"].as_str().unwrap_or_default();
                server.shared_memory.register(name, key, offset, number("byte_size")?)?;
            }
            ["v2", "systemsharedmemory", "region", name, "unregister"] => {
                server.shared_memory.unregister(name)?;
            }
            ["v2", "systemsharedmemory", "unregister"] => server.shared_memory.unregister("")?,
            ["v2", "cudasharedmemory", .., "unregister"] => {}
            ["v2", "logging"] => {
                for (name, value) in asked()?.as_object().into_iter().flatten() {
                    log::change(name, value)?;
                }
                return Ok(json_reply(&log_settings()));
            }
            _ => return Err(unknown_path(self.head.uri.path())),
        }
        Ok(json_reply(&json!({})))
    }

    /// Reads the body, unpacked.
    async fn body(&self, body: &mut RequestBody<'_>) -> Result<(Rope, Held)> {
        let encoding = self.head.headers.get(CONTENT_ENCODING).and_then(|it| it.to_str().ok());
        let encoding = Encoding::of(encoding.unwrap_or_default())?;
        let (body, mut held) = body.all(&self.front).await?;
        let Some(encoding) = encoding else { return Ok((body, held)) };
        let limit = self.front.server.settings.limits.message_bytes;
        let unpacked = encoding.unpack(&body, limit)?;
        held.add(unpacked.len() as u64)?;
        Ok((unpacked, held))
    }

    async fn infer(
        self,
        model: &str,
        version: &str,
        mut body: RequestBody<'_>,
    ) -> Result<Response<ReplyBody>> {
        let _entered = self.front.enter(self.peer)?;
        let begun = self.front.trace(&self.head.headers);
        // A model that is not there need not be sent tensors.
        let found = self.front.server.model(model)?;
        let (bytes, _held) = self.body(&mut body).await?;
        let head_len = match self.head.headers.get(HEAD_LENGTH) {
            None => None,
            Some(value) => {
                let number = value.to_str().ok().and_then(|text| text.parse::<usize>().ok());
                Some(number.ok_or_else(|| {
                    Error::invalid(format!("{HEAD_LENGTH} is {value:?}, expected a number"))
                })?)
            }
        };
        let mut request = match head_len {
            Some(0) => {
                let signature = &self.front.server.version(&found.name, version)?.signature;
                let [input] = signature.inputs.as_slice() else {
                    let count = signature.inputs.len();
                    return Err(Error::invalid(format!(
                        "a raw body is for models with one input, {model} has {count}"
                    )));
                };
                protocol::json::raw_request(bytes, &input.name, input.datatype, &input.shape)?
            }
            head_len => protocol::json::read_request(bytes, head_len)?,
        };
        request.model = model.into();
        request.version = version.into();
        let context = context(&self.head.headers);
        let answer = self.front.infer("http infer", begun, request, &context);
        let reply = body.unless_gone(answer).await?;
        let (body, head_len) = protocol::json::write_reply(reply)?;
        Ok(self.packed(body, head_len))
    }

    /// The reply to an inference request, compressed if the client wants it.
    fn packed(&self, body: Rope, head_len: Option<usize>) -> Response<ReplyBody> {
        let accepted = self.head.headers.get(ACCEPT_ENCODING).and_then(|it| it.to_str().ok());
        let encoding = accepted.and_then(Encoding::accepted);
        let mut response = match encoding {
            None => Response::new(ReplyBody::from(body)),
            Some(encoding) => {
                let mut response = Response::new(ReplyBody::from(encoding.pack(&body)));
                let name = HeaderValue::from_static(encoding.name());
                response.headers_mut().insert(CONTENT_ENCODING, name);
                response
            }
        };
        let headers = response.headers_mut();
        let kind = if head_len.is_some() { "application/octet-stream" } else { "application/json" };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(len) = head_len {
            headers.insert(HEAD_LENGTH, len.into());
        }
        response
    }
}

fn unknown_path(path: &str) -> Error {
    Error::UnknownModel { model: format!("(path) {path}") }
}

fn log_settings() -> Value {
    log::settings()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A reply of JSON.
pub fn json_reply(value: &Value) -> Response<ReplyBody> {
    typed_reply("application/json", value.to_string().into())
}

/// A reply of a type.
pub fn typed_reply(kind: &'static str, body: Bytes) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn failed(error: &Error) -> Response<ReplyBody> {
    let mut response = typed_reply("application/json", protocol::json::error_body(error));
    *response.status_mut() =
        StatusCode::from_u16(error.status().http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Some(after) = error.retry_after() {
        // The header knows whole seconds only; the exact time stands beside it.
        headers.insert(RETRY_AFTER, (after.as_secs_f64().ceil() as u64).into());
        headers.insert("retry-after-ms", (after.as_millis() as u64).into());
    }
    if matches!(error, Error::Unauthenticated) {
        headers.insert("www-authenticate", HeaderValue::from_static("Bearer"));
    }
    response
}

/// Statistics in the names of Triton's JSON.
fn statistics(statistics: &proto::Statistics) -> Value {
    let duration = |it: &Option<proto::Duration>| {
        let it = it.unwrap_or_default();
        json!({ "count": it.count, "ns": it.ns })
    };
    let model = |model: &proto::ModelStatistics| {
        let stats = model.inference_stats.unwrap_or_default();
        let batch = |batch: &proto::InferBatchStatistics| {
            json!({
                "batch_size": batch.batch_size,
                "compute_input": duration(&batch.compute_input),
                "compute_infer": duration(&batch.compute_infer),
                "compute_output": duration(&batch.compute_output),
            })
        };
        json!({
            "name": model.name, "version": model.version,
            "last_inference": model.last_inference,
            "inference_count": model.inference_count,
            "execution_count": model.execution_count,
            "inference_stats": {
                "success": duration(&stats.success), "fail": duration(&stats.fail),
                "queue": duration(&stats.queue),
                "compute_input": duration(&stats.compute_input),
                "compute_infer": duration(&stats.compute_infer),
                "compute_output": duration(&stats.compute_output),
                "cache_hit": duration(&stats.cache_hit), "cache_miss": duration(&stats.cache_miss),
            },
            "batch_stats": model.batch_stats.iter().map(batch).collect::<Vec<_>>(),
            "memory_usage": model.memory_usage.iter()
                .map(|it| json!({ "type": it.kind, "id": it.id, "byte_size": it.byte_size }))
                .collect::<Vec<_>>(),
        })
    };
    json!({ "model_stats": statistics.model_stats.iter().map(model).collect::<Vec<_>>() })
}
