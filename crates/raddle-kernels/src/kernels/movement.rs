//! Elements moved as they are: from a view into a region, by indices, and updates.

use raddle::prelude::*;

use super::scalar::{Compute, Dims, RANK_MAX, Scalar, View, bits, codes, lowest, word};

/// A part of the output and where it comes from.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Region {
    /// First coordinate of the part along each dimension.
    pub begins: [i32; RANK_MAX],
    /// Length of the part along each dimension.
    pub lens: [i32; RANK_MAX],
    /// The source, along the part's coordinates.
    pub source: View,
}

/// Fills a part of the output from a view; the rest stays.
#[kernel(block = 256)]
pub fn place(dims: Dims, region: Region, input: &[u64], mut out: PerThread<u64>) {
    let shift = Scalar::of(region.source.scalar).shift();
    for (index, out) in out.iter_mut() {
        let before = *out;
        *out = word(index, shift, dims.len, |at| {
            let (mut from, mut is_inside) = (region.source.offset, true);
            dims.coordinates(at, |axis, c| {
                let c = c as i32 - region.begins[axis];
                is_inside &= c >= 0 && c < region.lens[axis];
                from += c * region.source.strides[axis];
            });
            match is_inside {
                true => bits(input, shift, from as usize),
                false => before >> ((at & ((8 >> shift) - 1)) * (8 << shift)),
            }
        });
    }
}

/// How tuples of indices choose elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Indexing {
    /// The tuples, along the output's coordinates.
    pub indices: View,
    /// Distance of the numbers of a tuple.
    pub step: i32,
    /// Numbers in a tuple.
    pub depth: u32,
    /// What each number counts, and how far elements are along it.
    pub lens: [i32; RANK_MAX],
    /// Distance of neighbours along what each number counts.
    pub strides: [i32; RANK_MAX],
}

/// An index that may count from the end.
#[inline(always)]
fn wrapped(index: i64, len: i32) -> i32 {
    let index = if index < 0 { index + i64::from(len) } else { index };
    assert!(index >= 0 && index < i64::from(len), "index {index} is out of range for {len}");
    index as i32
}

/// Elements at indices. *Panics* at an index out of range.
#[kernel(block = 256)]
pub fn gather(
    dims: Dims,
    source: View,
    indexing: Indexing,
    input: &[u64],
    indices: &[u64],
    mut out: PerThread<u64>,
) {
    let shift = Scalar::of(source.scalar).shift();
    for (index, out) in out.iter_mut() {
        *out = word(index, shift, dims.len, |at| {
            let mut from = source.at(&dims, at) as i32;
            let tuple = indexing.indices.at(&dims, at) as i32;
            for k in 0..indexing.depth as usize {
                let place = (tuple + k as i32 * indexing.step) as usize;
                let index = i64::load(indices, indexing.indices.scalar, place);
                from += wrapped(index, indexing.lens[k]) * indexing.strides[k];
            }
            bits(input, shift, from as usize)
        });
    }
}

codes! {
    /// What becomes of an element and an update.
    Update { Set, Add, Mul, Max, Min }
}

/// Updates by tuples of indices.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Scatter {
    /// The first tuple that may concern an element, along the output's coordinates.
    pub indexing: Indexing,
    /// The update of that tuple, along the output's coordinates.
    pub updates: View,
    /// Coordinates that have updates at all.
    pub limits: [i32; RANK_MAX],
    /// Tuples that may concern an element.
    pub count: u32,
    /// Distance of such tuples.
    pub index_step: i32,
    /// Distance of their updates.
    pub update_step: i32,
    /// Which dimension each number of a tuple counts.
    pub axes: [u32; RANK_MAX],
    /// Code of what is done.
    pub update: u32,
    /// Whether integers are unsigned.
    pub is_unsigned: u32,
}

/// Each element looks for its updates, in their order, so that the result does not
/// depend on which thread comes first. Indices out of range are no element's.
#[kernel(block = 256, instances(f32, f64, i64))]
pub fn scatter<W: Compute>(
    dims: Dims,
    scatter: Scatter,
    input: &[u64],
    indices: &[u64],
    updates: &[u64],
    mut out: PerThread<u64>,
) {
    let scalar = scatter.updates.scalar;
    let indexing = scatter.indexing;
    for (index, out) in out.iter_mut() {
        *out = word(index, Scalar::of(scalar).shift(), dims.len, |at| {
            let mut value = W::load(input, scalar, at as usize);
            let (mut place, mut is_inside) = ([0i32; RANK_MAX], true);
            dims.coordinates(at, |axis, c| {
                place[axis] = c as i32;
                is_inside &= (c as i32) < scatter.limits[axis];
            });
            if !is_inside {
                return value.store(scalar);
            }
            let tuple = indexing.indices.at(&dims, at) as i32;
            let update = scatter.updates.at(&dims, at) as i32;
            for i in 0..scatter.count as i32 {
                let tuple = tuple + i * scatter.index_step;
                let mut is_here = true;
                for k in 0..indexing.depth as usize {
                    let number = (tuple + k as i32 * indexing.step) as usize;
                    let index = i64::load(indices, indexing.indices.scalar, number);
                    let len = i64::from(indexing.lens[k]);
                    let index = if index < 0 { index + len } else { index };
                    is_here &= index == i64::from(place[scatter.axes[k] as usize]);
                }
                if is_here {
                    let from = (update + i * scatter.update_step) as usize;
                    let update = W::load(updates, scalar, from);
                    let is_unsigned = scatter.is_unsigned != 0;
                    value = match Update::of(scatter.update) {
                        Update::Set => update,
                        Update::Add => value.plus(update),
                        Update::Mul => value.times(update),
                        Update::Max if update.is_more(value, is_unsigned) => update,
                        Update::Min if update.is_less(value, is_unsigned) => update,
                        Update::Max | Update::Min => value,
                    };
                }
            }
            value.store(scalar)
        });
    }
}

/// `value`, or `other` where a coordinate pair is above, on or below a diagonal:
/// `column - row` compared with `diagonal`.
#[kernel(block = 256)]
pub fn triangle(
    dims: Dims,
    source: View,
    diagonal: i32,
    is_upper: u32,
    input: &[u64],
    mut out: PerThread<u64>,
) {
    let shift = Scalar::of(source.scalar).shift();
    let (columns, rows) = (dims.dims[RANK_MAX - 1], dims.dims[RANK_MAX - 2]);
    for (index, out) in out.iter_mut() {
        *out = word(index, shift, dims.len, |at| {
            let (column, row) = ((at % columns) as i32, (at / columns % rows) as i32);
            let is_kept = match is_upper {
                0 => column - row <= diagonal,
                _ => column - row >= diagonal,
            };
            let from = source.at(&dims, at);
            if is_kept { lowest(bits(input, shift, from), shift) } else { 0 }
        });
    }
}
