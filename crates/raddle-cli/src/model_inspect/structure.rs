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
    /// Domains and names of the functions that the file defines.
    pub functions: BTreeSet<(String, String)>,
}

/// Most bodies of control flow within each other.
const DEPTH_MAX: usize = 64;

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
        // A damaged file may announce more than can be counted.
        self.len.saturating_mul(self.dtype.map_or(0, |dtype| dtype.bits() as u64)) / 8
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
                    structure.functions.insert(function(field.message()?)?);
                }
                _ => {}
            }
        }
        let outline = Outline::read(bytes)?;
        if let Some(graph) = graph {
            structure.read_graph(graph)?;
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

    fn read_graph(&mut self, mut reader: Reader<'_>) -> Result<()> {
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => {
                    let mut node = self.node(field.message()?, 0)?;
                    if let Some(reason) = self.problem(&node) {
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
    fn node(&self, mut reader: Reader<'_>, depth: usize) -> Result<Node> {
        let mut node = Node::default();
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => node.inputs.push(field.text()?.to_owned()),
                2 => node.outputs.push(field.text()?.to_owned()),
                3 => node.name = field.text()?.to_owned(),
                4 => node.parts.1 = field.text()?.to_owned(),
                5 => self.attribute(field.message()?, depth, &mut node)?,
                7 => node.parts.0 = domain(field.text()?).to_owned(),
                _ => {}
            }
        }
        node.op = raddle_tensor::full_name(&node.parts.0, &node.parts.1);
        Ok(node)
    }

    /// The bodies in an `AttributeProto`.
    fn attribute(&self, mut reader: Reader<'_>, depth: usize, node: &mut Node) -> Result<()> {
        if depth == DEPTH_MAX {
            let what = format!("bodies are nested more than {DEPTH_MAX} deep");
            return Err(raddle_onnx::Error::model(node.title(), what));
        }
        while let Some((number, field)) = reader.next_field()? {
            if !matches!(number, 6 | 11) || !matches!(field, Field::Bytes(..)) {
                continue;
            }
            let mut body = field.message()?;
            while let Some((number, field)) = body.next_field()? {
                if number == 1 {
                    let inner = self.node(field.message()?, depth + 1)?;
                    node.problems.extend(self.problem(&inner));
                    node.problems.extend(inner.problems);
                }
            }
        }
        Ok(())
    }

    /// Why an operation is not known.
    fn problem(&self, node: &Node) -> Option<String> {
        if self.functions.contains(&node.parts) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A field with bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2];
        let mut len = bytes.len();
        while len >= 0x80 {
            field.push(len as u8 | 0x80);
            len >>= 7;
        }
        field.push(len as u8);
        field.extend_from_slice(bytes);
        field
    }

    /// A model whose nodes hold bodies within each other.
    fn nested(depth: usize) -> Vec<u8> {
        let mut node = field(4, b"Odd");
        for _ in 0..depth {
            // A body with the node, in an attribute of the next node.
            node = field(5, &field(6, &field(1, &node)));
            node.extend(field(4, b"Odd"));
        }
        let mut opset = field(1, b"");
        opset.extend([0x10, 17]);
        let mut model = field(7, &field(1, &node));
        model.extend(field(8, &opset));
        model
    }

    #[test]
    fn bodies_are_looked_into_but_not_without_end() {
        let structure = Structure::read(&nested(3)).unwrap();
        let problems = &structure.nodes[0].problems;
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert_eq!(problems[0], "operation Odd is not supported");
        let error = Structure::read(&nested(1_000)).unwrap_err().to_string();
        assert!(error.contains("bodies are nested more than 64 deep"), "{error}");
    }

    #[test]
    fn damage_is_an_error_or_harmless() {
        let sound = raddle_zoo::find("lstm").unwrap().build(raddle_zoo::Source::Seed(0)).unwrap();
        // Nodes come first, so the beginning holds the structure.
        for len in (0..2_000).chain([sound.len() - 1]) {
            assert!(Structure::read(&sound[..len]).is_err(), "{len}");
        }
        let (mut state, mut read, mut errors) = (1u64, 0, 0);
        for _ in 0..500 {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let mut damaged = sound.clone();
            damaged[(state >> 33) as usize % 2_000] ^= 1 << (state >> 60 & 7);
            match Structure::read(&damaged) {
                Ok(structure) => {
                    read += 1;
                    let bytes = structure.constants.iter().map(Constant::bytes);
                    bytes.fold(0, u64::saturating_add);
                }
                Err(_) => errors += 1,
            }
        }
        assert!(read > 20 && errors > 20, "{read} read, {errors} refused");
    }
}
