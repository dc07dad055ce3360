//! Element types, the way ONNX numbers and names them.
//!
//! Types below eight bits are kept one element to a byte in memory; they are
//! packed in files only (see [`crate::Data`]).

use std::fmt;

/// Type of the elements of a tensor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum DType {
    F64,
    F32,
    F16,
    BF16,
    F8E4M3FN,
    F8E4M3FNUZ,
    F8E5M2,
    F8E5M2FNUZ,
    F8E8M0,
    F4E2M1,
    I2,
    I4,
    I8,
    I16,
    I32,
    I64,
    U2,
    U4,
    U8,
    U16,
    U32,
    U64,
    Bool,
    String,
    Complex64,
    Complex128,
}

/// How operations compute on a type: narrow types are widened, computed on and
/// rounded back, so that an operation is written for four types only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Computed in `f32`: `f32` itself and all narrower floats.
    F32,
    /// Computed in `f64`.
    F64,
    /// Computed in `i64`, wrapped to the type's width.
    I64,
    /// Computed in `u64`, wrapped to the type's width.
    U64,
    /// Truth values.
    Bool,
    /// Text.
    String,
    /// Pairs of real and imaginary part.
    Complex,
}

/// One row of the table of types.
struct Row {
    dtype: DType,
    /// Number in `TensorProto.DataType` of onnx.proto.
    onnx: i32,
    name: &'static str,
    bits: usize,
    class: Class,
}

/// All types: number in onnx.proto, name in ONNX's type strings, width, class.
const ROWS: [Row; 26] = {
    const fn row(dtype: DType, onnx: i32, name: &'static str, bits: usize, class: Class) -> Row {
        Row { dtype, onnx, name, bits, class }
    }
    use DType::*;
    [
        row(F64, 11, "double", 64, Class::F64),
        row(F32, 1, "float", 32, Class::F32),
        row(F16, 10, "float16", 16, Class::F32),
        row(BF16, 16, "bfloat16", 16, Class::F32),
        row(F8E4M3FN, 17, "float8e4m3fn", 8, Class::F32),
        row(F8E4M3FNUZ, 18, "float8e4m3fnuz", 8, Class::F32),
        row(F8E5M2, 19, "float8e5m2", 8, Class::F32),
        row(F8E5M2FNUZ, 20, "float8e5m2fnuz", 8, Class::F32),
        row(F8E8M0, 24, "float8e8m0", 8, Class::F32),
        row(F4E2M1, 23, "float4e2m1", 4, Class::F32),
        row(I2, 26, "int2", 2, Class::I64),
        row(I4, 22, "int4", 4, Class::I64),
        row(I8, 3, "int8", 8, Class::I64),
        row(I16, 5, "int16", 16, Class::I64),
        row(I32, 6, "int32", 32, Class::I64),
        row(I64, 7, "int64", 64, Class::I64),
        row(U2, 25, "uint2", 2, Class::U64),
        row(U4, 21, "uint4", 4, Class::U64),
        row(U8, 2, "uint8", 8, Class::U64),
        row(U16, 4, "uint16", 16, Class::U64),
        row(U32, 12, "uint32", 32, Class::U64),
        row(U64, 13, "uint64", 64, Class::U64),
        row(Bool, 9, "bool", 8, Class::Bool),
        row(String, 8, "string", 0, Class::String),
        row(Complex64, 14, "complex64", 64, Class::Complex),
        row(Complex128, 15, "complex128", 128, Class::Complex),
    ]
};

impl DType {
    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// The type with a number of `TensorProto.DataType`; `None` for 0 and unknown numbers.
    pub fn from_onnx(number: i64) -> Option<Self> {
        ROWS.iter().find(|row| i64::from(row.onnx) == number).map(|row| row.dtype)
    }

    /// Number in `TensorProto.DataType`.
    pub fn onnx_number(self) -> i32 {
        self.row().onnx
    }

    /// Name in ONNX's type strings: `float`, `int64`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Width of one element in a file in bits; 0 for strings.
    pub fn bits(self) -> usize {
        self.row().bits
    }

    /// How operations compute on the type.
    pub fn class(self) -> Class {
        self.row().class
    }

    /// Whether the type is a float of any width.
    pub fn is_float(self) -> bool {
        matches!(self.class(), Class::F32 | Class::F64)
    }

    /// Whether the type is an integer of any width.
    pub fn is_integer(self) -> bool {
        matches!(self.class(), Class::I64 | Class::U64)
    }

    /// Whether the type has arithmetic: floats and integers.
    pub fn is_number(self) -> bool {
        self.is_float() || self.is_integer()
    }

    /// All types, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.dtype)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_their_discriminants() {
        for (at, row) in ROWS.iter().enumerate() {
            assert_eq!(row.dtype as usize, at, "{}", row.name);
            assert_eq!(DType::from_onnx(row.onnx.into()), Some(row.dtype));
        }
        assert_eq!(DType::from_onnx(0), None);
    }
}
