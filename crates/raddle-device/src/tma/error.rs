//! The rules of tensor maps, as the errors of those who break them.

use core::fmt;

use super::spec::{
    BOX_BYTES_MAX, BOX_DIM_MAX, ELEMENT_STRIDE_MAX, IM2COL_PIXELS_MAX, RANK_MAX, TensorElement,
};
use crate::matrix::Swizzle;

/// A rule of tensor maps that a `TensorMapSpec` breaks. All are mistakes of
/// the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TensorMapError {
    /// No axes, or more than five: merge or split axes.
    Rank {
        /// Number of dimensions given.
        found: usize,
    },
    /// Dimensions, strides and box disagree about the rank: give one stride fewer
    /// than dimensions, and one box length and element stride for each dimension.
    Lengths {
        /// Number of dimensions given.
        rank: usize,
        /// Number of strides given.
        strides: usize,
        /// Number of box lengths given.
        box_axes: usize,
    },
    /// The tensor does not begin at a multiple of 16 bytes.
    Address {
        /// The address.
        found: u64,
    },
    /// A dimension of zero or above 2^32.
    Dimension {
        /// The axis, 0 the contiguous one.
        axis: usize,
        /// The dimension.
        found: u64,
    },
    /// A stride that is not a multiple of 16 bytes or not below 2^40: pad the rows.
    Stride {
        /// The axis, 0 the contiguous one.
        axis: usize,
        /// The stride in bytes.
        found: u64,
    },
    /// A box length of zero or above 256.
    Box {
        /// The axis, 0 the contiguous one.
        axis: usize,
        /// The length.
        found: u32,
    },
    /// The box is not a multiple of 16 bytes wide along axis 0, or wider than its
    /// swizzle's span: split it into several loads.
    BoxWidth {
        /// Bytes of the box along axis 0.
        bytes: u32,
        /// The swizzle.
        swizzle: Swizzle,
    },
    /// An im2col map of fewer than three or more than five dimensions, or without a
    /// spatial axis for each but channels and images.
    Im2colRank {
        /// Number of dimensions given.
        rank: usize,
        /// Number of spatial axes given.
        axes: usize,
    },
    /// An im2col load of no pixels, or of more than 1024: split it into several loads.
    Pixels {
        /// The pixels.
        found: u32,
    },
    /// A corner of an im2col map that does not fit in its bits: 16 for one spatial
    /// axis, 8 each for two, 5 each for three.
    Corner {
        /// The axis, 0 the contiguous one.
        axis: usize,
        /// The corner.
        found: i32,
        /// What it must be below, and its negation at most.
        limit: i32,
    },
    /// The filter is larger than image and padding together.
    NoPositions {
        /// The axis, 0 the contiguous one.
        axis: usize,
    },
    /// The box is larger than shared memory.
    BoxBytes {
        /// Bytes of the box.
        found: u64,
    },
    /// An element stride outside of 1 to 8.
    ElementStride {
        /// The axis, 0 the contiguous one.
        axis: usize,
        /// The stride in elements.
        found: u32,
    },
    /// A NaN fill for a type that has no NaN.
    NanFill {
        /// The element type.
        element: TensorElement,
    },
}

impl fmt::Display for TensorMapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tensor map: ")?;
        match *self {
            Self::Rank { found } => write!(f, "expected 1 to {RANK_MAX} axes, found {found}"),
            Self::Lengths { rank, strides, box_axes } => write!(
                f,
                "for {rank} dimensions expected {} strides and {rank} box lengths, found {strides} and {box_axes}",
                rank.saturating_sub(1)
            ),
            Self::Address { found } => {
                write!(f, "expected an address that is a multiple of 16, found {found:#x}")
            }
            Self::Dimension { axis, found } => {
                write!(f, "expected 1 to 2^32 elements along axis {axis}, found {found}")
            }
            Self::Stride { axis, found } => write!(
                f,
                "expected a stride of axis {axis} that is a multiple of 16 bytes below 2^40, found {found}"
            ),
            Self::Box { axis, found } => write!(
                f,
                "expected a box of 1 to {BOX_DIM_MAX} elements along axis {axis}, found {found}"
            ),
            Self::BoxWidth { bytes, swizzle: Swizzle::None } => {
                write!(f, "expected a box whose rows are a multiple of 16 bytes, found {bytes}")
            }
            Self::BoxWidth { bytes, swizzle } => write!(
                f,
                "expected a box whose rows are a multiple of 16 bytes and at most the swizzle's {}, found {bytes}",
                swizzle.span_bytes()
            ),
            Self::Im2colRank { rank, axes } => write!(
                f,
                "im2col takes 3 to 5 dimensions with a spatial axis for each but two, found {rank} and {axes}"
            ),
            Self::Pixels { found } => {
                write!(f, "expected im2col loads of 1 to {IM2COL_PIXELS_MAX} pixels, found {found}")
            }
            Self::Corner { axis, found, limit } => write!(
                f,
                "expected a corner from -{limit} to {} along axis {axis}, found {found}",
                limit - 1
            ),
            Self::NoPositions { axis } => {
                write!(f, "the corners of axis {axis} leave no position for a filter")
            }
            Self::BoxBytes { found } => {
                write!(f, "expected a box of at most {BOX_BYTES_MAX} bytes, found {found}")
            }
            Self::ElementStride { axis, found } => write!(
                f,
                "expected an element stride of 1 to {ELEMENT_STRIDE_MAX} along axis {axis}, found {found}"
            ),
            Self::NanFill { element } => {
                write!(f, "expected a float type for a NaN fill, found {element:?}")
            }
        }
    }
}

impl core::error::Error for TensorMapError {}
