//! Between stored types and the four types that operations compute in.
//!
//! [`Compute::widen`] brings any number to `f32`, `f64`, `i64` or `u64`;
//! [`Compute::narrow`] rounds or wraps results to a stored type. Widening to
//! the type's own [`Class`](crate::Class) loses nothing.

use std::borrow::Cow;

use half::{bf16, f16};

use crate::{DType, Data, Error, Result, Tensor, minifloat};

/// What a conversion to a type does with values that are out of its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overflow {
    /// The nearest value, for floats of 8 and 4 bits.
    Saturate,
    /// Infinity or NaN, for floats of 8 and 4 bits.
    Special,
}

/// A type that operations compute in.
pub trait Compute: Copy + Default + PartialOrd + Send + Sync + 'static {
    /// The elements of a tensor of numbers or truth values, converted as by `as`.
    ///
    /// ## Errors
    /// [`Error::UnsupportedType`] for strings and complex numbers.
    fn widen(tensor: &Tensor) -> Result<Cow<'_, [Self]>>;

    /// Elements stored as `dtype`: floats rounded to nearest even, integers
    /// from floats truncated and saturated, integers from integers wrapped.
    ///
    /// ## Errors
    /// [`Error::UnsupportedType`] for strings.
    fn narrow(elements: Vec<Self>, dtype: DType, overflow: Overflow) -> Result<Data>;
}

macro_rules! compute {
    ($type:ident, $variant:ident, |$value:ident| $to_f32:expr, $to_f16:expr, $to_bf16:expr, $to_bits:expr) => {
        impl Compute for $type {
            fn widen(tensor: &Tensor) -> Result<Cow<'_, [Self]>> {
                let converted: Vec<Self> = match tensor.data() {
                    Data::$variant(v) => return Ok(Cow::Borrowed(v)),
                    data => match data {
                        Data::F64(v) => v.iter().map(|&x| x as $type).collect(),
                        Data::F32(v) => v.iter().map(|&x| x as $type).collect(),
                        Data::F16(v) => v.iter().map(|&x| x.to_f32() as $type).collect(),
                        Data::BF16(v) => v.iter().map(|&x| x.to_f32() as $type).collect(),
                        Data::I8(v) => v.iter().map(|&x| x as $type).collect(),
                        Data::I16(v) => v.iter().map(|&x| x as $type).collect(),
                        Data::I32(v) => v.iter().map(|&x| x as $type).collect(),
                        Data::I64(v) => v.iter().map(|&x| x as $type).collect(),
                        Data::U8(v) => match minifloat::values(tensor.dtype()) {
                            Some(values) => {
                                v.iter().map(|&x| values[usize::from(x)] as $type).collect()
                            }
                            None => v.iter().map(|&x| x as $type).collect(),
                        },
                        Data::U16(v) => v.iter().map(|&x| x as $type).collect(),
                        Data::U32(v) => v.iter().map(|&x| x as $type).collect(),
                        Data::U64(v) => v.iter().map(|&x| x as $type).collect(),
                        Data::Bool(v) => v.iter().map(|&x| u8::from(x) as $type).collect(),
                        Data::String(_) | Data::Complex64(_) | Data::Complex128(_) => {
                            return Err(not_a_number(tensor.dtype()));
                        }
                    },
                };
                Ok(Cow::Owned(converted))
            }

            fn narrow(elements: Vec<Self>, dtype: DType, overflow: Overflow) -> Result<Data> {
                let v = elements.into_iter();
                let saturates = overflow == Overflow::Saturate;
                Ok(match dtype {
                    DType::$variant => Data::new(v.collect::<Vec<$type>>()),
                    dtype => match dtype {
                        DType::F64 => Data::new(v.map(|x| x as f64).collect::<Vec<_>>()),
                        DType::F32 => Data::new(v.map(|x| x as f32).collect::<Vec<_>>()),
                        DType::F16 => Data::new(v.map(|$value| $to_f16).collect::<Vec<_>>()),
                        DType::BF16 => Data::new(v.map(|$value| $to_bf16).collect::<Vec<_>>()),
                        DType::F8E4M3FN
                        | DType::F8E4M3FNUZ
                        | DType::F8E5M2
                        | DType::F8E5M2FNUZ
                        | DType::F8E8M0
                        | DType::F4E2M1 => Data::new(
                            v.map(|$value| minifloat::encode($to_f32, dtype, saturates))
                                .collect::<Vec<_>>(),
                        ),
                        DType::I2 => {
                            Data::new(v.map(|$value| sign_extend($to_bits, 2)).collect::<Vec<_>>())
                        }
                        DType::I4 => {
                            Data::new(v.map(|$value| sign_extend($to_bits, 4)).collect::<Vec<_>>())
                        }
                        DType::I8 => Data::new(v.map(|x| x as i8).collect::<Vec<_>>()),
                        DType::I16 => Data::new(v.map(|x| x as i16).collect::<Vec<_>>()),
                        DType::I32 => Data::new(v.map(|x| x as i32).collect::<Vec<_>>()),
                        DType::I64 => Data::new(v.map(|x| x as i64).collect::<Vec<_>>()),
                        DType::U2 => {
                            Data::new(v.map(|$value| $to_bits as u8 & 3).collect::<Vec<_>>())
                        }
                        DType::U4 => {
                            Data::new(v.map(|$value| $to_bits as u8 & 15).collect::<Vec<_>>())
                        }
                        DType::U8 => Data::new(v.map(|x| x as u8).collect::<Vec<_>>()),
                        DType::U16 => Data::new(v.map(|x| x as u16).collect::<Vec<_>>()),
                        DType::U32 => Data::new(v.map(|x| x as u32).collect::<Vec<_>>()),
                        DType::U64 => Data::new(v.map(|x| x as u64).collect::<Vec<_>>()),
                        DType::Bool => {
                            Data::new(v.map(|x| x != Self::default()).collect::<Vec<_>>())
                        }
                        DType::Complex64 => {
                            Data::new(v.map(|x| [x as f32, 0.0]).collect::<Vec<_>>())
                        }
                        DType::Complex128 => {
                            Data::new(v.map(|x| [x as f64, 0.0]).collect::<Vec<_>>())
                        }
                        DType::String => return Err(not_a_number(dtype)),
                    },
                })
            }
        }
    };
}

compute!(f32, F32, |x| x, f16::from_f32(x), bf16::from_f32(x), x as i64);
compute!(f64, F64, |x| x as f32, f16::from_f64(x), bf16::from_f64(x), x as i64);
compute!(i64, I64, |x| x as f32, f16::from_f64(x as f64), bf16::from_f64(x as f64), x);
compute!(u64, U64, |x| x as f32, f16::from_f64(x as f64), bf16::from_f64(x as f64), x as i64);

/// The low `bits` of a number as a signed number.
fn sign_extend(value: i64, bits: u32) -> i8 {
    (((value << (64 - bits)) >> (64 - bits)) & 0xff) as u8 as i8
}

fn not_a_number(found: DType) -> Error {
    Error::UnsupportedType { what: "the tensor".into(), found, expected: "a number".into() }
}

impl Tensor {
    /// A tensor of `dtype` from computed elements; see [`Compute::narrow`].
    ///
    /// ## Errors
    /// [`Error::ElementCount`], [`Error::UnsupportedType`], [`Error::TooLarge`].
    pub fn computed<W: Compute>(shape: &[usize], dtype: DType, elements: Vec<W>) -> Result<Self> {
        Self::from_data(shape, dtype, W::narrow(elements, dtype, Overflow::Saturate)?)
    }

    /// Elements as `i64`, for shapes, axes and indices.
    ///
    /// ## Errors
    /// [`Error::UnsupportedType`] unless the elements are integers.
    pub fn to_i64s(&self) -> Result<Cow<'_, [i64]>> {
        if !self.dtype().is_integer() {
            return Err(Error::UnsupportedType {
                what: "the tensor".into(),
                found: self.dtype(),
                expected: "an integer type".into(),
            });
        }
        i64::widen(self)
    }
}
