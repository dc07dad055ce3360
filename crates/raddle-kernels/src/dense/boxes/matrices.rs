//! Products of matrices, and matrices that are turned for them.

use raddle::{Grid, Slice, Stream};

use super::{Arithmetic, Dims, Finish, Job, Product, RANK_MAX, Scalar, View, Words, output};
use crate::kernels::tiled::turn;
use crate::{Error, Result};

/// A matrix of `f32`: the element in front, rows and columns, and their distances.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    elements: Slice<'a, f32>,
    size: [usize; 2],
    strides: [i32; 2],
}

impl<'a> Matrix<'a> {
    /// Whether rows lie as boxes need them.
    fn is_fit(&self) -> bool {
        let [pitch, step] = self.strides;
        step == 1 && pitch >= self.size[1] as i32 && pitch % 4 == 0
    }

    /// The elements of a copy, if there is one, else its own.
    fn elements_or<'c>(&self, copy: &'c Option<Words>) -> Result<Slice<'c, f32>>
    where
        'a: 'c,
    {
        Ok(match copy {
            Some(copy) => copy.as_slice().reinterpret::<f32>()?,
            None => self.elements,
        })
    }

    /// The matrix with rows and columns exchanged, as it lies.
    fn transposed(&self) -> Self {
        let ([rows, columns], [pitch, step]) = (self.size, self.strides);
        Self { size: [columns, rows], strides: [step, pitch], ..*self }
    }

    /// Whether [`Self::turned`] gives rows that do, and multiplying so many others gains.
    fn can_be_turned(&self, arithmetic: Arithmetic, others: usize) -> bool {
        let [step, pitch] = self.strides;
        step == 1 && pitch >= self.size[0] as i32 && others >= turned_min(arithmetic)
    }

    /// The matrix with rows and columns exchanged in memory.
    fn turned(&self, stream: &Stream) -> Result<Words> {
        let ([_, pitch], [rows, columns]) = (self.strides, self.size);
        turn_rows(stream, [1, columns, rows], pitch as usize, self.elements)
    }
}

/// `[batch, columns, rows]` of `[batch, rows, columns]` in `f32`.
///
/// ## Errors
/// [`Error::Length`] for an operand that is too short, what a launch refuses.
pub fn turned(stream: &Stream, shape: [usize; 3], input: Slice<'_, u64>) -> Result<Words> {
    turn_rows(stream, shape, shape[2], input.reinterpret::<f32>()?)
}

pub(super) fn turn_rows(
    stream: &Stream,
    [batches, rows, columns]: [usize; 3],
    pitch: usize,
    input: Slice<'_, f32>,
) -> Result<Words> {
    let operation = "matrices with rows and columns exchanged";
    let len = batches * rows * columns;
    if len == 0 {
        return output(stream, Scalar::F32, 0);
    }
    let reach = (batches * rows - 1) * pitch + columns;
    if input.len() < reach {
        let (expected, found) = (reach, input.len());
        return Err(Error::Length { operation, what: "input", expected, found });
    }
    let blocks = batches * rows.div_ceil(turn::SIDE) * columns.div_ceil(turn::SIDE);
    if len.max(reach).max(blocks) > i32::MAX as usize {
        let why = format!("{batches} matrices of {rows}x{columns} are more than kernels count");
        return Err(Error::Shape { operation, why });
    }
    let mut out = output(stream, Scalar::F32, len as u32)?;
    let elements = out.as_slice_mut().reinterpret_mut::<f32>()?;
    // SAFETY: both have all elements, and there is a block for each part.
    let call = unsafe { turn::turn([rows as u32, columns as u32], pitch as u32, input, elements) };
    stream.launch(Grid::new(blocks as u32, turn::THREADS), call)?;
    Ok(out)
}

/// [`product`](super::super::product) by boxes, and its launches, if it is one that gains.
pub(in super::super) fn product(
    stream: &Stream,
    dims: Dims,
    product: &Product,
    (finish, bias): (Finish<'_>, Option<Slice<'_, f32>>),
    [left, right]: [Slice<'_, f32>; 2],
) -> Result<Option<(Words, usize)>> {
    let arithmetic = finish.arithmetic;
    let [rows, columns] = [dims.dims[RANK_MAX - 2] as usize, dims.dims[RANK_MAX - 1] as usize];
    let depth = product.depth as usize;
    let row_step = product.left.strides[RANK_MAX - 2];
    let views = [&product.left, &product.right];
    let Some(batches) = merged(&dims, views, rows as i32 * row_step) else {
        return Ok(None);
    };
    let rows = rows * batches;
    let from = |elements: Slice<'_, f32>, view: &View| {
        let first = usize::try_from(view.offset).ok();
        first.filter(|first| *first <= elements.len())
    };
    let (Some(first), Some(second)) = (from(left, &product.left), from(right, &product.right))
    else {
        return Ok(None);
    };
    let left = Matrix {
        elements: left.slice(first..)?,
        size: [rows, depth],
        strides: [row_step, product.left_step],
    };
    let right = Matrix {
        elements: right.slice(second..)?,
        size: [columns, depth],
        strides: [product.right.strides[RANK_MAX - 1], product.right_step],
    };
    let is_kept = |matrix: &Matrix<'_>, first: usize| matrix.is_fit() && first.is_multiple_of(4);
    let can_turn = |matrix: &Matrix<'_>, others| matrix.can_be_turned(arithmetic, others);
    let by_depth = is_kept(&right.transposed(), second) && rows < by_depth_end(arithmetic);
    let is_turned = [!left.is_fit(), !right.is_fit() && !by_depth];
    let is_fit = (is_kept(&left, first) || is_turned[0] && can_turn(&left, columns))
        && (by_depth || is_kept(&right, second) || is_turned[1] && can_turn(&right, rows));
    let pitched = |matrix: Matrix<'_>, is_turned: bool| match is_turned {
        true => depth,
        false => matrix.strides[0] as usize,
    };
    let right_pitch =
        if by_depth { right.strides[1] as usize } else { pitched(right, is_turned[1]) };
    let pitches = [pitched(left, is_turned[0]), right_pitch];
    let job = Job { by_depth, ..Job::product([rows, columns, depth], pitches) };
    if !is_fit || !job.is_fit(stream) {
        return Ok(None);
    }
    let turned = |matrix: &Matrix<'_>, is_turned: bool| match is_turned {
        true => matrix.turned(stream).map(Some),
        false => Ok(None),
    };
    let copies = [turned(&left, is_turned[0])?, turned(&right, is_turned[1])?];
    let operands = [left.elements_or(&copies[0])?, right.elements_or(&copies[1])?];
    let (out, launches) = job.run(stream, finish, operands, bias)?;
    Ok(Some((out, launches + copies.iter().flatten().count())))
}

impl Job {
    /// A product of `[rows, depth]` and `[columns, depth]`, whose rows are so far apart.
    fn product([rows, columns, depth]: [usize; 3], [pitch, right_pitch]: [usize; 2]) -> Self {
        Self {
            images: 1,
            input: [1, rows],
            pitch,
            channels: depth,
            output: [1, rows],
            columns,
            window: [1, 1],
            strides: [1, 1],
            dilations: [1, 1],
            begins: [0, 0],
            by_depth: false,
            right_pitch,
        }
    }
}

/// Whether each [`product`](super::super::product) of `f32` of so many rows, columns and
/// terms turns a right operand that lies `[k, column]`; one that is constant can be
/// [`turned`] ahead.
#[must_use]
pub fn is_right_turned(stream: &Stream, arithmetic: Arithmetic, shape: [usize; 3]) -> bool {
    let [rows, _, depth] = shape;
    rows >= by_depth_end(arithmetic) && Job::product(shape, [depth; 2]).is_fit(stream)
}

/// Fewest rows of the other operand for which one is turned. Turning takes about 2.4 ps an
/// element of it on an H200; a row takes 4.9 fs of each less in tiles of single numbers of
/// boxes than in those of other kernels (44 and 39.7 TFLOP/s), and 30 fs less on tensor cores
/// (343 and 56 TFLOP/s).
const fn turned_min(arithmetic: Arithmetic) -> usize {
    match arithmetic {
        Arithmetic::F32 => 512,
        Arithmetic::TF32 => 128,
    }
}

/// Fewest rows for which a right operand that lies `[k, column]` is not multiplied as it is.
/// It is always by single numbers. Tensor cores take it through registers, at half their
/// speed at best, which costs more than turning it from some hundred rows on.
const fn by_depth_end(arithmetic: Arithmetic) -> usize {
    match arithmetic {
        Arithmetic::F32 => usize::MAX,
        Arithmetic::TF32 => 320,
    }
}

/// How many matrices there are, if those of the left operand lie behind each other, `step`
/// apart, so that they are one, and there is one right operand for all.
fn merged(dims: &Dims, [left, right]: [&View; 2], step: i32) -> Option<usize> {
    let mut count = 1;
    for axis in (0..RANK_MAX - 2).rev().filter(|&axis| dims.dims[axis] != 1) {
        if left.strides[axis] != step * count || right.strides[axis] != 0 {
            return None;
        }
        count *= dims.dims[axis] as i32;
    }
    usize::try_from(count).ok()
}
