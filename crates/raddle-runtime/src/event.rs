//! Marks in a stream, and the time between them.

use std::time::Instant;

use crate::error::Result;
use crate::stream::Stream;

/// A mark in a stream, made by [`Stream::record`].
#[derive(Debug)]
pub struct Event {
    stream: Stream,
    mark: Mark,
}

#[derive(Debug)]
enum Mark {
    Cuda(raddle_cuda::Event),
    /// The CPU device has done all work when the mark is made.
    Cpu(Instant),
}

impl Event {
    pub(crate) fn record(stream: &Stream) -> Result<Self> {
        let mark = match stream.cuda_stream() {
            Some(raw) => {
                let event = raddle_cuda::Event::for_timing(raw.context())?;
                event.record(raw)?;
                Mark::Cuda(event)
            }
            None => Mark::Cpu(Instant::now()),
        };
        Ok(Self { stream: stream.clone(), mark })
    }

    /// Whether the work before the mark has ended.
    ///
    /// ## Errors
    ///
    /// A failed driver call.
    pub fn is_reached(&self) -> Result<bool> {
        match &self.mark {
            Mark::Cuda(event) => Ok(event.is_reached()?),
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
            Mark::Cuda(event) => self.stream.settle_up_to(None, |_| event.synchronize()),
            Mark::Cpu(_) => self.stream.synchronize(),
        }
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
