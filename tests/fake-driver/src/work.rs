//! Pieces of work: what they touch, and what they do.

use std::ffi::c_void;
use std::sync::Arc;

use crate::control::KernelRow;
use crate::handles::{Code, Handle};
use crate::memory::Span;
use crate::objects::Node;
use crate::world::World;

/// A kernel with its parameter block.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) function: Handle,
    pub(crate) name: Arc<str>,
    pub(crate) params: Arc<[u8]>,
}

/// A function of the host with its argument.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostCall {
    pub(crate) function: unsafe extern "C" fn(*mut c_void),
    pub(crate) data: usize,
}

/// What a stream or a graph's node does.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Kernel(Launch),
    Copy {
        to: u64,
        from: u64,
        bytes: u64,
    },
    /// Rows of `width` bytes that begin `to_pitch` and `from_pitch` bytes apart.
    Rows {
        to: u64,
        to_pitch: u64,
        from: u64,
        from_pitch: u64,
        width: u64,
        height: u64,
    },
    /// From pageable memory, whose content was taken when the copy was enqueued.
    CopyIn {
        to: u64,
        data: Arc<[u8]>,
    },
    /// Takes part in the order of a copy to pageable memory, which is made by the
    /// thread that waits for it.
    Read(Span),
    Fill {
        to: u64,
        value: u32,
        width: u8,
        len: u64,
    },
    Allocate {
        address: u64,
    },
    Free {
        address: u64,
    },
    /// Nothing but a place in the stream.
    Mark {
        event: Handle,
        number: u64,
    },
    /// Nothing at all: waits are in [`Queued::after`](crate::objects::Queued).
    Empty,
    WriteValue {
        address: u64,
        value: u64,
        width: u8,
    },
    WaitValue {
        address: u64,
        value: u64,
        width: u8,
        condition: u32,
    },
    Host(HostCall),
    Graph(GraphRun),
}

/// A launch of a graph that is under way.
#[derive(Clone, Debug)]
pub(crate) struct GraphRun {
    pub(crate) nodes: Arc<Vec<Node>>,
    pub(crate) is_done: Vec<bool>,
}

impl Work {
    /// What it is, for reports and comparison of graphs.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Kernel(_) => "a kernel",
            Self::Copy { .. } | Self::Rows { .. } | Self::CopyIn { .. } | Self::Read(_) => "a copy",
            Self::Fill { .. } => "a fill",
            Self::Allocate { .. } => "an allocation",
            Self::Free { .. } => "a free",
            Self::Mark { .. } => "an event",
            Self::Empty => "a wait",
            Self::WriteValue { .. } => "a stream write",
            Self::WaitValue { .. } => "a stream wait",
            Self::Host(_) => "a host function",
            Self::Graph(_) => "a graph",
        }
    }
}

impl World {
    /// The bytes that work touches.
    pub(crate) fn spans(&mut self, work: &Work) -> Vec<Span> {
        let span = |address, bytes, is_write| Span { address, bytes, is_write };
        match work {
            Work::Kernel(launch) => match self.kernels.get(&*launch.name) {
                Some(row) => row.describe(&launch.params),
                None => Vec::new(),
            },
            Work::Copy { to, from, bytes } => {
                vec![span(*from, *bytes, false), span(*to, *bytes, true)]
            }
            &Work::Rows { to, to_pitch, from, from_pitch, width, height } => {
                let rows = 0..height;
                let read = rows.clone().map(|row| span(from + row * from_pitch, width, false));
                read.chain(rows.map(|row| span(to + row * to_pitch, width, true))).collect()
            }
            Work::Read(span) => vec![*span],
            Work::CopyIn { to, data } => vec![span(*to, data.len() as u64, true)],
            Work::Fill { to, width, len, .. } => vec![span(*to, len * u64::from(*width), true)],
            Work::Allocate { address } | Work::Free { address } => {
                let bytes = self.memory.at(*address).map_or(0, |range| range.bytes);
                vec![span(*address, bytes, true)]
            }
            Work::WriteValue { address, width, .. } => vec![span(*address, (*width).into(), true)],
            // Polls, which is what it is for.
            Work::WaitValue { .. } => Vec::new(),
            Work::Mark { .. } | Work::Empty | Work::Host(_) => Vec::new(),
            Work::Graph(run) => {
                let nodes = Arc::clone(&run.nodes);
                nodes.iter().flat_map(|node| self.spans(&node.work)).collect()
            }
        }
    }

    /// The host memory of a span, or a report.
    fn reach(&mut self, span: Span, what: &str) -> Option<*mut u8> {
        if span.bytes == 0 {
            return Some(std::ptr::dangling_mut());
        }
        match self.memory.touch(span) {
            Ok(pointer) => Some(pointer),
            Err(problem) => {
                let verb = if span.is_write { "writes" } else { "reads" };
                self.violate(format!("{what} {verb} {} bytes: {problem}", span.bytes));
                None
            }
        }
    }

    /// Does a piece of work other than a host function or a graph.
    ///
    /// # Errors
    ///
    /// The code of a fault of the device.
    pub(crate) fn perform(&mut self, work: &Work) -> Result<(), Code> {
        let span = |address, bytes, is_write| Span { address, bytes, is_write };
        match work {
            Work::Kernel(launch) => return self.perform_kernel(launch),
            Work::Copy { to, from, bytes } => {
                let source = self.reach(span(*from, *bytes, false), "a copy");
                let target = self.reach(span(*to, *bytes, true), "a copy");
                if let (Some(source), Some(target)) = (source, target) {
                    // SAFETY: both spans lie in live memory of that length.
                    unsafe { target.copy_from(source, *bytes as usize) };
                }
            }
            Work::CopyIn { to, data } => {
                if let Some(target) = self.reach(span(*to, data.len() as u64, true), "a copy") {
                    // SAFETY: as above.
                    unsafe { target.copy_from(data.as_ptr(), data.len()) };
                }
            }
            &Work::Rows { to, to_pitch, from, from_pitch, width, height } => {
                for row in 0..height {
                    let (to, from) = (to + row * to_pitch, from + row * from_pitch);
                    self.perform(&Work::Copy { to, from, bytes: width })?;
                }
            }
            Work::Fill { to, value, width, len } => self.perform_fill(*to, *value, *width, *len),
            Work::Allocate { address } => {
                if let Some(range) = self.memory.at(*address) {
                    range.is_pending = false;
                }
            }
            Work::Free { address } => self.perform_free(*address),
            Work::Mark { event, number } => self.perform_mark(*event, *number),
            Work::WriteValue { address, value, width } => {
                self.perform_write(*address, *value, *width);
            }
            Work::WaitValue { .. } | Work::Empty | Work::Read(_) => {}
            Work::Host(_) | Work::Graph(_) => unreachable!("the scheduler takes these apart"),
        }
        Ok(())
    }

    fn perform_fill(&mut self, to: u64, value: u32, width: u8, len: u64) {
        let bytes = len * u64::from(width);
        let span = Span { address: to, bytes, is_write: true };
        let Some(target) = self.reach(span, "a fill") else { return };
        let pattern = value.to_ne_bytes();
        for index in 0..len as usize {
            // SAFETY: the span has room for `len` values of that width.
            unsafe {
                let value = target.add(index * usize::from(width));
                value.copy_from_nonoverlapping(pattern.as_ptr(), width.into());
            }
        }
    }

    fn perform_write(&mut self, address: u64, value: u64, width: u8) {
        let span = Span { address, bytes: width.into(), is_write: true };
        let Some(target) = self.reach(span, "a stream write") else { return };
        use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
        if width == 8 {
            // SAFETY: live memory, aligned as the driver demands; the host may
            // read it at the same time, hence the atomic.
            unsafe { AtomicU64::from_ptr(target.cast()) }.store(value, Ordering::SeqCst);
        } else {
            // SAFETY: as above.
            unsafe { AtomicU32::from_ptr(target.cast()) }.store(value as u32, Ordering::SeqCst);
        }
    }

    /// Whether the word that a stream waits for has the value; true as well if
    /// there is no such word, which is reported.
    pub(crate) fn is_value_there(
        &mut self,
        address: u64,
        value: u64,
        width: u8,
        condition: u32,
    ) -> bool {
        let span = Span { address, bytes: width.into(), is_write: false };
        let Some(word) = self.reach(span, "a stream wait") else { return true };
        use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
        let found = if width == 8 {
            // SAFETY: live, aligned memory.
            unsafe { AtomicU64::from_ptr(word.cast()) }.load(Ordering::SeqCst)
        } else {
            // SAFETY: as above.
            unsafe { AtomicU32::from_ptr(word.cast()) }.load(Ordering::SeqCst).into()
        };
        match condition & 3 {
            // GEQ is cyclic: the difference as a signed number.
            0 if width == 8 => found.wrapping_sub(value) as i64 >= 0,
            0 => (found as u32).wrapping_sub(value as u32) as i32 >= 0,
            1 => found == value,
            2 => found & value != 0,
            _ => !(found | value) != 0,
        }
    }

    fn perform_kernel(&mut self, launch: &Launch) -> Result<(), Code> {
        self.kernels_run += 1;
        if let Some(code) = self.take_kernel_fault(&launch.name) {
            return Err(code);
        }
        if let Some(record) = self.take_kernel_panic(&launch.name) {
            self.write_panic(launch, &record);
            return Ok(());
        }
        let Some(row) = self.kernels.get(&*launch.name).copied() else { return Ok(()) };
        self.run_kernel(row, launch);
        Ok(())
    }

    fn run_kernel(&mut self, row: KernelRow, launch: &Launch) {
        let what = format!("kernel {}", launch.name);
        let mut pointers = Vec::new();
        for span in row.describe(&launch.params) {
            match self.reach(span, &what) {
                Some(pointer) => pointers.push(pointer),
                None => return,
            }
        }
        row.run(&launch.params, &pointers);
    }
}
