//! From the messages of an ONNX file to a graph.
//!
//! One pass over each `GraphProto`: names become value ids, bodies of control
//! flow become graphs with listed captures, calls of the model's own functions
//! are replaced by their nodes. Source: onnx.proto of ONNX 1.22, IR version 13.

use std::collections::HashMap;

use raddle_tensor::graph::{Attribute, Capture, Dim, Graph, Node, Subgraph, ValueId, ValueType};
use raddle_tensor::{DType, ops};

use crate::tensor::{Folder, sparse_tensor, tensor};
use crate::wire::Reader;
use crate::{Error, Result};

/// Graphs within graphs and functions within functions, at most.
const DEPTH_MAX: usize = 64;

/// Nodes after functions are replaced by their bodies, at most.
const NODES_MAX: usize = 1 << 22;

/// What a file declares once for all of its graphs.
pub struct Importer<'a> {
    pub(crate) folder: Folder<'a>,
    pub(crate) opsets: Vec<(&'a str, u32)>,
    pub(crate) functions: HashMap<(&'a str, &'a str), Function<'a>>,
    pub(crate) node_count: usize,
}

/// A `FunctionProto`.
pub struct Function<'a> {
    pub(crate) inputs: Vec<&'a str>,
    pub(crate) outputs: Vec<&'a str>,
    pub(crate) nodes: Vec<NodeProto<'a>>,
    pub(crate) opsets: Vec<(&'a str, u32)>,
    pub(crate) defaults: Vec<AttributeProto<'a>>,
}

/// A `NodeProto`.
#[derive(Clone, Default)]
pub struct NodeProto<'a> {
    inputs: Vec<&'a str>,
    outputs: Vec<&'a str>,
    name: &'a str,
    pub(crate) op: &'a str,
    domain: &'a str,
    attributes: Vec<AttributeProto<'a>>,
}

/// An `AttributeProto`: name, the name of the function's attribute it stands
/// for if there is one, and the message.
#[derive(Clone, Copy)]
pub struct AttributeProto<'a> {
    name: &'a str,
    refers_to: &'a str,
    message: Reader<'a>,
}

/// Names that are visible at a place, from the innermost graph outwards.
struct Names {
    graph: Graph,
    ids: HashMap<String, ValueId>,
    captures: Vec<Capture>,
    outer: Option<Box<Names>>,
}

/// A function that is being replaced by its nodes: how its names and
/// attributes read at the call.
struct Call<'a, 'c> {
    prefix: String,
    names: HashMap<&'a str, String>,
    attributes: &'c [AttributeProto<'a>],
    defaults: &'c [AttributeProto<'a>],
    outer: Option<&'c Call<'a, 'c>>,
    opsets: &'c [(&'a str, u32)],
}

impl<'a> NodeProto<'a> {
    pub(crate) fn read(mut reader: Reader<'a>) -> Result<Self> {
        let mut node = Self::default();
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => node.inputs.push(field.text()?),
                2 => node.outputs.push(field.text()?),
                3 => node.name = field.text()?,
                4 => node.op = field.text()?,
                5 => node.attributes.push(AttributeProto::read(field.message()?)?),
                7 => node.domain = domain(field.text()?),
                _ => {}
            }
        }
        Ok(node)
    }

    fn place(&self) -> String {
        let name = if self.name.is_empty() {
            self.outputs.first().copied().unwrap_or_default()
        } else {
            self.name
        };
        format!("{name} ({})", self.op)
    }
}

impl<'a> AttributeProto<'a> {
    pub(crate) fn read(message: Reader<'a>) -> Result<Self> {
        let mut attribute = Self { name: "", refers_to: "", message };
        let mut reader = message;
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => attribute.name = field.text()?,
                21 => attribute.refers_to = field.text()?,
                _ => {}
            }
        }
        Ok(attribute)
    }
}

/// ONNX's own domain has two names.
pub fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

impl<'a> Importer<'a> {
    /// The graph of a model.
    ///
    /// ## Errors
    /// [`Error`].
    pub fn graph(&mut self, reader: Reader<'a>) -> Result<Graph> {
        Ok(self.body(reader, None, None, 0)?.graph)
    }

    /// Reads a graph; `outer` holds the names around it and is given back in the result.
    fn body(
        &mut self,
        reader: Reader<'a>,
        outer: Option<Box<Names>>,
        call: Option<&Call<'a, '_>>,
        depth: usize,
    ) -> Result<Names> {
        check_depth(depth)?;
        let mut names =
            Names { graph: Graph::default(), ids: HashMap::new(), captures: Vec::new(), outer };
        let (mut nodes, mut inputs, mut outputs, mut infos) =
            (Vec::new(), Vec::new(), Vec::new(), HashMap::new());
        let mut constants = Vec::new();
        let mut fields = reader;
        while let Some((number, field)) = fields.next_field()? {
            match number {
                1 => nodes.push(NodeProto::read(field.message()?)?),
                2 => names.graph.name = field.text()?.into(),
                5 => constants.push(tensor(field.message()?, self.folder)?),
                15 => constants.push(sparse_tensor(field.message()?, self.folder)?),
                11 => inputs.push(value_info(field.message()?)?),
                12 => outputs.push(value_info(field.message()?)?),
                13 => infos.extend([value_info(field.message()?)?]),
                _ => {}
            }
        }
        for (name, declared) in inputs {
            let id = names.define(&local(call, name), declared)?;
            names.graph.inputs.push(id);
        }
        for (name, value) in constants {
            let name = local(call, name);
            let id = match names.ids.get(&name) {
                // Up to IR version 3 every initializer is also an input.
                Some(&id) if names.graph.inputs.contains(&id) => id,
                _ => names.define(&name, None)?,
            };
            if names.graph.constants.iter().any(|(known, _)| *known == id) {
                return Err(Error::model(format!("initializer {name}"), "is defined twice"));
            }
            names.graph.constants.push((id, value));
        }
        for node in &nodes {
            names = self.node(node, names, call, depth)?;
        }
        for (name, declared) in outputs {
            let id = names.resolve(&local(call, name), "the graph's outputs")?;
            names.graph.outputs.push(id);
            let info = &mut names.graph.values[id.index()];
            info.declared = info.declared.take().or(declared);
        }
        for (name, declared) in infos {
            if let Some(id) = names.ids.get(&local(call, name)) {
                let info = &mut names.graph.values[id.index()];
                info.declared = info.declared.take().or(declared);
            }
        }
        Ok(names)
    }

    /// Adds a node, or the nodes of the function that it calls.
    fn node(
        &mut self,
        proto: &NodeProto<'a>,
        mut names: Names,
        call: Option<&Call<'a, '_>>,
        depth: usize,
    ) -> Result<Names> {
        check_depth(depth)?;
        self.node_count += 1;
        if self.node_count > NODES_MAX {
            return Err(Error::model(proto.place(), format!("more than {NODES_MAX} nodes")));
        }
        if let Some(function) = self.functions.remove(&(proto.domain, proto.op)) {
            // Taken out while its body is read: a function that calls itself is not found.
            let result = self.call(&function, proto, names, call, depth);
            self.functions.insert((proto.domain, proto.op), function);
            return result;
        }
        let opsets = call.map_or(&self.opsets[..], |call| call.opsets);
        let opset = opsets.iter().find(|(name, _)| *name == proto.domain).map(|(_, v)| *v);
        let opset = opset
            .ok_or_else(|| Error::NoOpset { node: proto.place(), domain: proto.domain.into() })?;
        let op = ops::find(proto.domain, proto.op, opset).map_err(|source| {
            Error::Graph(raddle_tensor::Error::Node {
                node: if proto.name.is_empty() {
                    proto.outputs.join(", ")
                } else {
                    proto.name.into()
                },
                op: proto.op.into(),
                opset,
                source: Box::new(source),
            })
        })?;
        let mut inputs = Vec::with_capacity(proto.inputs.len());
        for name in &proto.inputs {
            inputs.push(match *name {
                "" => None,
                name => Some(names.resolve(&local(call, name), &proto.place())?),
            });
        }
        let mut attributes = Vec::new();
        for attribute in &proto.attributes {
            let Some((message, scope)) = referred(attribute, call) else { continue };
            let value;
            (value, names) = self.attribute(attribute.name, message, names, scope, depth)?;
            attributes.push((attribute.name.to_owned(), value));
        }
        let mut outputs = Vec::with_capacity(proto.outputs.len());
        for name in &proto.outputs {
            outputs.push(match *name {
                "" => None,
                name => Some(names.define(&local(call, name), None)?),
            });
        }
        let name = call.map_or_else(String::new, |call| call.prefix.clone()) + proto.name;
        names.graph.add_node(Node { name, op, inputs, outputs, attributes, opset })?;
        Ok(names)
    }

    /// Replaces the call of a function by its nodes. Its inner names get a
    /// prefix that no other call has.
    fn call(
        &mut self,
        function: &Function<'a>,
        proto: &NodeProto<'a>,
        mut names: Names,
        call: Option<&Call<'a, '_>>,
        depth: usize,
    ) -> Result<Names> {
        if proto.inputs.len() > function.inputs.len()
            || proto.outputs.len() > function.outputs.len()
        {
            return Err(Error::model(
                proto.place(),
                "has more inputs or outputs than its function",
            ));
        }
        let prefix = format!("{}#{}/", proto.op, self.node_count);
        let mut own = HashMap::new();
        for (at, name) in function.inputs.iter().enumerate() {
            let given = proto.inputs.get(at).copied().unwrap_or_default();
            let given = if given.is_empty() { String::new() } else { local(call, given) };
            own.insert(*name, given);
        }
        for (name, given) in function.outputs.iter().zip(&proto.outputs) {
            if own.contains_key(name) {
                return Err(Error::model(proto.place(), "passes an input of its function through"));
            }
            if !given.is_empty() {
                own.insert(name, local(call, given));
            }
        }
        let inner = Call {
            prefix,
            names: own,
            attributes: &proto.attributes,
            defaults: &function.defaults,
            outer: call,
            opsets: &function.opsets,
        };
        for node in &function.nodes {
            names = self.node(node, names, Some(&inner), depth + 1)?;
        }
        Ok(names)
    }

    /// Decodes the value of an attribute; bodies see the names around them.
    fn attribute(
        &mut self,
        name: &str,
        message: Reader<'a>,
        mut names: Names,
        call: Option<&Call<'a, '_>>,
        depth: usize,
    ) -> Result<(Attribute, Names)> {
        let (mut ints, mut floats, mut strings) = (Vec::new(), Vec::new(), Vec::new());
        let (mut tensors, mut graphs) = (Vec::new(), Vec::new());
        let (mut single, mut kind) = (None, 0);
        let mut fields = message;
        while let Some((number, field)) = fields.next_field()? {
            match number {
                2 => {
                    let mut list = Vec::new();
                    field.floats(&mut list)?;
                    single = list.first().copied().map(Attribute::Float).or(single);
                }
                3 => single = Some(Attribute::Int(field.int()?)),
                4 => single = Some(Attribute::String(field.text()?.into())),
                5 => single = Some(Attribute::Tensor(tensor(field.message()?, self.folder)?.1)),
                22 => {
                    single =
                        Some(Attribute::Tensor(sparse_tensor(field.message()?, self.folder)?.1));
                }
                14 => single = value_type(field.message()?, 0)?.map(Attribute::Type),
                6 | 11 => {
                    let body =
                        self.body(field.message()?, Some(Box::new(names)), call, depth + 1)?;
                    let (subgraph, outer) = body.into_subgraph();
                    names = outer;
                    if number == 6 {
                        single = Some(Attribute::Graph(Box::new(subgraph)));
                    } else {
                        graphs.push(subgraph);
                    }
                }
                7 => field.floats(&mut floats)?,
                8 => field.ints(&mut ints)?,
                9 => strings.push(field.text()?.to_owned()),
                10 => tensors.push(tensor(field.message()?, self.folder)?.1),
                20 => kind = field.int()?,
                _ => {}
            }
        }
        let list = match kind {
            6 => Some(Attribute::Floats(floats)),
            7 => Some(Attribute::Ints(ints)),
            8 => Some(Attribute::Strings(strings)),
            9 => Some(Attribute::Tensors(tensors)),
            10 => Some(Attribute::Graphs(graphs)),
            // A default value is not written.
            1 if single.is_none() => Some(Attribute::Float(0.0)),
            2 if single.is_none() => Some(Attribute::Int(0)),
            3 if single.is_none() => Some(Attribute::String(String::new())),
            _ => None,
        };
        let value = list.or(single);
        value
            .map(|value| (value, names))
            .ok_or_else(|| Error::model(format!("attribute {name}"), format!("has kind {kind}")))
    }
}

impl Names {
    /// A new value of this graph.
    fn define(&mut self, name: &str, declared: Option<ValueType>) -> Result<ValueId> {
        if self.ids.contains_key(name) {
            return Err(raddle_tensor::Error::Duplicate { name: name.into() }.into());
        }
        let id = self.graph.add_value(name, declared);
        self.ids.insert(name.into(), id);
        Ok(id)
    }

    /// The value of a name, captured from the enclosing graphs if it is theirs.
    fn resolve(&mut self, name: &str, place: &str) -> Result<ValueId> {
        self.find(name)
            .ok_or_else(|| Error::model(place, format!("value {name} is not defined before it")))
    }

    fn find(&mut self, name: &str) -> Option<ValueId> {
        if let Some(&id) = self.ids.get(name) {
            return Some(id);
        }
        let outer = self.outer.as_mut()?.find(name)?;
        let inner = self.graph.add_value(name, None);
        self.ids.insert(name.into(), inner);
        self.captures.push(Capture { outer, inner });
        Some(inner)
    }

    fn into_subgraph(self) -> (Subgraph, Self) {
        let outer = self.outer.expect("a body is read with the names around it");
        (Subgraph { graph: self.graph, captures: self.captures }, *outer)
    }
}

/// How a name reads at the call of the function that it is in.
fn local(call: Option<&Call<'_, '_>>, name: &str) -> String {
    match call {
        None => name.into(),
        Some(call) => match call.names.get(name) {
            Some(given) => given.clone(),
            None => format!("{}{name}", call.prefix),
        },
    }
}

/// The message that an attribute of a function's node stands for and the call
/// in which its bodies' names are; `None` if the caller left it out.
fn referred<'a, 'c, 'r>(
    attribute: &AttributeProto<'a>,
    call: Option<&'r Call<'a, 'c>>,
) -> Option<(Reader<'a>, Option<&'r Call<'a, 'c>>)> {
    if attribute.refers_to.is_empty() {
        return Some((attribute.message, call));
    }
    let call = call?;
    let named = |list: &[AttributeProto<'a>]| {
        list.iter().find(|own| own.name == attribute.refers_to).copied()
    };
    match (named(call.attributes), named(call.defaults)) {
        (Some(given), _) => referred(&given, call.outer),
        (None, Some(default)) => Some((default.message, Some(call))),
        (None, None) => None,
    }
}

fn check_depth(depth: usize) -> Result<()> {
    if depth < DEPTH_MAX {
        return Ok(());
    }
    Err(Error::model(
        "the model",
        format!("graphs or functions are nested deeper than {DEPTH_MAX}"),
    ))
}

/// A `ValueInfoProto`: name and type.
pub fn value_info(mut reader: Reader<'_>) -> Result<(&str, Option<ValueType>)> {
    let (mut name, mut declared) = ("", None);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => name = field.text()?,
            2 => declared = value_type(field.message()?, 0)?,
            _ => {}
        }
    }
    Ok((name, declared))
}

/// A `TypeProto`; `None` for maps, opaque types and types without an element type.
fn value_type(mut reader: Reader<'_>, depth: usize) -> Result<Option<ValueType>> {
    check_depth(depth)?;
    let mut found = None;
    while let Some((number, field)) = reader.next_field()? {
        found = match number {
            1 | 8 => tensor_type(field.message()?)?,
            4 | 9 => {
                let mut item = None;
                let mut inner = field.message()?;
                while let Some((number, field)) = inner.next_field()? {
                    if number == 1 {
                        item = value_type(field.message()?, depth + 1)?;
                    }
                }
                let wrap = if number == 4 { ValueType::Sequence } else { ValueType::Optional };
                item.map(|item| wrap(Box::new(item)))
            }
            _ => found,
        };
    }
    Ok(found)
}

fn tensor_type(mut reader: Reader<'_>) -> Result<Option<ValueType>> {
    let (mut dtype, mut dims) = (None, None);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => dtype = DType::from_onnx(field.int()?),
            2 => {
                let list = dims.insert(Vec::new());
                let mut shape = field.message()?;
                while let Some((number, field)) = shape.next_field()? {
                    if number == 1 {
                        list.push(dim(field.message()?)?);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(dtype.map(|dtype| ValueType::Tensor(dtype, dims)))
}

fn dim(mut reader: Reader<'_>) -> Result<Dim> {
    let mut dim = Dim::Unknown;
    while let Some((number, field)) = reader.next_field()? {
        match number {
            // A negative or zero length stands for an unknown one in old exports.
            1 => {
                let len = field.int()?;
                dim = usize::try_from(len).map_or(Dim::Unknown, Dim::Fixed);
            }
            // Some exporters write a question mark for every open length; it is no
            // name, and lengths that have it need not be equal.
            2 if !matches!(field.text()?, "" | "?") => dim = Dim::Symbol(field.text()?.into()),
            _ => {}
        }
    }
    Ok(dim)
}
