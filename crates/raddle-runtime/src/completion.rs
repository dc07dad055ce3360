//! Waiting without a thread: the end of work as a future.
//!
//! Every queue counts the work that is enqueued on it. Whoever awaits has the
//! stream write that count to a word in host memory once the work has ended
//! (`cuStreamWriteValue64`; an event where the device cannot do that), enters the
//! queue's list of waiters, and is woken by the device's one poller thread. A poll
//! is one atomic load: it calls no driver function and never spins.
//!
//! Dropping a future cancels the wait and nothing else: the work goes on. What the
//! work uses is kept until it has ended, whether its future is polled, dropped or
//! forgotten. On the CPU device work has ended when it is enqueued, so that its
//! futures are ready at once.

pub(crate) mod poller;
pub(crate) mod signal;
mod transfer;
mod word;

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::error::{Error, Result};
use crate::stream::{Launched, Stream};

pub(crate) use transfer::Landing;
pub use transfer::{Download, InFlight};
pub(crate) use word::{Source, Words};

/// A point in a stream's work, as a wait remembers it.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Number of the last work before the point.
    pub(crate) sequence: u64,
    /// How many errors the queue had told of by then.
    pub(crate) serial: u64,
}

/// The end of the work that was enqueued on a stream up to a point, as a future.
/// Made by [`Stream::done`] and by awaiting a [`Launched`].
///
/// It may be polled by any executor, dropped and forgotten at any time.
///
/// ## Errors
///
/// Resolves to a panic or fault of a kernel enqueued before the point that nobody
/// was told of yet, or that came up while this waited; to [`Error::DeviceLost`] if
/// the device is lost meanwhile.
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Completion {
    stream: Stream,
    point: Point,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not polled yet.
    New,
    /// Could not be made ready for waiting.
    Refused(Error),
    Waiting {
        ticket: u64,
        waker: Waker,
    },
    Done,
}

impl Completion {
    pub(crate) fn new(stream: Stream, point: Point) -> Self {
        let armed = stream.queue().arm(point.sequence);
        let state = match armed {
            Ok(()) => State::New,
            Err(error) => State::Refused(stream.with_context(error)),
        };
        Self { stream, point, state }
    }

    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Whether the work has ended (or the device is lost), without waiting.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.stream.queue().signal.completed() >= self.point.sequence
    }

    /// Waits on this thread, for code that is not asynchronous.
    ///
    /// ## Errors
    ///
    /// As the future.
    pub fn wait(mut self) -> Result<()> {
        if let State::Refused(error) = std::mem::replace(&mut self.state, State::Done) {
            return Err(error);
        }
        self.stream.settle(self.point)
    }

    fn poll_done(&mut self, context: &Context<'_>) -> Poll<Result<()>> {
        if let State::Refused(_) = &self.state {
            let State::Refused(error) = std::mem::replace(&mut self.state, State::Done) else {
                unreachable!("just looked at")
            };
            return Poll::Ready(Err(error));
        }
        if !self.is_done() {
            let ticket = match &self.state {
                State::Waiting { waker, .. } if waker.will_wake(context.waker()) => {
                    return Poll::Pending;
                }
                State::Waiting { ticket, .. } => Some(*ticket),
                _ => None,
            };
            let queue = self.stream.queue();
            let (sequence, waker) = (self.point.sequence, context.waker());
            if let Some(ticket) = queue.signal.register(sequence, ticket, waker) {
                self.state = State::Waiting { ticket, waker: waker.clone() };
                return match self.stream.watch() {
                    Ok(()) => Poll::Pending,
                    Err(error) => Poll::Ready(Err(error)),
                };
            }
        }
        self.state = State::Done;
        Poll::Ready(self.stream.verdict(self.point))
    }
}

impl Future for Completion {
    type Output = Result<()>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_done(context)
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let State::Waiting { ticket, .. } = self.state {
            self.stream.queue().signal.cancel(self.point.sequence, ticket);
        }
    }
}

impl IntoFuture for Launched<'_> {
    type Output = Result<()>;
    type IntoFuture = Completion;

    fn into_future(self) -> Completion {
        self.done()
    }
}
