//! NumPy's `.npy`: a magic string, a version, a header that is a Python literal,
//! and the elements.
//!
//! Versions 1 to 3, both byte orders, both memory orders. *Source*: NumPy,
//! `numpy.lib.format`.

use std::path::Path;

use crate::array::{bytes_of, swap_words};
use crate::cursor::Cursor;
use crate::names::{self, Row};
use crate::weights::{read_file, write_file};
use crate::{Array, Budget, Error, Place, Result};

mod literal;

use literal::Literal;

/// The first bytes of every `.npy` file.
pub const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Elements begin at a multiple of this.
const ALIGNMENT: usize = 64;

/// Most bytes of a header; NumPy itself refuses above 10,000 unless told to trust the file.
const HEADER_BYTES_MAX: u32 = 1 << 16;

/// Reads a file.
///
/// ## Errors
/// [`Error::Io`], and those of [`decode`].
pub fn read(path: impl AsRef<Path>) -> Result<Array> {
    let path = path.as_ref();
    let bytes = read_file(path)?;
    decode(&bytes, &Place::file(path), &mut Budget::for_file(bytes.len()))
}

/// Writes a file.
///
/// ## Errors
/// [`Error::Io`], and those of [`encode`].
pub fn write(path: impl AsRef<Path>, array: &Array) -> Result<()> {
    write_file(path.as_ref(), &encode(array)?)
}

/// Reads an array from the bytes of a file or of an archive's entry.
///
/// ## Errors
/// [`Error::Truncated`], [`Error::Malformed`], and [`Error::Unsupported`] for
/// Python objects, text, dates and records.
pub fn decode(bytes: &[u8], place: &Place, budget: &mut Budget) -> Result<Array> {
    let mut cursor = Cursor::new(bytes, place.clone());
    let header = Header::read(&mut cursor)?;
    let row = header.row;
    let start = cursor.position();
    let needed = bytes_of(&header.shape, row.bytes);
    let too_many = || Error::Truncated {
        place: cursor.place_of(start),
        needed: needed.map_or(u64::MAX, |bytes| bytes as u64),
        found: cursor.rest().len() as u64,
    };
    let elements = needed.and_then(|len| cursor.rest().get(..len)).ok_or_else(too_many)?;
    budget.take(needed, &cursor.place())?;
    let mut elements = if header.is_fortran {
        rows_from_columns(elements, &header.shape, row.bytes)
    } else {
        elements.to_vec()
    };
    if header.is_big_endian {
        swap_words(&mut elements, row.word_bytes);
    }
    Array::new(row.dtype, header.shape, elements)
}

/// The bytes of a file, in row-major order, least significant byte first.
///
/// ## Errors
/// [`Error::NoSuchType`] for types that NumPy does not have, such as `bf16`.
pub fn encode(array: &Array) -> Result<Vec<u8>> {
    let name = array.row().npy.ok_or(Error::NoSuchType {
        format: "NumPy",
        dtype: array.dtype(),
        remedy: "convert it to f32 first, or write safetensors",
    })?;
    let order = if array.row().bytes == 1 { '|' } else { '<' };
    let shape = match array.shape() {
        [len] => format!("({len},)"),
        dims => {
            format!("({})", dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
    };
    let mut header =
        format!("{{'descr': '{order}{name}', 'fortran_order': False, 'shape': {shape}, }}");
    // A shape too long for version 1 takes version 2, whose length has four bytes.
    let version = if header.len() + ALIGNMENT < usize::from(u16::MAX) { 1 } else { 2 };
    let before = MAGIC.len() + 2 + if version == 1 { 2 } else { 4 };
    let end = (before + header.len() + 1).next_multiple_of(ALIGNMENT);
    header.push_str(&" ".repeat(end - before - header.len() - 1));
    header.push('\n');

    let mut file = Vec::with_capacity(end + array.bytes().len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&[version, 0]);
    let len = (header.len() as u32).to_le_bytes();
    file.extend_from_slice(if version == 1 { &len[..2] } else { &len });
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(array.bytes());
    Ok(file)
}

/// What the header says.
struct Header {
    row: &'static Row,
    is_big_endian: bool,
    is_fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self> {
        let magic = cursor.take(MAGIC.len())?;
        if magic != MAGIC {
            return Err(cursor.malformed(0, "the magic string of .npy is missing"));
        }
        let [major, minor] = cursor.array()?;
        let len = match major {
            1 => u32::from(cursor.u16()?),
            2 | 3 => cursor.u32()?,
            _ => {
                return Err(Error::Unsupported {
                    place: cursor.place_of(MAGIC.len()),
                    what: format!("version {major}.{minor} of .npy"),
                    remedy: "versions 1 to 3 are read; save it with numpy.save",
                });
            }
        };
        if len > HEADER_BYTES_MAX {
            let what = format!("a header of {len} bytes, at most {HEADER_BYTES_MAX} expected");
            return Err(cursor.malformed(MAGIC.len() + 2, what));
        }
        let start = cursor.position();
        let text = cursor.take(len as usize)?;
        let literal = literal::parse(&mut Cursor::new(text, cursor.place_of(start)))?;
        Self::from_literal(&literal, &|what: String| cursor.malformed(start, what), &|what| {
            Error::Unsupported {
                place: cursor.place_of(start),
                what,
                remedy: "save a plain array of numbers, `numpy.save(file, array.astype(…))`",
            }
        })
    }

    fn from_literal(
        literal: &Literal,
        malformed: &dyn Fn(String) -> Error,
        unsupported: &dyn Fn(String) -> Error,
    ) -> Result<Self> {
        let Literal::Dict(entries) = literal else {
            return Err(malformed("the header is not a dict".into()));
        };
        let find = |key: &str| {
            let mut found = entries.iter().filter(|(name, _)| name == key);
            match (found.next(), found.next()) {
                (Some((_, value)), None) => Ok(value),
                (None, _) => Err(malformed(format!("the header has no {key:?}"))),
                _ => Err(malformed(format!("the header has {key:?} twice"))),
            }
        };
        let descr = match find("descr")? {
            Literal::Text(descr) => descr,
            Literal::List(_) => return Err(unsupported("an array of records".into())),
            _ => return Err(malformed("'descr' is neither text nor a list".into())),
        };
        let Literal::Bool(is_fortran) = *find("fortran_order")? else {
            return Err(malformed("'fortran_order' is neither True nor False".into()));
        };
        let Literal::Tuple(dims) = find("shape")? else {
            return Err(malformed("'shape' is not a tuple".into()));
        };
        let dim = |dim: &Literal| match dim {
            Literal::Int(dim) => usize::try_from(*dim).ok(),
            _ => None,
        };
        let shape = dims.iter().map(dim).collect::<Option<Vec<_>>>();
        let shape = shape.ok_or_else(|| malformed("'shape' holds no sizes".into()))?;
        let (is_big_endian, name) = match descr.split_at_checked(1) {
            Some((">", name)) => (true, name),
            Some(("<" | "|" | "=", name)) => (false, name),
            _ => (false, descr.as_str()),
        };
        let row = names::by_npy(name).ok_or_else(|| unsupported(describe(descr, name)))?;
        Ok(Self { row, is_big_endian, is_fortran, shape })
    }
}

/// In words, what a type string stands for that is not read.
fn describe(descr: &str, name: &str) -> String {
    let kind = match name.as_bytes().first() {
        Some(b'O') => "Python objects (a pickle, which is never run)",
        Some(b'U' | b'S' | b'a') => "text",
        Some(b'M' | b'm') => "dates or times",
        Some(b'V') => "raw records",
        _ => "elements",
    };
    format!("an array of {kind}, type {descr:?},")
}

/// Row-major elements from column-major ones.
fn rows_from_columns(columns: &[u8], shape: &[usize], element_bytes: usize) -> Vec<u8> {
    let mut rows = Vec::with_capacity(columns.len());
    let mut index = vec![0; shape.len()];
    let mut strides = vec![element_bytes; shape.len()];
    for axis in 1..shape.len() {
        strides[axis] = strides[axis - 1].saturating_mul(shape[axis - 1]);
    }
    let mut at = 0;
    while rows.len() < columns.len() {
        rows.extend_from_slice(&columns[at..at + element_bytes]);
        // The next element of the last axis; at its end, of the axis before it.
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    rows
}
