//! What a load test found: as a table, as JSON and as a chart.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Arrival, Outcome, Plan};

/// Percentiles that are told.
const SHARES: [(&str, f64); 4] = [("P50", 0.5), ("P90", 0.9), ("P99", 0.99), ("P99.9", 0.999)];

fn name(arrival: Arrival) -> String {
    match arrival {
        Arrival::Clients(clients) => format!("{clients} clients"),
        Arrival::Rate(rate) => format!("{rate} a second"),
    }
}

/// A table of all runs, with what failed below it.
pub fn table(outcomes: &[Outcome]) -> String {
    let mut text = format!("{:>16} {:>12}", "load", "answered/s");
    for (name, _) in SHARES {
        let _ = write!(text, " {:>9}", format!("{name} ms"));
    }
    let _ = writeln!(text, " {:>9} {:>10} {:>8}", "max ms", "answered", "failed");
    for outcome in outcomes {
        let _ = write!(text, "{:>16} {:>12.1}", name(outcome.arrival), outcome.throughput());
        for (_, share) in SHARES {
            let _ = write!(text, " {:>9.3}", outcome.percentile_ms(share));
        }
        let answered = outcome.latencies.len();
        let max = outcome.percentile_ms(1.0);
        let _ = writeln!(text, " {max:>9.3} {answered:>10} {:>8}", outcome.failed());
    }
    for outcome in outcomes {
        for (what, count) in &outcome.failures {
            let _ = writeln!(text, "{}: {count} failed: {what}", name(outcome.arrival));
        }
        if !outcome.refusals.is_empty() {
            let ms = outcome.refusal_ms(1.0);
            let _ = writeln!(text, "{}: refusals took at most {ms:.3} ms", name(outcome.arrival));
        }
        if outcome.unsent > 0 {
            let _ = writeln!(text, "{}: {} were not sent", name(outcome.arrival), outcome.unsent);
        }
    }
    text
}

/// The same for programs.
pub fn json(plan: &Plan, outcomes: &[Outcome]) -> Value {
    let run = |outcome: &Outcome| {
        let percentiles: serde_json::Map<_, _> = SHARES
            .iter()
            .map(|(name, share)| ((*name).to_owned(), json!(outcome.percentile_ms(*share))))
            .collect();
        let (clients, rate) = match outcome.arrival {
            Arrival::Clients(clients) => (json!(clients), Value::Null),
            Arrival::Rate(rate) => (Value::Null, json!(rate)),
        };
        json!({
            "clients": clients, "rate": rate, "seconds": outcome.seconds,
            "throughput": outcome.throughput(), "answered": outcome.latencies.len(),
            "failed": outcome.failed(), "failures": outcome.failures, "unsent": outcome.unsent,
            "latency_ms": percentiles, "latency_max_ms": outcome.percentile_ms(1.0),
            "refusal_p50_ms": outcome.refusal_ms(0.5), "refusal_p99_ms": outcome.refusal_ms(0.99),
            "refusal_max_ms": outcome.refusal_ms(1.0),
            "request_bytes": outcome.request_bytes,
        })
    };
    json!({
        "url": format!("{}{}://{}", if plan.target.is_grpc { "grpc" } else { "http" },
            if plan.target.is_secret { "s" } else { "" }, plan.target.authority),
        "model": plan.model,
        "rows": plan.rows,
        "runs": outcomes.iter().map(run).collect::<Vec<_>>(),
    })
}

/// Latency by percentile of all runs, as SVG. The axis gives each further nine the
/// same room, since that is where runs differ.
pub fn chart(plan: &Plan, outcomes: &[Outcome]) -> String {
    const WIDTH: f64 = 760.0;
    const HEIGHT: f64 = 420.0;
    const LEFT: f64 = 70.0;
    const BOTTOM: f64 = 60.0;
    const COLOURS: [&str; 6] = ["#a33b20", "#3b6ea5", "#4f8a3c", "#d99058", "#7a4fa3", "#777777"];
    // 1 - share on a logarithmic axis, from the median to one in ten thousand.
    let x = |share: f64| {
        let nines = -(1.0 - share).max(1e-4).log10();
        LEFT + (WIDTH - LEFT - 20.0) * (nines - 0.301) / (4.0 - 0.301)
    };
    let top =
        outcomes.iter().map(|it| it.percentile_ms(0.9999)).fold(0.0, f64::max).max(1e-3) * 1.05;
    let y = |ms: f64| HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 40.0) * ms / top;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"22\">latency of {} in ms by percentile</text>\n",
        escape(&plan.model)
    );
    for (name, share) in SHARES.iter().chain(&[("P99.99", 0.9999)]) {
        let (x, bottom) = (x(*share), HEIGHT - BOTTOM);
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"40\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#dddddd\"/>"
        );
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{name}</text>",
            bottom + 18.0
        );
    }
    for part in 0..=4 {
        let ms = top * f64::from(part) / 4.0;
        let y = y(ms);
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{}\" y2=\"{y:.1}\" stroke=\"#eeeeee\"/>",
            WIDTH - 20.0
        );
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{ms:.2}</text>",
            LEFT - 8.0,
            y + 4.0
        );
    }
    for (at, outcome) in outcomes.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let points: Vec<String> = (0..=120)
            .map(|step| 1.0 - 10f64.powf(-0.301 - f64::from(step) / 120.0 * (4.0 - 0.301)))
            .map(|share| format!("{:.1},{:.1}", x(share), y(outcome.percentile_ms(share).max(0.0))))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        );
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" fill=\"{colour}\">{}: {:.0} answered a second, {} failed</text>",
            LEFT + 16.0,
            58.0 + 18.0 * at as f64,
            name(outcome.arrival),
            outcome.throughput(),
            outcome.failed()
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
