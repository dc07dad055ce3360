//! A model from a file, ready to run.

use std::collections::HashMap;
use std::path::Path;

use raddle_tensor::graph::Graph;
use raddle_tensor::{Plan, Value};

use crate::import::{AttributeProto, Function, Importer, NodeProto, domain};
use crate::tensor::Folder;
use crate::wire::Reader;
use crate::{Error, Result};

/// A loaded model. It is immutable: many threads can run it at once.
#[derive(Clone, Debug)]
pub struct Model {
    plan: Plan,
}

impl Model {
    /// Loads a model from a file. Tensors that the model keeps in other files
    /// are read from below its folder.
    ///
    /// ## Errors
    /// [`Error::Io`]; otherwise as [`Self::from_bytes`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::from_graph(load_graph(path)?)
    }

    /// Loads a model from memory. It cannot refer to other files.
    ///
    /// ## Errors
    /// [`Error::Wire`] if the bytes are no protobuf, [`Error::Model`],
    /// [`Error::NoOpset`] or [`Error::Graph`] if they are no model that can run;
    /// operations that are not supported are found here and not in a run.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::from_graph(read_graph(bytes)?)
    }

    fn from_graph(graph: Graph) -> Result<Self> {
        Ok(Self { plan: Plan::new(graph)?.optimised()? })
    }

    /// Runs the model with values for its inputs by name; returns its outputs by name.
    ///
    /// ## Errors
    /// [`Error::Graph`]: which input is wrong, or which node failed and why.
    pub fn run<N: AsRef<str>>(
        &self,
        inputs: impl IntoIterator<Item = (N, Value)>,
    ) -> Result<Vec<(String, Value)>> {
        let graph = self.plan.graph();
        let values = self.plan.run(inputs)?;
        let names = graph.outputs.iter().map(|&id| graph.name_of(id).to_owned());
        Ok(names.zip(values).collect())
    }

    /// The plan with its graph.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

/// The graph of a model in a file as it is written, checked but before any pass. Tensors that the model keeps in
/// other files are read from below its folder.
///
/// ## Errors
/// As [`Model::load`].
pub fn load_graph(path: impl AsRef<Path>) -> Result<Graph> {
    let path = path.as_ref();
    let io = |source| Error::Io { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(io)?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    decode(&bytes, Some(folder))
}

/// The graph of a model in memory as it is written, checked but before any pass.
///
/// ## Errors
/// As [`Model::from_bytes`].
pub fn read_graph(bytes: &[u8]) -> Result<Graph> {
    decode(bytes, None)
}

fn decode(bytes: &[u8], folder: Folder<'_>) -> Result<Graph> {
    let mut importer =
        Importer { folder, opsets: Vec::new(), functions: HashMap::new(), node_count: 0 };
    let mut graph = None;
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            7 => graph = Some(field.message()?),
            8 => importer.opsets.push(opset(field.message()?)?),
            25 => {
                let (name, function) = function(field.message()?)?;
                importer.functions.insert(name, function);
            }
            _ => {}
        }
    }
    let graph = graph.ok_or_else(|| Error::model("the model", "has no graph"))?;
    // Checked as it is written, so that errors name what the file names.
    Ok(Plan::new(importer.graph(graph)?)?.graph().clone())
}

/// An `OperatorSetIdProto`.
fn opset(mut reader: Reader<'_>) -> Result<(&str, u32)> {
    let (mut name, mut version) = ("", 0);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => name = domain(field.text()?),
            2 => version = u32::try_from(field.int()?).unwrap_or(u32::MAX),
            _ => {}
        }
    }
    Ok((name, version))
}

/// A `FunctionProto` with its domain and name.
fn function<'a>(mut reader: Reader<'a>) -> Result<((&'a str, &'a str), Function<'a>)> {
    let mut key = ("", "");
    let mut function = Function {
        inputs: Vec::new(),
        outputs: Vec::new(),
        nodes: Vec::new(),
        opsets: Vec::new(),
        defaults: Vec::new(),
    };
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => key.1 = field.text()?,
            4 => function.inputs.push(field.text()?),
            5 => function.outputs.push(field.text()?),
            7 => function.nodes.push(NodeProto::read(field.message()?)?),
            9 => function.opsets.push(opset(field.message()?)?),
            10 => key.0 = domain(field.text()?),
            11 => function.defaults.push(AttributeProto::read(field.message()?)?),
            _ => {}
        }
    }
    Ok((key, function))
}
