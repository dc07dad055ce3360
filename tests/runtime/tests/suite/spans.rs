//! The runtime's spans as a subscriber of `tracing` gets them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use raddle_runtime::{Device, Grid};
use raddle_runtime_tests::kernels::churn;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// What a span says of itself.
#[derive(Clone, Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

/// Keeps what is told: the fields of spans, and how many were entered and left.
#[derive(Clone, Default)]
struct Listener {
    spans: Arc<Mutex<Vec<Fields>>>,
    entered: Arc<AtomicU64>,
    left: Arc<AtomicU64>,
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("raddle_runtime")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        let mut spans = self.spans.lock().unwrap();
        spans.push(fields);
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {
        self.entered.fetch_add(1, Ordering::Relaxed);
    }

    fn exit(&self, _: &Id) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_subscriber_gets_a_span_for_each_piece_of_work() {
    let listener = Listener::default();
    let device = Device::cpu();
    let work = || {
        let stream = device.stream().unwrap();
        let source = stream.filled(64, 3u32).unwrap();
        let mut target = stream.zeros::<u32>(64).unwrap();
        let call = churn(0, &mut target, [&source; 3], 1);
        stream.launch(Grid::cover(64, 32), call).unwrap().wait().unwrap();
        target.to_vec().unwrap()
    };
    // Nobody listens yet.
    let expected = work();
    let found = tracing::subscriber::with_default(listener.clone(), work);
    assert_eq!(found, expected);
    let spans = listener.spans.lock().unwrap().clone();
    let with = |operation: &str| {
        let is_meant = |span: &&Fields| span.0.get("operation").is_some_and(|o| o == operation);
        spans.iter().filter(is_meant).cloned().collect::<Vec<_>>()
    };
    for (operation, count) in [("test::churn", 1), ("fill", 1), ("download", 1), ("allocate", 2)] {
        assert_eq!(with(operation).len(), count, "{operation}");
    }
    let launch = &with("test::churn")[0].0;
    assert_eq!(launch["device"], "cpu");
    assert!(launch["stream"].parse::<u16>().is_ok_and(|id| id > 0), "{launch:?}");
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!(count(&listener.entered), spans.len() as u64);
    assert_eq!(count(&listener.left), spans.len() as u64);
    // Nobody listens any more.
    work();
    assert_eq!(listener.spans.lock().unwrap().len(), spans.len());
}
