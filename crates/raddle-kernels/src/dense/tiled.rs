//! Products and convolutions of `f32` by tiles: how a shape is cut, and the launches.

use raddle::{Buffer, Grid, Slice, Stream};

use super::{Channels, Dims, Product, RANK_MAX, SPACE_MAX, Scalar, Sliding, View, Words, output};
use crate::kernels::tiled::{self, STEP, SUMS, Steps, THREADS, TILE, Tiling, Window};
use crate::{Error, Result};

/// Launches of a product or a convolution by tiles.
pub(super) const LAUNCHES: usize = 2;
/// Products with fewer multiplications are computed one element to a thread.
const TERMS_MIN: u64 = 1 << 15;
/// Most blocks that share a tile.
const SPLIT_MAX: u32 = 32;
/// Least depth that is worth a block.
const PART_MIN: u32 = 4 * STEP;

impl Tiling {
    /// How `batches` products of `[rows, depth]` and `[depth, columns]` are cut for a
    /// device of so many multiprocessors; `None` for those that are too small to gain,
    /// and too large to count.
    fn new([rows, columns, depth]: [u32; 3], batches: u32, multiprocessors: u32) -> Option<Self> {
        let terms = [rows, columns, depth, batches]
            .iter()
            .try_fold(1u64, |product, &factor| product.checked_mul(u64::from(factor)));
        if terms.is_some_and(|terms| terms < TERMS_MIN) {
            return None;
        }
        let (row_tiles, column_tiles) = (rows.div_ceil(TILE), columns.div_ceil(TILE));
        let tiles = u64::from(batches) * u64::from(row_tiles) * u64::from(column_tiles);
        let wanted = (2 * u64::from(multiprocessors)).checked_div(tiles).unwrap_or(1) as u32;
        let split = wanted.clamp(1, SPLIT_MAX).min(depth.div_ceil(PART_MIN));
        let part = depth.div_ceil(split).next_multiple_of(STEP);
        let split = depth.div_ceil(part);
        let sums = tiles * u64::from(split * THREADS) * SUMS as u64;
        let is_countable = sums <= i32::MAX as u64;
        is_countable.then_some(Self {
            rows,
            columns,
            depth,
            row_tiles,
            column_tiles,
            split,
            part,
            batches,
        })
    }

    fn blocks(&self) -> u32 {
        self.batches * self.row_tiles * self.column_tiles * self.split
    }

    /// Memory for the sums of all threads.
    fn sums(&self, stream: &Stream) -> Result<Buffer<f32>> {
        let len = (self.blocks() * THREADS) as usize * SUMS;
        // SAFETY: each thread of the kernels writes its chunk.
        Ok(unsafe { stream.uninitialized(len) }?)
    }
}

/// [`super::product`] by tiles, if it is one of `f32` that gains.
pub(super) fn product(
    stream: &Stream,
    dims: Dims,
    product: &Product,
    [left, right]: [Slice<'_, u64>; 2],
) -> Result<Option<Words>> {
    let views = [product.left, product.right];
    let is_single = |code: u32| code == Scalar::F32.code();
    if !is_single(product.scalar) || !views.iter().all(|view| is_single(view.scalar)) {
        return Ok(None);
    }
    let [rows, columns] = [dims.dims[RANK_MAX - 2], dims.dims[RANK_MAX - 1]];
    let batches = outer(&dims);
    let multiprocessors = stream.device().multiprocessor_count();
    let shape = [rows, columns, product.depth];
    let Some(tiling) = Tiling::new(shape, batches.len, multiprocessors) else { return Ok(None) };
    let steps = Steps {
        left: [product.left.strides[RANK_MAX - 2], product.left_step],
        right: [product.right_step, product.right.strides[RANK_MAX - 1]],
    };
    let views = views.map(|view| View {
        strides: std::array::from_fn(|axis| match axis.checked_sub(2) {
            Some(axis) => view.strides[axis],
            None => 0,
        }),
        ..view
    });
    let (left, right) = (left.reinterpret::<f32>()?, right.reinterpret::<f32>()?);
    reaches(&batches, &views[0], [(rows, steps.left[0]), (product.depth, steps.left[1])], left)?;
    let along = [(product.depth, steps.right[0]), (columns, steps.right[1])];
    reaches(&batches, &views[1], along, right)?;
    let mut sums = tiling.sums(stream)?;
    let grid = Grid::new(tiling.blocks(), THREADS);
    let call = tiled::product_tiled(tiling, batches, views, steps, left, right, &mut sums);
    stream.launch(grid, call)?;
    Ok(Some(combined(stream, tiling, 1, &sums, None)?))
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

/// [`super::convolve`] by tiles, if it is one of `f32` over two dimensions that gains.
pub(super) fn convolve(
    stream: &Stream,
    shape: &Sliding,
    channels: &Channels,
    [input, weights, bias]: [Slice<'_, u64>; 3],
) -> Result<Option<Words>> {
    let is_single = |code: u32| code == Scalar::F32.code();
    let scalars = [shape.scalar, shape.scalar_out, channels.weights];
    let outer = SPACE_MAX - 2;
    let lists = [&shape.input, &shape.output, &shape.window];
    let is_flat = lists.iter().all(|list| list[..outer].iter().all(|&len| len == 1))
        && shape.begins[..outer].iter().all(|&len| len == 0);
    if channels.is_transposed != 0 || !is_flat || !scalars.into_iter().all(is_single) {
        return Ok(None);
    }
    let pair = |list: &[u32; SPACE_MAX]| [list[outer], list[outer + 1]];
    let (input_size, output, taps) = (pair(&shape.input), pair(&shape.output), pair(&shape.window));
    let window = Window {
        input: input_size,
        width: output[1],
        window: taps,
        strides: pair(&shape.strides),
        dilations: pair(&shape.dilations),
        begins: [shape.begins[outer], shape.begins[outer + 1]],
        channels: channels.inputs,
        groups: channels.groups,
    };
    let pixels = output[0] * output[1];
    let Some(batches) = shape.len.checked_div(channels.outputs * pixels) else { return Ok(None) };
    let depth = channels.inputs * taps[0] * taps[1];
    let multiprocessors = stream.device().multiprocessor_count();
    let Some(tiling) = Tiling::new([channels.outputs, pixels, depth], batches, multiprocessors)
    else {
        return Ok(None);
    };
    let (input, weights) = (input.reinterpret::<f32>()?, weights.reinterpret::<f32>()?);
    let bias = (channels.has_bias != 0).then(|| bias.reinterpret::<f32>()).transpose()?;
    let rows = channels.groups * channels.outputs;
    let planes = batches * channels.inputs;
    let wanted = [
        ("input", planes as usize * (input_size[0] * input_size[1]) as usize, input.len()),
        ("weights", rows as usize * depth as usize, weights.len()),
        ("bias", if bias.is_some() { rows as usize } else { 0 }, bias.map_or(0, |it| it.len())),
    ];
    if let Some((what, expected, found)) = wanted.into_iter().find(|(_, wanted, len)| wanted > len)
    {
        return Err(Error::Length { operation: "convolution", what, expected, found });
    }
    let mut sums = tiling.sums(stream)?;
    let grid = Grid::new(tiling.blocks(), THREADS);
    stream.launch(grid, tiled::convolve_tiled(tiling, window, input, weights, &mut sums))?;
    Ok(Some(combined(stream, tiling, channels.groups, &sums, bias)?))
}

/// The elements from the sums of all threads.
fn combined(
    stream: &Stream,
    tiling: Tiling,
    groups: u32,
    sums: &Buffer<f32>,
    bias: Option<Slice<'_, f32>>,
) -> Result<Words> {
    let mut out = output(stream, Scalar::F32, tiling.batches * tiling.rows * tiling.columns)?;
    let has_bias = u32::from(bias.is_some());
    let bias = bias.unwrap_or(sums.as_slice());
    let grid = Grid::cover(out.len(), super::BLOCK);
    stream.launch(grid, tiled::combine(tiling, groups, has_bias, sums, bias, &mut out))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_cut_so_that_a_device_is_full() {
        // A late convolution of ResNet-18: 8 tiles, 4608 deep.
        let tiling = Tiling::new([512, 49, 4608], 1, 132).unwrap();
        assert_eq!((tiling.row_tiles, tiling.column_tiles), (8, 1));
        assert_eq!((tiling.split, tiling.part), (32, 144));
        assert!(tiling.split * tiling.part >= 4608 && (tiling.split - 1) * tiling.part < 4608);
        // Enough tiles: no split.
        assert_eq!(Tiling::new([4096, 4096, 4096], 1, 132).unwrap().split, 1);
        // Not worth it, and too large to count.
        assert_eq!(Tiling::new([8, 8, 8], 1, 132), None);
        assert_eq!(Tiling::new([1 << 20, 1 << 20, 64], 1, 132), None);
        assert_eq!(Tiling::new([64, 64, 0], 1, 132), None);
    }
}
