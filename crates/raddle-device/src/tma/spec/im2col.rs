//! Maps for im2col loads: which pixels of a batch of images a load walks through.
//!
//! A load of an ordinary map takes a box of the tensor. A load of an im2col map takes
//! a column of pixels, each with some of its channels: the operand of a convolution
//! that is computed as a matrix product. Along each spatial axis the pixels are those
//! at which a filter's first element may stand, and the load adds the place of one
//! element within the filter.
//!
//! *Source*: PTX ISA, "Tensors: im2col mode"; CUDA driver API,
//! `cuTensorMapEncodeIm2col`.

use super::{BOX_BYTES_MAX, BOX_DIM_MAX, ELEMENT_STRIDE_MAX, TensorElement, TensorMapSpec};
use crate::tma::TensorMapError;

/// Most pixels that one im2col load takes.
pub const IM2COL_PIXELS_MAX: u32 = 1024;
/// Most spatial axes of an im2col map.
pub const IM2COL_AXES_MAX: usize = 3;

/// One spatial axis of a batch of images, as an im2col load walks it: at coordinates
/// `lower`, `lower + stride`, … up to `dim - 1 + upper`.
///
/// These are the places where a filter's first element stands; both corners count
/// from the image's own, and are negative where the filter begins outside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Im2colAxis {
    /// The first coordinate.
    pub lower: i32,
    /// What the last coordinate has above the image's last.
    pub upper: i32,
    /// From one coordinate to the next, 1 to 8.
    pub stride: u32,
}

/// A convolution's filter along one spatial axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterAxis {
    /// Elements of the filter.
    pub len: u32,
    /// Pixels from one position of the filter to the next.
    pub stride: u32,
    /// Pixels from one element of the filter to the next.
    pub dilation: u32,
    /// Pixels of padding before and behind the image.
    pub padding: [u32; 2],
}

impl From<FilterAxis> for Im2colAxis {
    fn from(filter: FilterAxis) -> Self {
        let [before, behind] = filter.padding.map(|pixels| pixels as i32);
        let reach = filter.len.saturating_sub(1).saturating_mul(filter.dilation) as i32;
        Self { lower: -before, upper: behind - reach, stride: filter.stride }
    }
}

impl Im2colAxis {
    /// How many coordinates the axis has in images with `dim` pixels along it: the
    /// convolution's result along this axis.
    ///
    /// *Panics* if the stride is zero.
    #[must_use]
    pub fn positions(self, dim: u64) -> u64 {
        let span = dim as i64 + i64::from(self.upper) - i64::from(self.lower);
        if span <= 0 { 0 } else { (span as u64).div_ceil(self.stride.into()) }
    }
}

/// What an im2col map says beyond a tiled one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Corners {
    pub lower: [i32; IM2COL_AXES_MAX],
    pub upper: [i32; IM2COL_AXES_MAX],
}

impl TensorMapSpec {
    /// A map of a batch of images for im2col loads of `pixels` pixels with `channels`
    /// channels each.
    ///
    /// *Shapes*: `dims` are channels, one to three spatial axes from the innermost
    /// outwards (width, height, depth), and the images of the batch;
    /// `strides_bytes` is as for [`tiled`](Self::tiled); `axes` has the spatial axes
    /// in the order of `dims`. A load leaves `pixels` rows of `channels` elements.
    ///
    /// ## Errors
    ///
    /// [`TensorMapError`] names the rule that is broken.
    pub fn im2col(
        element: TensorElement,
        dims: &[u64],
        strides_bytes: &[u64],
        axes: &[Im2colAxis],
        channels: u32,
        pixels: u32,
    ) -> Result<Self, TensorMapError> {
        let rank = dims.len();
        if !(3..=IM2COL_AXES_MAX + 2).contains(&rank) || axes.len() + 2 != rank {
            return Err(TensorMapError::Im2colRank { rank, axes: axes.len() });
        }
        if channels == 0 || channels > BOX_DIM_MAX {
            return Err(TensorMapError::Box { axis: 0, found: channels });
        }
        if pixels == 0 || pixels > IM2COL_PIXELS_MAX {
            return Err(TensorMapError::Pixels { found: pixels });
        }
        let mut spec = Self::of_tensor(element, dims, strides_bytes)?;
        let mut corners = Corners { lower: [0; 3], upper: [0; 3] };
        for (i, axis) in axes.iter().enumerate() {
            check_axis(rank, i + 1, *axis, dims[i + 1])?;
            (corners.lower[i], corners.upper[i]) = (axis.lower, axis.upper);
            spec.element_strides[i + 1] = axis.stride;
        }
        (spec.box_dims[0], spec.box_dims[1]) = (channels, pixels);
        spec.corners = Some(corners);
        let bytes = u64::from(channels * pixels * element.bytes());
        if bytes > BOX_BYTES_MAX {
            return Err(TensorMapError::BoxBytes { found: bytes });
        }
        spec.check_box_width()?;
        Ok(spec)
    }

    /// [`im2col`](Self::im2col) for images that lie densely, one channel behind the
    /// other: NWC, NHWC or NDHWC.
    ///
    /// ## Errors
    ///
    /// [`TensorMapError`] names the rule that is broken.
    pub fn im2col_dense(
        element: TensorElement,
        dims: &[u64],
        axes: &[Im2colAxis],
        channels: u32,
        pixels: u32,
    ) -> Result<Self, TensorMapError> {
        let strides = super::dense_strides(element, dims);
        let count = dims.len().clamp(1, 5) - 1;
        Self::im2col(element, dims, &strides[..count], axes, channels, pixels)
    }

    /// Whether the map is for im2col loads; otherwise it is for those of boxes.
    #[must_use]
    pub fn is_im2col(&self) -> bool {
        self.corners.is_some()
    }

    /// The lower and the upper corner of an im2col map's spatial axes.
    #[must_use]
    pub fn im2col_corners(&self) -> Option<(&[i32], &[i32])> {
        let spatial = self.rank().saturating_sub(2);
        self.corners.as_ref().map(|c| (&c.lower[..spatial], &c.upper[..spatial]))
    }
}

/// Bits in which an im2col map of a rank keeps a corner, and a load an offset.
pub(crate) const fn corner_bits(rank: usize) -> u32 {
    match rank {
        3 => 16,
        4 => 8,
        _ => 5,
    }
}

fn check_axis(rank: usize, axis: usize, found: Im2colAxis, dim: u64) -> Result<(), TensorMapError> {
    let limit = 1 << (corner_bits(rank) - 1);
    if let Some(corner) =
        [found.lower, found.upper].into_iter().find(|corner| !(-limit..limit).contains(corner))
    {
        return Err(TensorMapError::Corner { axis, found: corner, limit });
    }
    if found.stride == 0 || found.stride > ELEMENT_STRIDE_MAX {
        return Err(TensorMapError::ElementStride { axis, found: found.stride });
    }
    if found.positions(dim) == 0 {
        return Err(TensorMapError::NoPositions { axis });
    }
    Ok(())
}

#[cfg(all(test, not(raddle_device)))]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::matrix::Swizzle;

    const SAME: FilterAxis = FilterAxis { len: 3, stride: 1, dilation: 1, padding: [1, 1] };

    #[test]
    fn a_filter_has_as_many_positions_as_its_convolution_has_results() {
        for (filter, dim, results) in [
            (SAME, 56, 56),
            (FilterAxis { stride: 2, ..SAME }, 56, 28),
            (FilterAxis { stride: 2, ..SAME }, 57, 29),
            (FilterAxis { len: 7, stride: 2, padding: [3, 3], ..SAME }, 224, 112),
            (FilterAxis { dilation: 2, padding: [2, 2], ..SAME }, 14, 14),
            (FilterAxis { len: 1, stride: 2, padding: [0, 0], ..SAME }, 28, 14),
            (FilterAxis { padding: [0, 0], ..SAME }, 2, 0),
        ] {
            assert_eq!(Im2colAxis::from(filter).positions(dim), results, "{filter:?} on {dim}");
        }
    }

    #[test]
    fn a_convolution_of_images() {
        let axes = [SAME.into(), FilterAxis { stride: 2, ..SAME }.into()];
        let spec =
            TensorMapSpec::im2col_dense(TensorElement::F16, &[64, 56, 28, 8], &axes, 64, 128)
                .and_then(|spec| spec.with_swizzle(Swizzle::Span128))
                .expect("keeps the rules");
        assert_eq!(spec.strides_bytes(), [128, 128 * 56, 128 * 56 * 28]);
        assert_eq!(spec.box_dims(), [64, 128]);
        assert_eq!(spec.element_strides(), [1, 1, 2, 1]);
        assert_eq!(spec.im2col_corners(), Some((&[-1, -1][..], &[-1, -1][..])));
        // A stride takes no pixels away.
        assert_eq!((spec.box_bytes(), spec.shared_bytes()), (16384, 16384));
    }

    #[test]
    fn broken_rules_are_named() {
        let same = Im2colAxis::from(SAME);
        let spec = |dims: &[u64], axes: &[Im2colAxis], channels, pixels| {
            TensorMapSpec::im2col_dense(TensorElement::F16, dims, axes, channels, pixels)
                .expect_err("a broken rule")
                .to_string()
        };
        let images = [64, 8, 8, 2];
        assert_eq!(
            spec(&[64, 8], &[], 64, 64),
            "tensor map: im2col takes 3 to 5 dimensions with a spatial axis for each but two, found 2 and 0"
        );
        assert_eq!(
            spec(&images, &[same], 64, 64),
            "tensor map: im2col takes 3 to 5 dimensions with a spatial axis for each but two, found 4 and 1"
        );
        assert_eq!(
            spec(&images, &[same; 2], 512, 64),
            "tensor map: expected a box of 1 to 256 elements along axis 0, found 512"
        );
        assert_eq!(
            spec(&images, &[same; 2], 64, 2048),
            "tensor map: expected im2col loads of 1 to 1024 pixels, found 2048"
        );
        assert_eq!(
            spec(&images, &[same, Im2colAxis { lower: -129, ..same }], 64, 64),
            "tensor map: expected a corner from -128 to 127 along axis 2, found -129"
        );
        assert_eq!(
            spec(&images, &[Im2colAxis { stride: 9, ..same }, same], 64, 64),
            "tensor map: expected an element stride of 1 to 8 along axis 1, found 9"
        );
        assert_eq!(
            spec(&images, &[same, Im2colAxis { upper: -9, ..same }], 64, 64),
            "tensor map: the corners of axis 2 leave no position for a filter"
        );
        assert_eq!(
            spec(&images, &[same; 2], 4, 64),
            "tensor map: expected a box whose rows are a multiple of 16 bytes, found 8"
        );
    }
}
