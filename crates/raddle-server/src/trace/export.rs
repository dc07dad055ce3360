//! Sends spans to a collector: OTLP as protobuf over HTTP, in batches, on one
//! connection that is made anew when it breaks.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hyper::Method;
use prost::Message;
use tokio::sync::Mutex;

use super::otlp::{ExportRequest, Resource, ResourceSpans, Scope, ScopeSpans, Span, text};
use super::{TraceSettings, Tracer, WAITING_MAX};
use crate::client::HttpClient;
use crate::error::{Error, Result};
use crate::log::{self, field};

/// Longest that a span waits for others.
const SEND_EVERY: Duration = Duration::from_secs(1);
/// Spans of one message.
const BATCH_MAX: usize = 2048;
/// Longest that a collector may take for a message.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// The way to the collector.
pub struct Exporter {
    authority: String,
    path: String,
    service: String,
    connection: Mutex<Connection>,
}

#[derive(Default)]
struct Connection {
    client: Option<HttpClient>,
    /// Whether the last message was not taken; said once.
    is_failing: bool,
}

impl Exporter {
    /// A way to the collector of the settings.
    ///
    /// ## Errors
    /// [`Error::Invalid`] for an endpoint that is none.
    pub fn new(settings: &TraceSettings) -> Result<Self> {
        let wrong = || {
            Error::invalid(format!(
                "traces.endpoint is {:?}, expected http://HOST:PORT/v1/traces (a collector on \
                 this machine takes traces without TLS)",
                settings.endpoint
            ))
        };
        let rest = settings.endpoint.strip_prefix("http://").ok_or_else(wrong)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, "v1/traces"));
        let has_port = authority.rsplit_once(':').is_some_and(|(_, it)| it.parse::<u16>().is_ok());
        if !has_port {
            return Err(wrong());
        }
        Ok(Self {
            authority: authority.into(),
            path: format!("/{path}"),
            service: settings.service.clone(),
            connection: Mutex::default(),
        })
    }

    async fn send(&self, client: &mut Option<HttpClient>, spans: &[Span]) -> Result<()> {
        let mut connected = match client.take() {
            Some(connected) => connected,
            None => {
                let unknown = |why: String| Error::Protocol(format!("{}: {why}", self.authority));
                let found = tokio::net::lookup_host(&self.authority).await;
                let mut found = found.map_err(|why| unknown(why.to_string()))?;
                let address = found.next().ok_or_else(|| unknown("has no address".into()))?;
                HttpClient::connect(address).await?
            }
        };
        let headers = [("content-type", "application/x-protobuf".into())];
        let body = self.message(spans).encode_to_vec().into();
        let (status, _, _) = connected.send(Method::POST, &self.path, &headers, body).await?;
        *client = Some(connected);
        match status.is_success() {
            true => Ok(()),
            false => Err(Error::Protocol(format!("the collector answered {status}"))),
        }
    }

    fn message(&self, spans: &[Span]) -> ExportRequest {
        let scope =
            Scope { name: "raddle-server".into(), version: env!("CARGO_PKG_VERSION").into() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: spans.to_vec() }];
        let attributes = vec![text("service.name", &*self.service)];
        let resource = Some(Resource { attributes });
        ExportRequest { resource_spans: vec![ResourceSpans { resource, scope_spans }] }
    }
}

impl Tracer {
    /// Sends what waits. What cannot be sent waits for the next time, as far as there
    /// is room. Whether everything was taken.
    pub async fn flush(&self) -> bool {
        let mut connection = self.exporter.connection.lock().await;
        loop {
            let spans: Vec<Span> = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let count = waiting.len().min(BATCH_MAX);
                waiting.drain(..count).collect()
            };
            if spans.is_empty() {
                return true;
            }
            let sending = self.exporter.send(&mut connection.client, &spans);
            let sent = tokio::time::timeout(ANSWER_MAX, sending).await;
            let late = || Error::Protocol("the collector did not answer in time".into());
            match sent.unwrap_or_else(|_| Err(late())) {
                Ok(()) => {
                    self.sent.fetch_add(spans.len() as u64, Relaxed);
                    connection.is_failing = false;
                }
                Err(error) => {
                    self.put_back(spans);
                    if !std::mem::replace(&mut connection.is_failing, true) {
                        log::warn("traces cannot be sent", &[field("why", error)]);
                    }
                    return false;
                }
            }
        }
    }

    fn put_back(&self, spans: Vec<Span>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let room = WAITING_MAX.saturating_sub(waiting.len());
        let lost = spans.len().saturating_sub(room);
        self.dropped.fetch_add(lost as u64, Relaxed);
        waiting.splice(..0, spans.into_iter().skip(lost));
    }
}

/// Sends spans whenever there are enough, or some that have waited.
pub async fn keep_sending(tracer: &Tracer) {
    loop {
        // Whether it was woken or the time is over, there may be something to send.
        let _ = tokio::time::timeout(SEND_EVERY, tracer.wake.notified()).await;
        if !tracer.flush().await {
            // Whoever cannot be reached is not asked more often.
            tokio::time::sleep(SEND_EVERY).await;
        }
    }
}
