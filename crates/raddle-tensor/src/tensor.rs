//! A tensor: a shape, an element type and shared elements.

use std::fmt;
use std::sync::Arc;

use crate::{DType, Data, Element, Error, Result, data, shape};

/// A contiguous row-major tensor. Cloning and reshaping share the elements;
/// writing copies them first if someone else holds them.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    dtype: DType,
    data: Data,
}

impl Tensor {
    /// A tensor of elements of one machine type.
    ///
    /// ## Errors
    /// [`Error::ElementCount`] if there are more or fewer elements than the
    /// shape has, [`Error::TooLarge`].
    pub fn new<T: Element>(shape: &[usize], elements: Vec<T>) -> Result<Self> {
        Self::from_data(shape, T::DTYPE, Data::new(elements))
    }

    /// A tensor of any type from its storage.
    ///
    /// ## Errors
    /// As [`Self::new`]; [`Error::UnsupportedType`] if elements of `dtype` are not stored so.
    pub fn from_data(shape: &[usize], dtype: DType, data: Data) -> Result<Self> {
        let expected = shape::element_count(shape, dtype)?;
        if data.len() != expected {
            let found = data.len();
            return Err(Error::ElementCount { shape: shape.to_vec(), expected, found });
        }
        if !data.stores(dtype) {
            return Err(Error::UnsupportedType {
                what: "the storage".into(),
                found: data.own_type(),
                expected: format!("that of {dtype}: {}", data::storage(dtype)),
            });
        }
        Ok(Self { shape: shape.to_vec(), dtype, data })
    }

    /// A tensor without dimensions.
    pub fn scalar<T: Element>(element: T) -> Self {
        Self { shape: Vec::new(), dtype: T::DTYPE, data: Data::new(vec![element]) }
    }

    /// A tensor with one dimension.
    pub fn vector<T: Element>(elements: Vec<T>) -> Self {
        Self { shape: vec![elements.len()], dtype: T::DTYPE, data: Data::new(elements) }
    }

    /// A tensor of zeros, empty strings or `false`.
    ///
    /// ## Errors
    /// [`Error::TooLarge`].
    pub fn zeros(shape: &[usize], dtype: DType) -> Result<Self> {
        let count = shape::element_count(shape, dtype)?;
        let data = match data::storage(dtype) {
            DType::F64 => Data::new(vec![0f64; count]),
            DType::F32 => Data::new(vec![0f32; count]),
            DType::F16 => Data::new(vec![half::f16::ZERO; count]),
            DType::BF16 => Data::new(vec![half::bf16::ZERO; count]),
            DType::I8 => Data::new(vec![0i8; count]),
            DType::I16 => Data::new(vec![0i16; count]),
            DType::I32 => Data::new(vec![0i32; count]),
            DType::I64 => Data::new(vec![0i64; count]),
            DType::U16 => Data::new(vec![0u16; count]),
            DType::U32 => Data::new(vec![0u32; count]),
            DType::U64 => Data::new(vec![0u64; count]),
            DType::Bool => Data::new(vec![false; count]),
            DType::String => Data::new(vec![String::new(); count]),
            DType::Complex64 => Data::new(vec![[0f32; 2]; count]),
            DType::Complex128 => Data::new(vec![[0f64; 2]; count]),
            _ => Data::new(vec![0u8; count]),
        };
        Self::from_data(shape, dtype, data)
    }

    /// Lengths of the dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The storage.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// The storage, given away.
    pub fn into_data(self) -> Data {
        self.data
    }

    /// The elements, if they are stored as `T`.
    ///
    /// ## Errors
    /// [`Error::UnsupportedType`].
    pub fn elements<T: Element>(&self) -> Result<&[T]> {
        match T::elements(&self.data) {
            Some(elements) => Ok(elements),
            None => Err(self.wrong_type::<T>()),
        }
    }

    /// The elements for writing; copied first if they are shared.
    ///
    /// ## Errors
    /// [`Error::UnsupportedType`].
    pub fn elements_mut<T: Element>(&mut self) -> Result<&mut Vec<T>> {
        let error = self.wrong_type::<T>();
        T::elements_mut(&mut self.data).map(Arc::make_mut).ok_or(error)
    }

    /// Whether nobody else holds the elements, so that writing copies nothing.
    pub fn is_unique(&self) -> bool {
        crate::with_data!(&self.data, elements => Arc::strong_count(elements) == 1)
    }

    fn wrong_type<T: Element>(&self) -> Error {
        Error::UnsupportedType {
            what: "the tensor".into(),
            found: self.dtype,
            expected: T::DTYPE.name().into(),
        }
    }

    /// The same elements under another shape.
    ///
    /// ## Errors
    /// [`Error::ElementCount`], [`Error::TooLarge`].
    pub fn reshape(self, shape: &[usize]) -> Result<Self> {
        Self::from_data(shape, self.dtype, self.data)
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?} ", self.dtype, self.shape)?;
        crate::with_data!(&self.data, elements => {
            let shown = &elements[..elements.len().min(16)];
            write!(f, "{shown:?}{}", if elements.len() > 16 { " …" } else { "" })
        })
    }
}
