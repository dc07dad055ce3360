//! Normalisation: each is a few reductions and functions of elements, in `f32` for
//! narrower floats.

use raddle_kernels::dense::{Function, Reduction};
use raddle_tensor::{DType, shape};

use super::call::{Call, only};
use super::value::Dense;
use super::{Failure, Made};

impl Call<'_, '_> {
    pub fn norms(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        match self.node.op.name {
            "BatchNormalization" => self.batch_norm(),
            "LayerNormalization" => self.layer_norm(),
            "RMSNormalization" => self.root_norm(),
            "InstanceNormalization" => {
                let channels = self.outline(0)?.1.get(1).copied().unwrap_or(1);
                self.group_norm(channels)
            }
            "GroupNormalization" => {
                let groups = self.ctx.int("num_groups", 1)? as usize;
                self.group_norm(groups)
            }
            "LpNormalization" => self.lp_norm(),
            "MeanVarianceNormalization" => {
                let dtype = self.outline(0)?.0;
                let x = self.wide(0)?;
                let axes = shape::axes(self.ctx.ints("axes")?.unwrap_or(&[0, 2, 3]), x.rank())?;
                let (low, _, variance) = self.moments(&x, &axes)?;
                let deviation = self.one(Function::Sqrt, &variance)?;
                let deviation = self.affine(&deviation, 1.0, 1e-9)?;
                let y = self.two(Function::Div, &low, &deviation)?;
                only(self.kit().cast(&y, dtype)?)
            }
            "LRN" => self.local_response(),
            _ => Ok(None),
        }
    }

    /// Differences from the mean, the mean and the variance.
    fn moments(&mut self, x: &Dense, axes: &[usize]) -> Result<(Dense, Dense, Dense), Failure> {
        let mean = self.kit().reduced(x, axes, Reduction::Mean, x.dtype)?;
        let low = self.two(Function::Sub, x, &mean)?;
        let squares = self.two(Function::Mul, &low, &low)?;
        let variance = self.kit().reduced(&squares, axes, Reduction::Mean, x.dtype)?;
        Ok((low, mean, variance))
    }

    /// `1 / sqrt(x + epsilon)`.
    fn inverse_root(&mut self, x: &Dense, epsilon: f32) -> Result<Dense, Failure> {
        let moved = self.affine(x, 1.0, epsilon.into())?;
        let root = self.one(Function::Sqrt, &moved)?;
        self.one(Function::Reciprocal, &root)
    }

    /// A parameter for each channel, along the second of `rank` dimensions.
    fn for_channels(&mut self, at: usize, rank: usize, dtype: DType) -> Result<Dense, Failure> {
        let x = self.x(at)?;
        let x = self.kit().cast(&x, dtype)?;
        let mut shape = vec![1; rank.max(2)];
        shape[1] = x.len();
        if rank < 2 {
            shape.remove(0);
        }
        x.reshaped(&shape)
    }

    fn batch_norm(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let dtype = self.outline(0)?.0;
        let x = self.wide(0)?;
        let (rank, epsilon) = (x.rank(), self.ctx.float("epsilon", 1e-5)?);
        let scale = self.for_channels(1, rank, x.dtype)?;
        let bias = self.for_channels(2, rank, x.dtype)?;
        let (mut mean, mut variance) =
            (self.for_channels(3, rank, x.dtype)?, self.for_channels(4, rank, x.dtype)?);
        let mut running = Vec::new();
        if self.ctx.flag("training_mode", false)? {
            let momentum = f64::from(self.ctx.float("momentum", 0.9)?);
            let axes: Vec<_> = (0..rank).filter(|&axis| axis != 1).collect();
            let (_, own_mean, own_variance) = self.moments(&x, &axes)?;
            for (at, old, own) in [(3, &mean, &own_mean), (4, &variance, &own_variance)] {
                let to = self.outline(at)?;
                let old = self.affine(old, momentum, 0.0)?;
                let new = self.affine(own, 1.0 - momentum, 0.0)?;
                let mixed = self.two(Function::Add, &old, &new)?.reshaped(&to.1)?;
                running.push(self.kit().cast(&mixed, to.0)?.into());
            }
            (mean, variance) = (own_mean, own_variance);
        }
        let inverse = self.inverse_root(&variance, epsilon)?;
        let factor = self.two(Function::Mul, &scale, &inverse)?;
        let low = self.two(Function::Sub, &x, &mean)?;
        let scaled = self.two(Function::Mul, &low, &factor)?;
        let y = self.two(Function::Add, &scaled, &bias)?;
        let mut made = vec![self.kit().cast(&y, dtype)?.into()];
        made.extend(running);
        Ok(Some(made))
    }

    fn layer_norm(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let dtype = self.outline(0)?.0;
        let x = self.wide(0)?;
        let axis = self.axis(-1, x.rank())?;
        let axes: Vec<_> = (axis..x.rank()).collect();
        let epsilon = self.ctx.float("epsilon", 1e-5)?;
        let (low, mean, variance) = self.moments(&x, &axes)?;
        let inverse = self.inverse_root(&variance, epsilon)?;
        let mut y = self.two(Function::Mul, &low, &inverse)?;
        for (at, function) in [(1, Function::Mul), (2, Function::Add)] {
            if self.has(at) {
                let parameter = self.wide(at)?;
                let parameter = self.kit().cast(&parameter, x.dtype)?;
                y = self.two(function, &y, &parameter)?;
            }
        }
        let stash = self.ctx.dtype_attribute("stash_type")?.unwrap_or(DType::F32);
        let mut made = vec![self.kit().cast(&y, dtype)?.into()];
        for (at, dense) in [(1, mean), (2, inverse)] {
            if self.node.outputs.len() > at {
                made.push(self.kit().cast(&dense, stash)?.into());
            }
        }
        Ok(Some(made))
    }

    fn root_norm(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let dtype = self.outline(0)?.0;
        let x = self.wide(0)?;
        let axis = self.axis(-1, x.rank())?;
        let axes: Vec<_> = (axis..x.rank()).collect();
        let epsilon = self.ctx.float("epsilon", 1e-5)?;
        let squares = self.two(Function::Mul, &x, &x)?;
        let mean = self.kit().reduced(&squares, &axes, Reduction::Mean, x.dtype)?;
        let inverse = self.inverse_root(&mean, epsilon)?;
        let y = self.two(Function::Mul, &x, &inverse)?;
        let scale = self.wide(1)?;
        let scale = self.kit().cast(&scale, x.dtype)?;
        let y = self.two(Function::Mul, &y, &scale)?;
        only(self.kit().cast(&y, dtype)?)
    }

    fn group_norm(&mut self, groups: usize) -> Result<Option<Vec<Made>>, Failure> {
        let dtype = self.outline(0)?.0;
        let x = self.wide(0)?;
        if x.rank() < 2 || groups == 0 || !x.shape[1].is_multiple_of(groups) {
            return Err(Failure::why(format!("{:?} has not {groups} groups", x.shape)));
        }
        let (images, epsilon) = (x.shape[0], self.ctx.float("epsilon", 1e-5)?);
        let len = x.len().checked_div(images * groups).unwrap_or(0);
        let rows = x.reshaped(&[images, groups, len])?;
        let (low, _, variance) = self.moments(&rows, &[2])?;
        let inverse = self.inverse_root(&variance, epsilon)?;
        let y = self.two(Function::Mul, &low, &inverse)?;
        let mut y = y.reshaped(&x.shape)?;
        for (at, function) in [(1, Function::Mul), (2, Function::Add)] {
            let mut parameter = self.for_channels(at, x.rank(), x.dtype)?;
            let count = parameter.len();
            if count != x.shape[1] {
                // One for each group.
                let flat = parameter.reshaped(&[count, 1])?;
                let each = [count, x.shape[1] / count];
                let mut shape = vec![1; x.rank()];
                shape[1] = x.shape[1];
                parameter = self.kit().expanded(&flat, &each)?.reshaped(&shape)?;
            }
            y = self.two(function, &y, &parameter)?;
        }
        only(self.kit().cast(&y, dtype)?)
    }

    /// `x / norm` along an axis; zeros stay zeros.
    fn lp_norm(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let dtype = self.outline(0)?.0;
        let x = self.wide(0)?;
        let axis = self.axis(-1, x.rank())?;
        let reduction = match self.ctx.int("p", 2)? {
            1 => Reduction::L1,
            2 => Reduction::L2,
            other => return Err(Failure::why(format!("the norm {other} has no kernel"))),
        };
        let norm = self.kit().reduced(&x, &[axis], reduction, x.dtype)?;
        let zero = self.kit().number(0.0, x.dtype)?;
        // A norm of zero divides zeros by one.
        let is_zero = self.kit().map(Function::Equal, &[&norm, &zero], x.dtype)?;
        let norm = self.two(Function::Add, &norm, &is_zero)?;
        let y = self.two(Function::Div, &x, &norm)?;
        only(self.kit().cast(&y, dtype)?)
    }

    /// `x / (bias + alpha / size * sum of squares of neighbouring channels)^beta`.
    fn local_response(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let dtype = self.outline(0)?.0;
        let x = self.wide(0)?;
        let size = self.ctx.int("size", 1)?.max(1) as usize;
        let alpha = f64::from(self.ctx.float("alpha", 1e-4)?) / size as f64;
        let beta = f64::from(self.ctx.float("beta", 0.75)?);
        let bias = f64::from(self.ctx.float("bias", 1.0)?);
        let squares = self.two(Function::Mul, &x, &x)?;
        let (before, channels) = ((size - 1) / 2, x.shape[1]);
        let mut padded = x.shape.clone();
        padded[1] += size - 1;
        let mut begins = vec![0; x.rank()];
        begins[1] = before as i64;
        let of = (&padded[..], x.dtype);
        let padded = self.kit().assembled(of, None, &[(&squares, begins)])?;
        let mut sum = self.kit().part(&padded, 1, 0, channels)?;
        for at in 1..size {
            let next = self.kit().part(&padded, 1, at, channels)?;
            sum = self.two(Function::Add, &sum, &next)?;
        }
        let sum = self.affine(&sum, alpha, bias)?;
        let divisor = self.with(Function::Pow, &sum, beta)?;
        let y = self.two(Function::Div, &x, &divisor)?;
        only(self.kit().cast(&y, dtype)?)
    }
}
