//! Products and convolutions of `f32` whose operands the copy engine brings: which kernel,
//! and the launches. See `kernels/tiled/boxes.rs`.

mod choice;
mod matrices;
mod widened;

use raddle::device::matrix::Swizzle;
use raddle::device::tf32;
use raddle::device::tma::{Im2colAxis, L2Promotion, TensorElement, TensorMapSpec, TensorType};
use raddle::{Buffer, Grid, Slice, SliceMut, Stream};

use super::{Arithmetic, Channels, Dims, Finish, Product, RANK_MAX, SPACE_MAX, Scalar};
use super::{Sliding, View, Words, output};
use crate::kernels::tiled::boxes::{self as device, Numbers, SIDE, STEP};
use crate::{Error, Result};
use choice::{Kernel, Tile, choose};

pub(super) use matrices::product;
pub use matrices::{is_right_turned, turned};
pub use widened::Widened;

const OPERATION: &str = "a product by boxes";
/// Products with fewer multiplications are left to other kernels.
const TERMS_MIN: u64 = 1 << 18;
/// Fewest rows that are worth a tile.
const ROWS_MIN: usize = 16;

/// A convolution as the kernels have it, with channels last; a product is one of single
/// pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Job {
    images: usize,
    /// Rows and columns of the input.
    input: [usize; 2],
    /// From a pixel to the next, in elements.
    pitch: usize,
    channels: usize,
    output: [usize; 2],
    columns: usize,
    window: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    begins: [i32; 2],
    /// Whether the weights lie `[channel, column]`, which those of a product may.
    by_depth: bool,
    /// From a column of the weights to the next, or a channel if they lie by depth, in
    /// elements.
    right_pitch: usize,
}

impl Job {
    fn rows(&self) -> usize {
        self.images * self.output[0] * self.output[1]
    }

    fn taps(&self) -> usize {
        self.window[0] * self.window[1]
    }

    fn steps(&self) -> usize {
        self.taps() * self.channels.div_ceil(STEP)
    }

    /// The map of the pixels, of which a load takes those of a tile.
    fn left(&self, element: TensorElement, rows: usize) -> Option<TensorMapSpec> {
        let [height, width] = self.input;
        let pixel = self.pitch as u64 * 4;
        let dims = [self.channels, width, height, self.images].map(|n| n as u64);
        let strides = [pixel, pixel * width as u64, pixel * (width * height) as u64];
        let axis = |axis: usize| {
            let (lower, stride) = (-self.begins[axis], self.strides[axis]);
            let last = lower + ((self.output[axis] - 1) * stride) as i32;
            let upper = last - (self.input[axis] as i32 - 1);
            Im2colAxis { lower, upper, stride: stride as u32 }
        };
        let axes = [axis(1), axis(0)];
        let (channels, pixels) = (STEP as u32, rows as u32);
        let spec = TensorMapSpec::im2col(element, &dims, &strides, &axes, channels, pixels);
        finished(spec)
    }

    /// The map of the weights, with boxes of so many columns.
    fn right(&self, element: TensorElement, columns: usize) -> Option<TensorMapSpec> {
        if self.by_depth {
            let dims = [self.columns as u64, self.channels as u64];
            let (strides, sides) = ([self.right_pitch as u64 * 4], [SIDE as u32, STEP as u32]);
            return finished(TensorMapSpec::tiled(element, &dims, &strides, &sides));
        }
        let dims = [self.channels, self.taps(), self.columns].map(|n| n as u64);
        let strides = [self.channels as u64 * 4, self.right_pitch as u64 * 4];
        let spec =
            TensorMapSpec::tiled(element, &dims, &strides, &[STEP as u32, 1, columns as u32]);
        finished(spec)
    }

    /// Whether the kernels compute it, and gain.
    fn is_fit(&self, stream: &Stream) -> bool {
        // The instructions are of one generation of GPUs.
        let is_here = stream.device().compute_capability().is_none_or(|(major, _)| major == 9);
        let numbers = [self.images, self.channels, self.columns, self.output[0], self.output[1]];
        let lens = [
            self.images * self.input[0] * self.input[1] * self.pitch,
            self.rows() * self.columns,
            self.columns.max(self.channels) * self.right_pitch,
            self.rows() * 2 + 1024,
        ];
        let depth = (self.taps() * self.channels) as u64;
        let reaches = (0..2).all(|axis| (self.window[axis] - 1) * self.dilations[axis] < 256);
        is_here
            && !numbers.contains(&0)
            && lens.iter().all(|&len| len <= i32::MAX as usize)
            && self.columns.is_multiple_of(4)
            && self.rows() >= ROWS_MIN
            && self.rows() as u64 * self.columns as u64 * depth >= TERMS_MIN
            && reaches
            && self.left(TensorElement::F32, 64).is_some()
            && self.right(TensorElement::F32, 64).is_some()
    }

    /// Launches it and gives the output, and how many launches there were.
    fn run(
        &self,
        stream: &Stream,
        finish: Finish<'_>,
        operands: [Slice<'_, f32>; 2],
        bias: Option<Slice<'_, f32>>,
    ) -> Result<(Words, usize)> {
        let multiprocessors = stream.device().multiprocessor_count() as usize;
        let shape = [self.rows(), self.columns, self.steps()];
        let choice = choose(finish.arithmetic, self.by_depth, shape, multiprocessors);
        self.run_as(choice, stream, finish, operands, bias)
    }

    /// [`run`](Self::run) by a kernel, with so many blocks to a tile.
    fn run_as(
        &self,
        (tile, kernel, split): (Tile, Kernel, usize),
        stream: &Stream,
        finish: Finish<'_>,
        [left, right]: [Slice<'_, f32>; 2],
        bias: Option<Slice<'_, f32>>,
    ) -> Result<(Words, usize)> {
        let residual = finish.residual.map(Slice::reinterpret::<f32>).transpose()?;
        let len = self.rows() * self.columns;
        let long = |what, expected, found: Option<Slice<'_, f32>>| match found {
            Some(found) if found.len() < expected => {
                let (operation, found) = (OPERATION, found.len());
                Err(Error::Length { operation, what, expected, found })
            }
            _ => Ok(()),
        };
        long("bias", self.columns, bias)?;
        long("residual", len, residual)?;
        let tiles = kernel.tiles([self.rows(), self.columns]);
        let numbers = Numbers {
            rows: self.rows() as u32,
            columns: self.columns as u32,
            size: self.output.map(|n| n as u32),
            window: self.window.map(|n| n as u32),
            strides: self.strides.map(|n| n as u32),
            dilations: self.dilations.map(|n| n as u32),
            begins: self.begins.map(|n| -n),
            slices: self.channels.div_ceil(STEP) as u32,
            steps: self.steps() as u32,
            column_tiles: tiles[1] as u32,
            split: split as u32,
            has_bias: u32::from(bias.is_some()),
            has_residual: u32::from(residual.is_some()),
            min: finish.bounds[0],
            max: finish.bounds[1],
        };
        let mut grid = Grid::new((tiles[0] * tiles[1] * split) as u32, kernel.threads)
            .shared_bytes(kernel.shared_bytes);
        if kernel.cluster > 1 {
            grid = grid.cluster(kernel.cluster as u32);
        }
        let boxes = Boxes { job: self, left, right, size: kernel.size, cluster: kernel.cluster };
        let mut out = output(stream, Scalar::F32, len as u32)?;
        let elements = out.as_slice_mut().reinterpret_mut::<f32>()?;
        // Operands that there are none of are never read.
        let (bias, residual) = (bias.unwrap_or(left), residual.unwrap_or(left));
        let which = (finish.arithmetic, tile, kernel.by_depth);
        let run = |out| launch(stream, grid, which, boxes, numbers, [bias, residual], out);
        if split == 1 {
            run(elements)?;
            return Ok((out, 1));
        }
        // SAFETY: each part of each element is written.
        let mut parts: Buffer<f32> = unsafe { stream.uninitialized(len * split) }?;
        let own = parts.as_slice_mut();
        run(own)?;
        let grid = Grid::cover(len / 4, super::BLOCK);
        // SAFETY: there are all parts, and bias and residual if the numbers say so.
        let call = unsafe { device::add_parts(numbers, &parts, bias, residual, elements) };
        stream.launch(grid, call)?;
        Ok((out, 2))
    }
}

/// A map as the kernels want it, if the engine has one.
fn finished<E>(spec: std::result::Result<TensorMapSpec, E>) -> Option<TensorMapSpec> {
    let spec = spec.ok()?.with_swizzle(Swizzle::Span128).ok()?;
    Some(spec.with_l2_promotion(L2Promotion::Bytes256))
}

/// Operands, and the boxes that a kernel takes of them.
#[derive(Clone, Copy)]
struct Boxes<'a> {
    job: &'a Job,
    left: Slice<'a, f32>,
    right: Slice<'a, f32>,
    size: [usize; 2],
    cluster: usize,
}

impl<'a> Boxes<'a> {
    /// The maps of the operands as elements of a type.
    fn maps<T: TensorType + raddle::Plain>(self) -> Result<[raddle::Tensor<'a>; 2]> {
        let (left, right) = (self.left.reinterpret::<T>()?, self.right.reinterpret::<T>()?);
        let [rows, columns] = [self.size[0], self.size[1] / self.cluster];
        let maps = (self.job.left(T::ELEMENT, rows), self.job.right(T::ELEMENT, columns));
        let (Some(of_left), Some(of_right)) = maps else {
            let why = format!("the copy engine has no boxes for {:?}", self.job);
            return Err(Error::Shape { operation: OPERATION, why });
        };
        Ok([left.tensor(&of_left)?, right.tensor(&of_right)?])
    }
}

fn launch(
    stream: &Stream,
    grid: Grid,
    kernel: (Arithmetic, Tile, bool),
    boxes: Boxes<'_>,
    numbers: Numbers,
    [bias, residual]: [Slice<'_, f32>; 2],
    out: SliceMut<'_, f32>,
) -> Result<()> {
    macro_rules! launch {
        ($name:ident, $ty:ty) => {{
            let [left, right] = boxes.maps::<$ty>()?;
            // SAFETY: the maps are held against the operands, lengths against the numbers.
            let call = unsafe { device::$name(left, right, numbers, bias, residual, out) };
            stream.launch(grid, call)?;
        }};
    }
    match kernel {
        (Arithmetic::F32, Tile::T128x128, true) => launch!(multiply_f32_128x128_by_depth, f32),
        (Arithmetic::F32, _, true) => launch!(multiply_f32_64x64_by_depth, f32),
        (Arithmetic::TF32, _, true) => launch!(multiply_tf32_64x128_by_depth, tf32),
        (Arithmetic::F32, Tile::T128x128, _) => launch!(multiply_f32_128x128, f32),
        (Arithmetic::F32, Tile::T256x64, _) => launch!(multiply_f32_256x64, f32),
        (Arithmetic::F32, ..) => launch!(multiply_f32_64x64, f32),
        (Arithmetic::TF32, Tile::T128x64, _) => launch!(multiply_tf32_128x64, tf32),
        (Arithmetic::TF32, Tile::T128x128, _) => launch!(multiply_tf32_128x128, tf32),
        (Arithmetic::TF32, Tile::T128x256, _) => launch!(multiply_tf32_128x256, tf32),
        (Arithmetic::TF32, ..) => launch!(multiply_tf32_64x64, tf32),
    }
    Ok(())
}

/// The convolution of `[image, row, column, channel]`, if there is a kernel and it gains.
fn job(stream: &Stream, shape: &Sliding, channels: &Channels) -> Option<Job> {
    let is_single = |code: u32| code == Scalar::F32.code();
    let scalars = [shape.scalar, shape.scalar_out, channels.weights];
    let outer = SPACE_MAX - 2;
    let lists = [&shape.input, &shape.output, &shape.window];
    let is_flat = lists.iter().all(|list| list[..outer].iter().all(|&len| len == 1))
        && shape.begins[..outer].iter().all(|&len| len == 0);
    let is_plain = channels.is_transposed == 0 && channels.groups == 1;
    if !is_plain || !is_flat || !scalars.into_iter().all(is_single) {
        return None;
    }
    let pair = |list: &[u32; SPACE_MAX]| [list[outer] as usize, list[outer + 1] as usize];
    let (output, window) = (pair(&shape.output), pair(&shape.window));
    let (columns, inputs) = (channels.outputs as usize, channels.inputs as usize);
    let images = (shape.len as usize).checked_div(columns * output[0] * output[1])?;
    let job = Job {
        images,
        input: pair(&shape.input),
        pitch: inputs,
        channels: inputs,
        output,
        columns,
        window,
        strides: pair(&shape.strides),
        dilations: pair(&shape.dilations),
        begins: [shape.begins[outer], shape.begins[outer + 1]],
        by_depth: false,
        right_pitch: inputs * window[0] * window[1],
    };
    // Whole quarters of 16 bytes of few channels are mostly zeros of a step.
    (inputs >= STEP / 2 && job.is_fit(stream)).then_some(job)
}

/// Whether [`convolve_last`] computes a convolution.
#[must_use]
pub fn has_boxes(stream: &Stream, scalar: Scalar, shape: Sliding, channels: Channels) -> bool {
    job(stream, &Sliding { scalar_out: scalar.code(), ..shape }, &channels).is_some()
}

/// A convolution of `f32` with channels last, `[image, row, column, channel]`, as the input,
/// the residual and the output lie; the weights are `[output, element of the window,
/// channel]`. Gives the number of launches too.
///
/// ## Errors
/// [`Error::Shape`] for one that [`has_boxes`] does not know, [`Error::Length`] for operands
/// that are too short; what a launch refuses.
pub fn convolve_last(
    stream: &Stream,
    shape: Sliding,
    channels: Channels,
    finish: Finish<'_>,
    [input, weights, bias]: [Slice<'_, u64>; 3],
) -> Result<(Words, usize)> {
    let shape = Sliding { scalar_out: Scalar::F32.code(), ..shape };
    let Some(job) = job(stream, &shape, &channels) else {
        let why = format!("there is no kernel for {shape:?}");
        return Err(Error::Shape { operation: OPERATION, why });
    };
    let operands = [input.reinterpret::<f32>()?, weights.reinterpret::<f32>()?];
    let bias = (channels.has_bias != 0).then(|| bias.reinterpret::<f32>()).transpose()?;
    job.run(stream, finish, operands, bias)
}

#[cfg(test)]
mod tests;
