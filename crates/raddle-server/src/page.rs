//! The status page: one file of HTML that draws what `status.json` says, a second at
//! a time, with nothing from elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::Response;
use serde_json::{Value, json};

use crate::error::Reason;
use crate::front::{Front, ReplyBody};
use crate::server::Server;
use crate::stats::Counts;

const PAGE: &str = include_str!("page.html");
/// Seconds that charts show.
const SAMPLES: usize = 300;

/// The page.
pub fn reply() -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::from(bytes::Bytes::from_static(PAGE.as_bytes())));
    let headers = response.headers_mut();
    let kind = hyper::header::HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(hyper::header::CONTENT_TYPE, kind);
    // Nothing is loaded from elsewhere, and nothing can be slipped in.
    let policy = "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";
    let policy = hyper::header::HeaderValue::from_static(policy);
    headers.insert("content-security-policy", policy);
    response
}

/// A second of a model.
#[derive(Debug, Clone, Copy)]
struct Sample {
    time_ms: u64,
    /// Answered and failed requests in a second.
    rates: [f64; 2],
    /// P50, P90, P99 in milliseconds.
    percentiles: [f64; 3],
    waiting: usize,
}

/// The last minutes of all models.
#[derive(Default)]
pub struct History {
    models: Mutex<BTreeMap<String, Track>>,
}

#[derive(Default)]
struct Track {
    last: Option<(Duration, Counts, u64)>,
    samples: VecDeque<Sample>,
}

impl History {
    /// Takes a sample of every model.
    pub fn sample(&self, server: &Server) {
        let now = server.uptime();
        let mut sums: BTreeMap<String, (Counts, u64)> = BTreeMap::new();
        for ((model, _), stats) in server.all_stats() {
            let (counts, failed) = sums.entry(model).or_default();
            *counts = counts.plus(&stats.latency.counts());
            *failed += Reason::ALL.iter().map(|&reason| stats.failures(reason)).sum::<u64>();
        }
        let time_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        models.retain(|name, _| sums.contains_key(name));
        for (name, (counts, failed)) in sums {
            let waiting = server.model(&name).map_or(0, |served| {
                served.routes().versions.values().map(|version| version.waiting()).sum()
            });
            let track = models.entry(name).or_default();
            if let Some((before, last, last_failed)) = &track.last {
                let seconds = now.saturating_sub(*before).as_secs_f64().max(1e-3);
                let new = counts.since(last);
                let ms = |share| new.percentile(share).as_secs_f64() * 1e3;
                track.samples.push_back(Sample {
                    time_ms: time_ms as u64,
                    rates: [
                        new.total() as f64 / seconds,
                        failed.saturating_sub(*last_failed) as f64 / seconds,
                    ],
                    percentiles: [ms(0.5), ms(0.9), ms(0.99)],
                    waiting,
                });
            }
            let spare = track.samples.len().saturating_sub(SAMPLES);
            track.samples.drain(..spare);
            track.last = Some((now, counts, failed));
        }
    }

    fn of(&self, model: &str) -> Value {
        let models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(track) = models.get(model) else { return json!([]) };
        let row = |it: &Sample| {
            json!([
                it.time_ms,
                it.rates[0],
                it.rates[1],
                it.percentiles[0],
                it.percentiles[1],
                it.percentiles[2],
                it.waiting,
            ])
        };
        track.samples.iter().map(row).collect()
    }
}

/// What the page draws.
pub fn status(front: &Front) -> Value {
    let server = &front.server;
    let models = server.models().into_iter().map(|served| {
        let routes = served.routes();
        let versions = routes.versions.values().map(|version| {
            let failures: u64 = Reason::ALL.iter().map(|&it| version.stats.failures(it)).sum();
            json!({
                "version": version.number,
                "devices": version.placement,
                "waiting": version.waiting(),
                "queue_limit": version.config.batching.queue_size,
                "answered": version.stats.success.get().0,
                "failed": failures,
                "loaded_seconds": version.loaded.elapsed().as_secs_f64(),
            })
        });
        let reasons = served.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let reasons: Vec<Value> = reasons
            .iter()
            .map(|(version, why)| json!({ "version": version, "why": why }))
            .collect();
        json!({
            "name": served.name,
            "versions": versions.collect::<Vec<_>>(),
            "reasons": reasons,
            "canary": server.canary_json(&served),
            "samples": front.history.of(&served.name),
        })
    });
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "platform": server.backend.platform(),
        "uptime_seconds": server.uptime().as_secs_f64(),
        "is_ready": server.is_ready(),
        "loading": server.loading.to_json(),
        "connections": front.connections.load(std::sync::atomic::Ordering::Relaxed),
        "devices": server.backend.devices().iter().map(|it| it.name.clone()).collect::<Vec<_>>(),
        "models": models.collect::<Vec<_>>(),
    })
}
