//! What went wrong, and who is told.
//!
//! A panic belongs to a stretch of a queue's work. It is told to everybody who
//! waits for a point in or behind that stretch while it comes up, and at least
//! once: if nobody waits, to whoever waits next, on this queue or, for memory that
//! the work used, on another one. A fault loses the device: then everything that
//! is awaited resolves with [`Error::DeviceLost`].

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
        entries.push(Entry { from, to, serial, is_told: false, error });
        self.is_any.store(true, Ordering::Release);
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
            let is_news = entry.serial > point.serial && point.sequence <= entry.to;
            if is_covered && (!entry.is_told || is_news) {
                found = found.or_else(|| Some(entry.error.clone()));
                // Those behind the first are about work that it has spoilt.
                entry.is_told = true;
            }
        }
        found
    }

    /// The errors nobody was told of that can concern work number `sequence`, for
    /// those who use its memory. Those of work before `first`, whose stream is
    /// gone, count as told afterwards; `only_gone` asks for no others.
    pub(crate) fn concerning(&self, sequence: u64, first: u64, only_gone: bool) -> Vec<Error> {
        let mut entries = lock(&self.entries);
        let mut found = Vec::new();
        for entry in entries.iter_mut().filter(|entry| !entry.is_told && entry.to >= sequence) {
            let is_gone = entry.to < first;
            if is_gone || !only_gone {
                entry.is_told = is_gone;
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
        assert_eq!(told(&log, 9, 0), None, "its work is behind, and the error was told");
        assert_eq!(told(&log, 8, 1), None, "began to wait afterwards");
    }

    #[test]
    fn errors_of_a_stream_that_is_gone_reach_only_users_of_its_memory() {
        let log = ErrorLog::default();
        log.push(2, 3, error("gone"));
        assert!(log.verdict(Point { sequence: 9, serial: 0 }, 5).is_none());
        assert!(log.concerning(4, 5, true).is_empty());
        assert_eq!(log.concerning(3, 5, true).len(), 1);
        assert!(log.concerning(3, 5, true).is_empty());
        log.push(6, 7, error("alive"));
        assert!(log.concerning(6, 5, true).is_empty());
        assert_eq!(log.concerning(6, 5, false).len(), 1);
        assert_eq!(log.concerning(6, 5, false).len(), 1);
        assert!(log.verdict(Point { sequence: 9, serial: 2 }, 5).is_some());
        assert!(log.concerning(6, 5, false).is_empty());
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
