//! How a queue says how far it has come: a word in mapped host memory that the
//! stream itself writes, or events where the device cannot write words.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use raddle_cuda::{Context, Event, Pinned};

use crate::error::Result;
use crate::sync::lock;

/// The words of a device's queues, in pages of pinned memory that live as long as
/// the device.
#[derive(Default)]
pub(crate) struct Words {
    pages: Mutex<Vec<Pinned>>,
}

const PAGE_WORDS: usize = 512;

/// What the poller looks at.
pub(crate) enum Source {
    /// The CPU device: work has ended when it is enqueued.
    Immediate,
    Word(Word),
    Events(Mutex<Events>),
}

/// A word that one stream writes.
pub(crate) struct Word {
    host: *const AtomicU64,
    device: u64,
}

// SAFETY: the word is only read, atomically, on the host; its page lives as long
// as the device, which every queue's users hold.
unsafe impl Send for Word {}
// SAFETY: as above.
unsafe impl Sync for Word {}

/// Marks in a stream, each with the number of the work before it.
#[derive(Default)]
pub(crate) struct Events {
    pending: VecDeque<(u64, Event)>,
    free: Vec<Event>,
    reached: u64,
}

impl Words {
    /// The word of the queue numbered `index`.
    pub(crate) fn get(&self, context: &Arc<Context>, index: usize) -> Result<Source> {
        let mut pages = lock(&self.pages);
        while pages.len() <= index / PAGE_WORDS {
            pages.push(Pinned::new(context, PAGE_WORDS * size_of::<u64>())?);
        }
        let page = &pages[index / PAGE_WORDS];
        let offset = index % PAGE_WORDS * size_of::<u64>();
        // SAFETY: the offset lies within the page.
        let host = unsafe { page.host().add(offset) }.cast::<AtomicU64>();
        Ok(Source::Word(Word { host, device: page.device() + offset as u64 }))
    }
}

impl Source {
    /// Events, for devices that cannot write words.
    pub(crate) fn events() -> Self {
        Self::Events(Mutex::default())
    }

    /// Has the stream say that all work up to `sequence`, which is enqueued, has
    /// ended.
    pub(crate) fn mark(&self, raw: &raddle_cuda::Stream, sequence: u64) -> Result<()> {
        match self {
            Self::Immediate => {}
            // SAFETY: the word is live pinned memory that nothing else writes.
            Self::Word(word) => unsafe { raw.write_u64(word.device, sequence)? },
            Self::Events(events) => {
                let mut events = lock(events);
                let event = match events.free.pop() {
                    Some(event) => event,
                    None => Event::for_order(raw.context())?,
                };
                event.record(raw)?;
                events.pending.push_back((sequence, event));
            }
        }
        Ok(())
    }

    /// The number that was reached last.
    pub(crate) fn observe(&self) -> Result<u64, raddle_cuda::Error> {
        match self {
            Self::Immediate => Ok(u64::MAX),
            // SAFETY: the word lives; the stream writes it whole.
            Self::Word(word) => Ok(unsafe { &*word.host }.load(Ordering::Acquire)),
            Self::Events(events) => {
                let mut events = lock(events);
                while let Some((_, event)) = events.pending.front()
                    && event.is_reached()?
                    && let Some((sequence, event)) = events.pending.pop_front()
                {
                    events.reached = sequence;
                    events.free.push(event);
                }
                Ok(events.reached)
            }
        }
    }
}
