//! Traces of requests, sent to an OpenTelemetry collector.
//!
//! A request that is traced gets a span with one child for each stage: queue, copy in,
//! compute, copy out. Its trace is the one that `traceparent` names, whose sampled flag
//! decides; of the others the settings' share begins traces of their own. Spans wait in
//! a bounded buffer and are sent in the background: a collector that is slow or gone
//! costs traces, never requests.

mod export;
pub mod otlp;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyper::header::HeaderMap;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::error::{Error, Result};
use crate::protocol::InferRequest;
use crate::server::Timeline;
use export::Exporter;
use otlp::{KIND_INTERNAL, KIND_SERVER, Span, SpanStatus, number, text};

pub use export::keep_sending;

/// Spans that wait at most; further ones are dropped and counted.
const WAITING_MAX: usize = 16_384;
/// Spans that are sent before their time.
const WAKE_AT: usize = 512;

/// Where traces go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceSettings {
    /// The collector: `http://HOST:PORT/v1/traces`, OTLP in protobuf over HTTP.
    pub endpoint: String,
    /// Share of the requests without a context of their own that is traced.
    #[serde(default = "everything")]
    pub share: f64,
    /// `service.name` of the spans.
    #[serde(default = "own_name")]
    pub service: String,
}

fn everything() -> f64 {
    1.0
}

fn own_name() -> String {
    "raddle".into()
}

/// Makes, keeps and sends spans.
pub struct Tracer {
    share: f64,
    ids: Ids,
    waiting: Mutex<Vec<Span>>,
    wake: Notify,
    exporter: Exporter,
    /// Spans that a collector took.
    pub sent: AtomicU64,
    /// Spans that nobody took.
    pub dropped: AtomicU64,
}

impl Tracer {
    /// A tracer to the collector of the settings.
    ///
    /// ## Errors
    /// [`Error::Invalid`] with the setting and what would do.
    pub fn open(settings: &TraceSettings) -> Result<Self> {
        if !(0.0..=1.0).contains(&settings.share) {
            let found = settings.share;
            return Err(Error::invalid(format!("traces.share is {found}, expected 0 to 1")));
        }
        Ok(Self {
            share: settings.share,
            ids: Ids::default(),
            waiting: Mutex::default(),
            wake: Notify::new(),
            exporter: Exporter::new(settings)?,
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        })
    }

    /// Begins the span of a request, if it is to be traced.
    pub fn begin(&self, headers: &HeaderMap) -> Option<Begun> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let parent = header("traceparent").and_then(Parent::parse);
        let is_traced = match &parent {
            Some(parent) => parent.is_sampled,
            None => self.ids.unit() < self.share,
        };
        is_traced.then(|| Begun {
            trace: parent.as_ref().map_or_else(|| self.ids.trace(), |parent| parent.trace),
            parent: parent.map(|parent| parent.span),
            state: header("tracestate").unwrap_or_default().chars().take(512).collect(),
            time: SystemTime::now(),
            instant: Instant::now(),
        })
    }

    /// Follows a request from here on.
    pub fn follow(
        &self,
        begun: Begun,
        method: &'static str,
        request: &InferRequest,
    ) -> Followed<'_> {
        let (model, id) = (request.model.clone(), request.id.clone());
        Followed { tracer: self, begun, method, model, id, is_over: false }
    }

    fn keep(&self, spans: Vec<Span>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() + spans.len() > WAITING_MAX {
            self.dropped.fetch_add(spans.len() as u64, Relaxed);
            return;
        }
        waiting.extend(spans);
        if waiting.len() >= WAKE_AT {
            self.wake.notify_one();
        }
    }
}

/// Where and when a span began.
#[derive(Debug, Clone)]
pub struct Begun {
    trace: [u8; 16],
    parent: Option<[u8; 8]>,
    state: String,
    time: SystemTime,
    instant: Instant,
}

impl Begun {
    /// The same context for a message of a stream that came now.
    pub fn again(&self) -> Self {
        Self { time: SystemTime::now(), instant: Instant::now(), ..self.clone() }
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        let time = self.time + at.saturating_duration_since(self.instant);
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A request that is traced; given up if it is dropped on the way.
pub struct Followed<'a> {
    tracer: &'a Tracer,
    begun: Begun,
    method: &'static str,
    model: String,
    id: String,
    is_over: bool,
}

impl Followed<'_> {
    /// Ends the span as the request ended.
    pub fn end(mut self, timeline: Result<&Timeline, &Error>) {
        self.is_over = true;
        let end = Instant::now();
        let mut root = self.root(end);
        let mut spans = Vec::new();
        match timeline {
            Err(error) => {
                root.attributes.push(text("error.type", format!("{:?}", error.status())));
                root.status = Some(SpanStatus { message: error.to_string(), code: 2 });
            }
            Ok(timeline) => {
                root.attributes.push(number("raddle.model.version", timeline.version));
                root.attributes.push(number("raddle.batch.rows", timeline.batch_rows as u64));
                spans = self.stages(&root, timeline);
            }
        }
        spans.push(root);
        self.tracer.keep(spans);
    }

    fn root(&self, end: Instant) -> Span {
        let begun = &self.begun;
        Span {
            trace_id: begun.trace.to_vec(),
            span_id: self.tracer.ids.span().to_vec(),
            trace_state: begun.state.clone(),
            parent_span_id: begun.parent.map(|parent| parent.to_vec()).unwrap_or_default(),
            name: self.method.into(),
            kind: KIND_SERVER,
            start_time_unix_nano: begun.nanoseconds(begun.instant),
            end_time_unix_nano: begun.nanoseconds(end),
            attributes: vec![
                text("raddle.model.name", &*self.model),
                text("raddle.request.id", &*self.id),
            ],
            status: None,
        }
    }

    /// The stages, one after the other from the moment that the request waited.
    fn stages(&self, root: &Span, timeline: &Timeline) -> Vec<Span> {
        let times = &timeline.times;
        let mut at = timeline.began.checked_sub(timeline.queue).unwrap_or(timeline.began);
        let mut stage = |name: &str, time: Duration| {
            let start = at;
            at += time;
            Span {
                trace_id: root.trace_id.clone(),
                span_id: self.tracer.ids.span().to_vec(),
                trace_state: root.trace_state.clone(),
                parent_span_id: root.span_id.clone(),
                name: name.into(),
                kind: KIND_INTERNAL,
                start_time_unix_nano: self.begun.nanoseconds(start),
                end_time_unix_nano: self.begun.nanoseconds(at),
                attributes: Vec::new(),
                status: None,
            }
        };
        vec![
            stage("queue", timeline.queue),
            stage("copy_in", times.copy_in),
            stage("compute", times.compute),
            stage("copy_out", times.copy_out),
        ]
    }
}

impl Drop for Followed<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let mut root = self.root(Instant::now());
            root.status = Some(SpanStatus { message: Error::Cancelled.to_string(), code: 2 });
            self.tracer.keep(vec![root]);
        }
    }
}

/// The context that a request brings.
///
/// *Source:* W3C Trace Context, `traceparent`.
#[derive(Debug, PartialEq, Eq)]
struct Parent {
    trace: [u8; 16],
    span: [u8; 8],
    is_sampled: bool,
}

impl Parent {
    /// `None` for what the standard tells to ignore.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let version: [u8; 1] = hex(parts.next()?)?;
        let (trace, span) = (hex(parts.next()?)?, hex(parts.next()?)?);
        let flags: [u8; 1] = hex(parts.next()?)?;
        // Later versions may have more behind it.
        let is_known = version[0] != 0xff && (version[0] > 0 || parts.next().is_none());
        let is_valid = is_known && trace != [0; 16] && span != [0; 8];
        is_valid.then_some(Self { trace, span, is_sampled: flags[0] & 1 == 1 })
    }
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 2 * N || !text.bytes().all(is_lower) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// Numbers that no other process makes.
struct Ids(AtomicU64);

impl Default for Ids {
    fn default() -> Self {
        Self(AtomicU64::new(RandomState::new().hash_one(std::process::id())))
    }
}

impl Ids {
    /// *Source:* Steele, Lea, Flood: Fast splittable pseudorandom number generators.
    fn next(&self) -> u64 {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.0.fetch_add(GAMMA, Relaxed).wrapping_add(GAMMA);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // All zeros are no id.
        (mixed ^ (mixed >> 31)).max(1)
    }

    fn unit(&self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn span(&self) -> [u8; 8] {
        self.next().to_be_bytes()
    }

    fn trace(&self) -> [u8; 16] {
        ((u128::from(self.next()) << 64) | u128::from(self.next())).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_read_as_the_standard_says() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = Parent::parse(good).unwrap();
        assert_eq!((parent.trace[0], parent.span[7], parent.is_sampled), (0x0a, 0x31, true));
        assert!(!Parent::parse(&good.replace("-01", "-02")).unwrap().is_sampled);
        assert!(Parent::parse(&format!("{}-more", good.replacen("00", "01", 1))).is_some());
        for wrong in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        ] {
            assert_eq!(Parent::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn spans_that_find_no_room_are_counted() {
        let endpoint = "http://127.0.0.1:4318/v1/traces".into();
        let settings = TraceSettings { endpoint, share: 1.0, service: own_name() };
        let tracer = Tracer::open(&settings).unwrap();
        for _ in 0..WAITING_MAX + 3 {
            let begun = tracer.begin(&HeaderMap::new()).unwrap();
            drop(tracer.follow(begun, "ModelInfer", &InferRequest::default()));
        }
        let waiting = tracer.waiting.lock().unwrap();
        assert_eq!((waiting.len(), tracer.dropped.load(Relaxed)), (WAITING_MAX, 3));
        let given_up = waiting[0].status.clone().unwrap();
        assert_eq!((given_up.code, given_up.message.as_str()), (2, "the request was cancelled"));
        let wrong = TraceSettings { share: 1.5, ..settings };
        assert!(Tracer::open(&wrong).is_err());
    }

    #[test]
    fn ids_differ_and_shares_hold() {
        let ids = Ids::default();
        let (one, two) = (ids.trace(), ids.trace());
        assert_ne!(one, two);
        let low = (0..10_000).filter(|_| ids.unit() < 0.25).count();
        assert!((2_000..3_000).contains(&low), "{low}");
    }
}
