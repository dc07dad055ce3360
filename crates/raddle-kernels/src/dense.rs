//! Kernels on values of any rank and any common element type, in row-major order.
//!
//! A value is a buffer of words of 8 bytes (see [`Scalar`]); an operand is a buffer
//! with a [`View`] that says where its elements lie along the output's dimensions. The
//! kernels are safe code: a view that reaches out of its buffer is a panic in the
//! kernel, which the host gets as an error, and never a wrong access.

mod boxes;
pub mod generated;
mod grouped;
mod half;
mod tiled;

use raddle::{Buffer, Grid, Slice, Stream};

use crate::kernels::{movement, pointwise, product as products, reduce as reductions, window};
use crate::{Error, Result};

pub use crate::kernels::movement::{Indexing, Region, Scatter, Update};
pub use crate::kernels::pointwise::{Function, Operation};
pub use crate::kernels::product::Product;
pub use crate::kernels::reduce::{Order, Reduce, Reduction, Scan};
pub use crate::kernels::scalar::{Dims, RANK_MAX, Scalar, View};
pub use crate::kernels::window::{Channels, Plane, Pool, Pooling, SPACE_MAX, Sliding};
pub use boxes::{Widened, convolve_last, has_boxes, is_right_turned, turned};
pub use grouped::convolve_groups;
pub use half::{half_product, has_half_product};
pub use tiled::{Arithmetic, Finish, product_finished};

/// Elements of any type, in words.
pub type Words = Buffer<u64>;

/// The type that a kernel computes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Floats of up to 32 bits.
    F32,
    /// Wide floats, and sums of all floats.
    F64,
    /// Integers and truth values; any elements that are only moved.
    I64,
}

const BLOCK: u32 = 256;
const SMALL_BLOCK: u32 = 128;

impl Dims {
    /// Dimensions of at most [`RANK_MAX`] numbers, the last one innermost.
    ///
    /// ## Errors
    /// [`Error::Shape`] for more dimensions or elements than kernels count.
    pub fn new(shape: &[usize]) -> Result<Self> {
        let operation = "a value";
        let len = shape.iter().try_fold(1usize, |len, &dim| len.checked_mul(dim));
        let Some(len) = len.filter(|&len| len <= i32::MAX as usize) else {
            let why = format!("shape {shape:?} has more elements than kernels count");
            return Err(Error::Shape { operation, why });
        };
        if shape.len() > RANK_MAX {
            let why = format!("expected at most {RANK_MAX} dimensions, found {shape:?}");
            return Err(Error::Shape { operation, why });
        }
        let mut dims = [1; RANK_MAX];
        let first = RANK_MAX - shape.len();
        dims[first..].iter_mut().zip(shape).for_each(|(own, &dim)| *own = dim as u32);
        Ok(Self { dims, rank: shape.len() as u32, len: len as u32 })
    }
}

impl View {
    /// A view of elements with strides along the last dimensions.
    #[must_use]
    pub fn new(scalar: Scalar, offset: i64, strides: &[i64]) -> Self {
        let mut own = [0; RANK_MAX];
        let first = RANK_MAX - strides.len();
        own[first..].iter_mut().zip(strides).for_each(|(own, &stride)| *own = stride as i32);
        Self { scalar: scalar.code(), offset: offset as i32, strides: own }
    }
}

/// Words that hold `len` elements.
#[must_use]
pub fn words_for(scalar: Scalar, len: usize) -> usize {
    (len << scalar.shift()).div_ceil(8)
}

fn output(stream: &Stream, scalar: Scalar, len: u32) -> Result<Words> {
    // SAFETY: each thread of every kernel here writes its word.
    Ok(unsafe { stream.uninitialized(words_for(scalar, len as usize)) }?)
}

/// Launches the instance of a kernel for a class.
macro_rules! in_class {
    ($class:expr, $operation:literal, [$($variant:ident $ty:ty),*],
        $stream:expr, $grid:expr, |$w:ident| $call:expr) => {
        match $class {
            $(Class::$variant => {
                type $w = $ty;
                $stream.launch($grid, $call)?;
            })*
            #[allow(unreachable_patterns)]
            other => {
                let why = format!("there is no kernel that computes in {other:?}");
                return Err(Error::Shape { operation: $operation, why });
            }
        }
    };
}

/// A function of elements of up to three operands; those that it has not are any.
///
/// ## Errors
/// What a launch refuses.
pub fn pointwise(
    stream: &Stream,
    class: Class,
    (operation, scalar): (Operation, Scalar),
    dims: Dims,
    views: [View; 3],
    [x, y, z]: [Slice<'_, u64>; 3],
) -> Result<Words> {
    let operation = Operation { scalar: scalar.code(), ..operation };
    let mut out = output(stream, scalar, dims.len)?;
    let grid = Grid::cover(out.len(), BLOCK);
    in_class!(class, "a function of elements", [F32 f32, F64 f64, I64 i64], stream, grid, |W| {
        pointwise::pointwise::<W>(operation, dims, views, x, y, z, &mut out)
    });
    Ok(out)
}

/// Fills a part of `out`.
///
/// ## Errors
/// What a launch refuses.
pub fn place(
    stream: &Stream,
    dims: Dims,
    region: Region,
    input: Slice<'_, u64>,
    out: &mut Words,
) -> Result<()> {
    let grid = Grid::cover(out.len(), BLOCK);
    stream.launch(grid, movement::place(dims, region, input, out))?;
    Ok(())
}

/// A value of which [`place`] fills all parts.
///
/// ## Errors
/// What an allocation refuses.
pub fn blank(stream: &Stream, scalar: Scalar, dims: Dims) -> Result<Words> {
    Ok(stream.zeros(words_for(scalar, dims.len as usize))?)
}

/// Elements at indices.
///
/// ## Errors
/// What a launch refuses; an index out of range is a panic in the kernel.
pub fn gather(
    stream: &Stream,
    (scalar, dims): (Scalar, Dims),
    source: View,
    indexing: Indexing,
    input: Slice<'_, u64>,
    indices: Slice<'_, u64>,
) -> Result<Words> {
    let source = View { scalar: scalar.code(), ..source };
    let mut out = output(stream, scalar, dims.len)?;
    let grid = Grid::cover(out.len(), BLOCK);
    stream.launch(grid, movement::gather(dims, source, indexing, input, indices, &mut out))?;
    Ok(out)
}

/// A value with updates at indices.
///
/// ## Errors
/// What a launch refuses.
pub fn scatter(
    stream: &Stream,
    class: Class,
    (scalar, dims): (Scalar, Dims),
    scatter: Scatter,
    [input, indices, updates]: [Slice<'_, u64>; 3],
) -> Result<Words> {
    let updated = View { scalar: scalar.code(), ..scatter.updates };
    let scatter = Scatter { updates: updated, ..scatter };
    let mut out = output(stream, scalar, dims.len)?;
    let grid = Grid::cover(out.len(), BLOCK);
    in_class!(class, "scattered updates", [F32 f32, F64 f64, I64 i64], stream, grid, |W| {
        movement::scatter::<W>(dims, scatter, input, indices, updates, &mut out)
    });
    Ok(out)
}

/// Matrices with zeros on one side of a diagonal.
///
/// ## Errors
/// What a launch refuses.
pub fn triangle(
    stream: &Stream,
    (scalar, dims): (Scalar, Dims),
    source: View,
    diagonal: i32,
    is_upper: bool,
    input: Slice<'_, u64>,
) -> Result<Words> {
    let mut out = output(stream, scalar, dims.len)?;
    let grid = Grid::cover(out.len(), BLOCK);
    let call = movement::triangle(dims, source, diagonal, u32::from(is_upper), input, &mut out);
    stream.launch(grid, call)?;
    Ok(out)
}

/// A reduction in [`Class::F64`] or [`Class::I64`].
///
/// ## Errors
/// What a launch refuses.
pub fn reduce(
    stream: &Stream,
    class: Class,
    (scalar, dims): (Scalar, Dims),
    reduce: Reduce,
    input: Slice<'_, u64>,
) -> Result<Words> {
    let reduce = Reduce { scalar: scalar.code(), ..reduce };
    let mut out = output(stream, scalar, dims.len)?;
    let grid = Grid::cover(out.len(), SMALL_BLOCK);
    in_class!(class, "a reduction", [F64 f64, I64 i64], stream, grid, |W| {
        reductions::reduce::<W>(dims, reduce, input, &mut out)
    });
    Ok(out)
}

/// Running sums in [`Class::F64`] or [`Class::I64`].
///
/// ## Errors
/// What a launch refuses.
pub fn scan(
    stream: &Stream,
    class: Class,
    (scalar, elements): (Scalar, u32),
    scan: Scan,
    input: Slice<'_, u64>,
) -> Result<Words> {
    let scan = Scan { scalar: scalar.code(), ..scan };
    let mut out = output(stream, scalar, elements)?;
    let grid = Grid::cover(out.len(), SMALL_BLOCK);
    in_class!(class, "a running sum", [F64 f64, I64 i64], stream, grid, |W| {
        reductions::scan::<W>(elements, scan, input, &mut out)
    });
    Ok(out)
}

/// The places of the first `count` elements of each row in an order, as `i64`; in
/// [`Class::F64`] or [`Class::I64`].
///
/// ## Errors
/// What a launch refuses.
pub fn order(
    stream: &Stream,
    class: Class,
    (elements, count): (u32, u32),
    order: Order,
    input: Slice<'_, u64>,
) -> Result<Words> {
    let mut ranks = output(stream, Scalar::I64, elements)?;
    let grid = Grid::cover(ranks.len(), SMALL_BLOCK);
    in_class!(class, "an order", [F64 f64, I64 i64], stream, grid, |W| {
        reductions::rank::<W>(elements, order, input, &mut ranks)
    });
    let rows = elements.checked_div(order.len).unwrap_or(0);
    let mut out = stream.zeros((rows * count) as usize)?;
    let grid = Grid::cover(out.len(), SMALL_BLOCK);
    stream.launch(grid, reductions::places(count, order, &ranks, &mut out))?;
    Ok(out)
}

/// Pools planes in [`Class::F64`] or [`Class::I64`].
///
/// ## Errors
/// What a launch refuses.
pub fn pool(
    stream: &Stream,
    class: Class,
    scalar: Scalar,
    shape: Sliding,
    pool: Pool,
    input: Slice<'_, u64>,
) -> Result<Words> {
    let shape = Sliding { scalar_out: scalar.code(), ..shape };
    if let Some((plane, planes)) = Plane::of(&shape, &pool) {
        return pool_planes(stream, plane, planes, input);
    }
    let mut out = output(stream, scalar, shape.len)?;
    let grid = Grid::cover(out.len(), SMALL_BLOCK);
    in_class!(class, "pooling", [F64 f64, I64 i64], stream, grid, |W| {
        window::pool_any::<W>(shape, pool, input, &mut out)
    });
    Ok(out)
}

impl Plane {
    /// A pooling of `f32` with windows over two dimensions, of images whose pixels have so
    /// many elements that lie together; `None` for one that [`pool`] alone has.
    #[must_use]
    pub fn new(
        shape: Sliding,
        pooling: Pooling,
        counts_padding: bool,
        inner: usize,
    ) -> Option<Self> {
        let outer = SPACE_MAX - 2;
        let lists = [&shape.input, &shape.output, &shape.window];
        let is_flat = lists.iter().all(|list| list[..outer].iter().all(|&len| len == 1))
            && shape.begins[..outer].iter().all(|&len| len == 0);
        if !is_flat || !matches!(pooling, Pooling::Max | Pooling::Mean) {
            return None;
        }
        let pair = |list: &[u32; SPACE_MAX]| [list[outer], list[outer + 1]];
        let signed = |list: &[u32; SPACE_MAX]| pair(list).map(|n| n as i32);
        Some(Self {
            input: signed(&shape.input),
            output: pair(&shape.output),
            window: signed(&shape.window),
            strides: signed(&shape.strides),
            dilations: signed(&shape.dilations),
            begins: [shape.begins[outer], shape.begins[outer + 1]],
            ends: [shape.ends[outer], shape.ends[outer + 1]],
            inner: inner as u32,
            is_max: u32::from(pooling == Pooling::Max),
            counts_padding: u32::from(counts_padding),
        })
    }

    /// A pooling of planes and how many there are, if it is one of `f32` over two dimensions.
    fn of(shape: &Sliding, pool: &Pool) -> Option<(Self, usize)> {
        let is_single = [shape.scalar, shape.scalar_out] == [Scalar::F32.code(); 2];
        let mut pooling = [Pooling::Max, Pooling::Mean].into_iter();
        let pooling = pooling.find(|it| is_single && it.code() == pool.pooling)?;
        let plane = Self::new(*shape, pooling, pool.counts_padding != 0, 1)?;
        let planes = shape.len.checked_div(plane.output[0] * plane.output[1])?;
        Some((plane, planes as usize))
    }
}

/// Pools so many images, or planes, of `f32`: `[image, row, column, element of a pixel]`.
///
/// ## Errors
/// [`Error::Length`] for an input that is too short, [`Error::Shape`] for more elements than
/// kernels count; what a launch refuses.
pub fn pool_planes(
    stream: &Stream,
    plane: Plane,
    images: usize,
    input: Slice<'_, u64>,
) -> Result<Words> {
    let operation = "pooling";
    let size = plane.input.map(|n| n.unsigned_abs() as usize);
    let pixels = plane.output[0] as usize * plane.output[1] as usize;
    let inner = plane.inner as usize;
    let (len, expected) = (images * pixels * inner, images * size[0] * size[1] * inner);
    if len.max(expected) > i32::MAX as usize {
        let why = format!("{images} times {plane:?} are more elements than kernels count");
        return Err(Error::Shape { operation, why });
    }
    let input = input.reinterpret::<f32>()?;
    if input.len() < expected {
        let found = input.len();
        return Err(Error::Length { operation, what: "input", expected, found });
    }
    let mut out = output(stream, Scalar::F32, len as u32)?;
    let elements = out.as_slice_mut().reinterpret_mut::<f32>()?.slice_mut(..len)?;
    if inner.is_multiple_of(4) {
        let input = input.slice(..expected)?;
        let grid = Grid::cover(len / 4, BLOCK);
        stream.launch(grid, window::pool_fours(plane, input, elements))?;
    } else {
        let grid = Grid::cover(len, BLOCK);
        stream.launch(grid, window::pool_planes(plane, input, elements))?;
    }
    Ok(out)
}

/// A convolution, or a transposed one, and how many launches it took: by tiles where it
/// is one of `f32` over two dimensions and large enough ([`has_tiles`]).
///
/// ## Errors
/// What a launch refuses; [`Error::Length`] for operands that are too short for tiles;
/// [`Error::Shape`] for a finish that only tiles have where there are none.
pub fn convolve(
    stream: &Stream,
    class: Class,
    scalar: Scalar,
    shape: Sliding,
    channels: Channels,
    finish: Finish<'_>,
    [input, weights, bias]: [Slice<'_, u64>; 3],
) -> Result<(Words, usize)> {
    let shape = Sliding { scalar_out: scalar.code(), ..shape };
    if let Some(made) = tiled::convolve(stream, &shape, &channels, finish, [input, weights, bias])?
    {
        return Ok(made);
    }
    if !finish.is_plain() {
        let why = "only tiles add residuals and keep bounds".to_owned();
        return Err(Error::Shape { operation: "convolution", why });
    }
    let mut out = output(stream, scalar, shape.len)?;
    let grid = Grid::cover(out.len(), SMALL_BLOCK);
    in_class!(class, "convolution", [F32 f32, F64 f64, I64 i64], stream, grid, |W| {
        window::convolve::<W>(shape, channels, input, weights, bias, &mut out)
    });
    Ok((out, 1))
}

/// Whether [`convolve`] goes by tiles, which alone add residuals and keep bounds.
#[must_use]
pub fn has_tiles(stream: &Stream, scalar: Scalar, shape: Sliding, channels: Channels) -> bool {
    tiled::has_tiles(stream, &Sliding { scalar_out: scalar.code(), ..shape }, &channels)
}

/// Products of matrices, and how many launches they took: by tiles where they are of
/// `f32` and large enough.
///
/// ## Errors
/// What a launch refuses; [`Error::Shape`] for views that reach out of operands that are
/// multiplied by tiles.
pub fn product(
    stream: &Stream,
    class: Class,
    (scalar, dims): (Scalar, Dims),
    product: Product,
    arithmetic: Arithmetic,
    [left, right]: [Slice<'_, u64>; 2],
) -> Result<(Words, usize)> {
    let product = Product { scalar: scalar.code(), ..product };
    if let Some(made) = tiled::product(stream, dims, &product, arithmetic, [left, right])? {
        return Ok(made);
    }
    let mut out = output(stream, scalar, dims.len)?;
    let grid = Grid::cover(out.len(), SMALL_BLOCK);
    in_class!(class, "a product", [F32 f32, F64 f64, I64 i64], stream, grid, |W| {
        products::product::<W>(dims, product, left, right, &mut out)
    });
    Ok((out, 1))
}
