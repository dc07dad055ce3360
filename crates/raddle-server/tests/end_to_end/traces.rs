//! Traces reach a collector, which here is a small one of our own.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use prost::Message;
use raddle_server::client::{GrpcClient, HttpClient};
use raddle_server::tensor::Rope;
use raddle_server::trace::TraceSettings;
use raddle_server::trace::otlp::{AnyKind, ExportRequest, KIND_SERVER, Span};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::rig::*;

/// Keeps the spans that it is sent.
#[derive(Default)]
struct Collector {
    spans: Mutex<Vec<Span>>,
    service: Mutex<String>,
    came: Notify,
}

impl Collector {
    /// Answers everything with `status`.
    async fn start(self: &Arc<Self>, status: u16) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let own = Arc::clone(self);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let own = Arc::clone(&own);
                let service = service_fn(move |request: Request<Incoming>| {
                    let own = Arc::clone(&own);
                    async move {
                        assert_eq!(request.uri().path(), "/v1/traces");
                        assert_eq!(request.headers()["content-type"], "application/x-protobuf");
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        if status == 200 {
                            own.take(&body);
                        }
                        own.came.notify_one();
                        let mut response = Response::new(Empty::<Bytes>::new());
                        *response.status_mut() = status.try_into().unwrap();
                        Ok::<_, Infallible>(response)
                    }
                });
                let io = TokioIo::new(stream);
                tokio::spawn(http1::Builder::new().serve_connection(io, service));
            }
        });
        address
    }

    fn take(&self, body: &[u8]) {
        let message = ExportRequest::decode(body).unwrap();
        for resource in message.resource_spans {
            let attributes = resource.resource.unwrap().attributes;
            let service = attributes[0].value.clone().unwrap().kind;
            let Some(AnyKind::Text(service)) = service else { panic!("{service:?}") };
            *self.service.lock().unwrap() = service;
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().unwrap().extend(spans);
        }
    }

    /// Waits for so many spans.
    async fn wait(&self, count: usize) -> Vec<Span> {
        loop {
            let found = self.spans.lock().unwrap().clone();
            if found.len() >= count {
                return found;
            }
            self.came.notified().await;
        }
    }
}

async fn traced(name: &str, words: &str, share: f64, status: u16) -> (Rig, Arc<Collector>) {
    let collector = Arc::new(Collector::default());
    let address = collector.start(status).await;
    let root = fresh(name);
    write_version(&root, "m", 1, words);
    let mut settings = settings(&root);
    let endpoint = format!("http://{address}/v1/traces");
    settings.traces = Some(TraceSettings { endpoint, share, service: "tests".into() });
    (Rig::start(settings).await, collector)
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-b7ad6b7169203331-{flags}")
}

fn is_of(span: &Span, trace: &str) -> bool {
    span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect::<String>() == trace
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|it| it.key == key).expect(key);
    match found.value.clone().unwrap().kind.unwrap() {
        AnyKind::Text(text) => text,
        AnyKind::Number(number) => number.to_string(),
    }
}

#[test]
fn a_requests_context_goes_on_with_a_span_for_each_stage() {
    block_on(async {
        // Nothing is traced but what asks for it.
        let (rig, collector) = traced("traces-context", "copy slow 3", 0.0, 200).await;
        let mut grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
        grpc.infer(&request("m", &[7]), None).await.unwrap();
        grpc.headers.insert("traceparent", parent("00").parse().unwrap());
        grpc.infer(&request("m", &[7]), None).await.unwrap();
        grpc.headers.insert("traceparent", parent("01").parse().unwrap());
        grpc.headers.insert("tracestate", "vendor=1".parse().unwrap());
        grpc.infer(&request("m", &[7]), None).await.unwrap();
        let spans = collector.wait(5).await;
        assert_eq!(*collector.service.lock().unwrap(), "tests");
        assert_eq!(spans.len(), 5);
        assert!(spans.iter().all(|span| is_of(span, TRACE) && span.trace_state == "vendor=1"));
        let root = spans.iter().find(|span| span.kind == KIND_SERVER).unwrap();
        assert_eq!((root.name.as_str(), root.status.clone()), ("ModelInfer", None));
        assert_eq!(root.parent_span_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
        assert_eq!(attribute(root, "raddle.model.name"), "m");
        assert_eq!(attribute(root, "raddle.model.version"), "1");
        assert_eq!(attribute(root, "raddle.batch.rows"), "1");
        let mut stages = BTreeMap::new();
        for span in spans.iter().filter(|span| span.kind != KIND_SERVER) {
            assert_eq!(span.parent_span_id, root.span_id);
            assert!(span.start_time_unix_nano >= root.start_time_unix_nano);
            assert!(span.end_time_unix_nano <= root.end_time_unix_nano);
            stages.insert(span.name.as_str(), (span.start_time_unix_nano, span.end_time_unix_nano));
        }
        assert_eq!(
            stages.keys().copied().collect::<Vec<_>>(),
            ["compute", "copy_in", "copy_out", "queue"]
        );
        assert!(stages["queue"].1 <= stages["compute"].0);
        let time = root.end_time_unix_nano - root.start_time_unix_nano;
        assert!(time >= 3_000_000, "{time}");
        rig.running.stop().await;
    });
}

#[test]
fn failures_and_both_protocols_are_traced() {
    block_on(async {
        let (rig, collector) = traced("traces-failures", "copy fail-on 13", 1.0, 200).await;
        let mut http = HttpClient::connect(rig.running.bound.http).await.unwrap();
        http.infer(&request("m", &[7])).await.unwrap();
        http.infer(&request("m", &[13])).await.unwrap_err();
        // Stopping sends what waits.
        rig.running.stop().await;
        let spans = collector.wait(6).await;
        let roots: Vec<&Span> = spans.iter().filter(|span| span.kind == KIND_SERVER).collect();
        assert_eq!(roots.len(), 2);
        assert_ne!(roots[0].trace_id, roots[1].trace_id);
        assert!(roots.iter().all(|it| it.parent_span_id.is_empty() && it.name == "http infer"));
        let failed = roots.iter().find_map(|root| root.status.clone()).unwrap();
        assert_eq!(failed.code, 2);
        assert!(failed.message.contains("told to fail on this"), "{failed:?}");
    });
}

#[test]
fn a_collector_that_refuses_costs_traces_and_no_requests() {
    block_on(async {
        let (rig, collector) = traced("traces-refused", "copy quick", 1.0, 503).await;
        let grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
        for _ in 0..20 {
            grpc.infer(&request("m", &[7]), None).await.unwrap();
        }
        collector.came.notified().await;
        let tracer = rig.running.front.tracer.as_ref().unwrap();
        let count = std::sync::atomic::Ordering::Relaxed;
        assert_eq!(tracer.sent.load(count), 0);
        let mut http = HttpClient::connect(rig.running.bound.metrics).await.unwrap();
        let page = http.send(hyper::Method::GET, "/metrics", &[], Rope::default()).await;
        let page = String::from_utf8(page.unwrap().2.to_bytes().to_vec()).unwrap();
        assert!(page.contains("raddle_trace_spans_dropped_total "), "{page}");
        let stopping = tokio::time::timeout(Duration::from_secs(60), rig.running.stop());
        stopping.await.expect("the collector does not hold up the end");
    });
}

#[test]
fn endpoints_that_are_none_are_named() {
    block_on(async {
        let root = fresh("traces-wrong");
        let mut settings = settings(&root);
        let endpoint = "https://collector:4318/v1/traces".into();
        settings.traces = Some(TraceSettings { endpoint, share: 1.0, service: "s".into() });
        let backend = Arc::new(TrialBackend(Default::default()));
        let wrong = raddle_server::serve::Running::start(settings, backend).await;
        let wrong = wrong.err().expect("a wrong endpoint").to_string();
        assert!(wrong.contains("traces.endpoint") && wrong.contains("http://HOST:PORT"), "{wrong}");
    });
}
