//! What a tensor map says, as plain data: the arguments of the driver's
//! `cuTensorMapEncodeTiled` or `cuTensorMapEncodeIm2col`, checked against its rules
//! with typed errors.
//!
//! *Source*: CUDA driver API, "Tensor Map Object Management".

mod im2col;

pub(crate) use im2col::corner_bits;
pub use im2col::{FilterAxis, IM2COL_AXES_MAX, IM2COL_PIXELS_MAX, Im2colAxis};

use self::im2col::Corners;
use super::TensorMapError;
use crate::float::{bf16, f8e4m3, f8e5m2, f16, tf32};
use crate::matrix::Swizzle;
use crate::param::DeviceType;

/// Most axes of a tensor map.
pub const RANK_MAX: usize = 5;
/// Most elements of a box along one axis.
pub const BOX_DIM_MAX: u32 = 256;
/// Most bytes of a box: what a block's shared memory holds.
pub const BOX_BYTES_MAX: u64 = 227 * 1024;
const STRIDE_BYTES_MAX: u64 = 1 << 40;
const DIM_MAX: u64 = 1 << 32;
pub(super) const ELEMENT_STRIDE_MAX: u32 = 8;
const ALIGN_BYTES: u64 = 16;

/// Element types of tensor maps, numbered as `CUtensorMapDataType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum TensorElement {
    /// 8 bits; also fp8.
    U8 = 0,
    /// 16 bits.
    U16 = 1,
    /// 32 bits.
    U32 = 2,
    /// 32 bits, signed.
    I32 = 3,
    /// 64 bits.
    U64 = 4,
    /// 64 bits, signed.
    I64 = 5,
    /// `f16`.
    F16 = 6,
    /// `f32`.
    F32 = 7,
    /// `f64`.
    F64 = 8,
    /// [`bf16`].
    Bf16 = 9,
    /// `f32` rounded to [`tf32`] on the way.
    Tf32 = 11,
}

impl TensorElement {
    /// Size of an element.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::U32 | Self::I32 | Self::F32 | Self::Tf32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Whether the type has a NaN for out-of-bounds elements.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64 | Self::Bf16 | Self::Tf32)
    }
}

/// Device types that a tensor map can move.
pub trait TensorType: DeviceType {
    /// The type's name in a tensor map.
    const ELEMENT: TensorElement;
}

macro_rules! tensor_types {
    ($($ty:ident $element:ident),*) => { $(
        impl TensorType for $ty {
            const ELEMENT: TensorElement = TensorElement::$element;
        }
    )* };
}
tensor_types!(u8 U8, i8 U8, f8e4m3 U8, f8e5m2 U8, u16 U16, i16 U16, u32 U32, i32 I32, u64 U64,
    i64 I64, f16 F16, bf16 Bf16, f32 F32, f64 F64, tf32 Tf32);

/// How much a load brings into L2 beyond what it asks for, numbered as
/// `CUtensorMapL2promotion`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum L2Promotion {
    /// Nothing.
    #[default]
    None = 0,
    /// Whole 64-byte pieces.
    Bytes64 = 1,
    /// Whole 128-byte lines.
    Bytes128 = 2,
    /// Pairs of lines.
    Bytes256 = 3,
}

/// What a load puts where the box reaches out of the tensor, numbered as
/// `CUtensorMapFloatOOBfill`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum OutOfBoundsFill {
    /// Zeros.
    #[default]
    Zero = 0,
    /// A NaN that multiplications take for zero; float types only.
    NanForFma = 1,
}

/// A tensor map before it is encoded for a device: [`tiled`](TensorMapSpec::tiled)
/// or [`im2col`](TensorMapSpec::im2col).
///
/// Axis 0 is the contiguous one. *Units*: dimensions and boxes in elements,
/// strides in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorMapSpec {
    element: TensorElement,
    rank: u32,
    dims: [u64; RANK_MAX],
    strides_bytes: [u64; RANK_MAX - 1],
    box_dims: [u32; RANK_MAX],
    element_strides: [u32; RANK_MAX],
    swizzle: Swizzle,
    l2_promotion: L2Promotion,
    fill: OutOfBoundsFill,
    /// Of an im2col map, whose box is channels times pixels.
    corners: Option<Corners>,
}

impl TensorMapSpec {
    /// A map of a tensor with these dimensions, of which loads and stores move
    /// boxes of `box_dims`; `strides_bytes[i]` is the distance from one index of
    /// axis `i + 1` to the next.
    ///
    /// ## Errors
    ///
    /// [`TensorMapError`] names the rule that is broken.
    pub fn tiled(
        element: TensorElement,
        dims: &[u64],
        strides_bytes: &[u64],
        box_dims: &[u32],
    ) -> Result<Self, TensorMapError> {
        let rank = dims.len();
        if (1..=RANK_MAX).contains(&rank) && box_dims.len() != rank {
            let (strides, box_axes) = (strides_bytes.len(), box_dims.len());
            return Err(TensorMapError::Lengths { rank, strides, box_axes });
        }
        let mut spec = Self::of_tensor(element, dims, strides_bytes)?;
        spec.box_dims[..rank].copy_from_slice(box_dims);
        spec.check_box()?;
        Ok(spec)
    }

    /// The tensor without a box.
    fn of_tensor(
        element: TensorElement,
        dims: &[u64],
        strides_bytes: &[u64],
    ) -> Result<Self, TensorMapError> {
        let rank = dims.len();
        if rank == 0 || rank > RANK_MAX {
            return Err(TensorMapError::Rank { found: rank });
        }
        if strides_bytes.len() + 1 != rank {
            let strides = strides_bytes.len();
            return Err(TensorMapError::Lengths { rank, strides, box_axes: rank });
        }
        let mut spec = Self {
            element,
            rank: rank as u32,
            dims: [1; RANK_MAX],
            strides_bytes: [0; RANK_MAX - 1],
            box_dims: [1; RANK_MAX],
            element_strides: [1; RANK_MAX],
            swizzle: Swizzle::None,
            l2_promotion: L2Promotion::None,
            fill: OutOfBoundsFill::Zero,
            corners: None,
        };
        spec.dims[..rank].copy_from_slice(dims);
        spec.strides_bytes[..rank - 1].copy_from_slice(strides_bytes);
        spec.check_tensor()?;
        Ok(spec)
    }

    /// [`tiled`](Self::tiled) for a tensor whose axes lie densely one behind the
    /// other.
    ///
    /// ## Errors
    ///
    /// [`TensorMapError`] names the rule that is broken.
    pub fn dense(
        element: TensorElement,
        dims: &[u64],
        box_dims: &[u32],
    ) -> Result<Self, TensorMapError> {
        let strides = dense_strides(element, dims);
        let count = dims.len().saturating_sub(1).min(RANK_MAX - 1);
        Self::tiled(element, dims, &strides[..count], box_dims)
    }

    /// The map with a swizzle of shared memory.
    ///
    /// ## Errors
    ///
    /// The box is wider along axis 0 than the swizzle's span.
    pub fn with_swizzle(mut self, swizzle: Swizzle) -> Result<Self, TensorMapError> {
        self.swizzle = swizzle;
        self.check_box_width()?;
        Ok(self)
    }

    /// The map with another L2 promotion.
    #[must_use]
    pub fn with_l2_promotion(mut self, l2_promotion: L2Promotion) -> Self {
        self.l2_promotion = l2_promotion;
        self
    }

    /// The map with another fill for elements out of bounds.
    ///
    /// ## Errors
    ///
    /// A NaN for a type that has none.
    pub fn with_fill(mut self, fill: OutOfBoundsFill) -> Result<Self, TensorMapError> {
        if fill == OutOfBoundsFill::NanForFma && !self.element.is_float() {
            return Err(TensorMapError::NanFill { element: self.element });
        }
        self.fill = fill;
        Ok(self)
    }

    /// The map that takes every `strides[i]`-th element along axis `i`; a box then
    /// spans `box_dims[i]` elements and holds `box_dims[i] / strides[i]` of them,
    /// rounded up. An im2col map has its strides from its axes.
    ///
    /// ## Errors
    ///
    /// A stride outside of 1 to 8, or not one for each axis.
    pub fn with_element_strides(mut self, strides: &[u32]) -> Result<Self, TensorMapError> {
        if strides.len() != self.rank() {
            let (rank, strides, box_axes) = (self.rank(), strides.len(), self.rank());
            return Err(TensorMapError::Lengths { rank, strides, box_axes });
        }
        for (axis, &found) in strides.iter().enumerate() {
            if found == 0 || found > ELEMENT_STRIDE_MAX {
                return Err(TensorMapError::ElementStride { axis, found });
            }
            self.element_strides[axis] = found;
        }
        Ok(self)
    }

    /// Checks the tensor's address, which the driver is given beside the map.
    ///
    /// ## Errors
    ///
    /// An address that is not aligned to 16 bytes.
    pub fn check_address(&self, address: u64) -> Result<(), TensorMapError> {
        if address == 0 || !address.is_multiple_of(ALIGN_BYTES) {
            return Err(TensorMapError::Address { found: address });
        }
        Ok(())
    }

    /// The element type.
    #[must_use]
    pub fn element(&self) -> TensorElement {
        self.element
    }

    /// Number of axes.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank as usize
    }

    /// Elements along each axis.
    #[must_use]
    pub fn dims(&self) -> &[u64] {
        &self.dims[..self.rank()]
    }

    /// Bytes from one index to the next of each axis but the first.
    #[must_use]
    pub fn strides_bytes(&self) -> &[u64] {
        &self.strides_bytes[..self.rank() - 1]
    }

    /// Elements that a box spans along each axis; of an im2col map, the channels and
    /// the pixels that a load takes.
    #[must_use]
    pub fn box_dims(&self) -> &[u32] {
        &self.box_dims[..if self.is_im2col() { 2 } else { self.rank() }]
    }

    /// Distance of the elements that a load takes along each axis.
    #[must_use]
    pub fn element_strides(&self) -> &[u32] {
        &self.element_strides[..self.rank()]
    }

    /// The swizzle of shared memory.
    #[must_use]
    pub fn swizzle(&self) -> Swizzle {
        self.swizzle
    }

    /// The L2 promotion.
    #[must_use]
    pub fn l2_promotion(&self) -> L2Promotion {
        self.l2_promotion
    }

    /// The fill for elements out of bounds.
    #[must_use]
    pub fn fill(&self) -> OutOfBoundsFill {
        self.fill
    }

    /// Bytes of shared memory from the begin of a box to behind its last row, which a
    /// load may leave gaps in: a swizzled row takes its whole span.
    #[must_use]
    pub fn shared_bytes(&self) -> u32 {
        let bytes = self.box_bytes();
        if self.swizzle == Swizzle::None {
            return bytes;
        }
        bytes / (self.box_len(0) * self.element.bytes()) * self.swizzle.span_bytes()
    }

    /// Bytes that one load counts at its barrier.
    #[must_use]
    pub fn box_bytes(&self) -> u32 {
        let axes = 0..self.box_dims().len();
        axes.map(|axis| self.box_len(axis)).product::<u32>() * self.element.bytes()
    }

    /// Elements that a load takes along an axis of its box. An im2col load steps over
    /// pixels and takes no fewer for it.
    fn box_len(&self, axis: usize) -> u32 {
        match self.is_im2col() {
            true => self.box_dims[axis],
            false => self.box_dims[axis].div_ceil(self.element_strides[axis]),
        }
    }

    /// Bytes from the tensor's first element to behind its last.
    #[must_use]
    pub fn tensor_bytes(&self) -> u64 {
        let first = (self.dims[0] - 1).saturating_mul(u64::from(self.element.bytes()));
        let others = self.dims()[1..].iter().zip(self.strides_bytes());
        let offset = others.fold(first, |offset, (dim, stride)| {
            offset.saturating_add((dim - 1).saturating_mul(*stride))
        });
        offset.saturating_add(u64::from(self.element.bytes()))
    }

    fn check_tensor(&self) -> Result<(), TensorMapError> {
        for (axis, &found) in self.dims().iter().enumerate() {
            if found == 0 || found > DIM_MAX {
                return Err(TensorMapError::Dimension { axis, found });
            }
        }
        for (i, &found) in self.strides_bytes().iter().enumerate() {
            if !found.is_multiple_of(ALIGN_BYTES) || found >= STRIDE_BYTES_MAX {
                return Err(TensorMapError::Stride { axis: i + 1, found });
            }
        }
        Ok(())
    }

    fn check_box(&self) -> Result<(), TensorMapError> {
        for (axis, &found) in self.box_dims().iter().enumerate() {
            if found == 0 || found > BOX_DIM_MAX {
                return Err(TensorMapError::Box { axis, found });
            }
        }
        let elements: u64 = self.box_dims().iter().map(|&dim| u64::from(dim)).product();
        let bytes = elements * u64::from(self.element.bytes());
        if bytes > BOX_BYTES_MAX {
            return Err(TensorMapError::BoxBytes { found: bytes });
        }
        self.check_box_width()
    }

    fn check_box_width(&self) -> Result<(), TensorMapError> {
        let bytes = self.box_dims[0] * self.element.bytes();
        let is_too_wide = self.swizzle != Swizzle::None && bytes > self.swizzle.span_bytes();
        if !u64::from(bytes).is_multiple_of(ALIGN_BYTES) || is_too_wide {
            return Err(TensorMapError::BoxWidth { bytes, swizzle: self.swizzle });
        }
        Ok(())
    }
}

/// Distances of the indices of each axis but the first, if nothing lies between.
fn dense_strides(element: TensorElement, dims: &[u64]) -> [u64; RANK_MAX - 1] {
    let mut strides = [0; RANK_MAX - 1];
    let mut stride = u64::from(element.bytes());
    for (next, dim) in strides.iter_mut().zip(dims) {
        stride = stride.saturating_mul(*dim);
        *next = stride;
    }
    strides
}

#[cfg(all(test, not(raddle_device)))]
mod tests {
    use std::string::ToString;

    use super::*;

    fn message(result: Result<TensorMapSpec, TensorMapError>) -> std::string::String {
        result.expect_err("a broken rule").to_string()
    }

    #[test]
    fn a_swizzled_matrix() {
        let spec = TensorMapSpec::dense(TensorElement::F16, &[4096, 1024], &[64, 128])
            .and_then(|spec| spec.with_swizzle(Swizzle::Span128))
            .expect("keeps the rules");
        assert_eq!(spec.strides_bytes(), [8192]);
        assert_eq!((spec.box_bytes(), spec.shared_bytes()), (16384, 16384));
        assert_eq!(spec.tensor_bytes(), 4096 * 1024 * 2);
        assert_eq!(spec.check_address(0x1008), Err(TensorMapError::Address { found: 0x1008 }));
        let strided = spec.with_element_strides(&[2, 1]).expect("strides of at most 8");
        assert_eq!(strided.box_bytes(), 8192);
    }

    #[test]
    fn broken_rules_are_named() {
        let f16 = TensorElement::F16;
        let dense = |dims: &[u64], box_dims: &[u32]| TensorMapSpec::dense(f16, dims, box_dims);
        assert_eq!(message(dense(&[], &[])), "tensor map: expected 1 to 5 axes, found 0");
        assert_eq!(message(dense(&[8; 6], &[8; 6])), "tensor map: expected 1 to 5 axes, found 6");
        assert_eq!(
            message(dense(&[8, 8], &[8])),
            "tensor map: for 2 dimensions expected 1 strides and 2 box lengths, found 1 and 1"
        );
        assert_eq!(
            message(dense(&[8, 0], &[8, 8])),
            "tensor map: expected 1 to 2^32 elements along axis 1, found 0"
        );
        assert_eq!(
            message(dense(&[12, 8], &[8, 8])),
            "tensor map: expected a stride of axis 1 that is a multiple of 16 bytes below 2^40, found 24"
        );
        assert_eq!(
            message(dense(&[512, 8], &[512, 8])),
            "tensor map: expected a box of 1 to 256 elements along axis 0, found 512"
        );
        assert_eq!(
            message(dense(&[64, 8], &[12, 8])),
            "tensor map: expected a box whose rows are a multiple of 16 bytes, found 24"
        );
        assert_eq!(
            message(dense(&[256, 8], &[128, 8]).and_then(|s| s.with_swizzle(Swizzle::Span128))),
            "tensor map: expected a box whose rows are a multiple of 16 bytes and at most the swizzle's 128, found 256"
        );
        assert_eq!(
            message(dense(&[256, 512, 8], &[256, 256, 8])),
            "tensor map: expected a box of at most 232448 bytes, found 1048576"
        );
        let spec = dense(&[64, 64], &[64, 64]).expect("keeps the rules");
        assert_eq!(
            message(spec.with_element_strides(&[1, 9])),
            "tensor map: expected an element stride of 1 to 8 along axis 1, found 9"
        );
        let bytes = TensorMapSpec::dense(TensorElement::U8, &[64], &[64]).expect("keeps the rules");
        assert_eq!(
            message(bytes.with_fill(OutOfBoundsFill::NanForFma)),
            "tensor map: expected a float type for a NaN fill, found U8"
        );
    }
}
