//! What a graph does: the pieces of work that were captured, in order.
//!
//! On a GPU the driver keeps them; what is kept here is what they need to live
//! (pinned copies of host data) and what later changes need to know (kernel
//! nodes). On the CPU device they are a list that a replay goes through.

use std::mem::MaybeUninit;
use std::sync::Arc;

use raddle_device::kernel::Kernel;

use crate::Result;
use crate::cuda::CudaDevice;
use crate::graph::table::GraphId;
use crate::kernels::Loaded;
use crate::launch::CpuLaunch;
use crate::memory::host_pointer;
use crate::panics::{GraphSlot, KernelIndex, LaunchTag};
use crate::stream::Stream;

/// A capture under way, kept by the queue that is being captured.
pub(crate) struct Recording {
    pub(crate) graph: GraphId,
    /// Where memory for the graph is allocated.
    pub(crate) companion: Stream,
    pub(crate) body: Body,
}

impl Recording {
    /// What the next launch of the graph is told.
    pub(crate) fn next_tag(&mut self, cuda: &CudaDevice, kernel: KernelIndex) -> Result<LaunchTag> {
        let number = self.body.launches.len() as u64 + 1;
        let slot = match &mut self.body.panics {
            Some(slot) => slot,
            empty => empty.insert(Arc::new(GraphSlot::new(cuda.board.take(cuda)?))),
        };
        Ok(slot.tag(number, kernel))
    }

    /// Notes a launch that the driver has captured on `raw`.
    pub(crate) fn note_launch(
        &mut self,
        raw: &raddle_cuda::Stream,
        kernel: &'static Kernel,
    ) -> Result<()> {
        let node = match raw.last_captured() {
            Ok(node) => node,
            // The driver is too old to tell: the launch cannot be changed later.
            Err(raddle_cuda::Error::FunctionMissing { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        self.body.launches.push(Node { kernel, place: Place::Driver(node) });
        Ok(())
    }

    /// Keeps the module of a foreign kernel that the driver has captured.
    pub(crate) fn note_foreign(&mut self, loaded: &Arc<Loaded>) -> Result<()> {
        self.body.foreign.push(Arc::clone(loaded));
        Ok(())
    }
}

/// What was captured.
#[derive(Default)]
pub(crate) struct Body {
    /// Addresses of the memory that the graph holds.
    pub(crate) held: Vec<u64>,
    /// Host data that copies read at each replay.
    pub(crate) pinned: Vec<raddle_cuda::Pinned>,
    /// Foreign kernels, whose modules would else be unloaded with their handles.
    pub(crate) foreign: Vec<Arc<Loaded>>,
    /// The work, on the CPU device.
    pub(crate) operations: Vec<Recorded>,
    /// The launches, in order.
    pub(crate) launches: Vec<Node>,
    /// Where the launches' panics go, on a GPU.
    pub(crate) panics: Option<Arc<GraphSlot>>,
}

/// A launch in a graph.
#[derive(Clone, Copy)]
pub(crate) struct Node {
    pub(crate) kernel: &'static Kernel,
    pub(crate) place: Place,
}

/// Where a launch is found.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// On a GPU, where the driver tells.
    Driver(Option<raddle_cuda::GraphNode>),
    /// Its index in the CPU device's list.
    Listed(usize),
}

/// One piece of work of the CPU device.
pub(crate) enum Recorded {
    /// A copy between ranges that do not overlap.
    Copy { to: u64, from: u64, bytes: usize },
    /// Elements at `to`, each with the bytes of `element`.
    Fill { to: u64, element: Box<[MaybeUninit<u8>]>, len: usize },
    /// Data that was the host's.
    Write { to: u64, data: Box<[MaybeUninit<u8>]> },
    /// Zero bytes.
    Zero { to: u64, bytes: usize },
    /// A launch.
    Launch(CpuLaunch),
}

impl Recorded {
    /// Does the work.
    ///
    /// # Safety
    ///
    /// The memory it names is alive and used by nobody else meanwhile.
    pub(crate) unsafe fn replay(&self) -> Result<()> {
        match self {
            // SAFETY: the caller's contract; checked to lie within the memory when
            // it was recorded.
            Self::Copy { to, from, bytes } => unsafe {
                host_pointer(*to).copy_from_nonoverlapping(host_pointer(*from), *bytes);
            },
            Self::Fill { to, element, len } => {
                for i in 0..*len {
                    let at = host_pointer(*to + (i * element.len()) as u64);
                    // SAFETY: as above.
                    unsafe { at.copy_from_nonoverlapping(element.as_ptr().cast(), element.len()) };
                }
            }
            // SAFETY: as above.
            Self::Write { to, data } => unsafe {
                host_pointer(*to).copy_from_nonoverlapping(data.as_ptr().cast(), data.len());
            },
            // SAFETY: as above.
            Self::Zero { to, bytes } => unsafe { host_pointer(*to).write_bytes(0, *bytes) },
            // SAFETY: as above.
            Self::Launch(launch) => return unsafe { launch.run() },
        }
        Ok(())
    }

    /// What it is, for comparing graphs.
    pub(crate) fn shape(&self) -> &'static str {
        match self {
            Self::Copy { .. } => "a copy",
            Self::Fill { .. } => "a fill",
            Self::Write { .. } => "a write",
            Self::Zero { .. } => "zeros",
            Self::Launch(launch) => launch.kernel.name,
        }
    }
}
