//! Matrix products. All of them end in [`gemm`], which is the one place that
//! knows the GEMM library; large ones in `f32` run in the tiles of convolutions.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

use super::elementwise::unsupported;
use crate::DTypeRule::Like;
use crate::Kind::{Float, Int};
use crate::convert::Compute;
use crate::infer::rules;
use crate::product::{self, Activation, Grid, Product, Right};
use crate::shape::{broadcast, broadcast_strides, element_count};
use crate::{
    Class, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, movement, one, op,
    parallel,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("MatMul", 1..=LATEST)
        .inputs(2, 2)
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::matmul)
        .run(matmul),
    op("Gemm", 7..=LATEST)
        .inputs(2, 3)
        .attributes(&[("alpha", Float), ("beta", Float), ("transA", Int), ("transB", Int)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::gemm)
        .run(general),
];

/// Rows of a product that make one piece of work.
const ROWS_PER_PIECE: usize = 64;

/// Fewest rows that are worth packing for a product in tiles.
const TILED_ROWS_MIN: usize = 4;

/// Fewest columns that are worth a loop over each row of the right matrix.
const COLUMNS_MIN: usize = 16;

/// A type that matrices are multiplied in.
pub trait Scalar: Compute {
    /// `c = a b` for row-major `a: [m, k]`, `b: [k, n]`, `c: [m, n]`.
    fn product(a: &[Self], b: &[Self], c: &mut [Self], dims: [usize; 3]);

    /// The same on all cores.
    fn large_product(a: &[Self], b: &[Self], c: &mut [Self], dims: [usize; 3]) {
        by_rows(a, b, c, dims);
    }
}

macro_rules! float_product {
    ($type:ty $(, $large:ident, $small:ident)?) => {
        impl Scalar for $type {
            $(fn large_product(a: &[Self], b: &[Self], c: &mut [Self], dims: [usize; 3]) {
                $large(a, b, c, dims);
            })?

            fn product(a: &[Self], b: &[Self], c: &mut [Self], [m, k, n]: [usize; 3]) {
                $(if m < TILED_ROWS_MIN && n >= COLUMNS_MIN {
                    return $small(a, b, c, n);
                })?
                let view = |shape, elements| {
                    ArrayView2::from_shape(shape, elements).expect("as long as its shape")
                };
                let mut c = ArrayViewMut2::from_shape((m, n), c).expect("as long as its shape");
                general_mat_mul(1.0, &view((m, k), a), &view((k, n), b), 0.0, &mut c);
            }
        }
    };
}

macro_rules! integer_product {
    ($type:ty) => {
        impl Scalar for $type {
            fn product(a: &[Self], b: &[Self], c: &mut [Self], [_, k, n]: [usize; 3]) {
                for (row, c) in c.chunks_mut(n).enumerate() {
                    c.fill(0);
                    for (&x, b) in a[row * k..(row + 1) * k].iter().zip(b.chunks(n)) {
                        for (c, &y) in c.iter_mut().zip(b) {
                            *c = c.wrapping_add(x.wrapping_mul(y));
                        }
                    }
                }
            }
        }
    };
}

float_product!(f32, in_tiles, row_by_row);
float_product!(f64);
integer_product!(i64);
integer_product!(u64);

/// `c = a b` on all cores; dimensions `[m, k, n]`, everything row-major.
pub fn gemm<T: Scalar>(a: &[T], b: &[T], c: &mut [T], [m, k, n]: [usize; 3]) {
    if m * n == 0 {
        return;
    }
    if m * k * n < 1 << 18 {
        T::product(a, b, c, [m, k, n]);
    } else {
        T::large_product(a, b, c, [m, k, n]);
    }
}

/// A product in tiles: the left matrix is packed as the weights of a convolution
/// are, and rows of the right one are lines as they stand.
fn in_tiles(a: &[f32], b: &[f32], c: &mut [f32], [m, k, n]: [usize; 3]) {
    if m < TILED_ROWS_MIN {
        return by_rows(a, b, c, [m, k, n]);
    }
    let packed = product::pack_now(a, m, k);
    let starts: Vec<usize> = (0..k).map(|row| row * n).collect();
    let product = Product {
        packed: &packed,
        rows: m,
        right: Right::Parts { source: b, starts: &starts },
        grid: Grid { wide: n, width: n, height: 1 },
        bias: None,
        column_bias: None,
        residual: None,
        activation: Activation::Identity,
    };
    product::run(vec![(product, c)]);
}

/// A product with few rows on the left, which read the matrix on the right once each:
/// packing it would cost more than the product.
fn row_by_row(a: &[f32], b: &[f32], c: &mut [f32], n: usize) {
    let k = b.len() / n;
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (row, c) in c.chunks_exact_mut(n).enumerate() {
                c.fill(0.0);
                let (fours, rest) = a[row * k..(row + 1) * k].as_chunks::<4>();
                let mut lines = b.chunks_exact(n);
                for x in fours {
                    let [p, q, r, s]: [&[f32]; 4] =
                        std::array::from_fn(|_| lines.next().expect("a line for each"));
                    let lines = p.iter().zip(q).zip(r.iter().zip(s));
                    for (c, ((p, q), (r, s))) in c.iter_mut().zip(lines) {
                        *c += (x[0] * p + x[1] * q) + (x[2] * r + x[3] * s);
                    }
                }
                for (x, line) in rest.iter().zip(lines) {
                    c.iter_mut().zip(line).for_each(|(c, y)| *c += x * y);
                }
            }
        },
    );
}

/// A product by some rows for each core.
fn by_rows<T: Scalar>(a: &[T], b: &[T], c: &mut [T], [m, k, n]: [usize; 3]) {
    let rows = m.div_ceil(rayon::current_num_threads()).clamp(ROWS_PER_PIECE.min(m), m);
    parallel::parts(c, rows * n, &|part, c| {
        let own = c.len() / n;
        let first = part * rows;
        T::product(&a[first * k..(first + own) * k], b, c, [own, k, n]);
    });
}

/// The product of tensors as in `numpy.matmul`.
///
/// ## Errors
/// [`Error::ShapeMismatch`], [`Error::UnsupportedType`], [`Error::TooLarge`].
pub fn matmul_tensors(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dtype() != b.dtype() {
        return Err(unsupported(1, b.dtype(), a.dtype().name()));
    }
    match a.dtype().class() {
        Class::F32 => batched::<f32>(a, b),
        Class::F64 => batched::<f64>(a, b),
        Class::I64 => batched::<i64>(a, b),
        Class::U64 => batched::<u64>(a, b),
        _ => Err(unsupported(0, a.dtype(), "a number")),
    }
}

fn batched<T: Scalar>(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let mismatch =
        |why| Error::ShapeMismatch { left: a.shape().to_vec(), right: b.shape().to_vec(), why };
    if a.rank() == 0 || b.rank() == 0 {
        return Err(mismatch("a matrix product needs at least one dimension on both sides"));
    }
    // A vector on the left is a row, one on the right a column.
    let left = if a.rank() == 1 { vec![1, a.shape()[0]] } else { a.shape().to_vec() };
    let right = if b.rank() == 1 { vec![b.shape()[0], 1] } else { b.shape().to_vec() };
    let (batch_a, [m, k]) = left.split_last_chunk::<2>().expect("two dimensions");
    let (batch_b, [k_b, n]) = right.split_last_chunk::<2>().expect("two dimensions");
    let (m, k, n) = (*m, *k, *n);
    if k != *k_b {
        return Err(mismatch("the inner dimensions of a matrix product must be equal"));
    }
    let batch = broadcast(batch_a, batch_b)?;
    let mut shape = batch.clone();
    shape.extend((a.rank() > 1).then_some(m));
    shape.extend((b.rank() > 1).then_some(n));
    let mut out = vec![T::default(); element_count(&shape, a.dtype())?];
    let (a_elements, b_elements) = (T::widen(a)?, T::widen(b)?);
    if batch_b.iter().all(|&dim| dim == 1) && batch_b.len() <= batch_a.len() {
        // One matrix on the right: all rows of the left at once.
        let rows = batch.iter().product::<usize>() * m;
        gemm(&a_elements, &b_elements, &mut out, [rows, k, n]);
    } else {
        let strides = [broadcast_strides(batch_a, &batch), broadcast_strides(batch_b, &batch)];
        parallel::parts(&mut out, m * n, &|at, c| {
            let [a_at, b_at] = matrix_indices(at, &batch, &strides);
            let a = &a_elements[a_at * m * k..(a_at + 1) * m * k];
            let b = &b_elements[b_at * k * n..(b_at + 1) * k * n];
            gemm(a, b, c, [m, k, n]);
        });
    }
    Tensor::computed(&shape, a.dtype(), out)
}

/// Which matrix of each operand belongs to the result's matrix `at`.
fn matrix_indices(at: usize, batch: &[usize], strides: &[Vec<usize>; 2]) -> [usize; 2] {
    let (mut rest, mut indices) = (at, [0, 0]);
    for axis in (0..batch.len()).rev() {
        for (index, strides) in indices.iter_mut().zip(strides) {
            *index += rest % batch[axis] * strides[axis];
        }
        rest /= batch[axis];
    }
    indices
}

fn matmul(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    one(matmul_tensors(ctx.tensor(0)?, ctx.tensor(1)?))
}

/// `alpha a b + beta c`, with `a` and `b` transposed on request.
fn general(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (alpha, beta) = (ctx.float("alpha", 1.0)?, ctx.float("beta", 1.0)?);
    let oriented = |index: usize, name: &str| -> Result<Tensor> {
        let tensor = ctx.tensor(index)?;
        if tensor.rank() != 2 {
            return Err(Error::invalid(format!(
                "input {index} must be a matrix, found shape {:?}",
                tensor.shape()
            )));
        }
        if ctx.flag(name, false)? {
            movement::transpose(tensor, &[1, 0])
        } else {
            Ok(tensor.clone())
        }
    };
    let product = matmul_tensors(&oriented(0, "transA")?, &oriented(1, "transB")?)?;
    let (shape, dtype) = (product.shape(), product.dtype());
    let addend = match ctx.optional_tensor(2)? {
        Some(c) if broadcast(c.shape(), shape)? == shape => Some(movement::expand(c, shape)?),
        Some(c) => {
            return Err(Error::ShapeMismatch {
                left: shape.to_vec(),
                right: c.shape().to_vec(),
                why: "the third input must broadcast to the product",
            });
        }
        None => None,
    };
    if alpha == 1.0 && addend.is_none() {
        return Ok(vec![product.into()]);
    }
    one(if dtype.class() == Class::F32 {
        let mut out = f32::widen(&product)?.into_owned();
        out.iter_mut().for_each(|x| *x *= alpha);
        if let Some(c) = &addend {
            out.iter_mut().zip(f32::widen(c)?.iter()).for_each(|(x, c)| *x += beta * c);
        }
        Tensor::computed(shape, dtype, out)
    } else {
        let mut out = f64::widen(&product)?.into_owned();
        out.iter_mut().for_each(|x| *x *= f64::from(alpha));
        if let Some(c) = &addend {
            out.iter_mut().zip(f64::widen(c)?.iter()).for_each(|(x, c)| *x += f64::from(beta) * c);
        }
        Tensor::computed(shape, dtype, out)
    })
}
