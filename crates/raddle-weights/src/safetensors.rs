//! safetensors: the length of a JSON header, the header, the elements.
//!
//! The elements of all tensors must fill the rest of the file without gaps and
//! overlaps, as the format demands. *Source*: the format's description in the
//! repository huggingface/safetensors.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::array::bytes_of;
use crate::cursor::Cursor;
use crate::names;
use crate::weights::{read_file, write_file};
use crate::{Array, Budget, Error, Place, Result, Weights};

/// Most bytes of a header, as the format says.
const HEADER_BYTES_MAX: u64 = 100_000_000;

/// The header's entry that is no tensor.
const METADATA: &str = "__metadata__";

/// The elements begin at a multiple of this.
const ALIGNMENT: usize = 8;

/// Whether bytes begin like a safetensors file.
pub fn is_header(bytes: &[u8]) -> bool {
    let mut cursor = Cursor::new(bytes, Place::default());
    let len = cursor.u64();
    len.is_ok_and(|len| len <= HEADER_BYTES_MAX) && cursor.rest().first() == Some(&b'{')
}

/// Reads a file.
///
/// ## Errors
/// [`Error::Io`], and those of [`decode`].
pub fn read(path: impl AsRef<Path>) -> Result<Weights> {
    let path = path.as_ref();
    let bytes = read_file(path)?;
    decode(&bytes, &Place::file(path), &mut Budget::for_file(bytes.len()))
}

/// Writes a file.
///
/// ## Errors
/// [`Error::Io`], and those of [`encode`].
pub fn write(path: impl AsRef<Path>, weights: &Weights) -> Result<()> {
    write_file(path.as_ref(), &encode(weights)?)
}

/// Reads the bytes of a file; the arrays come in the order of their elements.
///
/// ## Errors
/// [`Error::Truncated`], [`Error::Malformed`], and [`Error::Unsupported`] for
/// types that are not read.
pub fn decode(bytes: &[u8], place: &Place, budget: &mut Budget) -> Result<Weights> {
    let mut cursor = Cursor::new(bytes, place.at(0));
    let len = cursor.u64()?;
    if len > HEADER_BYTES_MAX {
        let what = format!("a header of {len} bytes, at most {HEADER_BYTES_MAX} allowed");
        return Err(cursor.malformed(0, what));
    }
    let at = cursor.position();
    let text = cursor.take_u64(len)?;
    let malformed = |what: String| Error::Malformed { place: place.at(at), what };
    let header: Map<String, Value> = serde_json::from_slice(text)
        .map_err(|error| malformed(format!("the header is no JSON object: {error}")))?;
    let start = cursor.position();
    let data = cursor.rest();

    let mut weights = Weights::default();
    let mut tensors = Vec::new();
    for (name, value) in &header {
        if name == METADATA {
            weights.metadata = metadata(value).ok_or_else(|| {
                malformed(format!("{METADATA:?} is not an object with text as values"))
            })?;
        } else {
            tensors.push(Entry::read(name, value, place, at)?);
        }
    }
    tensors.sort_by_key(|entry| (entry.start, entry.end));
    let mut end = 0;
    for entry in tensors {
        let place = place.entry(entry.name).at(start + end.min(data.len()));
        if entry.start != end as u64 {
            let what = format!(
                "its elements begin at {}, expected {end}: tensors follow each other without gaps",
                entry.start
            );
            return Err(Error::Malformed { place, what });
        }
        let needed = usize::try_from(entry.end).ok().filter(|&end| end <= data.len());
        let next = needed.ok_or_else(|| Error::Truncated {
            place: place.clone(),
            needed: entry.end - entry.start,
            found: (data.len() - end) as u64,
        })?;
        budget.take(Some(next - end), &place)?;
        let array = Array::new(entry.dtype, entry.shape, data[end..next].to_vec())
            .map_err(|error| Error::Malformed { place, what: error.to_string() })?;
        weights.arrays.push((entry.name.to_owned(), array));
        end = next;
    }
    if end != data.len() {
        let what = format!("{} bytes that belong to no tensor", data.len() - end);
        return Err(Error::Malformed { place: place.at(start + end), what });
    }
    Ok(weights)
}

/// The bytes of a file. The elements stand in the order of the arrays.
///
/// ## Errors
/// [`Error::NoSuchType`]; [`Error::Name`] if a name occurs twice or is `__metadata__`.
pub fn encode(weights: &Weights) -> Result<Vec<u8>> {
    let mut header = Map::new();
    if !weights.metadata.is_empty() {
        let entries = weights.metadata.iter().map(|(key, value)| (key.clone(), json!(value)));
        header.insert(METADATA.into(), Value::Object(entries.collect()));
    }
    let mut names = BTreeSet::from([METADATA]);
    let mut end = 0;
    for (name, array) in &weights.arrays {
        if !names.insert(name) {
            let why = "occurs twice or is the format's own";
            return Err(Error::Name { name: name.clone(), why });
        }
        let dtype = array.row().safetensors.ok_or(Error::NoSuchType {
            format: "safetensors",
            dtype: array.dtype(),
            remedy: "convert it first, or write .npz",
        })?;
        let start = end;
        end += array.bytes().len();
        let entry = json!({ "dtype": dtype, "shape": array.shape(), "data_offsets": [start, end] });
        header.insert(name.clone(), entry);
    }
    let mut text = Value::Object(header).to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(ALIGNMENT) - text.len()));
    let mut file = Vec::with_capacity(8 + text.len() + end);
    file.extend_from_slice(&(text.len() as u64).to_le_bytes());
    file.extend_from_slice(text.as_bytes());
    weights.arrays.iter().for_each(|(_, array)| file.extend_from_slice(array.bytes()));
    Ok(file)
}

/// What the header says about a tensor.
struct Entry<'a> {
    name: &'a str,
    dtype: raddle_tensor::DType,
    shape: Vec<usize>,
    start: u64,
    end: u64,
}

impl<'a> Entry<'a> {
    fn read(name: &'a str, value: &Value, place: &Place, at: usize) -> Result<Self> {
        let place = place.entry(name).at(at);
        let malformed = |what: &str| Error::Malformed { place: place.clone(), what: what.into() };
        let dtype = value["dtype"].as_str().ok_or_else(|| malformed("\"dtype\" is no text"))?;
        let dtype = names::by_safetensors(dtype).map(|row| row.dtype).ok_or_else(|| {
            Error::Unsupported {
                place: place.clone(),
                what: format!("type {dtype:?}"),
                remedy: "convert the tensor to a type of at least eight bits, such as F16",
            }
        })?;
        let sizes = |key: &str| {
            let list = value[key].as_array()?;
            list.iter().map(Value::as_u64).collect::<Option<Vec<_>>>()
        };
        let shape = sizes("shape").ok_or_else(|| malformed("\"shape\" is no list of sizes"))?;
        let shape: Option<Vec<usize>> =
            shape.into_iter().map(|dim| usize::try_from(dim).ok()).collect();
        let shape = shape.ok_or_else(|| malformed("\"shape\" holds a size beyond counting"))?;
        let (start, end) = match sizes("data_offsets").as_deref() {
            Some(&[start, end]) if start <= end => (start, end),
            _ => return Err(malformed("\"data_offsets\" is no pair of rising offsets")),
        };
        let bytes = names::row(dtype).and_then(|row| bytes_of(&shape, row.bytes));
        if bytes.map(|bytes| bytes as u64) != Some(end - start) {
            let what =
                format!("{dtype}{shape:?} does not take the {} bytes of its offsets", end - start);
            return Err(malformed(&what));
        }
        Ok(Self { name, dtype, shape, start, end })
    }
}

fn metadata(value: &Value) -> Option<Vec<(String, String)>> {
    let entries = value.as_object()?.iter();
    entries.map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
