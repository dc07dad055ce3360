//! Products of 16 bits on tensor cores.
//!
//! A product with one matrix on the right, whose columns and depth are eights, is one
//! launch where the device has the kernel; constant weights are turned once for it. All
//! other large ones are multiplied as numbers of `f32` in TF32, which has the digits of
//! `f16` and the range of `bf16`: the factors stay as they are.

use raddle_kernels::dense::{self, Arithmetic};
use raddle_tensor::{DType, movement};

use super::call::Call;
use super::value::{Dense, Kit, Strided};
use super::{Failure, Made, lock};

/// Fewest multiplications that are worth more than a thread for each element.
const TERMS_MIN: usize = 1 << 18;

fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// Whether a product of so many rows, columns and terms is large.
fn is_large(shape: [usize; 3]) -> bool {
    shape.iter().product::<usize>() >= TERMS_MIN
}

impl Kit<'_> {
    /// [`Self::product`] of 16 bits, if it is large.
    pub fn half_product(
        &mut self,
        [left, right]: [&Strided<'_>; 2],
        [left_shape, right_shape]: [&[usize]; 2],
        dtype: DType,
    ) -> Result<Option<Dense>, Failure> {
        let own = left.dense.dtype;
        let (Some((&depth, outer)), Some(&columns)) = (left_shape.split_last(), right_shape.last())
        else {
            return Ok(None);
        };
        let matrices: usize = right_shape[..right_shape.len() - 2].iter().product();
        let rows: usize = outer.iter().product();
        let all_rows = rows.max(matrices * outer.last().unwrap_or(&1));
        let is_same = own == right.dense.dtype && is_half(own);
        if !is_same || !is_large([all_rows, columns, depth]) {
            return Ok(None);
        }
        let shape = [rows, columns, depth];
        let is_single = matrices == 1 && is_dense(left, left_shape);
        if is_single && dense::has_half_product(self.stream, shape) {
            let [.., down, across] = right.strides[..] else { return Ok(None) };
            let is_right = |strides: [usize; 2]| {
                right.offset == 0 && [down, across] == strides.map(|stride| stride as i64)
            };
            let turned;
            let weights = if is_right([1, depth]) {
                right.dense
            } else if is_right([columns, 1]) {
                turned = self.transposed(&right.dense.reshaped(&[depth, columns])?, &[1, 0])?;
                &turned
            } else {
                return self.widened_product([left, right], [left_shape, right_shape], dtype);
            };
            let of = [left.dense, weights];
            let y = self.half_launch(of, shape, None)?;
            let mut all = vec![1; right_shape.len().saturating_sub(left_shape.len())];
            all.extend(outer);
            all.push(columns);
            return self.cast(&y.reshaped(&all)?, dtype).map(Some);
        }
        self.widened_product([left, right], [left_shape, right_shape], dtype)
    }

    /// A product of matrices `[rows, depth]` and `[columns, depth]`, both as they lie.
    fn half_launch(
        &mut self,
        [left, right]: [&Dense; 2],
        shape: [usize; 3],
        bias: Option<&Dense>,
    ) -> Result<Dense, Failure> {
        let scalar = left.scalar();
        let operands = [self.words(left)?, self.words(right)?];
        let operands = operands.each_ref().map(|words| words.as_slice());
        let bias = bias.map(|bias| self.words(bias)).transpose()?;
        let bias = bias.as_ref().map(|words| words.as_slice());
        let words = dense::half_product(self.stream, scalar, shape, operands, bias)?;
        Ok(self.launched(vec![shape[0], shape[1]], left.dtype, words))
    }

    /// A product of numbers of 16 bits in TF32.
    fn widened_product(
        &mut self,
        operands: [&Strided<'_>; 2],
        shapes: [&[usize]; 2],
        dtype: DType,
    ) -> Result<Option<Dense>, Failure> {
        let left = self.cast(operands[0].dense, DType::F32)?;
        let right = self.cast(operands[1].dense, DType::F32)?;
        let wide = |dense, own: &Strided<'_>| Strided {
            dense,
            offset: own.offset,
            strides: own.strides.clone(),
        };
        let (left, right) = (wide(&left, operands[0]), wide(&right, operands[1]));
        let arithmetic = std::mem::replace(&mut self.arithmetic, Arithmetic::TF32);
        let class = left.dense.class();
        let product = self.product([&left, &right], shapes, class, DType::F32);
        self.arithmetic = arithmetic;
        self.cast(&product?, dtype).map(Some)
    }
}

/// Whether an operand is all of a value, as it lies.
fn is_dense(operand: &Strided<'_>, shape: &[usize]) -> bool {
    let rows = raddle_tensor::shape::strides(shape);
    let own = operand.strides.iter().zip(shape).zip(rows);
    operand.offset == 0
        && operand.dense.len() == shape.iter().product::<usize>()
        && own.into_iter().all(|((&own, &dim), row)| dim == 1 || own == row as i64)
}

impl Call<'_, '_> {
    /// `MatMul` of 16 bits with constant weights, if it is large.
    pub fn half_matmul(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let ((x_type, x), (_, w)) = (self.outline(0)?, self.outline(1)?);
        let &[depth, columns] = &w[..] else { return Ok(None) };
        let Some((&last, outer)) = x.split_last() else { return Ok(None) };
        let shape = [outer.iter().product(), columns, depth];
        if !is_half(x_type) || last != depth || outer.is_empty() || !is_large(shape) {
            return Ok(None);
        }
        let Some(weights) = self.half_weights(x_type, shape)? else { return Ok(None) };
        let x = self.x(0)?;
        let all = [outer, &[columns]].concat();
        let Some(follow) = self.follow_row(&all, x_type) else {
            let y = self.kit().half_launch([&x, &weights], shape, None)?;
            return y.reshaped(&all).map(|y| Some(vec![y.into()]));
        };
        // The launch adds in `f32`.
        let bias = follow.bias.map(|id| self.value_in_f32(id)).transpose()?;
        let y = self.kit().half_launch([&x, &weights], shape, bias.as_ref())?;
        let y = y.reshaped(&all)?;
        self.leave(&follow.nodes, y.into());
        Ok(Some(Vec::new()))
    }

    /// `a * b' + c` of 16 bits, if it is large: `b` as it lies or constant, and `c` a row.
    pub fn half_gemm(&mut self, a: &Dense) -> Result<Option<Dense>, Failure> {
        let is_turned = self.ctx.flag("transB", false)?;
        let is_plain = !self.ctx.flag("transA", false)?
            && self.ctx.float("alpha", 1.0)? == 1.0
            && (!self.has(2) || self.ctx.float("beta", 1.0)? == 1.0);
        let (_, b) = self.outline(1)?;
        let (&[rows, depth], &[first, second]) = (&a.shape[..], &b[..]) else { return Ok(None) };
        let (columns, own_depth) = if is_turned { (first, second) } else { (second, first) };
        let shape = [rows, columns, depth];
        let is_row = !self.has(2) || {
            let (_, c) = self.outline(2)?;
            c.last() == Some(&columns) && c.iter().product::<usize>() == columns
        };
        let is_fit = is_half(a.dtype) && is_plain && is_row && own_depth == depth;
        let has_kernel = dense::has_half_product(self.kit().stream, shape);
        if !is_fit || !has_kernel || !is_large(shape) {
            return Ok(None);
        }
        let weights = match is_turned {
            true => Some(self.x(1)?),
            false => self.half_weights(a.dtype, shape)?,
        };
        let Some(weights) = weights else { return Ok(None) };
        let bias = if self.has(2) { Some(self.required(2)?) } else { None };
        let bias = bias.map(|id| self.value_in_f32(id)).transpose()?;
        self.kit().half_launch([a, &weights], shape, bias.as_ref()).map(Some)
    }

    /// Constant weights `[depth, column]` as `[column, depth]`, turned once, if the product
    /// has a kernel for them.
    fn half_weights(&mut self, dtype: DType, shape: [usize; 3]) -> Result<Option<Dense>, Failure> {
        let id = self.required(1)?;
        let is_constant = self.lowering().is_constant.contains(&id);
        if !is_constant || !dense::has_half_product(self.kit().stream, shape) {
            return Ok(None);
        }
        if let Some(dense) = lock(&self.lowering().constants.packed).get(&id) {
            return Ok(Some(dense.clone()));
        }
        let tensor = match &self.lowering().values[&id] {
            Made::Host(tensor) if tensor.dtype() == dtype => tensor.clone(),
            _ => return Ok(None),
        };
        let turned = movement::transpose(&tensor, &[1, 0])?;
        let dense = self.kit().upload(&turned)?;
        lock(&self.lowering().constants.packed).insert(id, dense.clone());
        Ok(Some(dense))
    }
}
