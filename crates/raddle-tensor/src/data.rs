//! Typed storage of a tensor's elements, shared until someone writes.
//!
//! One variant per machine type. Types that Rust has no type for lie in the
//! variant of their bits: floats of 8 and 4 bits and unsigned integers below 8
//! in `U8`, signed ones below 8 in `I8`, one element to a byte.

use std::sync::Arc;

use half::{bf16, f16};

use crate::DType;

/// A complex number: real and imaginary part.
pub type Complex<T> = [T; 2];

/// The elements of a tensor in row-major order.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Data {
    F64(Arc<Vec<f64>>),
    F32(Arc<Vec<f32>>),
    F16(Arc<Vec<f16>>),
    BF16(Arc<Vec<bf16>>),
    I8(Arc<Vec<i8>>),
    I16(Arc<Vec<i16>>),
    I32(Arc<Vec<i32>>),
    I64(Arc<Vec<i64>>),
    U8(Arc<Vec<u8>>),
    U16(Arc<Vec<u16>>),
    U32(Arc<Vec<u32>>),
    U64(Arc<Vec<u64>>),
    Bool(Arc<Vec<bool>>),
    String(Arc<Vec<String>>),
    Complex64(Arc<Vec<Complex<f32>>>),
    Complex128(Arc<Vec<Complex<f64>>>),
}

/// Evaluates an expression with the vector of whichever variant `$data` is.
#[macro_export]
#[doc(hidden)]
macro_rules! with_data {
    ($data:expr, $vector:ident => $body:expr) => {
        match $data {
            $crate::Data::F64($vector) => $body,
            $crate::Data::F32($vector) => $body,
            $crate::Data::F16($vector) => $body,
            $crate::Data::BF16($vector) => $body,
            $crate::Data::I8($vector) => $body,
            $crate::Data::I16($vector) => $body,
            $crate::Data::I32($vector) => $body,
            $crate::Data::I64($vector) => $body,
            $crate::Data::U8($vector) => $body,
            $crate::Data::U16($vector) => $body,
            $crate::Data::U32($vector) => $body,
            $crate::Data::U64($vector) => $body,
            $crate::Data::Bool($vector) => $body,
            $crate::Data::String($vector) => $body,
            $crate::Data::Complex64($vector) => $body,
            $crate::Data::Complex128($vector) => $body,
        }
    };
}

/// A type that elements are stored as.
pub trait Element: Clone + Default + PartialEq + Send + Sync + 'static {
    /// The tensor type that is stored this way under its own name.
    const DTYPE: DType;

    /// Wraps elements.
    fn wrap(elements: Arc<Vec<Self>>) -> Data;

    /// The elements, if they are of this type.
    fn elements(data: &Data) -> Option<&Arc<Vec<Self>>>;

    /// The elements for writing, if they are of this type.
    fn elements_mut(data: &mut Data) -> Option<&mut Arc<Vec<Self>>>;
}

macro_rules! element {
    ($($type:ty => $variant:ident;)*) => {$(
        impl Element for $type {
            const DTYPE: DType = DType::$variant;

            fn wrap(elements: Arc<Vec<Self>>) -> Data {
                Data::$variant(elements)
            }

            fn elements(data: &Data) -> Option<&Arc<Vec<Self>>> {
                if let Data::$variant(elements) = data { Some(elements) } else { None }
            }

            fn elements_mut(data: &mut Data) -> Option<&mut Arc<Vec<Self>>> {
                if let Data::$variant(elements) = data { Some(elements) } else { None }
            }
        }
    )*};
}

element! {
    f64 => F64;
    f32 => F32;
    f16 => F16;
    bf16 => BF16;
    i8 => I8;
    i16 => I16;
    i32 => I32;
    i64 => I64;
    u8 => U8;
    u16 => U16;
    u32 => U32;
    u64 => U64;
    bool => Bool;
    String => String;
    Complex<f32> => Complex64;
    Complex<f64> => Complex128;
}

impl Data {
    /// Elements of one machine type.
    pub fn new<T: Element>(elements: Vec<T>) -> Self {
        T::wrap(Arc::new(elements))
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        with_data!(self, elements => elements.len())
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether elements of `dtype` lie in this variant.
    pub fn stores(&self, dtype: DType) -> bool {
        self.own_type() == storage(dtype)
    }

    /// The type that lies in this variant under its own name.
    pub fn own_type(&self) -> DType {
        fn of<T: Element>(_: &Arc<Vec<T>>) -> DType {
            T::DTYPE
        }
        with_data!(self, elements => of(elements))
    }
}

/// The machine type that elements of `dtype` are stored as, by its own name.
pub fn storage(dtype: DType) -> DType {
    match dtype {
        DType::F8E4M3FN
        | DType::F8E4M3FNUZ
        | DType::F8E5M2
        | DType::F8E5M2FNUZ
        | DType::F8E8M0
        | DType::F4E2M1
        | DType::U2
        | DType::U4 => DType::U8,
        DType::I2 | DType::I4 => DType::I8,
        itself => itself,
    }
}
