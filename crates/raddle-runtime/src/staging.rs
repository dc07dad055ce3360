//! Copies from borrowed host memory: through pinned chunks of our own, so that
//! the source may change or go away as soon as the call returns, while the copy
//! itself stays asynchronous.
//!
//! A queue fills one chunk at a time. A full chunk is marked with an event and
//! rests in the device's pool until the event is reached; then any queue may have
//! it.

use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex};

use raddle_cuda::{Context, Event, Pinned};

use crate::error::Result;
use crate::sync::lock;

/// A piece of pinned memory with a mark behind its last use.
pub(crate) struct Chunk {
    memory: Pinned,
    used: usize,
    event: Event,
}

/// Chunks that no queue is filling.
#[derive(Default)]
pub(crate) struct Staging {
    state: Mutex<Resting>,
}

#[derive(Default)]
struct Resting {
    /// In the order in which they were put there.
    chunks: VecDeque<Chunk>,
    /// How many chunks there are, those of queues included.
    made: usize,
}

const CHUNK_BYTES: usize = 256 << 10;
/// Parts begin at multiples of this, as copies like it.
const PART_ALIGN: usize = 64;
/// From this many chunks on, a writer waits for one to become free.
const CHUNKS_MAX: usize = 128;

impl Staging {
    /// Enqueues a copy on `stream` of `bytes` bytes at `source`, which is free
    /// again when this returns. `current` is the chunk that the stream's queue is
    /// filling.
    ///
    /// # Safety
    ///
    /// `source` is readable and `target` is device memory of `bytes` bytes that
    /// the stream may write now.
    pub(crate) unsafe fn copy(
        &self,
        stream: &raddle_cuda::Stream,
        current: &mut Option<Chunk>,
        target: u64,
        source: *const u8,
        bytes: usize,
    ) -> Result<()> {
        let mut done = 0;
        while done < bytes {
            self.rest_if_full(stream, current)?;
            let chunk = match &mut *current {
                Some(chunk) => chunk,
                empty => empty.insert(self.take(stream.context())?),
            };
            let len = (CHUNK_BYTES - chunk.used).min(bytes - done);
            let at = chunk.used;
            // Even of a copy that is refused a part may be under way: its place is
            // taken, and the chunk stays with the queue.
            chunk.used = (at + len).next_multiple_of(PART_ALIGN);
            // SAFETY: the chunk has room for `len` bytes at `at`; the source has as
            // many behind `done`.
            unsafe {
                let staged = chunk.memory.host().add(at);
                staged.copy_from_nonoverlapping(source.add(done), len);
                stream.copy_to_device(target + done as u64, staged, len)?;
            }
            done += len;
        }
        self.rest_if_full(stream, current)
    }

    /// Marks the end of a full chunk's copies and puts it to rest.
    fn rest_if_full(
        &self,
        stream: &raddle_cuda::Stream,
        current: &mut Option<Chunk>,
    ) -> Result<()> {
        if let Some(chunk) = current.take_if(|chunk| chunk.used >= CHUNK_BYTES) {
            if let Err(error) = chunk.event.record(stream) {
                *current = Some(chunk);
                return Err(error.into());
            }
            self.rest(chunk);
        }
        Ok(())
    }

    /// An empty chunk.
    fn take(&self, context: &Arc<Context>) -> Result<Chunk> {
        let mut state = lock(&self.state);
        let is_reached = state.chunks.front().map(|chunk| chunk.event.is_reached()).transpose()?;
        let oldest = match is_reached {
            Some(false) if state.made < CHUNKS_MAX => None,
            Some(_) | None => state.chunks.pop_front(),
        };
        let Some(mut chunk) = oldest else {
            drop(state);
            let memory = Pinned::new(context, CHUNK_BYTES)?;
            let chunk = Chunk { memory, used: 0, event: Event::for_order(context)? };
            lock(&self.state).made += 1;
            return Ok(chunk);
        };
        drop(state);
        if is_reached == Some(false)
            && let Err(error) = chunk.event.synchronize()
        {
            lock(&self.state).chunks.push_front(chunk);
            return Err(error.into());
        }
        chunk.used = 0;
        Ok(chunk)
    }

    fn rest(&self, chunk: Chunk) {
        lock(&self.state).chunks.push_back(chunk);
    }

    /// Takes back the chunk of a queue that nobody has any more.
    pub(crate) fn give_back(&self, stream: &raddle_cuda::Stream, chunk: Chunk) {
        let is_safe = chunk.event.record(stream).is_ok() || stream.synchronize().is_ok();
        if is_safe {
            self.rest(chunk);
        } else {
            // Nobody can say when its copies end: it is never used nor freed again.
            let _ = ManuallyDrop::new(chunk);
        }
    }
}
