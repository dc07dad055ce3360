//! A model: a checked graph that belongs to no device yet.

use std::path::Path;
use std::sync::Arc;

use raddle::Device;
use raddle_tensor::Plan;
use raddle_tensor::graph::Graph;

use crate::session::{Options, Session};
use crate::{Error, Result};

/// A loaded model. Sessions share its weights.
#[derive(Clone, Debug)]
pub struct Model {
    graph: Arc<Graph>,
}

impl Model {
    /// Loads a model from an ONNX file; tensors in other files are read from below its
    /// folder.
    ///
    /// ## Errors
    /// [`Error::Model`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::from_graph(raddle_onnx::load_graph(path)?)
    }

    /// Loads a model from memory.
    ///
    /// ## Errors
    /// [`Error::Model`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::from_graph(raddle_onnx::read_graph(bytes)?)
    }

    /// A model of a graph.
    ///
    /// ## Errors
    /// [`Error::Graph`] if it has cycles or values without a producer.
    pub fn from_graph(graph: Graph) -> Result<Self> {
        // Checked as it was written, so that errors name what the file names.
        let plan = Plan::new(graph).map_err(Error::from)?;
        Ok(Self { graph: Arc::new(plan.graph().clone()) })
    }

    /// The graph as it was read.
    #[must_use]
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Prepares the model for a device.
    ///
    /// ## Errors
    /// [`Error::Graph`], a failure of the runtime.
    pub fn on(&self, device: &Device, options: Options) -> Result<Session> {
        Session::new(&self.graph, device, options)
    }
}
