//! What went wrong, and who is told.
//!
//! A panic belongs to one launch of a queue, that of a graph to a stretch of replays.
//! It is told to everybody who waits for a point in or behind it while it comes up,
//! and at least once: if nobody waits, to whoever waits next. Work on another queue
//! that uses memory which the launch used last is told as well, and nobody else. A fault loses the device: then everything that
//! is awaited resolves with [`Error::DeviceLost`].

use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::completion::Point;
use crate::completion::signal::Woken;
use crate::device::{Device, DeviceInner};
use crate::error::{Error, Result};
use crate::sync::lock;

/// The errors of one queue's work.
#[derive(Default)]
pub(crate) struct ErrorLog {
    entries: Mutex<Vec<Entry>>,
    is_any: AtomicBool,
    /// How many there have been.
    serial: AtomicU64,
}

struct Entry {
    /// The work behind this number, up to and including `to`, may be at fault.
    from: u64,
    to: u64,
    serial: u64,
    is_told: bool,
    /// The last work of the stream that had this work, once the stream is gone.
    last: Option<u64>,
    error: Error,
}

/// Errors kept for one queue at most.
const ENTRIES_LEN_MAX: usize = 16;

impl ErrorLog {
    /// How many errors there have been.
    #[inline]
    pub(crate) fn serial(&self) -> u64 {
        self.serial.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Acquire)
    }

    /// Notes an error of work behind number `from`, up to and including `to`.
    pub(crate) fn push(&self, from: u64, to: u64, error: Error) {
        let mut entries = lock(&self.entries);
        if entries.len() == ENTRIES_LEN_MAX {
            // The first error explains those behind it: what was told goes first,
            // then the newest.
            let told = entries.iter().position(|entry| entry.is_told);
            entries.remove(told.unwrap_or(ENTRIES_LEN_MAX - 1));
        }
        let serial = self.serial.fetch_add(1, Ordering::AcqRel) + 1;
        entries.push(Entry { from, to, serial, is_told: false, last: None, error });
        self.is_any.store(true, Ordering::Release);
    }

    /// Notes that the stream whose work went up to number `last` is gone: nobody will
    /// wait for it.
    pub(crate) fn close(&self, last: u64) {
        if self.is_any() {
            let mut entries = lock(&self.entries);
            entries.iter_mut().for_each(|entry| entry.last = entry.last.or(Some(last)));
        }
    }

    /// The error to tell somebody who has waited for `point` on a stream whose
    /// work begins with number `first`.
    pub(crate) fn verdict(&self, point: Point, first: u64) -> Option<Error> {
        if !self.is_any() {
            return None;
        }
        let mut entries = lock(&self.entries);
        let mut found = None;
        for entry in entries.iter_mut() {
            let is_covered = entry.from < point.sequence && entry.to >= first;
            let is_news = entry.serial > point.serial;
            if is_covered && (!entry.is_told || is_news) {
                found = found.or_else(|| Some(entry.error.clone()));
                // Those behind the first are about work that it has spoilt.
                entry.is_told = true;
            }
        }
        found
    }

    /// The errors that concern those who use what the work numbered `sequences` has
    /// left: its own. For work that was enqueued after error number `since` those that
    /// came up later, else those nobody was told of. If the work's stream is gone, they
    /// count as told afterwards; if nobody was told yet, so that nobody may ever be,
    /// it concerns as well what came later on that stream. `only_gone` asks for no
    /// others.
    pub(crate) fn concerning(
        &self,
        sequences: RangeInclusive<u64>,
        since: Option<u64>,
        only_gone: bool,
    ) -> Vec<Error> {
        let mut entries = lock(&self.entries);
        let mut found = Vec::new();
        for entry in entries.iter_mut().filter(|entry| entry.from < *sequences.end()) {
            let is_new = since.is_none_or(|serial| entry.serial > serial);
            let is_gone = entry.last.is_some_and(|last| *sequences.end() <= last);
            let is_own = entry.to >= *sequences.start();
            let is_due = if is_own { !entry.is_told || since.is_some() } else { !entry.is_told };
            if is_new && is_due && (is_gone || is_own && !only_gone) {
                entry.is_told |= is_gone;
                found.push(entry.error.clone());
            }
        }
        found
    }
}

impl DeviceInner {
    /// Why the device is lost, if it is.
    pub(crate) fn lost(&self) -> Option<Error> {
        self.lost.get().cloned()
    }
}

impl Device {
    /// Whether a fault has lost the device to this process: every call on it
    /// fails until [`Device::reset`].
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.inner().lost.get().is_some()
    }

    /// Gives a lost GPU back to the process, where CUDA allows it: throws away its
    /// context with everything in it and opens a new one, which is tried out. The
    /// returned device is new; buffers, streams and graphs of the lost one stay
    /// lost and are safe to drop. Which faults a process survives is the driver's
    /// secret: where this fails, only a new process helps (the example
    /// `supervised` shows how to have one).
    ///
    /// ## Errors
    ///
    /// [`Error::NotReset`] if the device is not lost, or the new context does not
    /// work either.
    ///
    /// # Safety
    ///
    /// No other thread is inside a call on this device or on what was made on it,
    /// and no other library in the process uses the GPU's primary context.
    pub unsafe fn reset(&self) -> Result<Self> {
        let failed = |reason: String| Error::NotReset { device: self.to_string(), reason };
        let (Some(cuda), true) = (&self.inner().cuda, self.is_lost()) else {
            return Err(failed("it is not lost".to_owned()));
        };
        cuda.context().retire();
        // The poller and threads that are about to enqueue work see the flag when
        // they next get hold of a lock.
        cuda.poller.stop();
        for queue in self.inner().queues.all() {
            drop(lock(&queue.state));
        }
        self.reopen(&|| {
            // SAFETY: the caller's contract.
            unsafe { cuda.context().reset() }.map_err(|error| failed(error.to_string()))
        })?
        .prove()
        .map_err(|error| failed(error.to_string()))
    }

    /// The device, if it can compute a little.
    fn prove(self) -> Result<Self> {
        let stream = self.stream()?;
        let numbers: Vec<u32> = (0..1024).collect();
        let found = stream.upload(&numbers)?.to_vec()?;
        let reason = "what was written is not what is read back".to_owned();
        let device = self.to_string();
        if found == numbers { Ok(self) } else { Err(Error::NotReset { device, reason }) }
    }

    /// Notes a fault that has lost the device, and resolves everything that is
    /// awaited on it. Gives the error to report, the first one.
    #[cold]
    pub(crate) fn lose(&self, source: raddle_cuda::Error, last_kernel: &'static str) -> Error {
        if let Some(cuda) = &self.inner().cuda {
            // Whatever the driver would still do: from now on nothing waits for
            // anything, so nothing may be enqueued, and memory that work might use
            // is not freed.
            cuda.context().retire();
        }
        let device = self.to_string();
        let error = Error::DeviceLost { device, last_kernel, source };
        let is_first = self.inner().lost.set(error).is_ok();
        if is_first {
            let mut woken = Woken::default();
            for queue in self.inner().queues.all() {
                queue.signal.advance(u64::MAX, &mut woken);
            }
            woken.finish();
        }
        self.inner().lost().expect("set just now")
    }

    /// What a call failed of: why the device is lost, if that is the reason.
    #[cold]
    pub(crate) fn with_loss(&self, error: Error) -> Error {
        match error {
            Error::Cuda(source) if source.is_sticky() => self.lose(source, self.suspect()),
            error => error,
        }
    }

    /// The kernel to suspect of a fault: the last of a queue with unfinished work.
    pub(crate) fn suspect(&self) -> &'static str {
        let busy = self.inner().queues.all().find(|queue| !queue.is_caught_up());
        busy.map_or("none", |queue| queue.last_kernel())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(reason: &str) -> Error {
        Error::NoGpu { reason: reason.to_owned() }
    }

    fn told(log: &ErrorLog, sequence: u64, serial: u64) -> Option<String> {
        log.verdict(Point { sequence, serial }, 0).map(|error| error.to_string())
    }

    #[test]
    fn an_error_is_told_once_to_those_who_come_later() {
        let log = ErrorLog::default();
        log.push(4, 5, error("five"));
        assert_eq!(told(&log, 4, 0), None);
        assert!(told(&log, 9, 1).unwrap().contains("five"));
        assert_eq!(told(&log, 9, 1), None);
        assert_eq!(told(&log, 10, 1), None);
    }

    #[test]
    fn everybody_who_was_waiting_for_the_work_is_told() {
        let log = ErrorLog::default();
        log.push(4, 8, error("between"));
        for sequence in 5..=8 {
            assert!(told(&log, sequence, 0).is_some(), "waiter for {sequence}");
        }
        assert!(told(&log, 9, 0).is_some(), "waited for what came behind");
        assert_eq!(told(&log, 4, 0), None, "its work came before");
        assert_eq!(told(&log, 8, 1), None, "began to wait afterwards");
    }

    #[test]
    fn errors_of_a_stream_that_is_gone_reach_only_users_of_its_memory() {
        let log = ErrorLog::default();
        log.push(2, 3, error("gone"));
        log.close(4);
        assert!(log.verdict(Point { sequence: 9, serial: 0 }, 5).is_none());
        let concerning = |sequence: u64, since: Option<u64>, only_gone: bool| {
            log.concerning(sequence..=sequence, since, only_gone).len()
        };
        assert_eq!(concerning(2, None, true), 0, "came before");
        assert_eq!(concerning(4, Some(1), true), 0, "was known");
        assert_eq!(concerning(5, None, false), 0, "another stream's");
        // Work 4 of the same stream may have used what 3 has left.
        assert_eq!(concerning(4, None, true), 1);
        assert_eq!(concerning(4, Some(0), true), 0, "somebody was told");
        assert_eq!(concerning(3, None, true), 0, "somebody was told");
        assert_eq!(concerning(3, Some(0), true), 1, "it is what was used");
        log.push(6, 7, error("alive"));
        assert_eq!(concerning(7, None, true), 0);
        assert_eq!(concerning(6, None, false), 0, "came before");
        assert_eq!(concerning(8, None, false), 0, "other work");
        assert_eq!(concerning(7, None, false), 1);
        assert_eq!(log.concerning(5..=9, None, false).len(), 1);
        assert!(log.verdict(Point { sequence: 9, serial: 2 }, 5).is_some());
        assert_eq!((concerning(7, None, false), concerning(7, Some(1), false)), (0, 1));
    }

    #[test]
    fn a_log_that_is_full_keeps_the_first_errors() {
        let log = ErrorLog::default();
        for i in 0..40 {
            log.push(i, i + 1, error(&i.to_string()));
        }
        assert!(told(&log, 100, 100).unwrap().ends_with(": 0"));
        assert_eq!(told(&log, 100, 100), None);
    }
}
