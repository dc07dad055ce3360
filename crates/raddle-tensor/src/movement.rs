//! Copies that rearrange elements and never look at them: one strided copy and
//! one copy by index, from which transposition, slicing, tiling, gathering and
//! the like are made for every element type at once.

use crate::shape::{element_count, strides};
use crate::{Data, Result, Tensor, parallel, with_data};

/// A walk over elements: where it starts and how far each step of each
/// dimension leads. Strides may be 0 or negative.
#[derive(Clone, PartialEq, Debug)]
pub struct View {
    /// Index of the first element.
    pub offset: isize,
    /// Lengths of the dimensions.
    pub shape: Vec<usize>,
    /// Steps in elements, one for each dimension.
    pub strides: Vec<isize>,
}

impl View {
    /// The view of all elements of a contiguous tensor.
    pub fn of(shape: &[usize]) -> Self {
        let strides = strides(shape).into_iter().map(|stride| stride as isize).collect();
        Self { offset: 0, shape: shape.to_vec(), strides }
    }

    /// Outer dimensions, inner length and inner stride, after merging
    /// dimensions that lie behind each other.
    fn rows(&self) -> (Vec<(usize, isize)>, usize, isize) {
        let mut merged: Vec<(usize, isize)> = Vec::new();
        for (&dim, &stride) in self.shape.iter().zip(&self.strides).rev() {
            match merged.last_mut() {
                _ if dim == 1 => {}
                Some((len, inner)) if stride == *inner * *len as isize => *len *= dim,
                _ => merged.push((dim, stride)),
            }
        }
        if merged.is_empty() {
            return (merged, 1, 1);
        }
        let (row_len, step) = merged.remove(0);
        (merged, row_len, step)
    }
}

/// A contiguous tensor of the elements that a view of `source` walks over. All
/// of them must lie within the source.
///
/// ## Errors
/// [`crate::Error::TooLarge`].
pub fn gather_view(source: &Tensor, view: &View) -> Result<Tensor> {
    let len = element_count(&view.shape, source.dtype())?;
    let data = with_data!(source.data(), elements => Data::new(copy_view(elements, view, len)));
    Tensor::from_data(&view.shape, source.dtype(), data)
}

fn copy_view<T: Clone + Default + Send + Sync>(source: &[T], view: &View, len: usize) -> Vec<T> {
    let mut out = vec![T::default(); len];
    let (outer, row_len, step) = view.rows();
    parallel::rows(&mut out, row_len, &|row, column, piece| {
        let mut rest = row;
        let mut start = view.offset + column as isize * step;
        for &(dim, stride) in &outer {
            start += (rest % dim) as isize * stride;
            rest /= dim;
        }
        if step == 1 {
            piece.clone_from_slice(&source[start as usize..start as usize + piece.len()]);
        } else {
            for (at, element) in piece.iter_mut().enumerate() {
                *element = source[(start + at as isize * step) as usize].clone();
            }
        }
    });
    out
}

/// A tensor of `shape` whose elements are `source[indices[i]]`, or the one
/// element of `fill` (of the same type) where the index is `None`.
///
/// ## Errors
/// [`crate::Error::ElementCount`], [`crate::Error::TooLarge`].
pub fn gather_indices(
    source: &Tensor,
    shape: &[usize],
    indices: &[Option<usize>],
    fill: Option<&Tensor>,
) -> Result<Tensor> {
    fn copy<T: crate::Element>(
        source: &[T],
        indices: &[Option<usize>],
        fill: Option<&Tensor>,
    ) -> Result<Data> {
        let fill = match fill {
            Some(tensor) => tensor.elements::<T>()?.first().cloned().unwrap_or_default(),
            None => T::default(),
        };
        let element = |at: &Option<usize>| at.map_or_else(|| fill.clone(), |at| source[at].clone());
        Ok(Data::new(indices.iter().map(element).collect::<Vec<T>>()))
    }
    let data = with_data!(source.data(), elements => copy(elements, indices, fill)?);
    Tensor::from_data(shape, source.dtype(), data)
}

/// A tensor made of runs of `run_len` elements, the first beginning at
/// `starts[0] * run_len` of the source and so on.
///
/// ## Errors
/// [`crate::Error::ElementCount`], [`crate::Error::TooLarge`].
pub fn gather_runs(
    source: &Tensor,
    shape: &[usize],
    starts: &[usize],
    run_len: usize,
) -> Result<Tensor> {
    fn copy<T: Clone>(source: &[T], starts: &[usize], run_len: usize) -> Vec<T> {
        let mut out = Vec::with_capacity(starts.len() * run_len);
        for start in starts {
            out.extend_from_slice(&source[start * run_len..(start + 1) * run_len]);
        }
        out
    }
    element_count(shape, source.dtype())?;
    let data = with_data!(source.data(), elements => Data::new(copy(elements, starts, run_len)));
    Tensor::from_data(shape, source.dtype(), data)
}

/// `source` with dimensions in the order `order`.
///
/// ## Errors
/// [`crate::Error::TooLarge`].
pub fn transpose(source: &Tensor, order: &[usize]) -> Result<Tensor> {
    let whole = View::of(source.shape());
    let shape: Vec<usize> = order.iter().map(|&axis| whole.shape[axis]).collect();
    let strides = order.iter().map(|&axis| whole.strides[axis]).collect();
    let moves: Vec<_> = order.iter().filter(|&&axis| source.shape()[axis] != 1).collect();
    if moves.is_sorted() {
        return source.clone().reshape(&shape);
    }
    gather_view(source, &View { offset: 0, shape, strides })
}

/// `source` repeated along dimensions of length 1 or missing on the left.
///
/// ## Errors
/// [`crate::Error::TooLarge`]; `source` must broadcast to `shape`.
pub fn expand(source: &Tensor, shape: &[usize]) -> Result<Tensor> {
    if source.shape() == shape {
        return Ok(source.clone());
    }
    let strides = crate::shape::broadcast_strides(source.shape(), shape);
    let strides = strides.into_iter().map(|stride| stride as isize).collect();
    gather_view(source, &View { offset: 0, shape: shape.to_vec(), strides })
}

/// Tensors of one type and of shapes that differ along `axis` only, one after
/// the other along it.
///
/// ## Errors
/// [`crate::Error::UnsupportedType`] if types differ, [`crate::Error::ShapeMismatch`].
pub fn concat(parts: &[&Tensor], axis: usize) -> Result<Tensor> {
    fn join<T: crate::Element>(
        _: &[T],
        parts: &[&Tensor],
        outer: usize,
        inner: &[usize],
    ) -> Result<Data> {
        let sources = parts.iter().map(|part| part.elements::<T>()).collect::<Result<Vec<_>>>()?;
        let mut out = Vec::with_capacity(sources.iter().map(|source| source.len()).sum());
        for row in 0..outer {
            for (source, &len) in sources.iter().zip(inner) {
                out.extend_from_slice(&source[row * len..(row + 1) * len]);
            }
        }
        Ok(Data::new(out))
    }
    let first = parts.first().ok_or_else(|| crate::Error::invalid("nothing to concatenate"))?;
    let mut shape = first.shape().to_vec();
    shape[axis] = 0;
    for part in parts {
        let fits = part.rank() == shape.len()
            && (0..shape.len()).all(|at| at == axis || shape[at] == part.shape()[at]);
        if !fits || part.dtype() != first.dtype() {
            return Err(crate::Error::ShapeMismatch {
                left: first.shape().to_vec(),
                right: part.shape().to_vec(),
                why: "concatenated tensors differ in type or off the axis",
            });
        }
        shape[axis] += part.shape()[axis];
    }
    element_count(&shape, first.dtype())?;
    let outer = shape[..axis].iter().product();
    let inner: Vec<usize> =
        parts.iter().map(|part| part.shape()[axis..].iter().product()).collect();
    let data = with_data!(first.data(), elements => join(elements, parts, outer, &inner)?);
    Tensor::from_data(&shape, first.dtype(), data)
}

/// The part of `source` from `start`, `len` long, along `axis`; both must be in range.
///
/// ## Errors
/// [`crate::Error::TooLarge`].
pub fn slice(source: &Tensor, axis: usize, start: usize, len: usize) -> Result<Tensor> {
    let mut view = View::of(source.shape());
    view.offset = start as isize * view.strides[axis];
    view.shape[axis] = len;
    gather_view(source, &view)
}
