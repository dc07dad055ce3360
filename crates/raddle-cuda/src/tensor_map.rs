//! Tensor maps: how the copy engine of compute capability 9.0 sees a tensor.
//!
//! *Source*: CUDA driver API, "Tensor Map Object Management"; PTX ISA,
//! "Tensor maps".

use std::ffi::c_void;

use crate::context::Context;
use crate::error::{Error, Result, check};
use crate::sys::CuTensorMap;

/// An encoded tensor map, to be passed to a kernel by value.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub struct TensorMap {
    map: CuTensorMap,
}

/// Element type of a tensor map; the numbers are `CUtensorMapDataType`'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum TensorElement {
    /// 8-bit unsigned integers, and all 8-bit floats.
    U8 = 0,
    /// 16-bit unsigned integers.
    U16 = 1,
    /// 32-bit unsigned integers.
    U32 = 2,
    /// 32-bit signed integers.
    I32 = 3,
    /// 64-bit unsigned integers.
    U64 = 4,
    /// 64-bit signed integers.
    I64 = 5,
    /// IEEE half precision.
    F16 = 6,
    /// IEEE single precision.
    F32 = 7,
    /// IEEE double precision.
    F64 = 8,
    /// bfloat16.
    Bf16 = 9,
    /// Single precision, subnormals flushed to zero.
    F32Ftz = 10,
    /// TF32.
    Tf32 = 11,
    /// TF32, subnormals flushed to zero.
    Tf32Ftz = 12,
}

impl TensorElement {
    /// Bytes of an element.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::I32 | Self::F32 | Self::F32Ftz | Self::Tf32 | Self::Tf32Ftz => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

/// How the rows of a box are permuted in shared memory, in bytes of the pattern.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum Swizzle {
    /// Row after row.
    #[default]
    None = 0,
    /// Over 32 bytes.
    Bytes32 = 1,
    /// Over 64 bytes.
    Bytes64 = 2,
    /// Over 128 bytes.
    Bytes128 = 3,
}

/// How much of L2 a load of the map fills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum L2Promotion {
    /// What the load asks for.
    #[default]
    None = 0,
    /// 64 bytes.
    Bytes64 = 1,
    /// 128 bytes.
    Bytes128 = 2,
    /// 256 bytes.
    Bytes256 = 3,
}

/// What one copy moves.
#[derive(Clone, Copy, Debug)]
pub enum TensorWindow<'a> {
    /// A box with this many elements along each dimension, at most 256.
    Box(&'a [u32]),
    /// A column of pixels out of a batch of images, whose dimensions are channels, one
    /// to three spatial ones from width on, and images.
    Im2col {
        /// The first coordinate of a pixel along each spatial dimension.
        lower: &'a [i32],
        /// What the last coordinate has above the image's last.
        upper: &'a [i32],
        /// Channels of each pixel, at most 256.
        channels: u32,
        /// Number of pixels, at most 1024.
        pixels: u32,
    },
}

/// A tensor of up to five dimensions in device memory, and what one copy moves of it.
/// Dimensions run from the contiguous one outwards.
#[derive(Clone, Copy, Debug)]
pub struct TensorMapDescription<'a> {
    /// Element type.
    pub element: TensorElement,
    /// Device address of the first element, aligned to 16 bytes.
    pub address: u64,
    /// Elements along each dimension.
    pub dims: &'a [u64],
    /// Bytes from one index to the next along each dimension but the first,
    /// multiples of 16.
    pub strides_bytes: &'a [u64],
    /// What one copy moves.
    pub window: TensorWindow<'a>,
    /// Every how many elements one is moved, along each dimension, at most 8; all ones
    /// as a rule.
    pub element_strides: &'a [u32],
    /// Permutation of the box in shared memory.
    pub swizzle: Swizzle,
    /// How much of L2 a load fills.
    pub l2_promotion: L2Promotion,
    /// Whether elements outside the tensor read as NaN instead of zero.
    pub fills_with_nan: bool,
}

impl TensorMap {
    /// Encodes a description.
    ///
    /// # Errors
    ///
    /// [`Error::TensorMap`] for a description that no device takes,
    /// [`Error::FunctionMissing`] below CUDA 12.0, or a failed driver call.
    pub fn encode(context: &Context, description: &TensorMapDescription<'_>) -> Result<Self> {
        description.validate().map_err(|reason| Error::TensorMap { reason })?;
        let api = context.enter()?;
        let missing = |symbol| Error::FunctionMissing { symbol, since: (12, 0) };
        let mut map = CuTensorMap { opaque: [0; 16] };
        let rank = u32::try_from(description.dims.len()).expect("at most five dimensions");
        let tensor = std::ptr::with_exposed_provenance_mut::<c_void>(description.address as usize);
        match description.window {
            TensorWindow::Box(box_dims) => {
                let encode =
                    api.tensor_map_encode_tiled.ok_or_else(|| missing("cuTensorMapEncodeTiled"))?;
                // SAFETY: the lengths were checked against the rank; the driver reads
                // the arrays and writes the map, and does not touch the tensor.
                let status = unsafe {
                    encode(
                        &raw mut map,
                        description.element as u32,
                        rank,
                        tensor,
                        description.dims.as_ptr(),
                        description.strides_bytes.as_ptr(),
                        box_dims.as_ptr(),
                        description.element_strides.as_ptr(),
                        0,
                        description.swizzle as u32,
                        description.l2_promotion as u32,
                        u32::from(description.fills_with_nan),
                    )
                };
                check("cuTensorMapEncodeTiled", status)?;
            }
            TensorWindow::Im2col { lower, upper, channels, pixels } => {
                let encode = api
                    .tensor_map_encode_im2col
                    .ok_or_else(|| missing("cuTensorMapEncodeIm2col"))?;
                // SAFETY: as above.
                let status = unsafe {
                    encode(
                        &raw mut map,
                        description.element as u32,
                        rank,
                        tensor,
                        description.dims.as_ptr(),
                        description.strides_bytes.as_ptr(),
                        lower.as_ptr(),
                        upper.as_ptr(),
                        channels,
                        pixels,
                        description.element_strides.as_ptr(),
                        0,
                        description.swizzle as u32,
                        description.l2_promotion as u32,
                        u32::from(description.fills_with_nan),
                    )
                };
                check("cuTensorMapEncodeIm2col", status)?;
            }
        }
        Ok(Self { map })
    }

    /// The encoded map, as it travels in a parameter block.
    #[must_use]
    pub fn words(&self) -> [u64; 16] {
        self.map.opaque
    }
}

impl TensorMapDescription<'_> {
    /// The rules of the driver's documentation that need no device.
    fn validate(&self) -> Result<(), &'static str> {
        let rank = self.dims.len();
        if rank == 0 || rank > 5 {
            return Err("a tensor map has 1 to 5 dimensions");
        }
        if self.strides_bytes.len() + 1 != rank {
            return Err("strides_bytes has one entry for each dimension but the first");
        }
        if self.element_strides.len() != rank {
            return Err("element_strides has one entry for each dimension");
        }
        if self.element_strides.iter().any(|&stride| stride == 0 || stride > 8) {
            return Err("each element stride is 1 to 8");
        }
        if self.address == 0 || !self.address.is_multiple_of(16) {
            return Err("the address is aligned to 16 bytes");
        }
        if self.dims.iter().any(|&dim| dim == 0 || dim > 1 << 32) {
            return Err("each dimension has 1 to 2^32 elements");
        }
        if self.strides_bytes.iter().any(|&stride| stride % 16 != 0 || stride >= 1 << 40) {
            return Err("each stride is a multiple of 16 bytes below 2^40");
        }
        let row_bytes = u64::from(self.validate_window()?) * self.element.bytes();
        if !row_bytes.is_multiple_of(16) {
            return Err("a row of the box is a multiple of 16 bytes");
        }
        let pattern_bytes = match self.swizzle {
            Swizzle::None => return Ok(()),
            Swizzle::Bytes32 => 32,
            Swizzle::Bytes64 => 64,
            Swizzle::Bytes128 => 128,
        };
        if row_bytes > pattern_bytes {
            return Err("a row of a swizzled box is not longer than the pattern");
        }
        Ok(())
    }

    /// The rules of the window; gives the elements of a row in shared memory.
    fn validate_window(&self) -> Result<u32, &'static str> {
        let rank = self.dims.len();
        match self.window {
            TensorWindow::Box(dims) if dims.len() != rank => {
                Err("the box has one entry for each dimension")
            }
            TensorWindow::Box(dims) if dims.iter().any(|&dim| dim == 0 || dim > 256) => {
                Err("each dimension of the box has 1 to 256 elements")
            }
            TensorWindow::Box(dims) => Ok(dims[0]),
            TensorWindow::Im2col { lower, upper, .. }
                if !(3..=5).contains(&rank)
                    || lower.len() + 2 != rank
                    || upper.len() + 2 != rank =>
            {
                Err("an im2col map has 3 to 5 dimensions, and corners for each but two")
            }
            TensorWindow::Im2col { channels, .. } if channels == 0 || channels > 256 => {
                Err("an im2col map has 1 to 256 channels per pixel")
            }
            TensorWindow::Im2col { pixels, .. } if pixels == 0 || pixels > 1024 => {
                Err("an im2col map has 1 to 1024 pixels per column")
            }
            TensorWindow::Im2col { lower, upper, channels, .. } => {
                // Corners share 16 bits: one of 16, two of 8, three of 5.
                let limit = [1 << 15, 1 << 7, 1 << 4][rank - 3];
                let corners = || lower.iter().chain(upper);
                if corners().any(|corner| !(-limit..limit).contains(corner)) {
                    return Err("the corners of an im2col map fit in 16 bits together");
                }
                let is_empty =
                    |i: usize| self.dims[i + 1] as i64 + i64::from(upper[i]) <= i64::from(lower[i]);
                if (0..lower.len()).any(is_empty) {
                    return Err("the corners of an im2col map leave a pixel between them");
                }
                Ok(channels)
            }
        }
    }
}

impl std::fmt::Debug for TensorMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TensorMap({:x?})", self.map.opaque)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> TensorMapDescription<'static> {
        TensorMapDescription {
            element: TensorElement::F16,
            address: 0x7000_0000,
            dims: &[1024, 512],
            strides_bytes: &[2048],
            window: TensorWindow::Box(&[64, 128]),
            element_strides: &[1, 1],
            swizzle: Swizzle::Bytes128,
            l2_promotion: L2Promotion::Bytes128,
            fills_with_nan: false,
        }
    }

    #[test]
    fn descriptions_are_checked_before_the_driver_sees_them() {
        assert_eq!(matrix().validate(), Ok(()));
        let cases = [
            (TensorMapDescription { dims: &[], ..matrix() }, "1 to 5 dimensions"),
            (TensorMapDescription { strides_bytes: &[], ..matrix() }, "strides_bytes"),
            (TensorMapDescription { strides_bytes: &[2050], ..matrix() }, "multiple of 16"),
            (
                TensorMapDescription { window: TensorWindow::Box(&[64, 512]), ..matrix() },
                "1 to 256",
            ),
            (TensorMapDescription { window: TensorWindow::Box(&[128, 64]), ..matrix() }, "pattern"),
            (
                TensorMapDescription { window: TensorWindow::Box(&[3, 64]), ..matrix() },
                "row of the box",
            ),
            (TensorMapDescription { address: 8, ..matrix() }, "aligned"),
            (TensorMapDescription { element_strides: &[1], ..matrix() }, "one entry for each"),
            (TensorMapDescription { element_strides: &[1, 9], ..matrix() }, "1 to 8"),
        ];
        for (description, part) in cases {
            let reason = description.validate().unwrap_err();
            assert!(reason.contains(part), "{reason:?} does not say {part:?}");
        }
    }

    #[test]
    fn im2col_is_checked_as_well() {
        let (lower, upper) = (&[-1, -1][..], &[-1, -1][..]);
        let window = |lower, upper, channels, pixels| TensorMapDescription {
            dims: &[64, 56, 56, 8],
            strides_bytes: &[128, 7168, 401_408],
            element_strides: &[1, 2, 2, 1],
            window: TensorWindow::Im2col { lower, upper, channels, pixels },
            ..matrix()
        };
        assert_eq!(window(lower, upper, 64, 128).validate(), Ok(()));
        let flat = TensorMapDescription {
            window: TensorWindow::Im2col { lower: &[], upper: &[], channels: 64, pixels: 64 },
            ..matrix()
        };
        let cases = [
            (flat, "3 to 5 dimensions"),
            (window(&[-1], upper, 64, 128), "corners for each but two"),
            (window(lower, upper, 512, 128), "256 channels"),
            (window(lower, upper, 64, 0), "1024 pixels"),
            (window(lower, &[128, 0], 64, 128), "16 bits"),
            (window(lower, &[-1, -57], 64, 128), "leave a pixel"),
            (window(lower, upper, 128, 128), "pattern"),
        ];
        for (description, part) in cases {
            let reason = description.validate().unwrap_err();
            assert!(reason.contains(part), "{reason:?} does not say {part:?}");
        }
    }
}
