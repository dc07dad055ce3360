//! Reductions, softmax, losses and products.

use raddle_kernels::dense::{Class, Function, Reduction};
use raddle_tensor::convert::Compute;
use raddle_tensor::{DType, Tensor, shape};

use super::call::{Call, only, same_type};
use super::products::whole;
use super::value::{Dense, Formula, Strided, between};
use super::{Failure, Made};

/// Reductions by name.
const REDUCTIONS: [(&str, Reduction); 10] = [
    ("ReduceSum", Reduction::Sum),
    ("ReduceMean", Reduction::Mean),
    ("ReduceMax", Reduction::Max),
    ("ReduceMin", Reduction::Min),
    ("ReduceProd", Reduction::Prod),
    ("ReduceL1", Reduction::L1),
    ("ReduceL2", Reduction::L2),
    ("ReduceLogSum", Reduction::LogSum),
    ("ReduceLogSumExp", Reduction::LogSumExp),
    ("ReduceSumSquare", Reduction::SumSquare),
];

impl Call<'_, '_> {
    pub fn sums(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let name = self.node.op.name;
        if let Some(&(_, reduction)) = REDUCTIONS.iter().find(|row| row.0 == name) {
            return self.reduce(reduction);
        }
        match name {
            "ArgMax" | "ArgMin" => self.extreme_place(),
            "DynamicQuantizeLinear" => self.quantize_by_range(),
            "Softmax" | "LogSoftmax" | "Hardmax" => self.softmax(),
            "NegativeLogLikelihoodLoss" => {
                let x = self.wide(0)?;
                let loss = self.loss(&x)?;
                only(loss)
            }
            "SoftmaxCrossEntropyLoss" => {
                let dtype = self.outline(0)?.0;
                let x = self.wide(0)?;
                let logarithms = self.normalised(&x, &[1], true)?;
                let loss = self.loss(&logarithms)?;
                let mut made = vec![loss.into()];
                if self.wants(1) {
                    made.push(self.kit().cast(&logarithms, dtype)?.into());
                }
                Ok(Some(made))
            }
            "MatMul" => self.matmul(),
            "MatMulInteger" => self.integer_product(),
            "Gemm" => self.gemm(),
            "DequantizeLinear" => self.dequantize(),
            "QuantizeLinear" => self.quantize(),
            _ => Ok(None),
        }
    }

    fn reduce(&mut self, reduction: Reduction) -> Result<Option<Vec<Made>>, Failure> {
        let list = self.list("axes", 1)?.unwrap_or_default();
        let rank = self.outline(0)?.1.len();
        if !list.is_empty() {
            let mut axes = shape::axes(&list, rank)?;
            axes.sort_unstable();
            if let Some(reduced) = self.reduction_of_images(&axes, reduction)? {
                return self.squeezed(reduced, &axes);
            }
        }
        let x = self.x(0)?;
        if list.is_empty() && self.ctx.flag("noop_with_empty_axes", false)? {
            // Over no axes each element is its own sum.
            let one = self.kit().reduced(&x, &[], reduction, x.dtype)?;
            return only(one);
        }
        let axes = match list.is_empty() {
            true => (0..x.rank()).collect(),
            false => shape::axes(&list, x.rank())?,
        };
        let reduced = self.kit().reduced(&x, &axes, reduction, x.dtype)?;
        self.squeezed(reduced, &axes)
    }

    /// Drops the reduced axes where the node does not keep them.
    fn squeezed(&mut self, x: Dense, axes: &[usize]) -> Result<Option<Vec<Made>>, Failure> {
        if self.ctx.flag("keepdims", true)? {
            return only(x);
        }
        let kept = (0..x.rank()).filter(|axis| !axes.contains(axis));
        let shape: Vec<_> = kept.map(|axis| x.shape[axis]).collect();
        only(x.reshaped(&shape)?)
    }

    fn extreme_place(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let x = self.x(0)?;
        let axis = self.axis(0, x.rank())?;
        let is_last = self.ctx.flag("select_last_index", false)?;
        let reduction = match (self.node.op.name, is_last) {
            ("ArgMax", false) => Reduction::ArgMax,
            ("ArgMax", true) => Reduction::ArgMaxLast,
            (_, false) => Reduction::ArgMin,
            (_, true) => Reduction::ArgMinLast,
        };
        let reduced = self.kit().reduced(&x, &[axis], reduction, DType::I64)?;
        self.squeezed(reduced, &[axis])
    }

    /// Softmax over axes, or its logarithm.
    pub fn normalised(
        &mut self,
        x: &Dense,
        axes: &[usize],
        is_logarithm: bool,
    ) -> Result<Dense, Failure> {
        let max = self.kit().reduced(x, axes, Reduction::Max, x.dtype)?;
        let low = self.two(Function::Sub, x, &max)?;
        if is_logarithm {
            let powers = self.one(Function::Exp, &low)?;
            let sum = self.kit().reduced(&powers, axes, Reduction::Sum, x.dtype)?;
            let sum = self.one(Function::Log, &sum)?;
            return self.two(Function::Sub, &low, &sum);
        }
        let powers = self.one(Function::Exp, &low)?;
        let sum = self.kit().reduced(&powers, axes, Reduction::Sum, x.dtype)?;
        // One division for each row.
        let factor = self.one(Function::Reciprocal, &sum)?;
        self.two(Function::Mul, &powers, &factor)
    }

    /// Along one axis; up to opset 12 over all dimensions from the axis on.
    fn softmax(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let dtype = self.outline(0)?.0;
        let x = self.wide(0)?;
        let is_flat = self.ctx.opset() < 13;
        let axis = self.axis(if is_flat { 1 } else { -1 }, x.rank())?;
        let flat = match is_flat {
            true => {
                let (rows, columns) = x.shape.split_at(axis);
                x.reshaped(&[rows.iter().product(), columns.iter().product()])?
            }
            false => x.clone(),
        };
        let axis = if is_flat { 1 } else { axis };
        let y = match self.node.op.name {
            "Hardmax" => self.hardened(&flat, axis, dtype)?,
            name => self.normalised(&flat, &[axis], name == "LogSoftmax")?,
        };
        let y = self.kit().cast(&y, dtype)?;
        only(y.reshaped(&x.shape)?)
    }

    fn hardened(&mut self, x: &Dense, axis: usize, dtype: DType) -> Result<Dense, Failure> {
        let places = self.kit().reduced(x, &[axis], Reduction::ArgMax, DType::I64)?;
        let numbers = self.counted(x.shape[axis], axis, x.rank(), DType::I64)?;
        let is_largest = self.kit().map(Function::Equal, &[&places, &numbers], DType::Bool)?;
        self.kit().cast(&is_largest, dtype)
    }

    /// `-weight[target] x[target]`, reduced as the node says; targets `ignore_index`
    /// weigh nothing.
    fn loss(&mut self, x: &Dense) -> Result<Dense, Failure> {
        let target = self.x(1)?;
        let target = self.kit().cast(&target, DType::I64)?;
        let ignored = self.ctx.optional_int("ignore_index")?;
        let zero = self.kit().number(0.0, DType::I64)?;
        let (mut is_ignored, mut places) = (None, target.clone());
        if let Some(ignored) = ignored {
            let ignored = self.kit().upload(&Tensor::scalar(ignored))?;
            let found = self.kit().map(Function::Equal, &[&target, &ignored], DType::Bool)?;
            places = self.kit().map_in(
                Class::I64,
                Function::Where,
                &[&found, &zero, &target],
                DType::I64,
            )?;
            is_ignored = Some(found);
        }
        let mut along = target.shape.clone();
        along.insert(1, 1);
        let taken = self.kit().taken_along(x, 1, &places.reshaped(&along)?)?;
        let taken = taken.reshaped(&target.shape)?;
        let mut weights = match self.has(2) {
            true => {
                let weights = self.wide(2)?;
                self.kit().taken(&weights, 0, &places)?
            }
            false => {
                let one = self.kit().number(1.0, x.dtype)?;
                self.kit().expanded(&one, &target.shape)?
            }
        };
        if let Some(found) = is_ignored {
            let none = self.kit().number(0.0, x.dtype)?;
            let operands = [&found, &none, &weights];
            weights = self.kit().map_in(Class::I64, Function::Where, &operands, x.dtype)?;
        }
        let weighed = self.two(Function::Mul, &taken, &weights)?;
        let losses = self.one(Function::Neg, &weighed)?;
        let axes: Vec<_> = (0..losses.rank()).collect();
        let dtype = self.outline(0)?.0;
        let result = match self.ctx.text("reduction", "mean")? {
            "none" => losses,
            reduction => {
                let is_mean = reduction == "mean";
                let sum = self.kit().reduced(&losses, &axes, Reduction::Sum, x.dtype)?;
                let sum = sum.reshaped(&[])?;
                match is_mean {
                    true => {
                        let all = self.kit().reduced(&weights, &axes, Reduction::Sum, x.dtype)?;
                        self.two(Function::Div, &sum, &all.reshaped(&[])?)?
                    }
                    false => sum,
                }
            }
        };
        self.kit().cast(&result, dtype)
    }

    /// An operand less its zero point, as integers that do not wrap.
    pub fn centred(&mut self, at: usize, zero: usize, axis: usize) -> Result<Dense, Failure> {
        let x = self.x(at)?;
        let x = self.kit().cast(&x, DType::I32)?;
        let Some(zero) = self.maybe(zero)? else { return Ok(x) };
        let mut zero = self.kit().cast(&zero, DType::I32)?;
        if zero.rank() == 1 && zero.len() > 1 {
            let mut shape = vec![1; x.rank()];
            shape[axis] = zero.len();
            zero = zero.reshaped(&shape)?;
        }
        if zero.len() == 1 {
            zero = zero.reshaped(&[])?;
        }
        self.two(Function::Sub, &x, &zero)
    }

    fn integer_product(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let rank = self.outline(0)?.1.len();
        let x = self.centred(0, 2, rank.saturating_sub(2))?;
        let rank = self.outline(1)?.1.len();
        let y = self.centred(1, 3, rank.saturating_sub(1))?;
        only(self.kit().matmul(&x, &y, DType::I32)?)
    }

    fn matmul(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        if let Some(made) = self.half_matmul()? {
            return Ok(Some(made));
        }
        let ((x_type, x), (w_type, w)) = (self.outline(0)?, self.outline(1)?);
        if let (DType::F32, DType::F32, &[depth, columns]) = (x_type, w_type, &w[..])
            && x.len() >= 2
            && x.last() == Some(&depth)
        {
            let rows = x[..x.len() - 1].iter().product();
            if let Some(weights) = self.turned_weights(1, [rows, columns, depth])? {
                let x = self.x(0)?;
                let right = Strided { strides: vec![1, depth as i64], ..whole(&weights) };
                let (shapes, class): ([&[usize]; 2], _) = ([&x.shape, &w], x.class());
                if self.product_with_row([&whole(&x), &right], shapes)? {
                    return Ok(Some(Vec::new()));
                }
                return only(self.kit().product([&whole(&x), &right], shapes, class, x_type)?);
            }
            let (x, weights) = (self.x(0)?, self.x(1)?);
            if self.product_with_row([&whole(&x), &whole(&weights)], [&x.shape, &w])? {
                return Ok(Some(Vec::new()));
            }
        }
        let (x, y) = (self.x(0)?, self.x(1)?);
        same_type(&x, &y)?;
        only(self.kit().matmul(&x, &y, x.dtype)?)
    }

    /// A product of `f32` with one matrix on the right and the bias and bounds behind it, left
    /// to the last of their nodes; whether there is something behind it and a launch for all.
    fn product_with_row(
        &mut self,
        operands: [&Strided<'_>; 2],
        shapes: [&[usize]; 2],
    ) -> Result<bool, Failure> {
        let mut shape = shapes[0].to_vec();
        let columns = shapes[1][1];
        shape.pop();
        shape.push(columns);
        let Some(follow) = self.follow_row(&shape, DType::F32) else { return Ok(false) };
        let bias = match follow.bias {
            Some(id) => {
                let bias = self.value(id)?;
                Some(self.kit().words(&bias)?)
            }
            None => None,
        };
        let bias = bias.as_ref().map(|words| words.as_slice());
        let made = self.kit().product_finished(operands, shapes, (follow.bounds, bias))?;
        let Some(made) = made else { return Ok(false) };
        self.leave(&follow.nodes, made.into());
        Ok(true)
    }

    /// `alpha * a' * b' + beta * c`.
    fn gemm(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let (a, b) = (self.x(0)?, self.x(1)?);
        let dtype = a.dtype;
        let sums = between(dtype);
        same_type(&a, &b)?;
        if a.rank() != 2 || b.rank() != 2 {
            return Err(Failure::why("its operands are no matrices"));
        }
        if let Some(y) = self.half_gemm(&a)? {
            return only(y);
        }
        let turned = |dense: &Dense, is_turned: bool| {
            let (mut strides, mut shape) = (dense.strides(), dense.shape.clone());
            if is_turned {
                strides.swap(0, 1);
                shape.swap(0, 1);
            }
            (strides, shape)
        };
        let (left, left_shape) = turned(&a, self.ctx.flag("transA", false)?);
        let (right, right_shape) = turned(&b, self.ctx.flag("transB", false)?);
        let left = Strided { strides: left, ..whole(&a) };
        let right = Strided { strides: right, ..whole(&b) };
        let mut y =
            self.kit().product([&left, &right], [&left_shape, &right_shape], a.class(), sums)?;
        let alpha = self.ctx.float("alpha", 1.0)?.into();
        let beta: f64 = self.ctx.float("beta", 1.0)?.into();
        if !dtype.is_float() && (alpha != 1.0 || beta != 1.0) {
            return Err(Failure::why("integers that are scaled have no kernel"));
        }
        if alpha != 1.0 {
            y = self.with(Function::Mul, &y, alpha)?;
        }
        if self.has(2) {
            let mut c = self.wide(2)?;
            if beta != 1.0 {
                c = self.with(Function::Mul, &c, beta)?;
            }
            y = self.two(Function::Add, &y, &c)?;
        }
        only(self.kit().cast(&y, dtype)?)
    }

    /// Scale and zero point along an axis, a block or everything.
    fn spread(&mut self, at: usize, shape: &[usize]) -> Result<Dense, Failure> {
        let x = self.x(at)?;
        if x.len() == 1 {
            return x.reshaped(&[]);
        }
        let axis = self.axis(1, shape.len())?;
        if x.rank() == 1 {
            let mut own = vec![1; shape.len()];
            own[axis] = x.len();
            return x.reshaped(&own);
        }
        let block = self.ctx.int("block_size", 0)? as usize;
        if block == 0 || x.rank() != shape.len() {
            return Err(Failure::why(format!("scales of shape {:?} do not fit", x.shape)));
        }
        let places = (0..shape[axis]).map(|at| (at / block) as i64).collect();
        let places = self.kit().upload(&Tensor::vector::<i64>(places))?;
        self.kit().taken(&x, axis, &places)
    }

    fn dequantize(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let dtype = match self.ctx.dtype_attribute("output_dtype")? {
            Some(dtype) => dtype,
            None => self.outline(1)?.0,
        };
        let x = self.x(0)?;
        let scale = self.spread(1, &x.shape)?;
        let scale = self.kit().cast(&scale, DType::F32)?;
        let mut x = self.kit().cast(&x, DType::F32)?;
        if self.has(2) {
            let zero = self.spread(2, &x.shape)?;
            let zero = self.kit().cast(&zero, DType::F32)?;
            x = self.two(Function::Sub, &x, &zero)?;
        }
        let y = self.two(Function::Mul, &x, &scale)?;
        only(self.kit().cast(&y, dtype)?)
    }

    fn quantize(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let dtype = match (self.has(2), self.ctx.dtype_attribute("output_dtype")?) {
            (true, _) => self.outline(2)?.0,
            (false, Some(dtype)) => dtype,
            (false, None) => DType::U8,
        };
        let x = self.wide(0)?;
        let scale = self.spread(1, &x.shape)?;
        let scale = self.kit().cast(&scale, x.dtype)?;
        let scaled = self.two(Function::Div, &x, &scale)?;
        let mut y = self.one(Function::Round, &scaled)?;
        if self.has(2) {
            let zero = self.spread(2, &y.shape)?;
            let zero = self.kit().cast(&zero, x.dtype)?;
            y = self.two(Function::Add, &y, &zero)?;
        }
        let y = self.saturated(&y, dtype)?;
        only(y)
    }

    /// Whole numbers as a narrow type, at its limits where they are beyond.
    pub fn saturated(&mut self, x: &Dense, dtype: DType) -> Result<Dense, Failure> {
        let (low, high) = match dtype {
            DType::U8 => (0.0, 255.0),
            DType::I8 => (-128.0, 127.0),
            DType::U16 => (0.0, 65535.0),
            DType::I16 => (-32768.0, 32767.0),
            _ => return Err(Failure::why(format!("{dtype} elements have no kernel"))),
        };
        let x = self.with(Function::Max, x, low)?;
        let x = self.with(Function::Min, &x, high)?;
        self.kit().cast(&x, dtype)
    }

    /// Quantises to `u8` by the range of the elements, which zero belongs to.
    fn quantize_by_range(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let x = self.x(0)?;
        let axes: Vec<_> = (0..x.rank()).collect();
        let low = self.kit().reduced(&x, &axes, Reduction::Min, x.dtype)?.reshaped(&[])?;
        let low = self.with(Function::Min, &low, 0.0)?;
        let high = self.kit().reduced(&x, &axes, Reduction::Max, x.dtype)?.reshaped(&[])?;
        let high = self.with(Function::Max, &high, 0.0)?;
        let range = self.two(Function::Sub, &high, &low)?;
        let scale = self.with(Function::Div, &range, 255.0)?;
        let below = self.one(Function::Neg, &low)?;
        let zero = self.two(Function::Div, &below, &scale)?;
        let zero = self.one(Function::Round, &zero)?;
        let zero = self.saturated(&zero, DType::U8)?;
        let scaled = self.two(Function::Div, &x, &scale)?;
        let rounded = self.one(Function::Round, &scaled)?;
        let offset = self.kit().cast(&zero, x.dtype)?;
        let moved = self.two(Function::Add, &rounded, &offset)?;
        let y = self.saturated(&moved, DType::U8)?;
        Ok(Some(vec![y.into(), scale.into(), zero.into()]))
    }

    /// A number times a value, plus another.
    pub fn affine(&mut self, x: &Dense, alpha: f64, beta: f64) -> Result<Dense, Failure> {
        let formula = Formula { function: Function::Affine, alpha, beta };
        self.kit().map(formula, &[x], x.dtype)
    }
}

/// The elements as `f64`.
pub fn numbers(tensor: &Tensor) -> Result<Vec<f64>, Failure> {
    Ok(f64::widen(tensor)?.into_owned())
}
