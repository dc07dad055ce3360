//! CUDA graphs: capturing a stream, instantiating what was captured, changing and
//! replaying it.
//!
//! Captures are begun in the relaxed mode: what other threads do meanwhile never
//! invalidates one. Which memory a graph may touch, and for how long, is decided
//! in `raddle-runtime`; what trusts the caller with that is `unsafe`.

use std::ffi::c_void;
use std::sync::Arc;

use crate::context::{Context, Entry};
use crate::error::{Error, Result, check};
use crate::launch::Shape;
use crate::module::Function;
use crate::stream::Stream;
use crate::sys::{
    CAPTURE_ACTIVE, CAPTURE_RELAXED, CuGraph, CuGraphExec, CuGraphNode, CuKernelNodeParams,
    GraphLaunch,
};

/// A graph as it was captured: nodes and their order, not yet runnable.
pub struct Graph {
    context: Arc<Context>,
    raw: CuGraph,
}

// SAFETY: graphs may be used from any thread, one at a time: what changes one
// takes it by `&mut` or by value.
unsafe impl Send for Graph {}

/// A node of a [`Graph`], for changing its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphNode(CuGraphNode);

// SAFETY: a handle that is only compared and passed on.
unsafe impl Send for GraphNode {}
// SAFETY: as above.
unsafe impl Sync for GraphNode {}

/// An instantiated graph.
pub struct GraphExec {
    raw: CuGraphExec,
    /// What a replay needs, copied to where it finds it.
    entry: Entry,
    launch: GraphLaunch,
    context: Arc<Context>,
}

// SAFETY: as for `Graph`; launches of one instance are serialised by the caller.
unsafe impl Send for GraphExec {}

fn missing(symbol: &'static str, since: (u32, u32)) -> Error {
    Error::FunctionMissing { symbol, since }
}

impl Stream {
    /// Begins to capture: work enqueued from now on becomes nodes of a graph and
    /// does not run.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn begin_capture(&self) -> Result<()> {
        let api = self.context().enter()?;
        let begin = api.stream_begin_capture.ok_or(missing("cuStreamBeginCapture", (10, 1)))?;
        // SAFETY: the handle lives as long as `self`.
        check("cuStreamBeginCapture", unsafe { begin(self.raw, CAPTURE_RELAXED) })
    }

    /// Ends the capture and gives the graph.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_STREAM_CAPTURE_INVALIDATED` and its like if something broke
    /// the capture, which is over then; a failed driver call.
    pub fn end_capture(&self) -> Result<Graph> {
        let api = self.context().enter()?;
        let end = api.stream_end_capture.ok_or(missing("cuStreamEndCapture", (10, 0)))?;
        let mut raw: CuGraph = std::ptr::null_mut();
        // SAFETY: writes one handle, destroyed in `drop`.
        check("cuStreamEndCapture", unsafe { end(self.raw, &raw mut raw) })?;
        if raw.is_null() {
            return Err(Error::Graph { reason: "the capture gave no graph" });
        }
        Ok(Graph { context: Arc::clone(self.context()), raw })
    }

    /// The node that the capture added last: what work enqueued next comes after.
    /// `None` if the stream is not being captured, or at its beginning.
    ///
    /// # Errors
    ///
    /// [`Error::FunctionMissing`] below CUDA 11.3, or a failed driver call.
    pub fn last_captured(&self) -> Result<Option<GraphNode>> {
        let api = self.context().enter()?;
        let info = api.stream_capture_info.ok_or(missing("cuStreamGetCaptureInfo", (11, 3)))?;
        let (mut state, mut id, mut graph) = (0u32, 0u64, std::ptr::null_mut());
        let (mut nodes, mut len) = (std::ptr::null::<CuGraphNode>(), 0usize);
        // SAFETY: writes a number each, and an array that the driver keeps until
        // the stream is used again.
        let status = unsafe {
            info(
                self.raw,
                &raw mut state,
                &raw mut id,
                &raw mut graph,
                &raw mut nodes,
                &raw mut len,
            )
        };
        check("cuStreamGetCaptureInfo", status)?;
        if state != CAPTURE_ACTIVE || len == 0 || nodes.is_null() {
            return Ok(None);
        }
        // SAFETY: the driver says that there are `len` nodes.
        Ok(Some(GraphNode(unsafe { *nodes })))
    }
}

impl Graph {
    /// Number of nodes.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn node_count(&self) -> Result<usize> {
        let api = self.context.enter()?;
        let get = api.graph_get_nodes.ok_or(missing("cuGraphGetNodes", (10, 0)))?;
        let mut len = 0usize;
        // SAFETY: no array is given; writes one number.
        let status = unsafe { get(self.raw, std::ptr::null_mut(), &raw mut len) };
        check("cuGraphGetNodes", status)?;
        Ok(len)
    }

    /// Makes a runnable instance.
    ///
    /// # Errors
    ///
    /// [`Error::FunctionMissing`] below CUDA 11.4, or a failed driver call.
    pub fn instantiate(&self) -> Result<GraphExec> {
        let api = self.context.enter()?;
        let make = api.graph_instantiate.ok_or(missing("cuGraphInstantiateWithFlags", (11, 4)))?;
        let launch = api.graph_launch.ok_or(missing("cuGraphLaunch", (10, 0)))?;
        let mut raw: CuGraphExec = std::ptr::null_mut();
        // SAFETY: writes one handle, destroyed in `drop`.
        check("cuGraphInstantiateWithFlags", unsafe { make(&raw mut raw, self.raw, 0) })?;
        let (entry, context) = (Entry::new(&self.context), Arc::clone(&self.context));
        Ok(GraphExec { raw, entry, launch, context })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if let Ok(api) = self.context.enter()
            && let Some(destroy) = api.graph_destroy
        {
            // SAFETY: destroyed once; instances do not need it.
            let _ = unsafe { destroy(self.raw) };
        }
    }
}

impl GraphExec {
    /// The driver's handle, for libraries that take a `CUgraphExec`.
    #[must_use]
    pub fn as_raw(&self) -> *mut c_void {
        self.raw
    }

    /// Enqueues one replay on `stream`.
    ///
    /// # Safety
    ///
    /// What the graph's nodes touch may be touched at this point of the stream,
    /// and stays until the replay has ended.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    #[inline]
    pub unsafe fn launch(&self, stream: &Stream) -> Result<()> {
        self.context.check_usable()?;
        let status = self.entry.with(|| {
            // SAFETY: the caller's contract; both handles live for the call.
            unsafe { (self.launch)(self.raw, stream.raw) }
        });
        check("cuGraphLaunch", status)
    }

    /// Brings the instance to the device ahead of its first replay.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn upload(&self, stream: &Stream) -> Result<()> {
        let api = self.context.enter()?;
        let upload = api.graph_upload.ok_or(missing("cuGraphUpload", (11, 1)))?;
        // SAFETY: both handles live for the call.
        check("cuGraphUpload", unsafe { upload(self.raw, stream.raw) })
    }

    /// Makes later replays do what `graph` does, which has the same shape.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE` if it has another shape: the
    /// instance stays as it was.
    pub fn update(&mut self, graph: &Graph) -> Result<()> {
        let api = self.context.enter()?;
        let update = api.graph_exec_update.ok_or(missing("cuGraphExecUpdate", (10, 2)))?;
        let (mut node, mut result): (CuGraphNode, u32) = (std::ptr::null_mut(), 0);
        // SAFETY: writes one handle and one number.
        let status = unsafe { update(self.raw, graph.raw, &raw mut node, &raw mut result) };
        check("cuGraphExecUpdate", status)
    }

    /// Makes the kernel node `node` of later replays run `function` in `shape`
    /// with `params` as its single parameter.
    ///
    /// # Safety
    ///
    /// `node` is a kernel node of the graph that this was instantiated from,
    /// without a cluster; `params` are as for [`Stream::launch`].
    ///
    /// # Errors
    ///
    /// [`Error::FunctionMissing`] below CUDA 12.0, or a failed driver call.
    pub unsafe fn set_kernel(
        &mut self,
        node: GraphNode,
        function: &Function,
        shape: &Shape,
        params: &mut [*mut c_void],
    ) -> Result<()> {
        let api = self.context.enter()?;
        let symbol = "cuGraphExecKernelNodeSetParams";
        let set = api.graph_exec_set_kernel.ok_or(missing(symbol, (12, 0)))?;
        let params = CuKernelNodeParams {
            function: function.raw,
            grid: shape.grid,
            block: shape.block,
            shared_bytes: shape.dynamic_shared_bytes,
            params: params.as_mut_ptr(),
            extra: std::ptr::null_mut(),
            kernel: std::ptr::null_mut(),
            context: std::ptr::null_mut(),
        };
        // SAFETY: the caller's contract; the driver copies the parameters.
        check(symbol, unsafe { set(self.raw, node.0, &raw const params) })
    }
}

impl Drop for GraphExec {
    fn drop(&mut self) {
        if let Ok(api) = self.context.enter()
            && let Some(destroy) = api.graph_exec_destroy
        {
            // SAFETY: destroyed once; the driver finishes replays under way.
            let _ = unsafe { destroy(self.raw) };
        }
    }
}

impl std::fmt::Debug for GraphExec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GraphExec({:p})", self.raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_nodes_are_laid_out_as_in_the_header() {
        assert_eq!(size_of::<CuKernelNodeParams>(), 72);
        assert_eq!(std::mem::offset_of!(CuKernelNodeParams, params), 40);
        assert_eq!(std::mem::offset_of!(CuKernelNodeParams, context), 64);
    }
}
