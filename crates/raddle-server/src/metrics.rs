//! Prometheus metrics, with Triton's names where it has them.
//!
//! Written as text here: clients' libraries insist on names that end in `_total`,
//! and Triton's dashboards know names that do not.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;

use crate::error::Reason;
use crate::front::{Front, ReplyBody};
use crate::kernel;
use crate::stats::{Histogram, Stage, Stats};

/// All metrics as a reply.
pub fn reply(front: &Front) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::from(Bytes::from(render(front))));
    let kind = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}

type AllStats = [((String, u64), Arc<Stats>)];

/// All metrics as text.
pub fn render(front: &Front) -> String {
    let server = &front.server;
    let all = server.all_stats();
    let mut page = Page::default();
    requests(&mut page, &all);
    durations(&mut page, &all);
    histograms(&mut page, &all);
    models(&mut page, front);
    devices(&mut page, front);
    connections(&mut page, front);
    page.text
}

/// Labels and a value.
type Sample = (Vec<(&'static str, String)>, u64);

/// Text in Prometheus' format.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to memory cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.text.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{}{label}=\"{value}\"", if at == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.text, "{}{value}", if labels.is_empty() { " " } else { "} " });
    }

    /// A family with samples that were collected.
    fn all(&mut self, name: &str, kind: &str, help: &str, samples: &[Sample]) {
        self.family(name, kind, help);
        for (labels, value) in samples {
            let labels: Vec<_> =
                labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
            self.sample(name, &labels, value);
        }
    }

    /// A counter of each version.
    fn per_version(
        &mut self,
        all: &AllStats,
        name: &str,
        help: &str,
        value: impl Fn(&Stats) -> u64,
    ) {
        self.family(name, "counter", help);
        for ((model, version), stats) in all {
            let version = version.to_string();
            self.sample(name, &[("model", model), ("version", &version)], value(stats));
        }
    }
}

fn requests(page: &mut Page, all: &AllStats) {
    let name = "nv_inference_request_success";
    page.per_version(all, name, "Requests that were answered", |it| it.success.get().0);
    let name = "nv_inference_request_failure";
    page.family(name, "counter", "Requests that failed, by reason");
    for ((model, version), stats) in all {
        let version = version.to_string();
        for reason in Reason::ALL {
            let labels =
                [("model", model.as_str()), ("version", &version), ("reason", reason.name())];
            page.sample(name, &labels, stats.failures(reason));
        }
    }
    let name = "nv_inference_count";
    page.per_version(all, name, "Rows that were computed", |it| it.rows.load(Relaxed));
    let name = "nv_inference_exec_count";
    page.per_version(all, name, "Batches that were computed", |it| it.batches.load(Relaxed));
    let name = "nv_inference_pending_request_count";
    page.family(name, "gauge", "Requests under way, waiting ones included");
    for ((model, version), stats) in all {
        let version = version.to_string();
        let labels = [("model", model.as_str()), ("version", &version)];
        page.sample(name, &labels, stats.pending.load(Relaxed));
    }
    let name = "raddle_batch_size_count";
    page.family(name, "counter", "Batches that were computed, by their rows");
    for ((model, version), stats) in all {
        let version = version.to_string();
        for (rows, batch) in stats.sizes() {
            let rows = rows.to_string();
            let labels = [("model", model.as_str()), ("version", &version), ("rows", &rows)];
            page.sample(name, &labels, batch.count);
        }
    }
}

fn durations(page: &mut Page, all: &AllStats) {
    type Part = fn(&Stats) -> &Stage;
    let stages: [(&str, &str, Part); 5] = [
        ("request", "answered requests, from their last byte to the answer", |it| &it.success),
        ("queue", "answered requests in the queue", |it| &it.queue),
        ("compute_input", "answered requests whose inputs are brought to the device", |it| {
            &it.copy_in
        }),
        ("compute_infer", "answered requests that are computed", |it| &it.compute),
        ("compute_output", "answered requests whose outputs are brought back", |it| &it.copy_out),
    ];
    for (stage, what, part) in stages {
        let name = format!("nv_inference_{stage}_duration_us");
        let help = format!("Microseconds of {what}");
        page.per_version(all, &name, &help, |stats| part(stats).get().1 / 1000);
    }
}

fn histograms(page: &mut Page, all: &AllStats) {
    type Part = fn(&Stats) -> &Histogram;
    let parts: [(&str, &str, Part); 4] = [
        ("raddle_request_seconds", "Time from a request's last byte to the answer", |it| {
            &it.latency
        }),
        ("raddle_queue_seconds", "Time in the queue", |it| &it.queue_latency),
        ("raddle_copy_seconds", "Time to bring inputs to the device and outputs back", |it| {
            &it.copy_latency
        }),
        ("raddle_compute_seconds", "Time to compute", |it| &it.compute_latency),
    ];
    for (name, help, part) in parts {
        page.family(name, "histogram", help);
        for ((model, version), stats) in all {
            let version = version.to_string();
            let labels = [("model", model.as_str()), ("version", version.as_str())];
            let counts = part(stats).counts();
            let bucket = format!("{name}_bucket");
            for (end, below) in counts.octaves() {
                let end = end.to_string();
                page.sample(&bucket, &[labels[0], labels[1], ("le", &end)], below);
            }
            let total = counts.total();
            page.sample(&bucket, &[labels[0], labels[1], ("le", "+Inf")], total);
            let seconds = Duration::from_nanos(counts.nanoseconds).as_secs_f64();
            page.sample(&format!("{name}_sum"), &labels, seconds);
            page.sample(&format!("{name}_count"), &labels, total);
        }
    }
}

fn models(page: &mut Page, front: &Front) {
    let server = &front.server;
    let (mut ready, mut waiting, mut limits) = (Vec::new(), Vec::new(), Vec::new());
    let (mut memory, mut shares, mut verdicts) = (Vec::new(), Vec::new(), Vec::new());
    for served in server.models() {
        let name = served.name.clone();
        let routes = served.routes();
        for (number, version) in &routes.versions {
            let own = [("model", name.clone()), ("version", number.to_string())];
            ready.push((own.to_vec(), 1));
            waiting.push((own.to_vec(), version.waiting() as u64));
            limits.push((own.to_vec(), version.config.batching.queue_size as u64));
            for (device, bytes) in version.memory_bytes() {
                memory.push(([&own[..], &[("device", device)]].concat(), bytes));
            }
        }
        if let Some((version, percent)) = &routes.canary {
            let own = [("model", name.clone()), ("version", version.number.to_string())];
            shares.push((own.to_vec(), u64::from(*percent)));
        }
        let (promoted, rolled_back) = served.verdicts();
        for (verdict, count) in [("promoted", promoted), ("rolled_back", rolled_back)] {
            verdicts.push((vec![("model", name.clone()), ("verdict", verdict.into())], count));
        }
    }
    page.all("raddle_model_ready", "gauge", "1 for each version that is ready", &ready);
    page.all("raddle_queue_requests", "gauge", "Requests that wait", &waiting);
    page.all("raddle_queue_limit", "gauge", "Requests that may wait", &limits);
    page.all("raddle_model_memory_bytes", "gauge", "Memory of a version on a device", &memory);
    page.all("raddle_canary_percent", "gauge", "Share of the requests of a canary", &shares);
    let help = "Canaries that ended, by how";
    page.all("raddle_canary_verdicts_total", "counter", help, &verdicts);
}

fn devices(page: &mut Page, front: &Front) {
    let gpus = front.server.backend.gpus();
    let mut gauge =
        |name: &str, help: &str, value: &dyn Fn(&crate::model::Device) -> Option<f64>| {
            page.family(name, "gauge", help);
            for gpu in &gpus {
                if let Some(value) = value(gpu) {
                    page.sample(name, &[("gpu_uuid", &gpu.uuid)], value);
                }
            }
        };
    gauge("nv_gpu_utilization", "Share of time that kernels ran", &|gpu| gpu.utilisation);
    gauge("nv_gpu_power_usage", "Power in watts", &|gpu| gpu.power_watts);
    gauge("nv_gpu_memory_used_bytes", "Memory in use", &|gpu| gpu.memory.map(|it| it.0 as f64));
    gauge("nv_gpu_memory_total_bytes", "Memory in all", &|gpu| gpu.memory.map(|it| it.1 as f64));
    if let Some((used, total)) = kernel::memory() {
        page.family("nv_cpu_memory_used_bytes", "gauge", "Main memory in use on this machine");
        page.sample("nv_cpu_memory_used_bytes", &[], used);
        page.family("nv_cpu_memory_total_bytes", "gauge", "Main memory of this machine");
        page.sample("nv_cpu_memory_total_bytes", &[], total);
    }
}

fn connections(page: &mut Page, front: &Front) {
    let gauges = [
        ("raddle_connections", "Connections that are open", front.connections.load(Relaxed) as u64),
        ("raddle_request_memory_bytes", "Bytes of requests under way", front.memory.load(Relaxed)),
    ];
    for (name, help, value) in gauges {
        page.family(name, "gauge", help);
        page.sample(name, &[], value);
    }
    let name = "raddle_connections_refused_total";
    page.family(name, "counter", "Connections that were closed since there were too many");
    page.sample(name, &[], front.refused.load(Relaxed));
    if let Some(bytes) = kernel::resident_bytes() {
        page.family("process_resident_memory_bytes", "gauge", "Memory of this process");
        page.sample("process_resident_memory_bytes", &[], bytes);
    }
    if let Some(found) = kernel::listen_drops() {
        let name = "raddle_listen_overflows_total";
        page.family(
            name,
            "counter",
            "Times that a listen queue of this network namespace was full",
        );
        page.sample(name, &[], found.overflows);
        let name = "raddle_listen_drops_total";
        page.family(
            name,
            "counter",
            "Connections that a listener of this network namespace dropped",
        );
        page.sample(name, &[], found.drops);
    }
    if let Some(tracer) = &front.tracer {
        let counters = [
            ("raddle_trace_spans_sent_total", "Spans that the collector took", &tracer.sent),
            ("raddle_trace_spans_dropped_total", "Spans that were lost", &tracer.dropped),
        ];
        for (name, help, counter) in counters {
            page.family(name, "counter", help);
            page.sample(name, &[], counter.load(Relaxed));
        }
    }
    let ports = front.ports();
    if !ports.is_empty() {
        page.family(
            "raddle_listen_queue_connections",
            "gauge",
            "Connections that wait to be accepted",
        );
        for port in ports {
            if let Some(waiting) = kernel::listen_queue(port) {
                let port = port.to_string();
                page.sample("raddle_listen_queue_connections", &[("port", &port)], waiting);
            }
        }
        let name = "raddle_listen_queue_limit";
        page.family(name, "gauge", "Connections that may wait to be accepted");
        let asked = u64::from(front.server.settings.limits.backlog);
        page.sample(name, &[], kernel::backlog_max().map_or(asked, |most| asked.min(most)));
    }
}
