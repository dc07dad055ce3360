//! An array as files hold it: element type, shape and bytes.

use std::fmt;

use half::{bf16, f16};
use raddle_tensor::{DType, Data, Tensor};

use crate::error::Needed;
use crate::names::{self, Row};
use crate::{Error, Result};

/// A row-major array of little-endian elements, as exchanged between formats.
#[derive(Clone, PartialEq, Eq)]
pub struct Array {
    dtype: DType,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Array {
    /// An array from its bytes: row-major, least significant byte first.
    ///
    /// ## Errors
    /// [`Error::ByteCount`] unless there are exactly as many bytes as the shape
    /// says; [`Error::NoSuchType`] for text and types below eight bits.
    pub fn new(dtype: DType, shape: Vec<usize>, bytes: Vec<u8>) -> Result<Self> {
        let row = names::row(dtype).ok_or(Error::NoSuchType {
            format: "a plain array",
            dtype,
            remedy: "convert it to a type of at least eight bits first",
        })?;
        let needed = bytes_of(&shape, row.bytes);
        if needed != Some(bytes.len()) {
            let found = bytes.len();
            return Err(Error::ByteCount { dtype, shape, needed: Needed(needed), found });
        }
        Ok(Self { dtype, shape, bytes })
    }

    /// An array of `f32`.
    ///
    /// ## Errors
    /// As [`Self::new`].
    pub fn from_f32(shape: &[usize], elements: &[f32]) -> Result<Self> {
        let bytes = elements.iter().flat_map(|element| element.to_le_bytes()).collect();
        Self::new(DType::F32, shape.to_vec(), bytes)
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Lengths of the dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements: row-major, least significant byte first.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The elements, given away.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.row().bytes
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The names of the element type.
    pub(crate) fn row(&self) -> &'static Row {
        names::row(self.dtype).expect("`new` takes only types of the table")
    }

    /// The elements as `f32`, where every element of the type is one: `f32`,
    /// `f16` and `bf16`.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        let halves = |widen: fn(u16) -> f32| {
            words(&self.bytes, |word: [u8; 2]| widen(u16::from_le_bytes(word)))
        };
        match self.dtype {
            DType::F32 => Some(words(&self.bytes, f32::from_le_bytes)),
            DType::F16 => Some(halves(|bits| f16::from_bits(bits).to_f32())),
            DType::BF16 => Some(halves(|bits| bf16::from_bits(bits).to_f32())),
            _ => None,
        }
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}, {} bytes", self.dtype, self.shape, self.bytes.len())
    }
}

/// Bytes of an array, if they can be counted.
pub(crate) fn bytes_of(shape: &[usize], element_bytes: usize) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(element_bytes, |bytes, &dim| bytes.checked_mul(dim))
}

/// Turns the byte order of every word around, in place.
pub(crate) fn swap_words(bytes: &mut [u8], word_bytes: usize) {
    if word_bytes > 1 {
        bytes.chunks_exact_mut(word_bytes).for_each(<[u8]>::reverse);
    }
}

/// Elements from their bytes.
fn words<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (words, rest) = bytes.as_chunks::<N>();
    debug_assert!(rest.is_empty(), "an array has whole elements");
    words.iter().map(|&word| read(word)).collect()
}

impl From<Array> for Tensor {
    fn from(array: Array) -> Self {
        let bytes = &array.bytes[..];
        let pair32 = |word: [u8; 8]| {
            let [a, b, c, d, e, f, g, h] = word;
            [f32::from_le_bytes([a, b, c, d]), f32::from_le_bytes([e, f, g, h])]
        };
        let pair64 = |word: [u8; 16]| {
            let half = |from: usize| std::array::from_fn(|at| word[from + at]);
            [f64::from_le_bytes(half(0)), f64::from_le_bytes(half(8))]
        };
        let data = match raddle_tensor::storage(array.dtype) {
            DType::F64 => Data::new(words(bytes, f64::from_le_bytes)),
            DType::F32 => Data::new(words(bytes, f32::from_le_bytes)),
            DType::F16 => Data::new(words(bytes, f16::from_le_bytes)),
            DType::BF16 => Data::new(words(bytes, bf16::from_le_bytes)),
            DType::I8 => Data::new(words(bytes, i8::from_le_bytes)),
            DType::I16 => Data::new(words(bytes, i16::from_le_bytes)),
            DType::I32 => Data::new(words(bytes, i32::from_le_bytes)),
            DType::I64 => Data::new(words(bytes, i64::from_le_bytes)),
            DType::U16 => Data::new(words(bytes, u16::from_le_bytes)),
            DType::U32 => Data::new(words(bytes, u32::from_le_bytes)),
            DType::U64 => Data::new(words(bytes, u64::from_le_bytes)),
            DType::Bool => Data::new(words(bytes, |[byte]: [u8; 1]| byte != 0)),
            DType::Complex64 => Data::new(words(bytes, pair32)),
            DType::Complex128 => Data::new(words(bytes, pair64)),
            _ => Data::new(array.bytes),
        };
        Tensor::from_data(&array.shape, array.dtype, data)
            .expect("an array has as many elements as its shape, of a type with bytes")
    }
}

impl TryFrom<&Tensor> for Array {
    type Error = Error;

    /// The bytes of a tensor.
    ///
    /// ## Errors
    /// [`Error::NoSuchType`] for text and types below eight bits.
    fn try_from(tensor: &Tensor) -> Result<Self> {
        fn bytes<T: Copy, const N: usize>(elements: &[T], write: fn(T) -> [u8; N]) -> Vec<u8> {
            let mut bytes = Vec::with_capacity(elements.len() * N);
            for &element in elements {
                bytes.extend_from_slice(&write(element));
            }
            bytes
        }
        let bytes = match tensor.data() {
            Data::F64(elements) => bytes(elements, f64::to_le_bytes),
            Data::F32(elements) => bytes(elements, f32::to_le_bytes),
            Data::F16(elements) => bytes(elements, f16::to_le_bytes),
            Data::BF16(elements) => bytes(elements, bf16::to_le_bytes),
            Data::I8(elements) => bytes(elements, i8::to_le_bytes),
            Data::I16(elements) => bytes(elements, i16::to_le_bytes),
            Data::I32(elements) => bytes(elements, i32::to_le_bytes),
            Data::I64(elements) => bytes(elements, i64::to_le_bytes),
            Data::U8(elements) => elements.to_vec(),
            Data::U16(elements) => bytes(elements, u16::to_le_bytes),
            Data::U32(elements) => bytes(elements, u32::to_le_bytes),
            Data::U64(elements) => bytes(elements, u64::to_le_bytes),
            Data::Bool(elements) => bytes(elements, |element| [u8::from(element)]),
            Data::String(_) => Vec::new(),
            Data::Complex64(elements) => bytes(elements.as_flattened(), f32::to_le_bytes),
            Data::Complex128(elements) => bytes(elements.as_flattened(), f64::to_le_bytes),
        };
        Self::new(tensor.dtype(), tensor.shape().to_vec(), bytes)
    }
}
