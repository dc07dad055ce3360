//! Reductions, running sums and order along dimensions. A thread has the elements of a
//! word of the output; floats are summed in double precision.

use raddle::prelude::*;

use super::scalar::{Compute, Dims, Scalar, View, codes, word};

codes! {
    /// How elements are reduced. The places of the first and the last extreme follow.
    Reduction {
        Sum, Mean, Max, Min, Prod, L1, L2, LogSum, LogSumExp, SumSquare,
        ArgMax, ArgMaxLast, ArgMin, ArgMinLast,
    }
}

/// A reduction's numbers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Reduce {
    /// What one output element reduces.
    pub reduced: Dims,
    /// The input along the output's coordinates.
    pub kept: View,
    /// The input along the reduced coordinates.
    pub inner: View,
    /// Code of the reduction.
    pub reduction: u32,
    /// Whether integers are unsigned.
    pub is_unsigned: u32,
    /// Code of the output's elements.
    pub scalar: u32,
}

/// A type that is reduced in.
pub trait Reduced: Compute {
    /// What an element counts as.
    fn term(self, reduction: Reduction, max: Self) -> Self;
    /// What the reduction makes of the sum.
    fn finish(self, reduction: Reduction, count: u32, max: Self) -> Self;
    /// What is smaller, or larger, than all.
    fn extreme(is_max: bool, scalar: u32) -> Self;
    /// The index as an element.
    fn index(index: u32) -> Self;
}

impl Reduced for f64 {
    #[inline(always)]
    fn term(self, reduction: Reduction, max: Self) -> Self {
        match reduction {
            Reduction::L1 => self.abs(),
            Reduction::L2 | Reduction::SumSquare => self * self,
            Reduction::LogSumExp => (self - max).exp(),
            _ => self,
        }
    }

    #[inline(always)]
    fn finish(self, reduction: Reduction, count: u32, max: Self) -> Self {
        match reduction {
            Reduction::Mean => self / f64::from(count),
            Reduction::L2 => self.sqrt(),
            Reduction::LogSum => self.ln(),
            Reduction::LogSumExp => self.ln() + max,
            _ => self,
        }
    }

    #[inline(always)]
    fn extreme(is_max: bool, _: u32) -> Self {
        if is_max { f64::NEG_INFINITY } else { f64::INFINITY }
    }

    #[inline(always)]
    fn index(index: u32) -> Self {
        f64::from(index)
    }
}

impl Reduced for i64 {
    #[inline(always)]
    fn term(self, reduction: Reduction, _: Self) -> Self {
        match reduction {
            Reduction::L1 => self.wrapping_abs(),
            Reduction::SumSquare => self.wrapping_mul(self),
            _ => self,
        }
    }

    #[inline(always)]
    fn finish(self, reduction: Reduction, count: u32, _: Self) -> Self {
        if reduction == Reduction::Mean { self / i64::from(count.max(1)) } else { self }
    }

    #[inline(always)]
    fn extreme(is_max: bool, scalar: u32) -> Self {
        let scalar = Scalar::of(scalar);
        let (low, high) = match scalar {
            Scalar::U8 | Scalar::U16 | Scalar::U32 => (0, (1 << (8 << scalar.shift())) - 1),
            Scalar::U64 => (0, -1),
            Scalar::Bool => (0, 1),
            _ => {
                let high = i64::MAX >> (64 - (8 << scalar.shift()));
                (-high - 1, high)
            }
        };
        if is_max { low } else { high }
    }

    #[inline(always)]
    fn index(index: u32) -> Self {
        i64::from(index)
    }
}

/// Reduces an input. A NaN makes a largest or smallest element NaN.
#[kernel(block = 128, instances(f64, i64))]
pub fn reduce<W: Reduced>(dims: Dims, reduce: Reduce, input: &[u64], mut out: PerThread<u64>) {
    let reduction = Reduction::of(reduce.reduction);
    let is_unsigned = reduce.is_unsigned != 0;
    let count = reduce.reduced.len;
    for (index, out) in out.iter_mut() {
        *out = word(index, Scalar::of(reduce.scalar).shift(), dims.len, |at| {
            let origin = reduce.kept.at(&dims, at);
            let load = |k: u32| {
                let from = origin + reduce.inner.at(&reduce.reduced, k);
                W::load(input, reduce.inner.scalar, from)
            };
            let extreme = |is_max: bool, is_last: bool| {
                let mut best = (W::extreme(is_max, reduce.inner.scalar), 0);
                for k in 0..count {
                    let x = load(k);
                    let (wins, loses) = match is_max {
                        true => (x.is_more(best.0, is_unsigned), best.0.is_more(x, is_unsigned)),
                        false => (x.is_less(best.0, is_unsigned), best.0.is_less(x, is_unsigned)),
                    };
                    if wins || is_last && !loses {
                        best = (x, k);
                    }
                }
                best
            };
            let result = match reduction {
                Reduction::Max => extreme(true, false).0,
                Reduction::Min => extreme(false, false).0,
                Reduction::ArgMax => W::index(extreme(true, false).1),
                Reduction::ArgMaxLast => W::index(extreme(true, true).1),
                Reduction::ArgMin => W::index(extreme(false, false).1),
                Reduction::ArgMinLast => W::index(extreme(false, true).1),
                Reduction::Prod => (0..count).fold(W::ONE, |product, k| product.times(load(k))),
                _ => {
                    // Exponentials of differences from a finite maximum do not overflow.
                    let max = match reduction {
                        Reduction::LogSumExp => {
                            let max = extreme(true, false).0;
                            let is_finite = max > W::extreme(true, reduce.inner.scalar)
                                && max < W::extreme(false, reduce.inner.scalar);
                            if is_finite { max } else { W::ZERO }
                        }
                        _ => W::ZERO,
                    };
                    let sum =
                        (0..count).fold(W::ZERO, |sum, k| sum.plus(load(k).term(reduction, max)));
                    sum.finish(reduction, count, max)
                }
            };
            result.store(reduce.scalar)
        });
    }
}

/// A running sum or product along one dimension.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Scan {
    /// Elements along the dimension.
    pub len: u32,
    /// Distance of neighbours along it.
    pub stride: u32,
    /// Code of the elements.
    pub scalar: u32,
    /// Whether elements are multiplied.
    pub is_product: u32,
    /// Whether an element is no part of its own sum.
    pub is_exclusive: u32,
    /// Whether sums run from the end.
    pub is_reverse: u32,
}

/// Running sums of rows; each thread sums what comes before its element.
#[kernel(block = 128, instances(f64, i64))]
pub fn scan<W: Compute>(elements: u32, scan: Scan, input: &[u64], mut out: PerThread<u64>) {
    for (index, out) in out.iter_mut() {
        *out = word(index, Scalar::of(scan.scalar).shift(), elements, |at| {
            let place = at / scan.stride % scan.len;
            let origin = at - place * scan.stride;
            let own = u32::from(scan.is_exclusive == 0);
            let (first, end) = match scan.is_reverse {
                0 => (0, place + own),
                _ => (place + 1 - own, scan.len),
            };
            let load = |k| W::load(input, scan.scalar, (origin + k * scan.stride) as usize);
            let sum = match scan.is_product {
                0 => (first..end).fold(W::ZERO, |sum, k| sum.plus(load(k))),
                _ => (first..end).fold(W::ONE, |product, k| product.times(load(k))),
            };
            sum.store(scan.scalar)
        });
    }
}

/// Order along one dimension.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Order {
    /// Elements along the dimension.
    pub len: u32,
    /// Distance of neighbours along it.
    pub stride: u32,
    /// Code of the elements.
    pub scalar: u32,
    /// Whether the largest come first.
    pub is_descending: u32,
    /// Whether integers are unsigned.
    pub is_unsigned: u32,
}

/// How many elements of its row come before each element; of equal ones the first does.
#[kernel(block = 128, instances(f64, i64))]
pub fn rank<W: Compute>(elements: u32, order: Order, input: &[u64], mut out: PerThread<u64>) {
    for (index, out) in out.iter_mut() {
        let at = index as u32;
        if at < elements {
            let place = at / order.stride % order.len;
            let origin = at - place * order.stride;
            let load = |k| W::load(input, order.scalar, (origin + k * order.stride) as usize);
            let (x, is_unsigned) = (load(place), order.is_unsigned != 0);
            let is_before = |a: W, b: W| match order.is_descending {
                0 => a.is_less(b, is_unsigned),
                _ => a.is_more(b, is_unsigned),
            };
            let mut rank = 0;
            for k in 0..order.len {
                let other = load(k);
                let is_equal = !is_before(x, other) && !is_before(other, x);
                rank += u64::from(is_before(other, x) || is_equal && k < place);
            }
            *out = rank;
        }
    }
}

/// The places of the elements with the first `count` ranks: `[row.., count, ..inner]`.
#[kernel(block = 128)]
pub fn places(count: u32, order: Order, ranks: &[u64], mut out: PerThread<u64>) {
    for (index, out) in out.iter_mut() {
        let at = index as u32;
        let (inner, wanted) = (at % order.stride, at / order.stride % count);
        let origin = at / order.stride / count * order.stride * order.len + inner;
        for k in 0..order.len {
            if ranks[(origin + k * order.stride) as usize] == u64::from(wanted) {
                *out = u64::from(k);
            }
        }
    }
}
