//! Buffers as tensors for the copy engine: what a kernel's `&TensorMap` and
//! `TensorMapMut` parameters are bound from.
//!
//! Invariant: the tensor that a map describes lies within the elements it was made
//! from, so that no box reaches other memory.

use raddle_cuda::TensorWindow;
use raddle_device::matrix::Swizzle;
use raddle_device::param::KernelParam;
use raddle_device::tma::{
    L2Promotion, OutOfBoundsFill, TensorElement, TensorMap, TensorMapMut, TensorMapSpec, TensorType,
};

use crate::buffer::{Buffer, Slice, SliceMut};
use crate::call::{Binder, KernelArg};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::memory::Region;
use crate::timeline::Access;

/// A buffer seen as a tensor, for reading: the argument for a `&TensorMap`.
pub struct Tensor<'a> {
    map: TensorMap,
    region: &'a Region,
}

/// A buffer seen as a tensor, for writing: the argument for a `TensorMapMut`.
pub struct TensorMut<'a> {
    map: TensorMap,
    region: &'a Region,
    access: Access,
}

impl<'a, T: TensorType> Slice<'a, T> {
    /// The elements as the tensor that `spec` describes.
    ///
    /// ## Errors
    ///
    /// [`Error::TensorMap`] if the tensor is larger than the slice, of another
    /// element type or not aligned to 16 bytes; a failed driver call.
    pub fn tensor(self, spec: &TensorMapSpec) -> Result<Tensor<'a>> {
        let map = encode::<T>(self.device(), self.address, self.len(), spec)?;
        Ok(Tensor { map, region: self.region })
    }
}

impl<'a, T: TensorType> SliceMut<'a, T> {
    /// The elements as the tensor that `spec` describes, to be written.
    ///
    /// ## Errors
    ///
    /// As for [`Slice::tensor`]; a map for im2col, which only loads have.
    pub fn tensor_mut(self, spec: &TensorMapSpec) -> Result<TensorMut<'a>> {
        if spec.is_im2col() {
            let reason = "an im2col map is for loads: store through a tiled one".to_owned();
            return Err(Error::TensorMap { reason });
        }
        let map = encode::<T>(self.device(), self.address, self.len(), spec)?;
        Ok(TensorMut { map, region: self.region, access: self.access })
    }
}

impl<T: TensorType> Buffer<T> {
    /// The elements as the tensor that `spec` describes.
    ///
    /// ## Errors
    ///
    /// As for [`Slice::tensor`].
    pub fn tensor(&self, spec: &TensorMapSpec) -> Result<Tensor<'_>> {
        self.as_slice().tensor(spec)
    }

    /// The elements as the tensor that `spec` describes, to be written.
    ///
    /// ## Errors
    ///
    /// As for [`SliceMut::tensor_mut`].
    pub fn tensor_mut(&mut self, spec: &TensorMapSpec) -> Result<TensorMut<'_>> {
        self.as_slice_mut().tensor_mut(spec)
    }
}

// SAFETY: the map of elements that nobody writes while the call borrows them.
unsafe impl<'k> KernelArg<'k, &'static TensorMap> for Tensor<'k> {
    fn bind(self, binder: &mut Binder<'k>) -> <&'static TensorMap as KernelParam>::Raw {
        binder.touch(self.region, Access::Read);
        self.map
    }
}

// SAFETY: as above.
unsafe impl<'k> KernelArg<'k, &'static TensorMap> for &Tensor<'k> {
    fn bind(self, binder: &mut Binder<'k>) -> <&'static TensorMap as KernelParam>::Raw {
        binder.touch(self.region, Access::Read);
        self.map
    }
}

// SAFETY: the map of elements that nobody else holds.
unsafe impl<'k> KernelArg<'k, TensorMapMut> for &'k mut TensorMut<'_> {
    fn bind(self, binder: &mut Binder<'k>) -> <TensorMapMut as KernelParam>::Raw {
        binder.touch(self.region, self.access);
        self.map
    }
}

fn encode<T: TensorType>(
    device: &Device,
    address: u64,
    len: usize,
    spec: &TensorMapSpec,
) -> Result<TensorMap> {
    let fits = spec.tensor_bytes() <= (len * size_of::<T>()) as u64;
    if !fits || spec.element() != T::ELEMENT {
        let (needed, element) = (spec.tensor_bytes(), spec.element());
        let reason = format!(
            "it describes {needed} bytes of {element:?}, the slice holds {} bytes of {:?}",
            len * size_of::<T>(),
            T::ELEMENT
        );
        return Err(Error::TensorMap { reason });
    }
    let refused =
        |e: raddle_device::tma::TensorMapError| Error::TensorMap { reason: e.to_string() };
    spec.check_address(address).map_err(refused)?;
    match device.cuda_context() {
        None => TensorMap::for_cpu(spec, address).map_err(refused),
        Some(context) => {
            let description = raddle_cuda::TensorMapDescription {
                element: element(spec.element()),
                address,
                dims: spec.dims(),
                strides_bytes: spec.strides_bytes(),
                window: window(spec),
                element_strides: spec.element_strides(),
                swizzle: swizzle(spec.swizzle()),
                l2_promotion: l2_promotion(spec.l2_promotion()),
                fills_with_nan: spec.fill() == OutOfBoundsFill::NanForFma,
            };
            let map = raddle_cuda::TensorMap::encode(context, &description)?;
            Ok(TensorMap::from_words(map.words()))
        }
    }
}

fn window(spec: &TensorMapSpec) -> TensorWindow<'_> {
    match (spec.im2col_corners(), spec.box_dims()) {
        (Some((lower, upper)), &[channels, pixels]) => {
            TensorWindow::Im2col { lower, upper, channels, pixels }
        }
        (_, box_dims) => TensorWindow::Box(box_dims),
    }
}

fn element(element: TensorElement) -> raddle_cuda::TensorElement {
    use raddle_cuda::TensorElement as Cuda;
    match element {
        TensorElement::U8 => Cuda::U8,
        TensorElement::U16 => Cuda::U16,
        TensorElement::U32 => Cuda::U32,
        TensorElement::I32 => Cuda::I32,
        TensorElement::U64 => Cuda::U64,
        TensorElement::I64 => Cuda::I64,
        TensorElement::F16 => Cuda::F16,
        TensorElement::F32 => Cuda::F32,
        TensorElement::F64 => Cuda::F64,
        TensorElement::Bf16 => Cuda::Bf16,
        TensorElement::Tf32 => Cuda::Tf32,
    }
}

fn swizzle(swizzle: Swizzle) -> raddle_cuda::Swizzle {
    match swizzle {
        Swizzle::None => raddle_cuda::Swizzle::None,
        Swizzle::Span32 => raddle_cuda::Swizzle::Bytes32,
        Swizzle::Span64 => raddle_cuda::Swizzle::Bytes64,
        Swizzle::Span128 => raddle_cuda::Swizzle::Bytes128,
    }
}

fn l2_promotion(promotion: L2Promotion) -> raddle_cuda::L2Promotion {
    match promotion {
        L2Promotion::None => raddle_cuda::L2Promotion::None,
        L2Promotion::Bytes64 => raddle_cuda::L2Promotion::Bytes64,
        L2Promotion::Bytes128 => raddle_cuda::L2Promotion::Bytes128,
        L2Promotion::Bytes256 => raddle_cuda::L2Promotion::Bytes256,
    }
}
