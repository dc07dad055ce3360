//! The element types that files hold, by the names each format gives them.

use raddle_tensor::DType;

/// One row of the table of types.
pub struct Row {
    /// The type.
    pub dtype: DType,
    /// Bytes of one element.
    pub bytes: usize,
    /// Bytes that are swapped as one in files of the other byte order: the parts
    /// of a complex number each have an order of their own.
    pub word_bytes: usize,
    /// Kind and size in NumPy's type strings.
    pub npy: Option<&'static str>,
    /// Name in a safetensors header.
    pub safetensors: Option<&'static str>,
    /// Name of PyTorch's dtype, `torch.float32`.
    pub torch: Option<&'static str>,
    /// Name of PyTorch's typed storage.
    pub storage: Option<&'static str>,
}

/// All types, each once.
pub const ROWS: [Row; 20] = {
    const fn row(dtype: DType, bytes: usize, names: [&'static str; 4]) -> Row {
        const fn name(name: &'static str) -> Option<&'static str> {
            if name.is_empty() { None } else { Some(name) }
        }
        let [npy, safetensors, torch, storage] = names;
        let is_complex = matches!(dtype, DType::Complex64 | DType::Complex128);
        Row {
            dtype,
            bytes,
            word_bytes: if is_complex { bytes / 2 } else { bytes },
            npy: name(npy),
            safetensors: name(safetensors),
            torch: name(torch),
            storage: name(storage),
        }
    }
    use DType::*;
    [
        row(F64, 8, ["f8", "F64", "float64", "DoubleStorage"]),
        row(F32, 4, ["f4", "F32", "float32", "FloatStorage"]),
        row(F16, 2, ["f2", "F16", "float16", "HalfStorage"]),
        row(BF16, 2, ["", "BF16", "bfloat16", "BFloat16Storage"]),
        row(F8E4M3FN, 1, ["", "F8_E4M3", "float8_e4m3fn", "Float8_e4m3fnStorage"]),
        row(F8E4M3FNUZ, 1, ["", "F8_E4M3FNUZ", "float8_e4m3fnuz", "Float8_e4m3fnuzStorage"]),
        row(F8E5M2, 1, ["", "F8_E5M2", "float8_e5m2", "Float8_e5m2Storage"]),
        row(F8E5M2FNUZ, 1, ["", "F8_E5M2FNUZ", "float8_e5m2fnuz", "Float8_e5m2fnuzStorage"]),
        row(F8E8M0, 1, ["", "F8_E8M0", "float8_e8m0fnu", ""]),
        row(I8, 1, ["i1", "I8", "int8", "CharStorage"]),
        row(I16, 2, ["i2", "I16", "int16", "ShortStorage"]),
        row(I32, 4, ["i4", "I32", "int32", "IntStorage"]),
        row(I64, 8, ["i8", "I64", "int64", "LongStorage"]),
        row(U8, 1, ["u1", "U8", "uint8", "ByteStorage"]),
        row(U16, 2, ["u2", "U16", "uint16", ""]),
        row(U32, 4, ["u4", "U32", "uint32", ""]),
        row(U64, 8, ["u8", "U64", "uint64", ""]),
        row(Bool, 1, ["b1", "BOOL", "bool", "BoolStorage"]),
        row(Complex64, 8, ["c8", "C64", "complex64", "ComplexFloatStorage"]),
        row(Complex128, 16, ["c16", "", "complex128", "ComplexDoubleStorage"]),
    ]
};

/// The row of a type; `None` for text and for types below eight bits.
pub fn row(dtype: DType) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.dtype == dtype)
}

/// The row with a NumPy kind and size, such as `f4`.
pub fn by_npy(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.npy == Some(name))
}

/// The row with a safetensors name, such as `BF16`.
pub fn by_safetensors(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.safetensors == Some(name))
}

/// The row with a PyTorch dtype, such as `float32`.
pub fn by_torch(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.torch == Some(name))
}

/// The row with a PyTorch storage, such as `FloatStorage`.
pub fn by_storage(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.storage == Some(name))
}
