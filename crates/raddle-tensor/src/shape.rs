//! Arithmetic on shapes: counts, strides, broadcasting.

use crate::{DType, Error, Result};

/// Most bytes of one tensor; larger ones are an error, not an exhausted machine.
pub const TENSOR_BYTES_MAX: usize = 1 << 36;

/// Number of elements of a shape, if a tensor of it can be held.
///
/// ## Errors
/// [`Error::TooLarge`].
pub fn element_count(shape: &[usize], dtype: DType) -> Result<usize> {
    let element_bytes = dtype.bits().div_ceil(8).max(1);
    let too_large =
        || Error::TooLarge { shape: shape.to_vec(), dtype, bytes_max: TENSOR_BYTES_MAX };
    // Of an empty tensor the other dimensions must fit all the same, so that no
    // product of some of them overflows.
    let mut dims = shape.iter().filter(|&&dim| dim != 0);
    let count = dims.try_fold(1usize, |count, &dim| count.checked_mul(dim));
    count
        .filter(|count| count.checked_mul(element_bytes).is_some_and(|b| b <= TENSOR_BYTES_MAX))
        .map(|count| if shape.contains(&0) { 0 } else { count })
        .ok_or_else(too_large)
}

/// Row-major strides in elements.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// The shape that two shapes broadcast to (ONNX, "Multidirectional Broadcasting").
///
/// ## Errors
/// [`Error::ShapeMismatch`].
pub fn broadcast(left: &[usize], right: &[usize]) -> Result<Vec<usize>> {
    let rank = left.len().max(right.len());
    let dim = |shape: &[usize], at: usize| {
        (at + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis])
    };
    (0..rank)
        .map(|at| match (dim(left, at), dim(right, at)) {
            (a, b) if a == b => Ok(a),
            (1, b) => Ok(b),
            (a, 1) => Ok(a),
            _ => Err(Error::ShapeMismatch {
                left: left.to_vec(),
                right: right.to_vec(),
                why: "dimensions must be equal or 1 from the right",
            }),
        })
        .collect()
}

/// Strides of a contiguous tensor of `shape` seen as `target`, to which it
/// broadcasts: 0 along dimensions that repeat.
pub fn broadcast_strides(shape: &[usize], target: &[usize]) -> Vec<usize> {
    let missing = target.len() - shape.len();
    let own = strides(shape);
    (0..target.len())
        .map(|axis| match axis.checked_sub(missing) {
            Some(at) if shape[at] != 1 => own[at],
            _ => 0,
        })
        .collect()
}

/// The axis that `axis` means, negative ones counting from the end.
///
/// ## Errors
/// [`Error::Axis`].
pub fn axis(axis: i64, rank: usize) -> Result<usize> {
    let shifted = if axis < 0 { axis.checked_add(rank as i64) } else { Some(axis) };
    shifted
        .and_then(|at| usize::try_from(at).ok())
        .filter(|&at| at < rank)
        .ok_or(Error::Axis { axis, rank })
}

/// Several axes, each once, in the order given.
///
/// ## Errors
/// [`Error::Axis`], [`Error::Invalid`] if one occurs twice.
pub fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>> {
    let axes = list.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<_>>>()?;
    for (at, axis) in axes.iter().enumerate() {
        if axes[..at].contains(axis) {
            return Err(Error::invalid(format!("axis {axis} occurs twice")));
        }
    }
    Ok(axes)
}

/// The position that `index` means in a dimension, negative ones counting from the end.
///
/// ## Errors
/// [`Error::Index`].
pub fn index(index: i64, len: usize) -> Result<usize> {
    let shifted = if index < 0 { index.checked_add(len as i64) } else { Some(index) };
    shifted
        .and_then(|at| usize::try_from(at).ok())
        .filter(|&at| at < len)
        .ok_or(Error::Index { index, len })
}

/// Dimensions given as signed numbers.
///
/// ## Errors
/// [`Error::Invalid`] if one is negative.
pub fn dims(list: &[i64]) -> Result<Vec<usize>> {
    list.iter()
        .map(|&dim| {
            usize::try_from(dim)
                .map_err(|_| Error::invalid(format!("dimension {dim} is negative in {list:?}")))
        })
        .collect()
}

/// How `N` contiguous tensors broadcast together, as rows that every operand
/// walks with a constant step.
pub struct Broadcast<const N: usize> {
    /// The common shape.
    pub shape: Vec<usize>,
    /// Elements of the result.
    pub len: usize,
    /// Elements of a row.
    pub row_len: usize,
    /// Step of each operand within a row: 0 or 1.
    pub steps: [usize; N],
    outer: Vec<usize>,
    outer_strides: [Vec<usize>; N],
}

impl<const N: usize> Broadcast<N> {
    /// Finds the common shape and merges dimensions that all operands walk alike.
    ///
    /// ## Errors
    /// [`Error::ShapeMismatch`], [`Error::TooLarge`].
    pub fn new(shapes: [&[usize]; N]) -> Result<Self> {
        let mut shape = Vec::new();
        for operand in shapes {
            shape = broadcast(&shape, operand)?;
        }
        let len = element_count(&shape, DType::F64)?;
        let strides = shapes.map(|operand| broadcast_strides(operand, &shape));
        // Dimensions from the innermost outwards: (length, stride of each operand).
        let mut merged: Vec<(usize, [usize; N])> = Vec::new();
        for axis in (0..shape.len()).rev().filter(|&axis| shape[axis] != 1) {
            let here: [usize; N] = std::array::from_fn(|operand| strides[operand][axis]);
            match merged.last_mut() {
                Some((dim, inner)) if (0..N).all(|at| here[at] == inner[at] * *dim) => {
                    *dim *= shape[axis];
                }
                _ => merged.push((shape[axis], here)),
            }
        }
        let (row_len, steps) = merged.first().copied().unwrap_or((1, [0; N]));
        let rest = merged.get(1..).unwrap_or_default();
        let outer = rest.iter().map(|(dim, _)| *dim).collect();
        let outer_strides =
            std::array::from_fn(|at| rest.iter().map(|(_, strides)| strides[at]).collect());
        Ok(Self { shape, len, row_len, steps, outer, outer_strides })
    }

    /// How many rows follow each other with a constant step, and that of each operand.
    pub fn rows(&self) -> (usize, [usize; N]) {
        match self.outer.first() {
            Some(&rows) => (rows, std::array::from_fn(|at| self.outer_strides[at][0])),
            None => (1, [0; N]),
        }
    }

    /// Where each operand's row begins.
    pub fn starts(&self, row: usize) -> [usize; N] {
        let mut starts = [0; N];
        let mut rest = row;
        for (axis, &dim) in self.outer.iter().enumerate() {
            let at = rest % dim;
            rest /= dim;
            for (start, strides) in starts.iter_mut().zip(&self.outer_strides) {
                *start += at * strides[axis];
            }
        }
        starts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_broadcast_from_the_right() {
        assert_eq!(broadcast(&[2, 1, 3], &[4, 1]), Ok(vec![2, 4, 3]));
        assert_eq!(broadcast(&[0], &[1]), Ok(vec![0]));
        assert!(broadcast(&[2], &[3]).is_err());
    }

    #[test]
    fn rows_merge_dimensions() {
        let plan = Broadcast::new([&[2, 3, 4], &[3, 4]]).unwrap();
        assert_eq!((plan.row_len, plan.steps), (12, [1, 1]));
        assert_eq!(plan.starts(1), [12, 0]);
        let plan = Broadcast::new([&[2, 3, 4], &[3, 1]]).unwrap();
        assert_eq!((plan.row_len, plan.steps), (4, [1, 0]));
        assert_eq!(plan.starts(4), [16, 1]);
    }

    #[test]
    fn hostile_sizes_are_errors() {
        assert!(element_count(&[usize::MAX, 2], DType::U8).is_err());
        assert!(element_count(&[usize::MAX, 2, 0], DType::U8).is_err());
        assert_eq!(element_count(&[7, 2, 0], DType::U8), Ok(0));
        assert!(axis(i64::MIN, 3).is_err());
        assert!(index(i64::MIN, 3).is_err());
    }
}
