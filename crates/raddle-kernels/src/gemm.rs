//! Large products on Hopper's tensor cores: `out = clamp(left * rightᵀ + bias + residual)`.
//!
//! Sums are in f32 and rounded once; where there is a residual it is added to the rounded
//! sum. See `kernels/gemm.rs` for how they are computed. Convolutions of single pixels are
//! such products, and [`conv`](crate::conv) launches them with its packed weights.

use raddle::device::matrix::Swizzle;
use raddle::device::tma::{L2Promotion, TensorMapSpec, TensorType};
use raddle::{Buffer, Grid, Slice, SliceMut, Stream};

use crate::error::check_len;
use crate::kernels::conv::Half;
use crate::kernels::gemm::{
    self as device, CLUSTER, GROUP_N, Numbers, SHARED_BYTES, STORE, THREADS, TILE_K, TILE_M, TILE_N,
};
use crate::{Error, Result};

const OPERATION: &str = "a product";
/// Rows and columns of the output that a block computes at a time.
pub(crate) const TILE: [usize; 2] = [TILE_M, TILE_N];

/// Rows, columns and depth of a product.
pub type Shape = [usize; 3];

/// `left * rightᵀ` of `[rows, k]` and `[columns, k]`, all of them row-major: `shape` is
/// rows, columns and `k`. Columns and `k` are multiples of 8.
///
/// ## Errors
/// [`Error::Shape`] for numbers that the kernel does not have, [`Error::Length`] for
/// operands that do not fit, [`Error::Capability`] for a GPU that is not of 9.0.
pub fn product<T: Element>(
    stream: &Stream,
    shape: Shape,
    left: Slice<'_, T>,
    right: Slice<'_, T>,
) -> Result<Buffer<T>> {
    let [rows, columns, k] = shape;
    check(stream, shape, left.len())?;
    check_len(OPERATION, "the right operand", columns * k, right.len())?;
    if k == 0 {
        return Ok(stream.zeros(rows * columns)?);
    }
    // SAFETY: the kernel writes each element, if there is one.
    let mut out = unsafe { stream.uninitialized::<T>(rows * columns) }?;
    product_into(stream, shape, left, right, None, out.as_slice_mut())?;
    Ok(out)
}

/// [`product`] into `out`, with one number of `bias` added for each column.
///
/// ## Errors
/// As [`product`].
pub fn product_into<T: Element>(
    stream: &Stream,
    shape: Shape,
    left: Slice<'_, T>,
    right: Slice<'_, T>,
    bias: Option<Slice<'_, f32>>,
    out: SliceMut<'_, T>,
) -> Result<()> {
    let [rows, columns, k] = shape;
    check(stream, shape, left.len())?;
    check_len(OPERATION, "the right operand", columns * k, right.len())?;
    check_len(OPERATION, "the bias", columns, bias.map_or(columns, |bias| bias.len()))?;
    check_len(OPERATION, "the output", rows * columns, out.len())?;
    if rows * columns == 0 {
        return Ok(());
    }
    if k == 0 {
        let why = "expected a depth that is not 0".to_owned();
        return Err(Error::Shape { operation: OPERATION, why });
    }
    let right = Right {
        elements: right,
        spec: spec::<T>([columns, k], [GROUP_N, TILE_K], Swizzle::Span128)?,
        step: [TILE_K as u32, 0],
        group: GROUP_N as u32,
    };
    let ending = Ending { bias, residual: None, bounds: [f32::NEG_INFINITY, f32::INFINITY] };
    launch(stream, shape, left, right, ending, out)
}

/// What follows a sum.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Ending<'a, T: Half> {
    /// One number for each column.
    pub bias: Option<Slice<'a, f32>>,
    /// Of the output's shape.
    pub residual: Option<Slice<'a, T>>,
    /// What results are kept within.
    pub bounds: [f32; 2],
}

/// [`product`] with weights that are packed for convolutions: pieces of 64 columns and 64
/// of `k`, swizzled, those of a column behind each other.
pub(crate) fn packed<T: Element>(
    stream: &Stream,
    shape: Shape,
    left: Slice<'_, T>,
    weights: Slice<'_, T>,
    ending: Ending<'_, T>,
    out: SliceMut<'_, T>,
) -> Result<()> {
    let [rows, columns, k] = shape;
    check(stream, shape, left.len())?;
    let steps = k.div_ceil(TILE_K);
    let least = columns.div_ceil(GROUP_N) * GROUP_N * steps * TILE_K;
    if weights.len() < least {
        let (operation, what, found) = (OPERATION, "packed weights", weights.len());
        return Err(Error::Length { operation, what, expected: least, found });
    }
    check_len(OPERATION, "the output", rows * columns, out.len())?;
    check_len(
        OPERATION,
        "the residual",
        rows * columns,
        ending.residual.map_or(rows * columns, |it| it.len()),
    )?;
    if ending.bias.is_some_and(|bias| bias.len() < columns) {
        check_len(OPERATION, "the bias", columns, ending.bias.map_or(0, |bias| bias.len()))?;
    }
    let pieces = weights.len() / TILE_K;
    let right = Right {
        elements: weights,
        spec: spec::<T>([pieces, TILE_K], [GROUP_N, TILE_K], Swizzle::None)?,
        step: [0, GROUP_N as u32],
        group: (steps * GROUP_N) as u32,
    };
    launch(stream, shape, left, right, ending, out)
}

/// Where boxes of the right operand are.
struct Right<'a, T: Half> {
    elements: Slice<'a, T>,
    spec: TensorMapSpec,
    step: [u32; 2],
    group: u32,
}

fn launch<T: Element>(
    stream: &Stream,
    [rows, columns, k]: Shape,
    left: Slice<'_, T>,
    right: Right<'_, T>,
    ending: Ending<'_, T>,
    out: SliceMut<'_, T>,
) -> Result<()> {
    let numbers = Numbers {
        rows: rows as u32,
        columns: columns as u32,
        steps: k.div_ceil(TILE_K) as u32,
        step: right.step,
        group: right.group,
        has_bias: u32::from(ending.bias.is_some()),
        has_residual: u32::from(ending.residual.is_some()),
        min: ending.bounds[0],
        max: ending.bounds[1],
    };
    let [tile_rows, tile_columns] = numbers.tiles();
    let clusters = stream.device().multiprocessor_count() / CLUSTER as u32;
    let clusters = (tile_rows * tile_columns).min(clusters.max(1));
    let grid = Grid::new(clusters * CLUSTER as u32, THREADS)
        .cluster(CLUSTER as u32)
        .shared_bytes(SHARED_BYTES);
    let maps = Maps {
        left: left.tensor(&spec::<T>([rows, k], [TILE_M, TILE_K], Swizzle::Span128)?)?,
        right: right.elements.tensor(&right.spec)?,
        out: out.tensor_mut(&spec::<T>([rows, columns], STORE, Swizzle::Span128)?)?,
    };
    T::multiply(stream, grid, maps, numbers, ending, left)
}

/// The operands for the copy engine.
#[doc(hidden)]
pub struct Maps<'a> {
    left: raddle::Tensor<'a>,
    right: raddle::Tensor<'a>,
    out: raddle::TensorMut<'a>,
}

/// The map of a row-major matrix of which boxes of so many rows and columns are moved.
fn spec<T: TensorType>(
    [rows, columns]: [usize; 2],
    [box_rows, box_columns]: [usize; 2],
    swizzle: Swizzle,
) -> Result<TensorMapSpec> {
    let (dims, box_dims) = ([columns as u64, rows as u64], [box_columns as u32, box_rows as u32]);
    let spec = TensorMapSpec::dense(T::ELEMENT, &dims, &box_dims)
        .and_then(|spec| spec.with_swizzle(swizzle))
        .map(|spec| spec.with_l2_promotion(L2Promotion::Bytes256));
    spec.map_err(|error| Error::Shape { operation: OPERATION, why: error.to_string() })
}

fn check(stream: &Stream, [rows, columns, k]: Shape, left_len: usize) -> Result<()> {
    let device = stream.device();
    if device.compute_capability().is_some_and(|(major, _)| major != 9) {
        let (needed, device) = ("9.0", device.to_string());
        return Err(Error::Capability { operation: OPERATION, needed, device });
    }
    let largest = i32::MAX as usize / 2;
    let is_countable = [rows, columns, k].into_iter().all(|n| n <= largest)
        && [rows * columns, rows * k, columns * k].into_iter().all(|n| n <= u32::MAX as usize);
    if !is_countable || !columns.is_multiple_of(8) || !k.is_multiple_of(8) {
        let why = format!(
            "expected columns and depth in eights and at most 2^32 elements, found \
             {rows}x{columns}x{k}"
        );
        return Err(Error::Shape { operation: OPERATION, why });
    }
    check_len(OPERATION, "the left operand", rows * k, left_len)
}

/// An element type that the kernel exists for.
pub trait Element: Half + TensorType {
    #[doc(hidden)]
    fn multiply(
        stream: &Stream,
        grid: Grid,
        maps: Maps<'_>,
        numbers: Numbers,
        ending: Ending<'_, Self>,
        none: Slice<'_, Self>,
    ) -> Result<()>;
}

macro_rules! elements {
    ($($ty:ident),*) => { $(
        impl Element for raddle::device::$ty {
            fn multiply(
                stream: &Stream,
                grid: Grid,
                Maps { left, right, mut out }: Maps<'_>,
                numbers: Numbers,
                ending: Ending<'_, Self>,
                none: Slice<'_, Self>,
            ) -> Result<()> {
                // Operands that there are none of are never read.
                let residual = ending.residual.unwrap_or(none);
                let bias = match ending.bias {
                    Some(bias) => bias,
                    None => none.reinterpret::<f32>()?,
                };
                // SAFETY: lengths are held against the numbers, and the maps have the
                // kernel's boxes.
                let call = unsafe {
                    device::gemm::<Self>(left, right, &mut out, numbers, bias, residual)
                };
                stream.launch(grid, call)?;
                Ok(())
            }
        }
    )* };
}
elements!(f16, bf16);
