//! What a row of the op table says about an operation.
//!
//! Rows are written in the files of `ops/` with the builder below:
//!
//! ```text
//! op("Gemm", 7..=LATEST).inputs(2, 3).attributes(&[("alpha", Float), …]).result(Like(0), Computed).run(gemm)
//! ```

use std::ops::RangeInclusive;

use crate::graph::{Attribute, Node};
use crate::infer::{Dims, Expr, InferContext, TensorInfo};
use crate::{DType, Error, OpContext, Result, Value};

/// The newest version of ONNX's own operator set that the table knows.
pub const LATEST: u32 = 27;

/// No upper limit on inputs or outputs.
pub const MANY: usize = usize::MAX;

/// The function that computes an operation on the CPU; the reference for all devices.
pub type Reference = fn(&mut OpContext<'_>) -> Result<Vec<Value>>;

/// An operation: one row of the table.
pub struct Op {
    /// Name in ONNX's words.
    pub name: &'static str,
    /// Domain of the name; empty for ONNX's own.
    pub domain: &'static str,
    /// Versions of the operator set that the row holds for.
    pub opsets: (u32, u32),
    /// Fewest and most inputs.
    pub inputs: (usize, usize),
    /// Fewest and most outputs.
    pub outputs: (usize, usize),
    /// Attributes that the operation knows, with their kinds.
    pub attributes: &'static [(&'static str, Kind)],
    /// Element type of the first output.
    pub dtype: DTypeRule,
    /// Shape of the first output.
    pub shape: ShapeRule,
    /// Types of the outputs, before a run.
    pub infer: InferRule,
    /// Elements of the first output, which shapes may be made of.
    pub elements: Option<ElementsRule>,
    /// Where the first output may lie.
    pub placement: Placement,
    /// Whether equal inputs give equal outputs, so that it can be computed ahead.
    pub is_pure: bool,
    /// Computes it on the CPU.
    pub reference: Reference,
}

impl std::fmt::Debug for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.full_name())
    }
}

/// Kind of an attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Kind {
    Int,
    Float,
    String,
    Tensor,
    Graph,
    Type,
    Ints,
    Floats,
    Strings,
    Tensors,
    Graphs,
}

/// How the element type of an operation's first output follows from its inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DTypeRule {
    /// That of an input.
    Like(usize),
    /// Always this one.
    Is(DType),
    /// Named by an attribute, this one if it is absent.
    Attribute(&'static str, DType),
    /// Only the reference knows, or the output is no tensor.
    Computed,
}

/// How the shape of an operation's first output follows from its inputs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShapeRule {
    /// That of an input.
    Like(usize),
    /// What all inputs broadcast to.
    Broadcast,
    /// Only the reference knows, or the output is no tensor.
    Computed,
}

/// How the types of an operation's outputs follow from what is known of its inputs.
#[derive(Clone, Copy)]
pub enum InferRule {
    /// As the columns for element type and shape say; of the first output only.
    Columns,
    /// Dimensions of the first output; its element type is that of the column.
    First(fn(&InferContext<'_>) -> Result<Option<Dims>>),
    /// All of all outputs.
    All(fn(&InferContext<'_>) -> Result<Vec<Option<TensorInfo>>>),
}

/// Where the first output of an operation may lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// In memory of its own.
    Own,
    /// Where the first input lies: the same elements under another shape.
    View,
    /// Over any input of its size that nobody needs afterwards: each element
    /// depends on the elements in the same place only.
    Over,
}

/// Whole numbers in an output of this shape, if they follow from what is known.
pub type ElementsRule = fn(&InferContext<'_>, &[usize]) -> Option<Vec<Expr>>;

/// Starts a row of ONNX's own domain with one input and one output.
pub const fn op(name: &'static str, opsets: RangeInclusive<u32>) -> Op {
    Op {
        name,
        domain: "",
        opsets: (*opsets.start(), *opsets.end()),
        inputs: (1, 1),
        outputs: (1, 1),
        attributes: &[],
        dtype: DTypeRule::Computed,
        shape: ShapeRule::Computed,
        infer: InferRule::Columns,
        elements: None,
        placement: Placement::Own,
        is_pure: true,
        reference: |_| Err(Error::Invalid(String::new())),
    }
}

impl Op {
    /// The domain of the name.
    pub const fn domain(mut self, domain: &'static str) -> Self {
        self.domain = domain;
        self
    }

    /// Fewest and most inputs; trailing optional ones count as absent.
    pub const fn inputs(mut self, min: usize, max: usize) -> Self {
        self.inputs = (min, max);
        self
    }

    /// Fewest and most outputs.
    pub const fn outputs(mut self, min: usize, max: usize) -> Self {
        self.outputs = (min, max);
        self
    }

    /// Names and kinds of attributes.
    pub const fn attributes(mut self, attributes: &'static [(&'static str, Kind)]) -> Self {
        self.attributes = attributes;
        self
    }

    /// Rules for type and shape of the first output.
    pub const fn result(mut self, dtype: DTypeRule, shape: ShapeRule) -> Self {
        self.dtype = dtype;
        self.shape = shape;
        self
    }

    /// The rule for dimensions of the first output.
    pub const fn dims(mut self, rule: fn(&InferContext<'_>) -> Result<Option<Dims>>) -> Self {
        self.infer = InferRule::First(rule);
        self
    }

    /// The rule for the types of all outputs.
    pub const fn infer(
        mut self,
        rule: fn(&InferContext<'_>) -> Result<Vec<Option<TensorInfo>>>,
    ) -> Self {
        self.infer = InferRule::All(rule);
        self
    }

    /// The rule for elements of the first output.
    pub const fn elements(mut self, rule: ElementsRule) -> Self {
        self.elements = Some(rule);
        self
    }

    /// The first output is the first input under another shape.
    pub const fn view(mut self) -> Self {
        self.placement = Placement::View;
        self
    }

    /// The first output may be written over an input.
    pub const fn over(mut self) -> Self {
        self.placement = Placement::Over;
        self
    }

    /// Whether types of its outputs can be known before a run.
    pub fn can_infer(&self) -> bool {
        match self.infer {
            InferRule::Columns => {
                self.dtype != DTypeRule::Computed && self.shape != ShapeRule::Computed
            }
            InferRule::First(_) | InferRule::All(_) => true,
        }
    }

    /// Marks an operation whose results differ from run to run.
    pub const fn impure(mut self) -> Self {
        self.is_pure = false;
        self
    }

    /// The function that computes the operation; ends a row.
    pub const fn run(mut self, reference: Reference) -> Self {
        self.reference = reference;
        self
    }

    /// Name with domain, as messages show it.
    pub fn full_name(&self) -> String {
        full_name(self.domain, self.name)
    }

    /// Holds a node against the row.
    ///
    /// ## Errors
    /// [`Error::Arity`], [`Error::Attribute`], [`Error::MissingInput`].
    pub fn check(&self, node: &Node) -> Result<()> {
        check_count("inputs", self.inputs, node.inputs.len())?;
        check_count("outputs", self.outputs, node.outputs.len())?;
        if self.inputs.1 != MANY {
            let required = &node.inputs[..self.inputs.0];
            if let Some(index) = required.iter().position(Option::is_none) {
                return Err(Error::MissingInput { index });
            }
        }
        for (name, attribute) in &node.attributes {
            let Some((_, kind)) = self.attributes.iter().find(|(own, _)| own == name) else {
                let known: Vec<_> = self.attributes.iter().map(|(name, _)| *name).collect();
                let why = format!("is unknown; this operation has: {}", known.join(", "));
                return Err(Error::Attribute { name: name.clone(), why });
            };
            if *kind != attribute.kind() && !attribute.is_empty_list_of(*kind) {
                let why = format!("is of kind {:?}, expected {kind:?}", attribute.kind());
                return Err(Error::Attribute { name: name.clone(), why });
            }
        }
        Ok(())
    }
}

impl Attribute {
    /// The kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Int(_) => Kind::Int,
            Self::Float(_) => Kind::Float,
            Self::String(_) => Kind::String,
            Self::Tensor(_) => Kind::Tensor,
            Self::Graph(_) => Kind::Graph,
            Self::Type(_) => Kind::Type,
            Self::Ints(_) => Kind::Ints,
            Self::Floats(_) => Kind::Floats,
            Self::Strings(_) => Kind::Strings,
            Self::Tensors(_) => Kind::Tensors,
            Self::Graphs(_) => Kind::Graphs,
        }
    }

    /// Old files do not say of what kind an empty list is.
    fn is_empty_list_of(&self, kind: Kind) -> bool {
        let is_list = matches!(kind, Kind::Ints | Kind::Floats | Kind::Strings);
        match self {
            Self::Ints(list) => is_list && list.is_empty(),
            Self::Floats(list) => is_list && list.is_empty(),
            Self::Strings(list) => is_list && list.is_empty(),
            _ => false,
        }
    }
}

/// A name with its domain, as messages show it.
pub fn full_name(domain: &str, name: &str) -> String {
    if domain.is_empty() { name.into() } else { format!("{domain}.{name}") }
}

fn check_count(what: &'static str, (min, max): (usize, usize), found: usize) -> Result<()> {
    if (min..=max).contains(&found) {
        return Ok(());
    }
    let expected = match max {
        MANY => format!("at least {min}"),
        _ if min == max => min.to_string(),
        _ => format!("{min} to {max}"),
    };
    Err(Error::Arity { what, expected, found })
}
