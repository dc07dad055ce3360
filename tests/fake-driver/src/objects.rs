//! The driver's objects: what a handle stands for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::ThreadId;

use crate::handles::{Code, Handle};
use crate::races::Clock;
use crate::work::{Launch, Work};

/// A context: the primary one of a device.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) device: i32,
    /// The code of the fault that it was lost to; every later call returns it.
    pub(crate) fault: Option<Code>,
    pub(crate) peers: Vec<i32>,
    pub(crate) limits: Vec<(u32, usize)>,
}

/// A stream. Its slot is its place in clocks and is never used again.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) context: Handle,
    /// The number that `cuStreamGetId` gives.
    pub(crate) id: u64,
    pub(crate) priority: i32,
    pub(crate) is_blocking: bool,
    pub(crate) queue: VecDeque<Queued>,
    pub(crate) enqueued: u64,
    pub(crate) completed: u64,
    pub(crate) clock: Clock,
    /// The version of the host's clock that was joined last.
    pub(crate) host_version: u64,
    /// Whether its first piece of work is a host function that runs now.
    pub(crate) is_busy: bool,
    pub(crate) capture: Option<Capturing>,
}

impl Stream {
    pub(crate) fn new(context: Handle, id: u64, priority: i32, is_blocking: bool) -> Self {
        Self {
            context,
            id,
            priority,
            is_blocking,
            queue: VecDeque::new(),
            enqueued: 0,
            completed: 0,
            clock: Clock::default(),
            host_version: 0,
            is_busy: false,
            capture: None,
        }
    }
}

/// Work with its number.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) number: u64,
    /// Work of other streams that must have ended.
    pub(crate) after: Vec<(usize, u64)>,
    pub(crate) work: Work,
    /// What the host knows to have ended once it sees that this has.
    pub(crate) clock: Option<Clock>,
}

/// A stream's part in a capture.
#[derive(Clone, Debug)]
pub(crate) struct Capturing {
    /// Number of the capture.
    pub(crate) id: u64,
    /// Nodes that the next node comes after.
    pub(crate) frontier: Vec<usize>,
}

/// A capture that is under way.
#[derive(Debug)]
pub(crate) struct Capture {
    pub(crate) origin: usize,
    pub(crate) graph: Handle,
    /// 0 global, 1 thread-local, 2 relaxed.
    pub(crate) mode: u32,
    pub(crate) thread: ThreadId,
    pub(crate) is_invalid: bool,
}

/// An event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) context: Handle,
    pub(crate) has_timing: bool,
    pub(crate) mark: Mark,
    /// Time of the last mark that was reached.
    pub(crate) reached_ns: Option<u64>,
}

/// What an event was recorded behind last.
#[derive(Clone, Debug)]
pub(crate) enum Mark {
    None,
    Stream { stream: usize, number: u64, clock: Clock },
    Capture { id: u64, frontier: Vec<usize> },
}

/// A module.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) context: Handle,
    pub(crate) functions: Vec<(String, Handle)>,
    /// Name, address, bytes.
    pub(crate) globals: Vec<(String, u64, u64)>,
}

/// A kernel of a module.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) context: Handle,
    pub(crate) name: Arc<str>,
    pub(crate) params: Vec<(usize, usize)>,
    pub(crate) attributes: Vec<(u32, i32)>,
}

/// A memory pool.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) device: i32,
    pub(crate) context: Handle,
    pub(crate) threshold: u64,
    pub(crate) reserved: u64,
    pub(crate) reserved_max: u64,
    /// Handed out, as the host sees it: less what it has enqueued to free.
    pub(crate) used: u64,
    pub(crate) used_max: u64,
    /// Handed out, as the device sees it.
    pub(crate) held: u64,
    /// Bytes whose free is enqueued, by stream: later work there may reuse them.
    pub(crate) credit: Vec<(usize, u64)>,
    pub(crate) is_destroyed: bool,
}

/// Physical memory of `cuMemCreate`.
#[derive(Debug)]
pub(crate) struct Physical {
    pub(crate) device: i32,
    pub(crate) context: Handle,
    pub(crate) bytes: u64,
    pub(crate) mappings: u32,
    pub(crate) is_released: bool,
}

/// One node of a graph.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) handle: Handle,
    pub(crate) work: Work,
    pub(crate) after: Vec<usize>,
}

/// A graph.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
}

/// An instantiated graph.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) context: Handle,
    pub(crate) nodes: Arc<Vec<Node>>,
    /// Its last launch, which the next one comes after.
    pub(crate) last: Option<(usize, u64)>,
}

/// A linker state; what it made lives as long as it does.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) text: String,
    pub(crate) image: Vec<u8>,
}

/// Makes a launch out of a function and its arguments.
pub(crate) fn launch_of(handle: Handle, function: &Function, params: Vec<u8>) -> Launch {
    Launch { function: handle, name: Arc::clone(&function.name), params: params.into() }
}
