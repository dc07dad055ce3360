//! What is tried when a heap has no block and no more memory can be mapped.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::report::MemoryPressure;
use super::{Allocated, Look, Point, Pool, Size, State};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::queue::Queue;
use crate::sync::lock;

/// What a user wants to be done before an allocation fails: returns whether
/// memory was given up.
pub(crate) type Hook = Arc<dyn Fn(&MemoryPressure) -> bool + Send + Sync>;

/// How often the hook may say for one request that it gave something up.
const HOOK_CALLS_MAX: u32 = 64;

impl Pool {
    /// A block in spite of everything. The caller holds no lock.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`], or a failed driver call.
    #[cold]
    pub(super) fn pressed(
        &self,
        device: &Device,
        queue: &Queue,
        size: Size,
        requested_bytes: usize,
    ) -> Result<Allocated> {
        for _ in 0..HOOK_CALLS_MAX {
            if let Some(found) = self.without_host_wait(device, queue, size)? {
                return Ok(found);
            }
            self.trim(device, u64::MAX)?;
            if let Some(found) = self.miss(device, queue, &mut lock(&queue.state), size)? {
                return Ok(found);
            }
            let Some(hook) = lock(&self.hook).clone() else { break };
            let usage = self.usage(device);
            let pressure = MemoryPressure { device: device.clone(), requested_bytes, usage };
            if !hook(&pressure) {
                break;
            }
        }
        Err(self.out_of_memory(device, requested_bytes))
    }

    /// Blocks of other queues' caches, and ranges that still wait for work, for
    /// which the queue is made to wait on the device.
    fn without_host_wait(
        &self,
        device: &Device,
        queue: &Queue,
        size: Size,
    ) -> Result<Option<Allocated>> {
        self.take_back_all(device);
        let state = lock(&queue.state);
        let mut look = Look::new(device, queue.id);
        let found = {
            let mut heap = lock(self.heap(size));
            heap.settle(&mut |point| look.state(point));
            heap.take(size.bytes(), &mut |point| look.state(point))
        };
        if let Some(grant) = found {
            return Ok(Some(look.allocated(grant)));
        }
        let found = {
            let mut heap = lock(self.heap(size));
            heap.take_pending(size.bytes()).or_else(|| {
                // Each range is too short. Together they may do, at the price that
                // all of them wait for the work of each.
                heap.settle(&mut |point| match look.state(point) {
                    State::Ended => State::Ended,
                    State::Before | State::UnderWay => State::Before,
                });
                heap.take_pending(size.bytes())
            })
        };
        let Some(grant) = found else { return Ok(None) };
        for &point in grant.pending.points() {
            if look.state(point) == State::UnderWay {
                self.counts.device_waits.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = queue.wait_on_device(device, point.stream, point.sequence) {
                    let (address, bytes) = (grant.address, grant.bytes);
                    lock(self.heap(size)).put(address, bytes, grant.pending.clone());
                    return Err(error);
                }
            }
        }
        drop(state);
        Ok(Some(look.allocated(grant)))
    }

    /// Takes the blocks of all queues' caches back. The caller holds no lock.
    fn take_back_all(&self, device: &Device) {
        for queue in device.inner().queues.all() {
            let mut state = lock(&queue.state);
            if state.cache.bytes() > 0 {
                self.take_back(queue, &mut state.cache);
            }
        }
    }

    /// Gives memory that no buffer holds back to the device, `wanted` bytes at
    /// least if there are as many, and waits on the host for the work that still
    /// uses it. Returns how many bytes went. The caller holds no lock.
    ///
    /// # Errors
    ///
    /// The fault of a kernel that failed, or a failed driver call.
    pub(crate) fn trim(&self, device: &Device, wanted: u64) -> Result<u64> {
        self.take_back_all(device);
        self.counts.trims.fetch_add(1, Ordering::Relaxed);
        let mut trimmed = 0;
        for heap in [&self.large, &self.small] {
            // Waited for without the heap's lock: others may go on.
            let points = lock(heap).points();
            for &point in points.points() {
                let queue = device.queue(point.stream);
                if let Some(raw) = &queue.raw
                    && queue.probe_ended() < point.sequence
                {
                    self.counts.host_waits.fetch_add(1, Ordering::Relaxed);
                    raw.synchronize()?;
                }
            }
            if trimmed < wanted {
                // What came meanwhile is not waited for.
                let mut state = |point: Point| {
                    let is_waited_for = points.points().iter().any(|waited| {
                        waited.stream == point.stream && waited.sequence >= point.sequence
                    });
                    if is_waited_for { State::Ended } else { State::UnderWay }
                };
                trimmed += lock(heap).trim(wanted - trimmed, &mut state);
            }
        }
        Ok(trimmed)
    }

    /// What to say when nothing helped.
    pub(crate) fn out_of_memory(&self, device: &Device, requested_bytes: usize) -> Error {
        let memory = device.memory().ok();
        Error::OutOfMemory {
            device: device.to_string(),
            requested_bytes,
            free_bytes: memory.map_or(0, |memory| memory.free_bytes),
            total_bytes: memory.map_or(0, |memory| memory.total_bytes),
            pool: Box::new(self.state(device)),
        }
    }
}
