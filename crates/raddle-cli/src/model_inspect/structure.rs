//! The structure of an ONNX file, whether its operations are known or not.
//!
//! *Source*: onnx.proto; field numbers stand beside the reads.

use std::collections::BTreeSet;

use raddle_onnx::wire::{Field, Reader};
use raddle_onnx::{Outline, Result};
use raddle_tensor::{DType, ops};

use crate::run::describe_type;

/// What a file holds.
#[derive(Debug, Clone, Default)]
pub struct Structure {
    /// Version of the file format.
    pub ir_version: i64,
    /// Who wrote the file.
    pub producer: String,
    /// Operator sets with their versions; the first name is empty for ONNX's own.
    pub opsets: Vec<(String, u32)>,
    /// Names and types of inputs that have no value in the file.
    pub inputs: Vec<(String, String)>,
    /// Names and types of outputs.
    pub outputs: Vec<(String, String)>,
    /// Weights and other constants.
    pub constants: Vec<Constant>,
    /// Nodes of the main graph, in the file's order.
    pub nodes: Vec<Node>,
}

/// A tensor in the file.
#[derive(Debug, Clone, Default)]
pub struct Constant {
    pub name: String,
    /// `None` for a type that ONNX did not have when this was written.
    pub dtype: Option<DType>,
    /// Number of elements.
    pub len: u64,
}

impl Constant {
    /// Bytes of the elements.
    pub fn bytes(&self) -> u64 {
        self.len * self.dtype.map_or(0, |dtype| dtype.bits() as u64) / 8
    }
}

/// A node of the main graph.
#[derive(Debug, Clone, Default)]
pub struct Node {
    pub name: String,
    /// Name with its domain.
    pub op: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    /// Why it cannot run, one reason for each operation in it that is unknown.
    pub problems: Vec<String>,
    /// The operation's domain and its name in it.
    pub parts: (String, String),
}

impl Node {
    /// The node's name, or that of its first output.
    pub fn title(&self) -> &str {
        match (self.name.as_str(), self.outputs.first()) {
            ("", Some(output)) => output,
            (name, _) => name,
        }
    }
}

impl Structure {
    /// Reads a file.
    ///
    /// ## Errors
    /// [`raddle_onnx::Error::Wire`], or if there is no graph.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let mut structure = Self::default();
        let mut functions = BTreeSet::new();
        let mut graph = None;
        let mut reader = Reader::new(bytes);
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => structure.ir_version = field.int()?,
                2 => structure.producer.insert_str(0, field.text()?),
                3 => structure.producer = format!("{} {}", structure.producer, field.text()?),
                7 => graph = Some(field.message()?),
                8 => structure.opsets.push(opset(field.message()?)?),
                25 => {
                    functions.insert(function(field.message()?)?);
                }
                _ => {}
            }
        }
        let outline = Outline::read(bytes)?;
        if let Some(graph) = graph {
            structure.read_graph(graph, &functions)?;
        }
        let describe = |(name, declared): (String, Option<_>)| {
            (name, declared.as_ref().map_or("of an unknown type".into(), describe_type))
        };
        let constants: BTreeSet<&str> =
            structure.constants.iter().map(|constant| constant.name.as_str()).collect();
        let is_free = |(name, _): &(String, _)| !constants.contains(name.as_str());
        structure.inputs = outline.inputs.into_iter().filter(is_free).map(describe).collect();
        structure.outputs = outline.outputs.into_iter().map(describe).collect();
        Ok(structure)
    }

    fn read_graph(
        &mut self,
        mut reader: Reader<'_>,
        functions: &BTreeSet<(String, String)>,
    ) -> Result<()> {
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => {
                    let mut node = self.node(field.message()?, functions)?;
                    if let Some(reason) = self.problem(&node, functions) {
                        node.problems.insert(0, reason);
                    }
                    self.nodes.push(node);
                }
                5 => self.constants.push(constant(field.message()?)?),
                _ => {}
            }
        }
        Ok(())
    }

    /// A `NodeProto`; operations of bodies of control flow add to its problems.
    fn node(&self, mut reader: Reader<'_>, functions: &BTreeSet<(String, String)>) -> Result<Node> {
        let mut node = Node::default();
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => node.inputs.push(field.text()?.to_owned()),
                2 => node.outputs.push(field.text()?.to_owned()),
                3 => node.name = field.text()?.to_owned(),
                4 => node.parts.1 = field.text()?.to_owned(),
                5 => self.attribute(field.message()?, functions, &mut node)?,
                7 => node.parts.0 = domain(field.text()?).to_owned(),
                _ => {}
            }
        }
        node.op = raddle_tensor::full_name(&node.parts.0, &node.parts.1);
        Ok(node)
    }

    /// The bodies in an `AttributeProto`.
    fn attribute(
        &self,
        mut reader: Reader<'_>,
        functions: &BTreeSet<(String, String)>,
        node: &mut Node,
    ) -> Result<()> {
        while let Some((number, field)) = reader.next_field()? {
            if !matches!(number, 6 | 11) || !matches!(field, Field::Bytes(..)) {
                continue;
            }
            let mut body = field.message()?;
            while let Some((number, field)) = body.next_field()? {
                if number == 1 {
                    let inner = self.node(field.message()?, functions)?;
                    node.problems.extend(self.problem(&inner, functions));
                    node.problems.extend(inner.problems);
                }
            }
        }
        Ok(())
    }

    /// Why an operation is not known.
    fn problem(&self, node: &Node, functions: &BTreeSet<(String, String)>) -> Option<String> {
        if functions.contains(&node.parts) {
            return None;
        }
        let Some((_, opset)) = self.opsets.iter().find(|(name, _)| *name == node.parts.0) else {
            return Some(format!(
                "{}: no version is declared for operator set {:?}",
                node.op, node.parts.0
            ));
        };
        ops::find(&node.parts.0, &node.parts.1, *opset).err().map(|error| error.to_string())
    }
}

/// ONNX's own domain has two names.
fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

fn opset(mut reader: Reader<'_>) -> Result<(String, u32)> {
    let mut opset = (String::new(), 0);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => opset.0 = domain(field.text()?).to_owned(),
            2 => opset.1 = u32::try_from(field.int()?).unwrap_or(u32::MAX),
            _ => {}
        }
    }
    Ok(opset)
}

/// Domain and name of a function that the file defines.
fn function(mut reader: Reader<'_>) -> Result<(String, String)> {
    let mut names = (String::new(), String::new());
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => names.1 = field.text()?.to_owned(),
            10 => names.0 = domain(field.text()?).to_owned(),
            _ => {}
        }
    }
    Ok(names)
}

fn constant(mut reader: Reader<'_>) -> Result<Constant> {
    let mut constant = Constant { len: 1, ..Constant::default() };
    let mut dims = Vec::new();
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => field.ints(&mut dims)?,
            2 => constant.dtype = DType::from_onnx(field.int()?),
            8 => constant.name = field.text()?.to_owned(),
            _ => {}
        }
    }
    for dim in dims {
        constant.len = constant.len.saturating_mul(u64::try_from(dim).unwrap_or(0));
    }
    Ok(constant)
}
