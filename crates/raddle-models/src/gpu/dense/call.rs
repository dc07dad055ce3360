//! A node that is being lowered: its operands and attributes, and who lowers it.

use raddle_kernels::dense::{Function, RANK_MAX};
use raddle_tensor::convert::Compute;
use raddle_tensor::graph::{Node, NodeId, ValueId};
use raddle_tensor::{DType, OpContext, Tensor, shape};

use super::value::{Dense, Kit};
use super::{Failure, Lowering, Made, lock};

/// A node with the lowering that it is part of.
pub struct Call<'l, 'a> {
    lowering: &'l mut Lowering<'a>,
    /// Whether operands are given with channels last, where they have four dimensions.
    is_lying: bool,
    pub node: &'a Node,
    pub ctx: OpContext<'a>,
}

/// What lowering a node gives.
pub type Results = Result<Vec<Made>, Failure>;

impl<'l, 'a> Call<'l, 'a> {
    pub fn new(lowering: &'l mut Lowering<'a>, node: &'a Node) -> Self {
        Self { lowering, is_lying: false, node, ctx: OpContext::of_attributes(node) }
    }

    /// Launches what computes the node.
    pub fn lower(&mut self) -> Results {
        if !self.node.op.domain.is_empty()
            || !self.node.op.is_pure && self.node.op.name != "Dropout"
        {
            return Err(Failure::why("there is no kernel for it"));
        }
        let families = [
            Self::elementwise_of_images,
            Self::elementwise,
            Self::movement,
            Self::indexed,
            Self::sums,
            Self::norms,
            Self::windows,
            Self::attentions,
            Self::recurrent,
        ];
        for family in families {
            if let Some(made) = family(self)? {
                return Ok(made);
            }
        }
        Err(Failure::why("there is no kernel for it"))
    }

    pub fn lowering(&self) -> &Lowering<'a> {
        self.lowering
    }

    pub fn lowering_mut(&mut self) -> &mut Lowering<'a> {
        self.lowering
    }

    /// Leaves what a launch made to the last of the nodes that follow this one.
    pub fn leave(&mut self, nodes: &[NodeId], made: Made) {
        let [between @ .., last] = nodes else { return };
        let ahead = &mut self.lowering.ahead;
        ahead.extend(between.iter().map(|&id| (id, None)));
        ahead.insert(*last, Some(made));
    }

    pub fn kit(&mut self) -> &mut Kit<'a> {
        &mut self.lowering.kit
    }

    fn id(&self, at: usize) -> Option<ValueId> {
        self.node.inputs.get(at).copied().flatten()
    }

    pub fn has(&self, at: usize) -> bool {
        self.id(at).is_some()
    }

    pub fn required(&self, at: usize) -> Result<ValueId, Failure> {
        self.id(at).ok_or(Failure::Tensor(raddle_tensor::Error::MissingInput { index: at }))
    }

    /// An operand on the device.
    pub fn x(&mut self, at: usize) -> Result<Dense, Failure> {
        let id = self.required(at)?;
        if self.is_lying { self.lying_value(id) } else { self.value(id) }
    }

    /// Whether operands are given with channels last.
    pub fn is_lying(&self) -> bool {
        self.is_lying
    }

    /// Lowers something with operands whose channels lie last.
    pub fn with_lying<T>(&mut self, lower: impl FnOnce(&mut Self) -> T) -> T {
        self.is_lying = true;
        let lowered = lower(self);
        self.is_lying = false;
        lowered
    }

    /// A value on the device.
    pub fn value(&mut self, id: ValueId) -> Result<Dense, Failure> {
        let tensor = match &self.lowering.values[&id] {
            Made::Device(dense) => return ranked(dense.clone()),
            Made::Images(_) => return self.lowering.channels_first(id),
            Made::Host(tensor) => tensor.clone(),
        };
        let is_constant = self.lowering.is_constant.contains(&id);
        let uploaded = &self.lowering.constants.uploaded;
        if is_constant && let Some(dense) = lock(uploaded).get(&id) {
            return Ok(dense.clone());
        }
        let dense = self.lowering.kit.upload(&tensor)?;
        if is_constant {
            lock(uploaded).insert(id, dense.clone());
        }
        ranked(dense)
    }

    /// A value in `f32`, a constant made so once.
    pub fn value_in_f32(&mut self, id: ValueId) -> Result<Dense, Failure> {
        let tensor = match &self.lowering.values[&id] {
            Made::Host(tensor) if self.lowering.is_constant.contains(&id) => tensor.clone(),
            _ => {
                let dense = self.value(id)?;
                return self.kit().cast(&dense, DType::F32);
            }
        };
        if let Some(dense) = lock(&self.lowering.constants.widened).get(&id) {
            return Ok(dense.clone());
        }
        let elements = f32::widen(&tensor)?.into_owned();
        let dense = self.lowering.kit.upload(&Tensor::new(tensor.shape(), elements)?)?;
        lock(&self.lowering.constants.widened).insert(id, dense.clone());
        Ok(dense)
    }

    pub fn maybe(&mut self, at: usize) -> Result<Option<Dense>, Failure> {
        if self.has(at) { self.x(at).map(Some) } else { Ok(None) }
    }

    /// An operand whose elements the launches depend on.
    pub fn host(&self, at: usize) -> Result<Tensor, Failure> {
        let id = self.required(at)?;
        match &self.lowering.values[&id] {
            Made::Host(tensor) => Ok(tensor.clone()),
            Made::Device(_) | Made::Images(_) => Err(Failure::NeedsHost(id)),
        }
    }

    pub fn host_i64s(&self, at: usize) -> Result<Option<Vec<i64>>, Failure> {
        match self.has(at) {
            true => Ok(Some(self.host(at)?.to_i64s()?.into_owned())),
            false => Ok(None),
        }
    }

    /// A list that is an attribute, or an input in newer versions.
    pub fn list(&self, name: &str, at: usize) -> Result<Option<Vec<i64>>, Failure> {
        match self.ctx.ints(name)? {
            Some(list) => Ok(Some(list.to_vec())),
            None => self.host_i64s(at),
        }
    }

    /// Type and shape of an operand, wherever it is.
    pub fn outline(&self, at: usize) -> Result<(DType, Vec<usize>), Failure> {
        Ok(match &self.lowering.values[&self.required(at)?] {
            Made::Device(dense) => (dense.dtype, dense.shape.clone()),
            Made::Images(images) => (DType::F32, images.shape().to_vec()),
            Made::Host(tensor) => (tensor.dtype(), tensor.shape().to_vec()),
        })
    }

    pub fn wants(&self, at: usize) -> bool {
        self.node.outputs.get(at).is_some_and(Option::is_some)
    }

    pub fn axis(&self, default: i64, rank: usize) -> Result<usize, Failure> {
        Ok(shape::axis(self.ctx.int("axis", default)?, rank)?)
    }

    /// A function of two values, in their own type.
    ///
    /// ## Errors
    /// If their types differ.
    pub fn two(&mut self, function: Function, x: &Dense, y: &Dense) -> Result<Dense, Failure> {
        same_type(x, y)?;
        self.kit().map(function, &[x, y], x.dtype)
    }

    /// A function of a value and a number.
    pub fn with(&mut self, function: Function, x: &Dense, number: f64) -> Result<Dense, Failure> {
        let number = self.kit().number(number, x.dtype)?;
        self.two(function, x, &number)
    }

    pub fn one(&mut self, function: Function, x: &Dense) -> Result<Dense, Failure> {
        self.kit().map(function, &[x], x.dtype)
    }
}

/// Refuses values of more dimensions than kernels have.
fn ranked(dense: Dense) -> Result<Dense, Failure> {
    if dense.rank() <= RANK_MAX {
        return Ok(dense);
    }
    Err(Failure::why(format!("kernels have {RANK_MAX} dimensions, it has {:?}", dense.shape)))
}

/// Refuses operands of different types.
pub fn same_type(x: &Dense, y: &Dense) -> Result<(), Failure> {
    if x.dtype == y.dtype {
        return Ok(());
    }
    Err(Failure::why(format!("its operands have types {} and {}", x.dtype, y.dtype)))
}

/// The results of a node with one output.
pub fn only(dense: Dense) -> Result<Option<Vec<Made>>, Failure> {
    Ok(Some(vec![dense.into()]))
}
