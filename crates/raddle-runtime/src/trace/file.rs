//! The file: events in the Trace Event Format, as an array of JSON objects, one a
//! line. Its reader does not want the closing bracket, so that the trace of a
//! program that was killed opens too.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use raddle_cuda::Event;

use crate::device::{Device, DeviceKind};
use crate::error::{Error, Result};

/// An open trace.
pub(super) struct Sink {
    path: PathBuf,
    file: BufWriter<File>,
    start: Instant,
    has_events: bool,
    /// Why something could not be written, the first time.
    failure: Option<String>,
    /// Tracks that have their name.
    named: HashSet<(u64, u64)>,
    /// A mark on each GPU's clock, with its time here in microseconds.
    clocks: HashMap<DeviceKind, Option<(Event, f64)>>,
    /// Work whose end may not be reached yet.
    pending: VecDeque<Pending>,
}

/// Where a span is drawn.
#[derive(Clone, Copy)]
pub(super) enum Track {
    /// The calling thread.
    Thread,
    /// A stream of a device.
    Stream { device: DeviceKind, stream: u16 },
}

struct Pending {
    device: DeviceKind,
    track: Track,
    name: &'static str,
    category: &'static str,
    marks: (Event, Event),
    args: String,
}

/// Spans of devices that are kept until somebody looks whether they have ended.
const PENDING_LEN_MAX: usize = 1024;

impl Sink {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let failed = |error: std::io::Error| Error::Trace {
            path: path.display().to_string(),
            reason: error.to_string(),
        };
        let mut file = BufWriter::new(File::create(path).map_err(failed)?);
        file.write_all(b"[").map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            start: Instant::now(),
            has_events: false,
            failure: None,
            named: HashSet::new(),
            clocks: HashMap::new(),
            pending: VecDeque::new(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.resolve(0);
        let unfinished = self.pending.len();
        let name = format!("\"unfinished device spans\":{unfinished}");
        self.write(&format!(
            "\"name\":\"end of trace\",\"ph\":\"M\",\"pid\":1,\"args\":{{{name}}}"
        ));
        let ended = self.file.write_all(b"\n]\n").and_then(|()| self.file.flush());
        let failure = self.failure.or(ended.err().map(|error| error.to_string()));
        match failure {
            None => Ok(()),
            Some(reason) => Err(Error::Trace { path: self.path.display().to_string(), reason }),
        }
    }

    /// A span whose times are known.
    pub(super) fn span(
        &mut self,
        track: Track,
        name: &str,
        category: &str,
        (start, end): (Instant, Instant),
        args: &str,
    ) {
        let begin_us = self.microseconds(start);
        let duration_us = end.saturating_duration_since(start).as_secs_f64() * 1e6;
        self.put(track, name, category, (begin_us, duration_us), args);
    }

    /// A span between two marks of a GPU, written when they are reached.
    pub(super) fn device_span(
        &mut self,
        device: &Device,
        track: Track,
        name: &'static str,
        category: &'static str,
        marks: (Event, Event),
        args: String,
    ) {
        let kind = device.kind();
        if !self.clocks.contains_key(&kind) {
            let mark = device.inner().cuda.as_ref().and_then(|cuda| cuda.mark().ok());
            let now = self.microseconds(Instant::now());
            self.clocks.insert(kind, mark.map(|mark| (mark, now)));
        }
        self.pending.push_back(Pending { device: kind, track, name, category, marks, args });
        self.resolve(PENDING_LEN_MAX);
    }

    /// The bytes of a device that are in use from now on.
    pub(super) fn counter(&mut self, device: DeviceKind, now: Instant, bytes: u64) {
        let us = self.microseconds(now);
        self.write(&format!(
            "\"name\":\"live bytes of {device}\",\"ph\":\"C\",\"pid\":1,\"ts\":{us:.3},\"args\":{{\"bytes\":{bytes}}}"
        ));
    }

    /// Writes spans of devices whose end is reached, while there are more than
    /// `keep`.
    fn resolve(&mut self, keep: usize) {
        let mut waiting = VecDeque::new();
        while waiting.len() + self.pending.len() > keep
            && let Some(pending) = self.pending.pop_front()
        {
            let (before, after) = &pending.marks;
            let clock = self.clocks.get(&pending.device).and_then(Option::as_ref);
            match (after.is_reached(), clock) {
                (Ok(true), Some((base, base_us))) => {
                    let times = before
                        .elapsed_ms_since(base)
                        .and_then(|begin| Ok((begin, after.elapsed_ms_since(before)?)));
                    if let Ok((begin_ms, ms)) = times {
                        let begin_us = base_us + f64::from(begin_ms) * 1e3;
                        let span = (begin_us, f64::from(ms) * 1e3);
                        self.put(
                            pending.track,
                            pending.name,
                            pending.category,
                            span,
                            &pending.args,
                        );
                    }
                }
                (Ok(false), Some(_)) => waiting.push_back(pending),
                // A lost device, or none that gives times.
                _ => {}
            }
        }
        waiting.append(&mut self.pending);
        self.pending = waiting;
    }

    fn put(
        &mut self,
        track: Track,
        name: &str,
        category: &str,
        (begin_us, duration_us): (f64, f64),
        args: &str,
    ) {
        let (pid, tid) = self.name_track(track);
        let name = escaped(name);
        self.write(&format!(
            "\"name\":\"{name}\",\"cat\":\"{category}\",\"ph\":\"X\",\"ts\":{begin_us:.3},\"dur\":{duration_us:.3},\
             \"pid\":{pid},\"tid\":{tid},\"args\":{{{args}}}"
        ));
    }

    /// The track's numbers; writes its name the first time.
    fn name_track(&mut self, track: Track) -> (u64, u64) {
        let (pid, tid) = match track {
            Track::Thread => (1, thread_number()),
            Track::Stream { device, stream } => (device_number(device), u64::from(stream)),
        };
        if self.named.insert((pid, tid)) {
            let (process, thread) = match track {
                Track::Thread => {
                    let thread = std::thread::current();
                    let name = thread.name().map_or(format!("thread {tid}"), escaped);
                    ("host".to_owned(), name)
                }
                Track::Stream { device, stream } => {
                    (device.to_string(), format!("stream {stream}"))
                }
            };
            for (kind, name) in [("process_name", process), ("thread_name", thread)] {
                self.write(&format!(
                    "\"name\":\"{kind}\",\"ph\":\"M\",\"pid\":{pid},\"tid\":{tid},\"args\":{{\"name\":\"{name}\"}}"
                ));
            }
        }
        (pid, tid)
    }

    fn write(&mut self, fields: &str) {
        let separator = if self.has_events { "," } else { "" };
        self.has_events = true;
        if let Err(error) = write!(self.file, "{separator}\n{{{fields}}}") {
            self.failure.get_or_insert(error.to_string());
        }
    }

    fn microseconds(&self, time: Instant) -> f64 {
        time.saturating_duration_since(self.start).as_secs_f64() * 1e6
    }
}

/// Process numbers of devices, apart from the host's.
fn device_number(device: DeviceKind) -> u64 {
    match device {
        DeviceKind::Cpu => 2,
        DeviceKind::Cuda(ordinal) => 3 + u64::from(ordinal),
    }
}

/// A small number for the calling thread.
fn thread_number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static NUMBER: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.try_with(|number| *number).unwrap_or(0)
}

/// `text` within the quotes of a JSON string.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_escaped() {
        assert_eq!(super::escaped("a\"b\\c\n<é>"), "a\\\"b\\\\c\\u000a<é>");
    }
}
