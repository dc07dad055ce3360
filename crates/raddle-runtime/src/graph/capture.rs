//! What the stream's methods do while the stream is being captured.
//!
//! On a GPU the driver captures what is enqueued; here the graph takes hold of the
//! memory. On the CPU device each operation is written down instead.

use std::mem::MaybeUninit;

use raddle_device::param::DeviceType;

use crate::buffer::SliceMut;
use crate::call::Accesses;
use crate::completion::Point;
use crate::error::Result;
use crate::graph::captured;
use crate::graph::record::{Node, Place, Recorded};
use crate::launch::{CpuLaunch, Operation};
use crate::memory::Region;
use crate::queue::QueueState;
use crate::stream::Stream;
use crate::sync::lock;
use crate::timeline::Access;

impl Stream {
    /// Waits for the replays that work with these accesses must come after, and
    /// keeps others away until the work is noted.
    #[cold]
    pub(crate) fn wait_for_graphs(
        &self,
        accesses: &Accesses<'_>,
        state: &mut QueueState,
    ) -> Result<std::sync::MutexGuard<'_, crate::graph::table::Table>> {
        let (device, queue) = (self.device(), self.queue());
        let table = device.inner().graphs.lock();
        for (region, access) in accesses.iter().filter(|(region, _)| region.uses.is_held()) {
            let mut wait = |entry| queue.wait_for(state, device, entry);
            let from = (queue.id, self.first_sequence());
            let waited = table.before(region.address, access, from, &mut wait);
            waited.map_err(|error| self.with_context(error))?;
        }
        Ok(table)
    }

    /// Prepares work on a GPU's stream that is being captured: the graph holds the
    /// memory, and the driver is going to hold the work.
    #[cold]
    pub(crate) fn hold_captured(
        &self,
        operation: Operation,
        accesses: &Accesses<'_>,
        state: &mut QueueState,
    ) -> Result<()> {
        if !operation.is_capturable() || self.queue().raw.is_none() {
            return Err(captured(operation.name()));
        }
        self.hold(operation.name(), accesses, state)
    }

    /// Where captured work stands: behind what was enqueued before the capture.
    #[cold]
    pub(crate) fn captured_point(&self, worked: Result<()>) -> Result<Point> {
        worked.map_err(|error| self.with_context(error))?;
        Ok(self.queue().point())
    }

    /// Has the graph that is being captured hold the memory.
    fn hold(
        &self,
        operation: &'static str,
        accesses: &Accesses<'_>,
        state: &mut QueueState,
    ) -> Result<()> {
        let Some(recording) = &mut state.recording else { return Ok(()) };
        let mut table = self.device().inner().graphs.lock();
        for (region, access) in accesses.iter() {
            if !region.device.is_same(self.device()) {
                return Err(self.wrong_device(operation, region));
            }
            let is_new =
                region.bytes > 0 && table.hold(recording.graph, region, access != Access::Read);
            if is_new {
                recording.body.held.push(region.address);
            }
        }
        Ok(())
    }

    /// Writes down an operation of the CPU device.
    pub(crate) fn record_operation(
        &self,
        operation: &'static str,
        accesses: &Accesses<'_>,
        recorded: Recorded,
    ) -> Result<()> {
        let mut state = lock(&self.queue().state);
        self.hold(operation, accesses, &mut state)?;
        match &mut state.recording {
            Some(recording) => recording.body.operations.push(recorded),
            // The capture has ended meanwhile, on another thread.
            None => return Err(captured(operation)),
        }
        Ok(())
    }

    /// Writes down a launch of the CPU device.
    pub(crate) fn record_cpu_launch(
        &self,
        accesses: &Accesses<'_>,
        launch: CpuLaunch,
    ) -> Result<Point> {
        let queue = self.queue();
        let mut state = lock(&queue.state);
        let kernel = launch.kernel;
        self.hold(kernel.name, accesses, &mut state)?;
        let Some(recording) = &mut state.recording else { return Err(captured(kernel.name)) };
        let place = Place::Listed(recording.body.operations.len());
        recording.body.operations.push(Recorded::Launch(launch));
        recording.body.launches.push(Node { kernel, place });
        Ok(queue.point())
    }

    /// A fill, on the CPU device.
    pub(crate) fn record_fill<T: DeviceType>(
        &self,
        target: &SliceMut<'_, T>,
        value: T,
    ) -> Result<()> {
        let accesses = Accesses::default().with(target.region, target.access);
        let (to, len) = (target.address, target.len());
        let fill = Recorded::Fill { to, element: bytes_of_slice(&[value]), len };
        self.record_operation("fill", &accesses, fill)
    }

    /// A write from the host, whose data becomes a part of the graph.
    pub(crate) fn record_write<T: DeviceType>(
        &self,
        target: &SliceMut<'_, T>,
        source: &[T],
    ) -> Result<()> {
        let accesses = Accesses::default().with(target.region, target.access);
        let data = bytes_of_slice(source);
        let Some(context) = self.device().cuda_context() else {
            let write = Recorded::Write { to: target.address, data };
            return self.record_operation("write", &accesses, write);
        };
        if data.is_empty() {
            return Ok(());
        }
        let pinned = raddle_cuda::Pinned::new(context, data.len())?;
        // SAFETY: both have that many bytes, and the new memory is nobody else's.
        unsafe { pinned.host().copy_from_nonoverlapping(data.as_ptr().cast(), data.len()) };
        let mut state = lock(&self.queue().state);
        self.hold("write", &accesses, &mut state)?;
        let Some(recording) = &mut state.recording else { return Err(captured("write")) };
        let from = pinned.host().cast_const();
        // Kept first: a part may be captured even if the call fails.
        recording.body.pinned.push(pinned);
        let raw = self.queue().raw.as_ref().expect("a GPU's queue");
        // SAFETY: the lengths agree; the graph holds both sides.
        let copied = unsafe { raw.copy_to_device(target.address, from, data.len()) };
        copied.map_err(|error| self.with_context(error.into()))
    }

    /// Memory for the graph that is being captured: that of a buffer which was
    /// dropped in the same capture, or new memory of the companion stream.
    #[cold]
    pub(crate) fn captured_region(&self, bytes: usize, is_zeroed: bool) -> Result<Region> {
        let (companion, graph) = {
            let state = lock(&self.queue().state);
            let Some(recording) = &state.recording else { return Err(captured("allocation")) };
            (recording.companion.clone(), recording.graph)
        };
        let reused = {
            let state = lock(&self.queue().state);
            let held = state.recording.as_ref().map_or(&[][..], |r| &r.body.held);
            let mut table = self.device().inner().graphs.lock();
            if bytes == 0 { None } else { table.reuse(graph, companion.queue().id, bytes, held) }
        };
        let region = match reused {
            Some(region) => region,
            None => Region::new(companion.anchor(), companion.queue(), bytes, false)?,
        };
        let accesses = Accesses::default().with(&region, Access::Exclusive);
        let to = region.address;
        match &self.queue().raw {
            None if is_zeroed && bytes > 0 => {
                self.record_operation("zeros", &accesses, Recorded::Zero { to, bytes })?;
            }
            Some(raw) => {
                let mut state = lock(&self.queue().state);
                self.hold("zeros", &accesses, &mut state)?;
                if is_zeroed && bytes > 0 && state.recording.is_some() {
                    // SAFETY: the memory has that many bytes and the graph holds it.
                    let filled = unsafe { raw.fill_u8(to, 0, bytes) };
                    filled.map_err(|error| self.with_context(error.into()))?;
                }
            }
            None => self.hold("zeros", &accesses, &mut lock(&self.queue().state))?,
        }
        drop(accesses);
        Ok(region)
    }
}

/// The bytes of plain data, with its padding, which has no value.
fn bytes_of_slice<T: DeviceType>(source: &[T]) -> Box<[MaybeUninit<u8>]> {
    let bytes = source.as_ptr().cast::<MaybeUninit<u8>>();
    // SAFETY: the slice's memory, as bytes of any value or none.
    unsafe { std::slice::from_raw_parts(bytes, size_of_val(source)) }.into()
}
