//! Marks in a stream, and the time between them.

use std::time::Instant;

use crate::completion::{Completion, Point};
use crate::error::Result;
use crate::stream::Stream;

/// A mark in a stream, made by [`Stream::record`].
#[derive(Debug)]
pub struct Event {
    stream: Stream,
    mark: Mark,
    point: Point,
}

#[derive(Debug)]
enum Mark {
    Cuda(raddle_cuda::Event),
    /// The CPU device has done all work when the mark is made.
    Cpu(Instant),
}

impl Event {
    pub(crate) fn record(stream: &Stream) -> Result<Self> {
        // Read first: what is enqueued meanwhile is before the mark, too.
        let point = stream.queue().point();
        let mark = match stream.cuda_stream() {
            Some(raw) => {
                let event = raddle_cuda::Event::for_timing(raw.context())?;
                event.record(raw).map_err(|error| stream.with_context(error.into()))?;
                Mark::Cuda(event)
            }
            None => Mark::Cpu(Instant::now()),
        };
        Ok(Self { stream: stream.clone(), mark, point })
    }

    /// Whether the work before the mark has ended.
    ///
    /// ## Errors
    ///
    /// A failed driver call.
    pub fn is_reached(&self) -> Result<bool> {
        match &self.mark {
            Mark::Cuda(event) => {
                event.is_reached().map_err(|error| self.stream.with_context(error.into()))
            }
            Mark::Cpu(_) => Ok(true),
        }
    }

    /// Waits for the work before the mark.
    ///
    /// ## Errors
    ///
    /// A panic or fault of a kernel of the stream, or a failed driver call.
    pub fn synchronize(&self) -> Result<()> {
        match &self.mark {
            Mark::Cuda(event) => {
                event.synchronize().map_err(|error| self.stream.with_context(error.into()))?;
                self.stream.note_end(self.point);
                self.stream.verdict(self.point)
            }
            Mark::Cpu(_) => self.stream.settle(self.point),
        }
    }

    /// The work before the mark as a future.
    pub fn done(&self) -> Completion {
        Completion::new(self.stream.clone(), self.point)
    }

    /// Milliseconds from `start`, a mark of the same device, to this one. Waits
    /// for both.
    ///
    /// ## Errors
    ///
    /// A failed driver call.
    pub fn elapsed_ms_since(&self, start: &Self) -> Result<f64> {
        match (&self.mark, &start.mark) {
            (Mark::Cuda(end), Mark::Cuda(start)) => {
                start.synchronize()?;
                end.synchronize()?;
                Ok(f64::from(end.elapsed_ms_since(start)?))
            }
            (Mark::Cpu(end), Mark::Cpu(start)) => {
                Ok(end.saturating_duration_since(*start).as_secs_f64() * 1e3)
            }
            _ => Err(crate::Error::WrongDevice {
                operation: "elapsed_ms_since",
                buffer: start.stream.device().to_string(),
                stream: self.stream.device().to_string(),
            }),
        }
    }
}
