//! Stream capture, graphs and their instances.
//!
//! A launch of a graph is one piece of work of its stream, whose nodes run in a
//! random order that their dependencies allow, between pieces of other streams.

use std::sync::Arc;

use crate::handles::{
    CAPTURE_INVALIDATED, CAPTURE_ISOLATION, CAPTURE_MERGE, CAPTURE_UNJOINED, CAPTURE_UNMATCHED,
    CAPTURE_UNSUPPORTED, CAPTURE_WRONG_THREAD, GRAPH_UPDATE_FAILURE, Handle, INVALID_HANDLE,
    INVALID_VALUE, In, Kind, Out, Result,
};
use crate::objects::{Capture, Capturing, Exec, Graph, Node};
use crate::work::{GraphRun, Work};
use crate::world::{Locked, World};

const GLOBAL: u32 = 0;
const RELAXED: u32 = 2;

impl World {
    /// Adds work of a stream to the graph that it is captured into.
    pub(crate) fn capture_node(&mut self, slot: usize, work: Work) -> Result {
        let Some(capturing) = self.streams[slot].capture.clone() else { return Ok(()) };
        let handle = self.handle(Kind::Node);
        let Some(capture) = self.captures.get(&capturing.id) else {
            return Err(CAPTURE_INVALIDATED);
        };
        if capture.is_invalid {
            return Err(CAPTURE_INVALIDATED);
        }
        let Some(graph) = self.graphs.get_mut(&capture.graph) else { return Err(INVALID_HANDLE) };
        graph.nodes.push(Node { handle, work, after: capturing.frontier });
        let frontier = vec![graph.nodes.len() - 1];
        self.streams[slot].capture = Some(Capturing { id: capturing.id, frontier });
        Ok(())
    }

    /// Makes a stream part of a capture, or adds to what its next node comes after.
    pub(crate) fn join_capture(&mut self, slot: usize, id: u64, frontier: &[usize]) -> Result {
        if !self.captures.contains_key(&id) {
            // The capture is over: its events mark nothing any more.
            return Err(CAPTURE_UNMATCHED);
        }
        match &mut self.streams[slot].capture {
            Some(capturing) if capturing.id != id => {
                self.invalidate_capture(slot)?;
                Err(CAPTURE_MERGE)
            }
            Some(capturing) => {
                capturing.frontier.extend(frontier);
                capturing.frontier.sort_unstable();
                capturing.frontier.dedup();
                Ok(())
            }
            empty => {
                *empty = Some(Capturing { id, frontier: frontier.to_vec() });
                Ok(())
            }
        }
    }

    /// Ends a capture with an error that its end reports.
    ///
    /// # Errors
    ///
    /// Always: that of work that a capture may not wait for.
    pub(crate) fn invalidate_capture(&mut self, slot: usize) -> Result {
        if let Some(capturing) = &self.streams[slot].capture
            && let Some(capture) = self.captures.get_mut(&capturing.id)
        {
            capture.is_invalid = true;
        }
        Err(CAPTURE_ISOLATION)
    }

    /// Calls that may wait for the device are not allowed beside a capture, unless
    /// it is relaxed or, thread-local, another thread's.
    pub(crate) fn forbid_in_capture(&mut self) -> Result {
        let me = std::thread::current().id();
        let mut found = Ok(());
        for capture in self.captures.values_mut() {
            if capture.mode == GLOBAL || (capture.mode != RELAXED && capture.thread == me) {
                capture.is_invalid = true;
                found = Err(CAPTURE_UNSUPPORTED);
            }
        }
        found
    }
}

pub(crate) fn begin(world: &mut Locked, stream: Handle, mode: u32) -> Result {
    let slot = world.slot(stream)?;
    if stream.0 <= 1 || mode > RELAXED || world.streams[slot].capture.is_some() {
        return Err(if stream.0 <= 1 { CAPTURE_UNSUPPORTED } else { INVALID_VALUE });
    }
    let (graph, id) = (world.handle(Kind::Graph), world.fresh());
    world.graphs.insert(graph, Graph::default());
    let thread = std::thread::current().id();
    world.captures.insert(id, Capture { origin: slot, graph, mode, thread, is_invalid: false });
    world.streams[slot].capture = Some(Capturing { id, frontier: Vec::new() });
    Ok(())
}

pub(crate) fn end(world: &mut Locked, stream: Handle, graph: Out<Handle>) -> Result {
    let slot = world.slot(stream)?;
    let Some(capturing) = world.streams[slot].capture.clone() else {
        return Err(CAPTURE_UNMATCHED);
    };
    let Some(capture) = world.captures.get(&capturing.id) else { return Err(CAPTURE_UNMATCHED) };
    if capture.origin != slot {
        return Err(CAPTURE_UNMATCHED);
    }
    if capture.mode != RELAXED && capture.thread != std::thread::current().id() {
        return Err(CAPTURE_WRONG_THREAD);
    }
    let is_joined = world.is_joined(slot, &capturing, capture.graph);
    let capture = world.captures.remove(&capturing.id).expect("found above");
    for stream in &mut world.streams {
        if stream.capture.as_ref().is_some_and(|other| other.id == capturing.id) {
            stream.capture = None;
        }
    }
    if capture.is_invalid || !is_joined {
        world.graphs.remove(&capture.graph);
        graph.set_if(Handle::NULL);
        return Err(if capture.is_invalid { CAPTURE_INVALIDATED } else { CAPTURE_UNJOINED });
    }
    graph.set(capture.graph)
}

impl World {
    /// Whether everything that other streams captured comes before the end of the
    /// stream that began.
    fn is_joined(&self, slot: usize, origin: &Capturing, graph: Handle) -> bool {
        let Some(graph) = self.graphs.get(&graph) else { return false };
        let mut is_before = vec![false; graph.nodes.len()];
        let mut todo = origin.frontier.clone();
        while let Some(index) = todo.pop() {
            if !std::mem::replace(&mut is_before[index], true) {
                todo.extend(&graph.nodes[index].after);
            }
        }
        let others = self.streams.iter().enumerate().filter(|(other, _)| *other != slot);
        let forks = others.filter_map(|(_, stream)| stream.capture.as_ref());
        let mut of_this = forks.filter(|capturing| capturing.id == origin.id);
        of_this.all(|fork| fork.frontier.iter().all(|&index| is_before[index]))
    }
}

/// The form of CUDA 11.3 (`_v2`).
pub(crate) fn info(
    world: &mut Locked,
    stream: Handle,
    state: Out<u32>,
    id: Out<u64>,
    graph: Out<Handle>,
    nodes: Out<u64>,
    len: Out<usize>,
) -> Result {
    let slot = world.slot(stream)?;
    let Some(capturing) = world.streams[slot].capture.clone() else {
        id.set_if(0);
        graph.set_if(Handle::NULL);
        nodes.set_if(0);
        len.set_if(0);
        return state.set(0);
    };
    let Some(capture) = world.captures.get(&capturing.id) else { return state.set(2) };
    let (is_invalid, of) = (capture.is_invalid, capture.graph);
    id.set_if(capturing.id);
    graph.set_if(of);
    let list: Vec<Handle> = world.graphs.get(&of).map_or_else(Vec::new, |graph| {
        capturing.frontier.iter().map(|&index| graph.nodes[index].handle).collect()
    });
    len.set_if(list.len());
    FRONTIER.with(|kept| {
        *kept.borrow_mut() = list;
        nodes.set_if(kept.borrow().as_ptr().expose_provenance() as u64);
    });
    state.set(if is_invalid { 2 } else { 1 })
}

thread_local! {
    /// What `cuStreamGetCaptureInfo` gave last; the driver keeps it as long.
    static FRONTIER: std::cell::RefCell<Vec<Handle>> = const { std::cell::RefCell::new(Vec::new()) };
}

pub(crate) fn is_capturing(world: &mut Locked, stream: Handle, state: Out<u32>) -> Result {
    let none = || Out(std::ptr::null_mut());
    info(
        world,
        stream,
        state,
        Out(std::ptr::null_mut()),
        none(),
        Out(std::ptr::null_mut()),
        Out(std::ptr::null_mut()),
    )
}

/// `cuThreadExchangeStreamCaptureMode`: every thread is as strict as can be.
pub(crate) fn exchange_mode(_: &mut Locked, mode: Out<u32>) -> Result {
    mode.set(GLOBAL)
}

pub(crate) fn destroy(world: &mut Locked, graph: Handle) -> Result {
    let found = world.graphs.remove(&graph);
    world.check(found, graph).map(|_| ())
}

pub(crate) fn nodes(
    world: &mut Locked,
    graph: Handle,
    nodes: Out<Handle>,
    len: Out<usize>,
) -> Result {
    let Some(found) = world.graphs.get(&graph) else { return world.check(None, graph) };
    if nodes.0.is_null() {
        return len.set(found.nodes.len());
    }
    let room = In(len.0.cast_const()).get()?;
    for (index, node) in found.nodes.iter().take(room).enumerate() {
        Out(nodes.0.wrapping_add(index)).set(node.handle)?;
    }
    len.set(found.nodes.len().min(room))
}

pub(crate) fn instantiate(
    world: &mut Locked,
    exec: Out<Handle>,
    graph: Handle,
    _flags: u64,
) -> Result {
    let context = world.current()?;
    let Some(found) = world.graphs.get(&graph) else { return world.check(None, graph) };
    let nodes = Arc::new(found.nodes.clone());
    let handle = world.handle(Kind::Exec);
    world.execs.insert(handle, Exec { context, nodes, last: None });
    exec.set(handle)
}

/// Launches under way go on.
pub(crate) fn exec_destroy(world: &mut Locked, exec: Handle) -> Result {
    let found = world.execs.remove(&exec);
    world.check(found, exec).map(|_| ())
}

pub(crate) fn launch(world: &mut Locked, exec: Handle, stream: Handle) -> Result {
    let slot = world.slot(stream)?;
    let Some(found) = world.execs.get(&exec) else { return world.check(None, exec) };
    if world.streams[slot].capture.is_some() {
        return Err(CAPTURE_UNSUPPORTED);
    }
    let nodes = Arc::clone(&found.nodes);
    let last = found.last;
    let run = GraphRun { is_done: vec![false; nodes.len()], nodes };
    // An instance never runs twice at a time.
    if let Some((other, _)) = last {
        let clock = world.streams[other].clock.clone();
        world.streams[slot].clock.join(&clock);
    }
    let after = last.into_iter().filter(|&(other, _)| other != slot).collect();
    let number = world.push(slot, Work::Graph(run), after);
    if let Some(exec) = world.execs.get_mut(&exec) {
        exec.last = Some((slot, number));
    }
    world.nudge();
    Ok(())
}

pub(crate) fn upload(world: &mut Locked, exec: Handle, stream: Handle) -> Result {
    world.slot(stream)?;
    let found = world.execs.contains_key(&exec).then_some(());
    world.check(found, exec)
}

/// The form of CUDA 10.2.
pub(crate) fn update(
    world: &mut Locked,
    exec: Handle,
    graph: Handle,
    error_node: Out<Handle>,
    result: Out<u32>,
) -> Result {
    let Some(new) = world.graphs.get(&graph).map(|graph| graph.nodes.clone()) else {
        return world.check(None, graph);
    };
    let Some(found) = world.execs.get_mut(&exec) else { return world.check(None, exec) };
    let differs = |old: &Node, new: &Node| {
        old.after != new.after
            || std::mem::discriminant(&old.work) != std::mem::discriminant(&new.work)
    };
    let different = found.nodes.iter().zip(&new).find(|(old, new)| differs(old, new));
    let is_same_len = found.nodes.len() == new.len();
    if different.is_some() || !is_same_len {
        // CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED.
        result.set_if(2);
        error_node.set_if(different.map_or(Handle::NULL, |(_, new)| new.handle));
        return Err(GRAPH_UPDATE_FAILURE);
    }
    // Nodes keep the handles by which the instance knows them.
    let nodes = found.nodes.iter().zip(new);
    let nodes = nodes.map(|(old, new)| Node { handle: old.handle, ..new }).collect();
    found.nodes = Arc::new(nodes);
    result.set_if(0);
    Ok(())
}

/// `CUDA_KERNEL_NODE_PARAMS_v2`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct KernelParams {
    function: Handle,
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    params: In<In<u8>>,
    extra: usize,
    kernel: usize,
    context: usize,
}

pub(crate) fn set_kernel(
    world: &mut Locked,
    exec: Handle,
    node: Handle,
    params: In<KernelParams>,
) -> Result {
    world.current()?;
    let params = params.get()?;
    let launch = world.bind(params.function, params.grid, params.block, params.params)?;
    let Some(found) = world.execs.get_mut(&exec) else { return world.check(None, exec) };
    let mut nodes = Vec::clone(&found.nodes);
    let Some(node) = nodes.iter_mut().find(|other| other.handle == node) else {
        return Err(INVALID_VALUE);
    };
    if !matches!(node.work, Work::Kernel(_)) {
        return Err(INVALID_VALUE);
    }
    node.work = Work::Kernel(launch);
    found.nodes = Arc::new(nodes);
    Ok(())
}
