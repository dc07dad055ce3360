//! Tensors on their way through the server: bytes as they arrived, in pieces.
//!
//! A [`Rope`] is a list of shared byte pieces. Bodies are kept as the pieces that
//! the sockets gave, tensors are ranges of them, and the only copy of a request's
//! data is the one into a model's batch.

use bytes::Bytes;

use crate::error::{Error, Result};

/// Type of a tensor's elements, by the names of the KServe v2 protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Datatype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Bf16,
    Fp32,
    Fp64,
    /// Strings: each with its length in four bytes before it.
    Bytes,
}

/// One row of the table of types.
struct Row {
    datatype: Datatype,
    /// Name in requests; `TYPE_` and this, or `config`, in model configurations.
    name: &'static str,
    /// Number in `DataType` of Triton's model_config.proto.
    number: i32,
    bytes: usize,
}

const ROWS: [Row; 14] = {
    const fn row(datatype: Datatype, name: &'static str, number: i32, bytes: usize) -> Row {
        Row { datatype, name, number, bytes }
    }
    use Datatype::*;
    [
        row(Bool, "BOOL", 1, 1),
        row(Uint8, "UINT8", 2, 1),
        row(Uint16, "UINT16", 3, 2),
        row(Uint32, "UINT32", 4, 4),
        row(Uint64, "UINT64", 5, 8),
        row(Int8, "INT8", 6, 1),
        row(Int16, "INT16", 7, 2),
        row(Int32, "INT32", 8, 4),
        row(Int64, "INT64", 9, 8),
        row(Fp16, "FP16", 10, 2),
        row(Bf16, "BF16", 14, 2),
        row(Fp32, "FP32", 11, 4),
        row(Fp64, "FP64", 12, 8),
        row(Bytes, "BYTES", 13, 0),
    ]
};

impl Datatype {
    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// All types, in the order of the table.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.datatype)
    }

    /// Name in requests: `FP32`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The type of a name in requests.
    pub fn from_name(name: &str) -> Option<Self> {
        ROWS.iter().find(|row| row.name == name).map(|row| row.datatype)
    }

    /// Name in model configurations: `TYPE_FP32`, and `TYPE_STRING` for bytes.
    pub fn config_name(self) -> String {
        match self {
            Self::Bytes => "TYPE_STRING".into(),
            _ => format!("TYPE_{}", self.name()),
        }
    }

    /// The type of a name in model configurations.
    pub fn from_config_name(name: &str) -> Option<Self> {
        match name.strip_prefix("TYPE_")? {
            "STRING" => Some(Self::Bytes),
            "BYTES" => None,
            name => Self::from_name(name),
        }
    }

    /// Number in `DataType` of model_config.proto.
    pub fn config_number(self) -> i32 {
        self.row().number
    }

    /// Size of an element; `None` for [`Datatype::Bytes`].
    pub fn size(self) -> Option<usize> {
        Some(self.row().bytes).filter(|&bytes| bytes > 0)
    }
}

/// Shared bytes in pieces.
#[derive(Debug, Clone, Default)]
pub struct Rope {
    parts: Vec<Bytes>,
    len: usize,
}

impl From<Bytes> for Rope {
    fn from(bytes: Bytes) -> Self {
        let len = bytes.len();
        Self { parts: if len == 0 { Vec::new() } else { vec![bytes] }, len }
    }
}

impl From<Vec<u8>> for Rope {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl Rope {
    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces, none of them empty.
    pub fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    /// The pieces, given away.
    pub fn into_parts(self) -> Vec<Bytes> {
        self.parts
    }

    /// Adds a piece at the end.
    pub fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.len += bytes.len();
            self.parts.push(bytes);
        }
    }

    /// Takes the first byte away.
    pub fn take_byte(&mut self) -> Option<u8> {
        let first = self.parts.first_mut()?;
        let byte = first[0];
        self.len -= 1;
        if first.len() == 1 {
            self.parts.remove(0);
        } else {
            bytes::Buf::advance(first, 1);
        }
        Some(byte)
    }

    /// Takes the first `len` bytes away; `None` if there are fewer.
    pub fn split_to(&mut self, len: usize) -> Option<Self> {
        if len > self.len {
            return None;
        }
        let (mut taken, mut left) = (0, len);
        let mut head = Self { parts: Vec::new(), len };
        while left > 0 {
            let part = &mut self.parts[taken];
            if part.len() > left {
                head.parts.push(part.split_to(left));
                break;
            }
            left -= part.len();
            head.parts.push(std::mem::take(part));
            taken += 1;
        }
        self.parts.drain(..taken);
        self.len -= len;
        Some(head)
    }

    /// The bytes in one piece; copied only if they are in several.
    pub fn to_bytes(&self) -> Bytes {
        match self.parts.as_slice() {
            [] => Bytes::new(),
            [only] => only.clone(),
            parts => Bytes::from(parts.concat()),
        }
    }

    /// Copies all bytes.
    ///
    /// *Panics* unless `target` is as long as the rope.
    pub fn copy_to(&self, target: &mut [u8]) {
        assert_eq!(target.len(), self.len, "the target is as long as the rope");
        let mut at = 0;
        for part in &self.parts {
            target[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
    }
}

/// A named tensor.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// Name of the input or output.
    pub name: String,
    /// Type of the elements.
    pub datatype: Datatype,
    /// Lengths of the dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Elements in row-major order, little-endian.
    pub data: Rope,
}

/// Number of elements of a shape.
///
/// ## Errors
/// [`Error::Invalid`] if it does not fit a machine word.
pub fn element_count(name: &str, shape: &[usize]) -> Result<usize> {
    let count = shape.iter().try_fold(1usize, |count, &dim| count.checked_mul(dim));
    count.ok_or_else(|| Error::invalid(format!("tensor {name}: shape {shape:?} is too large")))
}

impl Tensor {
    /// Holds the data against type and shape.
    ///
    /// ## Errors
    /// [`Error::Invalid`] with the sizes.
    pub fn check(&self) -> Result<()> {
        let count = element_count(&self.name, &self.shape)?;
        let Self { name, datatype, shape, data } = self;
        let Some(size) = datatype.size() else {
            let found = strings(&data.to_bytes(), name)?.len();
            return match found == count {
                true => Ok(()),
                false => Err(Error::invalid(format!(
                    "tensor {name}: shape {shape:?} has {count} elements, found {found} strings"
                ))),
            };
        };
        match count.checked_mul(size) {
            Some(expected) if expected == data.len() => Ok(()),
            Some(expected) => Err(Error::invalid(format!(
                "tensor {name}: {} of shape {shape:?} has {expected} bytes, found {}",
                datatype.name(),
                data.len()
            ))),
            None => Err(Error::invalid(format!("tensor {name}: shape {shape:?} is too large"))),
        }
    }
}

/// The elements of a [`Datatype::Bytes`] tensor.
///
/// ## Errors
/// [`Error::Invalid`] if a length goes beyond the end.
pub fn strings(data: &Bytes, name: &str) -> Result<Vec<Bytes>> {
    let cut = || Error::invalid(format!("tensor {name}: a string goes beyond the end of the data"));
    let mut rest = data.clone();
    let mut found = Vec::new();
    while !rest.is_empty() {
        let prefix = rest.get(..4).ok_or_else(cut)?;
        let len = u32::from_le_bytes(prefix.try_into().expect("four bytes")) as usize;
        if rest.len() - 4 < len {
            return Err(cut());
        }
        let element = rest.split_to(4 + len).slice(4..);
        found.push(element);
    }
    Ok(found)
}

/// A [`Datatype::Bytes`] tensor's data from its elements.
pub fn join_strings<T: AsRef<[u8]>>(elements: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut data = Vec::new();
    for element in elements {
        let element = element.as_ref();
        data.extend_from_slice(&(element.len() as u32).to_le_bytes());
        data.extend_from_slice(element);
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(parts: &[&'static [u8]]) -> Rope {
        let mut rope = Rope::default();
        parts.iter().for_each(|part| rope.push(Bytes::from_static(part)));
        rope
    }

    #[test]
    fn ropes_are_cut_anywhere() {
        let whole = b"abcdefgh";
        for cut in 0..=whole.len() {
            let mut tail = rope(&[b"abc", b"", b"d", b"efgh"]);
            let head = tail.split_to(cut).unwrap();
            assert_eq!(head.to_bytes(), &whole[..cut]);
            assert_eq!(tail.to_bytes(), &whole[cut..]);
            let mut copied = vec![0; head.len()];
            head.copy_to(&mut copied);
            assert_eq!(copied, &whole[..cut]);
            assert!(tail.split_to(tail.len() + 1).is_none());
        }
    }

    #[test]
    fn types_have_their_names_in_both_spellings() {
        for (at, row) in ROWS.iter().enumerate() {
            assert_eq!(row.datatype as usize, at);
            assert_eq!(Datatype::from_name(row.name), Some(row.datatype));
            assert_eq!(Datatype::from_config_name(&row.datatype.config_name()), Some(row.datatype));
        }
        assert_eq!(Datatype::from_name("fp32"), None);
    }

    #[test]
    fn sizes_are_checked_without_overflow() {
        let tensor = |shape: &[usize], datatype, data: &'static [u8]| Tensor {
            name: "x".into(),
            datatype,
            shape: shape.to_vec(),
            data: rope(&[data]),
        };
        assert!(tensor(&[2], Datatype::Fp32, &[0; 8]).check().is_ok());
        let wrong = tensor(&[3], Datatype::Fp32, &[0; 8]).check().unwrap_err().to_string();
        assert_eq!(wrong, "tensor x: FP32 of shape [3] has 12 bytes, found 8");
        assert!(tensor(&[usize::MAX, 2], Datatype::Uint8, &[]).check().is_err());
        assert!(tensor(&[usize::MAX / 2], Datatype::Fp32, &[]).check().is_err());
        assert!(tensor(&[2], Datatype::Bytes, b"\x01\0\0\0a\0\0\0\0").check().is_ok());
        assert!(tensor(&[1], Datatype::Bytes, b"\x09\0\0\0a").check().is_err());
        assert!(tensor(&[1], Datatype::Bytes, b"\x01\0").check().is_err());
    }

    #[test]
    fn strings_survive_the_way() {
        let data = Bytes::from(join_strings(["", "abc", "ü"]));
        let found = strings(&data, "x").unwrap();
        assert_eq!(found, ["".as_bytes(), b"abc", "ü".as_bytes()]);
    }
}
