//! Products and convolutions of `f32` by tiles: how a shape is cut, and the launches.

use raddle::device::tf32;
use raddle::{Buffer, Grid, Slice, Stream};

use super::{
    Channels, Dims, Product, RANK_MAX, SPACE_MAX, Scalar, Sliding, View, Words, boxes, output,
};
use crate::kernels::tiled::{self, STEP, Steps, TILE_N, Tiling, Window, shared_bytes, threads};
use crate::{Error, Result};

/// Products with fewer multiplications are computed one element to a thread.
const TERMS_MIN: u64 = 1 << 15;
/// Most blocks that share a tile.
const SPLIT_MAX: u32 = 32;
/// Least depth that is worth a block.
const PART_MIN: u32 = 4 * STEP as u32;
/// Longest side of an input and reach of a window that the table of places has numbers for.
const SIDE_MAX: u32 = i16::MAX as u32 / 2;

/// How numbers of `f32` are multiplied where tiles are; sums are in `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// As they are.
    #[default]
    F32,
    /// On tensor cores, which round factors to 10 bits of mantissa: a product is off by at
    /// most 2^-10 of its size, a sum by 2^-10 of the sum of its terms' sizes.
    TF32,
}

/// How a convolution is multiplied, and what follows its sums.
#[derive(Clone, Copy)]
pub struct Finish<'a> {
    /// How factors are multiplied.
    pub arithmetic: Arithmetic,
    /// Added to the sum and the bias; of the output's shape.
    pub residual: Option<Slice<'a, u64>>,
    /// What results are kept within.
    pub bounds: [f32; 2],
}

impl Finish<'_> {
    /// Nothing follows.
    #[must_use]
    pub const fn plain(arithmetic: Arithmetic) -> Self {
        Self { arithmetic, residual: None, bounds: [f32::NEG_INFINITY, f32::INFINITY] }
    }

    /// Whether there is something that only tiles do.
    pub(super) fn is_plain(&self) -> bool {
        self.residual.is_none() && self.bounds == [f32::NEG_INFINITY, f32::INFINITY]
    }
}

/// A shape that is cut for a device.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cut {
    tiling: Tiling,
    /// Rows of a tile.
    height: usize,
}

impl Cut {
    /// How `batches` products of `[rows, depth]` and `[depth, images * pixels]` are cut for a
    /// device of so many multiprocessors; `None` for those that are too small to gain, and
    /// too large to count.
    fn new(
        [rows, columns, depth]: [u32; 3],
        batches: u32,
        images: u32,
        multiprocessors: u32,
    ) -> Option<Self> {
        let terms = [rows, columns, depth, batches]
            .iter()
            .try_fold(1u64, |product, &factor| product.checked_mul(u64::from(factor)));
        if terms.is_some_and(|terms| terms < TERMS_MIN) {
            return None;
        }
        let column_tiles = columns.div_ceil(TILE_N as u32);
        let tiles = |height: u32| {
            u64::from(batches) * u64::from(rows.div_ceil(height)) * u64::from(column_tiles)
        };
        let is_low = rows <= 64 || tiles(128) < u64::from(multiprocessors);
        let height = if is_low { 64 } else { 128 };
        let row_tiles = rows.div_ceil(height);
        let tiles = tiles(height);
        let wanted = (2 * u64::from(multiprocessors)).checked_div(tiles).unwrap_or(1) as u32;
        let split = wanted.clamp(1, SPLIT_MAX).min(depth.div_ceil(PART_MIN));
        let part = depth.div_ceil(split).next_multiple_of(STEP as u32);
        let split = depth.div_ceil(part);
        let len = u64::from(batches) * u64::from(rows) * u64::from(columns);
        let is_countable =
            (len * u64::from(split)).max(tiles * u64::from(split)) <= i32::MAX as u64;
        let pixels = columns.checked_div(images)?;
        let [min, max] = [f32::NEG_INFINITY, f32::INFINITY];
        let tiling = Tiling {
            rows,
            columns,
            depth,
            row_tiles,
            column_tiles,
            split,
            part,
            batches,
            pixels,
            image_step: if is_countable { batches * rows * pixels } else { 0 },
            len: len as u32,
            has_bias: 0,
            has_residual: 0,
            min,
            max,
        };
        is_countable.then_some(Self { tiling, height: height as usize })
    }

    fn grid(&self) -> Grid {
        let Tiling { batches, row_tiles, column_tiles, split, .. } = self.tiling;
        Grid::new(batches * row_tiles * column_tiles * split, threads(self.height))
            .shared_bytes(shared_bytes(self.height))
    }
}

/// Whether a device has the instructions of the kernels.
fn has_kernels(stream: &Stream) -> bool {
    stream.device().compute_capability().is_none_or(|(major, _)| major >= 8)
}

/// [`super::product`] by tiles, and its launches, if it is one of `f32` that gains.
pub(super) fn product(
    stream: &Stream,
    dims: Dims,
    product: &Product,
    arithmetic: Arithmetic,
    [left, right]: [Slice<'_, u64>; 2],
) -> Result<Option<(Words, usize)>> {
    let views = [product.left, product.right];
    let is_single = |code: u32| code == Scalar::F32.code();
    let is_fit = is_single(product.scalar) && views.iter().all(|view| is_single(view.scalar));
    if !is_fit || !has_kernels(stream) {
        return Ok(None);
    }
    let (left, right) = (left.reinterpret::<f32>()?, right.reinterpret::<f32>()?);
    hold(&dims, product, [left, right])?;
    let finish = Finish::plain(arithmetic);
    if let Some(made) = boxes::product(stream, dims, product, (finish, None), [left, right])? {
        return Ok(Some(made));
    }
    let [rows, columns] = [dims.dims[RANK_MAX - 2], dims.dims[RANK_MAX - 1]];
    let batches = outer(&dims);
    let steps = Steps {
        left: [product.left.strides[RANK_MAX - 2], product.left_step],
        right: [product.right_step, product.right.strides[RANK_MAX - 1]],
    };
    let views = views.map(of_matrices);
    let multiprocessors = stream.device().multiprocessor_count();
    let shape = [rows, columns, product.depth];
    let Some(cut) = Cut::new(shape, batches.len, 1, multiprocessors) else { return Ok(None) };
    let (bias, residual) = (None, None);
    let made = finished(stream, cut, [bias, residual], |tiling, out| {
        let (grid, none) = (cut.grid(), left);
        macro_rules! launch {
            ($kernel:ident, $ty:ty) => {{
                // SAFETY: the views' reach is held against the operands, and the output has
                // all parts.
                let call = unsafe {
                    tiled::$kernel::<$ty>(
                        tiling, batches, views, steps, left, right, none, none, out,
                    )
                };
                stream.launch(grid, call)?
            }};
        }
        match (cut.height, arithmetic) {
            (64, Arithmetic::F32) => launch!(product_64, f32),
            (_, Arithmetic::F32) => launch!(product_128, f32),
            (64, Arithmetic::TF32) => launch!(product_64, tf32),
            (_, Arithmetic::TF32) => launch!(product_128, tf32),
        };
        Ok(())
    })?;
    Ok(Some(made))
}

/// A product of `f32` by boxes with what follows it, `None` if boxes do not gain.
///
/// ## Errors
/// As [`product`](super::product); [`Error::Length`] for a bias or a residual that is too
/// short.
pub fn product_finished(
    stream: &Stream,
    dims: Dims,
    product: &Product,
    (finish, bias): (Finish<'_>, Option<Slice<'_, u64>>),
    [left, right]: [Slice<'_, u64>; 2],
) -> Result<Option<(Words, usize)>> {
    let is_single = |view: &View| view.scalar == Scalar::F32.code();
    if ![product.left, product.right].iter().all(is_single) || !has_kernels(stream) {
        return Ok(None);
    }
    let (left, right) = (left.reinterpret::<f32>()?, right.reinterpret::<f32>()?);
    hold(&dims, product, [left, right])?;
    let bias = bias.map(Slice::reinterpret::<f32>).transpose()?;
    boxes::product(stream, dims, product, (finish, bias), [left, right])
}

/// Holds a product's operands against what it reads.
fn hold(dims: &Dims, product: &Product, [left, right]: [Slice<'_, f32>; 2]) -> Result<()> {
    let [rows, columns] = [dims.dims[RANK_MAX - 2], dims.dims[RANK_MAX - 1]];
    let batches = outer(dims);
    let views = [product.left, product.right].map(of_matrices);
    let along = [(rows, product.left.strides[RANK_MAX - 2]), (product.depth, product.left_step)];
    reaches(&batches, &views[0], along, left)?;
    let along =
        [(product.depth, product.right_step), (columns, product.right.strides[RANK_MAX - 1])];
    reaches(&batches, &views[1], along, right)
}

/// Where matrices lie, of a view of all of their elements.
fn of_matrices(view: View) -> View {
    let strides = std::array::from_fn(|axis| match axis.checked_sub(2) {
        Some(axis) => view.strides[axis],
        None => 0,
    });
    View { strides, ..view }
}

/// The dimensions without the last two.
fn outer(dims: &Dims) -> Dims {
    let own: [u32; RANK_MAX] = std::array::from_fn(|axis| match axis.checked_sub(2) {
        Some(axis) => dims.dims[axis],
        None => 1,
    });
    Dims { dims: own, rank: dims.rank.saturating_sub(2), len: own.iter().product() }
}

/// Holds a view and two more dimensions against the elements that there are.
fn reaches(
    dims: &Dims,
    view: &View,
    more: [(u32, i32); 2],
    elements: Slice<'_, f32>,
) -> Result<()> {
    let all = dims.dims.iter().copied().zip(view.strides).chain(more);
    let (mut first, mut last) = (i64::from(view.offset), i64::from(view.offset));
    for (dim, stride) in all {
        let Some(steps) = dim.checked_sub(1) else { return Ok(()) };
        let reach = i64::from(steps) * i64::from(stride);
        if reach < 0 { first += reach } else { last += reach }
    }
    if first < 0 || last >= elements.len() as i64 {
        let why = format!("a view reaches from {first} to {last} of {}", elements.len());
        return Err(Error::Shape { operation: "a product", why });
    }
    Ok(())
}

/// A convolution as the kernels have it.
struct Sliced {
    cut: Cut,
    window: Window,
    /// Elements of the input, of the weights, and of a bias.
    wanted: [usize; 3],
}

/// What a convolution is by tiles, if it is one of `f32` over two dimensions that gains.
fn sliced(stream: &Stream, shape: &Sliding, channels: &Channels) -> Option<Sliced> {
    let is_single = |code: u32| code == Scalar::F32.code();
    let scalars = [shape.scalar, shape.scalar_out, channels.weights];
    let outer = SPACE_MAX - 2;
    let lists = [&shape.input, &shape.output, &shape.window];
    let is_flat = lists.iter().all(|list| list[..outer].iter().all(|&len| len == 1))
        && shape.begins[..outer].iter().all(|&len| len == 0);
    if channels.is_transposed != 0 || !is_flat || !scalars.into_iter().all(is_single) {
        return None;
    }
    let pair = |list: &[u32; SPACE_MAX]| [list[outer], list[outer + 1]];
    let (size, output, taps) = (pair(&shape.input), pair(&shape.output), pair(&shape.window));
    let window = Window {
        input: size,
        width: output[1],
        window: taps,
        strides: pair(&shape.strides),
        dilations: pair(&shape.dilations),
        begins: [shape.begins[outer], shape.begins[outer + 1]],
        channels: channels.inputs,
        groups: channels.groups,
    };
    let is_small = (0..2).all(|axis| {
        let reach = u64::from(taps[axis]) * u64::from(window.dilations[axis]);
        reach.max(size[axis].into()) <= SIDE_MAX.into()
            && window.begins[axis].unsigned_abs() <= SIDE_MAX
    });
    if !is_small || !has_kernels(stream) {
        return None;
    }
    let pixels = output[0] * output[1];
    let images = shape.len.checked_div(channels.outputs * channels.groups * pixels)?;
    let depth = channels.inputs * taps[0] * taps[1];
    let multiprocessors = stream.device().multiprocessor_count();
    let numbers = [channels.outputs, images * pixels, depth];
    let cut = Cut::new(numbers, channels.groups, images, multiprocessors)?;
    let rows = (channels.groups * channels.outputs) as usize;
    let planes = (images * channels.groups * channels.inputs) as usize;
    let input = planes * (size[0] * size[1]) as usize;
    let wanted = [input, rows * depth as usize, rows];
    (input <= i32::MAX as usize).then_some(Sliced { cut, window, wanted })
}

/// Whether [`super::convolve`] computes a convolution by tiles, which alone add residuals
/// and keep bounds.
pub(super) fn has_tiles(stream: &Stream, shape: &Sliding, channels: &Channels) -> bool {
    sliced(stream, shape, channels).is_some()
}

/// [`super::convolve`] by tiles, and its launches, if it is one that has them.
pub(super) fn convolve(
    stream: &Stream,
    shape: &Sliding,
    channels: &Channels,
    finish: Finish<'_>,
    [input, weights, bias]: [Slice<'_, u64>; 3],
) -> Result<Option<(Words, usize)>> {
    let Some(Sliced { mut cut, window, wanted }) = sliced(stream, shape, channels) else {
        return Ok(None);
    };
    let (input, weights) = (input.reinterpret::<f32>()?, weights.reinterpret::<f32>()?);
    let bias = (channels.has_bias != 0).then(|| bias.reinterpret::<f32>()).transpose()?;
    let residual = finish.residual.map(Slice::reinterpret::<f32>).transpose()?;
    let length = |what, expected, found: Option<Slice<'_, f32>>| match found {
        Some(found) if found.len() < expected => {
            let (operation, found) = ("convolution", found.len());
            Err(Error::Length { operation, what, expected, found })
        }
        _ => Ok(()),
    };
    length("input", wanted[0], Some(input))?;
    length("weights", wanted[1], Some(weights))?;
    length("bias", wanted[2], bias)?;
    length("residual", cut.tiling.len as usize, residual)?;
    [cut.tiling.min, cut.tiling.max] = finish.bounds;
    let made = finished(stream, cut, [bias, residual], |tiling, out| {
        let grid = cut.grid();
        let (bias, residual) = (bias.unwrap_or(input), residual.unwrap_or(input));
        macro_rules! launch {
            ($kernel:ident, $ty:ty) => {{
                // SAFETY: lengths are held against the shape, and the output has all parts.
                let call = unsafe {
                    tiled::$kernel::<$ty>(tiling, window, input, weights, bias, residual, out)
                };
                stream.launch(grid, call)?
            }};
        }
        match (cut.height, finish.arithmetic) {
            (64, Arithmetic::F32) => launch!(convolve_64, f32),
            (_, Arithmetic::F32) => launch!(convolve_128, f32),
            (64, Arithmetic::TF32) => launch!(convolve_64, tf32),
            (_, Arithmetic::TF32) => launch!(convolve_128, tf32),
        };
        Ok(())
    })?;
    Ok(Some(made))
}

/// The elements that a launch writes: at once, or from the parts of their sums. Gives the
/// number of launches too.
fn finished(
    stream: &Stream,
    cut: Cut,
    [bias, residual]: [Option<Slice<'_, f32>>; 2],
    launch: impl FnOnce(Tiling, raddle::SliceMut<'_, f32>) -> Result<()>,
) -> Result<(Words, usize)> {
    let tiling = Tiling {
        has_bias: u32::from(bias.is_some()),
        has_residual: u32::from(residual.is_some()),
        ..cut.tiling
    };
    let mut out = output(stream, Scalar::F32, tiling.len)?;
    if tiling.split == 1 {
        launch(tiling, out.as_slice_mut().reinterpret_mut()?)?;
        return Ok((out, 1));
    }
    let len = (tiling.len * tiling.split) as usize;
    // SAFETY: each part of each element is written.
    let mut parts: Buffer<f32> = unsafe { stream.uninitialized(len) }?;
    launch(tiling, parts.as_slice_mut())?;
    let (bias, residual) = (bias.unwrap_or(parts.as_slice()), residual.unwrap_or(parts.as_slice()));
    let elements = out.as_slice_mut().reinterpret_mut::<f32>()?;
    let grid = Grid::cover(tiling.len as usize, super::BLOCK);
    // SAFETY: there are all parts, and bias and residual if the tiling says so.
    let call = unsafe { tiled::combine(tiling, &parts, bias, residual, elements) };
    stream.launch(grid, call)?;
    Ok((out, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_cut_so_that_a_device_is_full() {
        // A late convolution of ResNet-18: 8 tiles, 4608 deep.
        let Cut { tiling, height } = Cut::new([512, 49, 4608], 1, 1, 132).unwrap();
        assert_eq!((tiling.row_tiles, tiling.column_tiles, height), (8, 1, 64));
        assert_eq!((tiling.split, tiling.part), (32, 144));
        assert!(tiling.split * tiling.part >= 4608 && (tiling.split - 1) * tiling.part < 4608);
        // Enough tiles: no split.
        let Cut { tiling, height } = Cut::new([4096, 4096, 4096], 1, 1, 132).unwrap();
        assert_eq!((tiling.split, height), (1, 128));
        // Images lie behind each other.
        let Cut { tiling, .. } = Cut::new([64, 64 * 49, 576], 1, 64, 132).unwrap();
        assert_eq!((tiling.pixels, tiling.image_step), (49, 64 * 49));
        // Not worth it, and too large to count.
        assert_eq!(Cut::new([8, 8, 8], 1, 1, 132), None);
        assert_eq!(Cut::new([1 << 20, 1 << 20, 64], 1, 1, 132), None);
        assert_eq!(Cut::new([64, 64, 0], 1, 1, 132), None);
    }
}
