//! Tensors in files: `TensorProto`, `SparseTensorProto`, `SequenceProto`,
//! `OptionalProto`, with data inside the message or beside the model.

use std::path::Path;

use half::{bf16, f16};
use raddle_tensor::{DType, Data, Sequence, Tensor, Value, shape, storage};

use crate::wire::Reader;
use crate::{Error, Result};

/// Where external data may lie: the folder of the model, if it came from a file.
pub type Folder<'a> = Option<&'a Path>;

/// The fields of a `TensorProto`.
#[derive(Default)]
struct TensorProto<'a> {
    name: &'a str,
    dims: Vec<i64>,
    data_type: i64,
    raw: Option<&'a [u8]>,
    floats: Vec<f32>,
    doubles: Vec<f64>,
    ints: Vec<i64>,
    strings: Vec<&'a [u8]>,
    external: Vec<(&'a str, &'a str)>,
    is_external: bool,
}

/// Decodes a `TensorProto` with its name.
///
/// ## Errors
/// [`Error::Wire`], [`Error::Model`], [`Error::OutsideFolder`], [`Error::Io`].
pub fn tensor<'a>(reader: Reader<'a>, folder: Folder<'_>) -> Result<(&'a str, Tensor)> {
    let proto = TensorProto::read(reader)?;
    let place = || format!("tensor {}", proto.name);
    let dtype = DType::from_onnx(proto.data_type).ok_or_else(|| {
        Error::model(place(), format!("element type {} does not exist", proto.data_type))
    })?;
    let dims = shape::dims(&proto.dims).map_err(|e| Error::model(place(), e.to_string()))?;
    let count =
        shape::element_count(&dims, dtype).map_err(|e| Error::model(place(), e.to_string()))?;
    let data = match (&proto.raw, proto.is_external) {
        (_, true) => raw(&external(&proto, folder)?, dtype, count),
        (Some(bytes), false) => raw(bytes, dtype, count),
        (None, false) => proto.typed(dtype, count),
    };
    let data = data.map_err(|what| Error::model(place(), what))?;
    let tensor = Tensor::from_data(&dims, dtype, data);
    Ok((proto.name, tensor.map_err(|e| Error::model(place(), e.to_string()))?))
}

impl<'a> TensorProto<'a> {
    fn read(mut reader: Reader<'a>) -> Result<Self> {
        let mut proto = Self::default();
        while let Some((number, field)) = reader.next_field()? {
            match number {
                1 => field.ints(&mut proto.dims)?,
                2 => proto.data_type = field.int()?,
                4 => field.floats(&mut proto.floats)?,
                5 | 7 | 11 => field.ints(&mut proto.ints)?,
                6 => proto.strings.push(field.bytes()?),
                8 => proto.name = field.text()?,
                9 => proto.raw = Some(field.bytes()?),
                10 => field.doubles(&mut proto.doubles)?,
                13 => proto.external.push(entry(field.message()?)?),
                14 => proto.is_external = field.int()? == 1,
                _ => {}
            }
        }
        Ok(proto)
    }

    /// Elements from the typed fields (`float_data`, `int32_data`, …).
    fn typed(&self, dtype: DType, count: usize) -> Result<Data, String> {
        let ints = &self.ints;
        // Packed types put two or four elements into one number.
        let per_int = if dtype.bits() < 8 && dtype.bits() > 0 { 8 / dtype.bits() } else { 1 };
        let found = match dtype {
            DType::F32 => self.floats.len(),
            DType::Complex64 => self.floats.len() / 2,
            DType::F64 => self.doubles.len(),
            DType::Complex128 => self.doubles.len() / 2,
            DType::String => self.strings.len(),
            _ => ints.len(),
        };
        if found != count.div_ceil(per_int) {
            return Err(format!("its shape needs {count} elements, found {}", found * per_int));
        }
        let bytes = || ints.iter().map(|&x| x as u8).collect::<Vec<_>>();
        Ok(match dtype {
            DType::F32 => Data::new(self.floats.clone()),
            DType::F64 => Data::new(self.doubles.clone()),
            DType::Complex64 => Data::new(self.floats.as_chunks::<2>().0.to_vec()),
            DType::Complex128 => Data::new(self.doubles.as_chunks::<2>().0.to_vec()),
            DType::String => {
                let text = |bytes: &&[u8]| String::from_utf8(bytes.to_vec());
                let texts = self.strings.iter().map(text).collect::<Result<Vec<_>, _>>();
                Data::new(texts.map_err(|_| "a text is not UTF-8".to_owned())?)
            }
            DType::F16 => Data::new(ints.iter().map(|&x| f16::from_bits(x as u16)).collect()),
            DType::BF16 => Data::new(ints.iter().map(|&x| bf16::from_bits(x as u16)).collect()),
            DType::I16 => Data::new(ints.iter().map(|&x| x as i16).collect()),
            DType::I32 => Data::new(ints.iter().map(|&x| x as i32).collect()),
            DType::I64 => Data::new(ints.clone()),
            DType::U16 => Data::new(ints.iter().map(|&x| x as u16).collect()),
            DType::U32 => Data::new(ints.iter().map(|&x| x as u32).collect()),
            DType::U64 => Data::new(ints.iter().map(|&x| x as u64).collect()),
            _ => return raw(&bytes(), dtype, count),
        })
    }
}

/// Elements from little-endian bytes; types below eight bits are packed from
/// the low bits up.
fn raw(bytes: &[u8], dtype: DType, count: usize) -> Result<Data, String> {
    let expected = (count * dtype.bits()).div_ceil(8);
    if dtype == DType::String {
        return Err("strings cannot be raw data".into());
    }
    if bytes.len() != expected {
        return Err(format!("its shape needs {expected} bytes of data, found {}", bytes.len()));
    }
    macro_rules! elements {
        ($type:ty) => {
            Data::new(bytes.as_chunks().0.iter().map(|&b| <$type>::from_le_bytes(b)).collect())
        };
    }
    Ok(match dtype {
        DType::F64 => elements!(f64),
        DType::F32 => elements!(f32),
        DType::F16 => elements!(f16),
        DType::BF16 => elements!(bf16),
        DType::I8 => elements!(i8),
        DType::I16 => elements!(i16),
        DType::I32 => elements!(i32),
        DType::I64 => elements!(i64),
        DType::U16 => elements!(u16),
        DType::U32 => elements!(u32),
        DType::U64 => elements!(u64),
        DType::Bool => Data::new(bytes.iter().map(|&byte| byte != 0).collect()),
        DType::Complex64 => {
            let parts = bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b));
            Data::new(parts.collect::<Vec<_>>().as_chunks::<2>().0.to_vec())
        }
        DType::Complex128 => {
            let parts = bytes.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b));
            Data::new(parts.collect::<Vec<_>>().as_chunks::<2>().0.to_vec())
        }
        narrow if narrow.bits() < 8 => unpack(bytes, narrow, count),
        _ => Data::new(bytes.to_vec()),
    })
}

fn unpack(bytes: &[u8], dtype: DType, count: usize) -> Data {
    let bits = dtype.bits();
    let per_byte = 8 / bits;
    let code = |at: usize| (bytes[at / per_byte] >> (at % per_byte * bits)) & ((1 << bits) - 1);
    if storage(dtype) == DType::I8 {
        let shift = 8 - bits;
        Data::new((0..count).map(|at| ((code(at) << shift) as i8) >> shift).collect())
    } else {
        Data::new((0..count).map(code).collect())
    }
}

/// Reads data that lies in another file.
fn external(proto: &TensorProto<'_>, folder: Folder<'_>) -> Result<Vec<u8>> {
    let value = |key: &str| proto.external.iter().find(|(own, _)| *own == key).map(|(_, v)| *v);
    let number = |key: &str| -> Result<Option<u64>> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                Error::model(
                    format!("tensor {}", proto.name),
                    format!("{key} {text:?} is no number"),
                )
            })
        };
        value(key).map(parse).transpose()
    };
    let location = value("location").unwrap_or_default();
    let outside = || Error::OutsideFolder { tensor: proto.name.into(), location: location.into() };
    let folder = folder.ok_or_else(outside)?;
    let relative = Path::new(location);
    let is_plain = |part| matches!(part, std::path::Component::Normal(_));
    if location.is_empty() || !relative.components().all(is_plain) {
        return Err(outside());
    }
    let path = folder.join(relative);
    let io = |source| Error::Io { path: path.clone(), source };
    // A link may still lead out of the folder.
    let real = path.canonicalize().map_err(io)?;
    if !real.starts_with(folder.canonicalize().map_err(io)?) {
        return Err(outside());
    }
    read_part(&path, number("offset")?.unwrap_or(0), number("length")?, proto.name)
}

fn read_part(path: &Path, offset: u64, len: Option<u64>, tensor: &str) -> Result<Vec<u8>> {
    use std::io::{Read, Seek, SeekFrom};
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut file = std::fs::File::open(path).map_err(io)?;
    let file_len = file.metadata().map_err(io)?.len();
    let len = len.unwrap_or(file_len.saturating_sub(offset));
    if offset.checked_add(len).is_none_or(|end| end > file_len) {
        let what = format!("bytes {offset} + {len} lie past the end of {}", path.display());
        return Err(Error::model(format!("tensor {tensor}"), what));
    }
    file.seek(SeekFrom::Start(offset)).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(len).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// A `StringStringEntryProto`.
fn entry(mut reader: Reader<'_>) -> Result<(&str, &str)> {
    let mut pair = ("", "");
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => pair.0 = field.text()?,
            2 => pair.1 = field.text()?,
            _ => {}
        }
    }
    Ok(pair)
}

/// Decodes a `SparseTensorProto` into a dense tensor with its name.
///
/// ## Errors
/// As [`tensor`].
pub fn sparse_tensor<'a>(mut reader: Reader<'a>, folder: Folder<'_>) -> Result<(&'a str, Tensor)> {
    let (mut values, mut indices, mut dims) = (None, None, Vec::new());
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => values = Some(tensor(field.message()?, folder)?),
            2 => indices = Some(tensor(field.message()?, folder)?),
            3 => field.ints(&mut dims)?,
            _ => {}
        }
    }
    let (Some((name, values)), Some((_, indices))) = (values, indices) else {
        return Err(Error::model("sparse tensor", "values or indices are missing"));
    };
    let dims = shape::dims(&dims)?;
    let count = shape::element_count(&dims, values.dtype())?;
    let strides = shape::strides(&dims);
    let list = indices.to_i64s()?;
    let mut sources = vec![None; count];
    // indices: [values] of flat positions, or [values, rank] of coordinates
    let width = if indices.rank() == 2 { dims.len() } else { 1 };
    if list.len() != values.len() * width {
        return Err(Error::model(format!("sparse tensor {name}"), "indices do not fit the values"));
    }
    for (at, place) in list.chunks(width.max(1)).enumerate() {
        let mut flat = 0;
        for (axis, &index) in place.iter().enumerate() {
            let (len, stride) =
                if indices.rank() == 2 { (dims[axis], strides[axis]) } else { (count, 1) };
            flat += shape::index(index, len)? * stride;
        }
        sources[flat] = Some(at);
    }
    Ok((name, raddle_tensor::movement::gather_indices(&values, &dims, &sources, None)?))
}

/// Decodes a `TensorProto` file, as the data of ONNX's tests are stored.
///
/// ## Errors
/// [`Error::Wire`], [`Error::Model`].
pub fn decode_tensor(bytes: &[u8]) -> Result<(String, Tensor)> {
    let (name, tensor) = tensor(Reader::new(bytes), None)?;
    Ok((name.into(), tensor))
}

/// Decodes a `SequenceProto` file with its name.
///
/// ## Errors
/// [`Error::Wire`], [`Error::Model`].
pub fn decode_sequence(bytes: &[u8]) -> Result<(String, Value)> {
    sequence(Reader::new(bytes), 0)
}

/// Decodes an `OptionalProto` file with its name.
///
/// ## Errors
/// [`Error::Wire`], [`Error::Model`].
pub fn decode_optional(bytes: &[u8]) -> Result<(String, Value)> {
    optional(Reader::new(bytes), 0)
}

/// Values that are nested deeper than this are refused.
const VALUE_DEPTH_MAX: usize = 32;

fn check_depth(depth: usize) -> Result<()> {
    if depth < VALUE_DEPTH_MAX {
        return Ok(());
    }
    Err(Error::model("value", format!("is nested deeper than {VALUE_DEPTH_MAX}")))
}

fn sequence(mut reader: Reader<'_>, depth: usize) -> Result<(String, Value)> {
    check_depth(depth)?;
    let (mut name, mut items) = (String::new(), Vec::new());
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => name = field.text()?.into(),
            3 => items.push(Value::Tensor(tensor(field.message()?, None)?.1)),
            4 => items.push(Value::Tensor(sparse_tensor(field.message()?, None)?.1)),
            5 => items.push(sequence(field.message()?, depth + 1)?.1),
            7 => items.push(optional(field.message()?, depth + 1)?.1),
            _ => {}
        }
    }
    let dtype = items.iter().find_map(Value::as_tensor).map_or(DType::F32, Tensor::dtype);
    Ok((name, Value::Sequence(Sequence { dtype, items: items.into() })))
}

fn optional(mut reader: Reader<'_>, depth: usize) -> Result<(String, Value)> {
    check_depth(depth)?;
    let (mut name, mut inner) = (String::new(), None);
    while let Some((number, field)) = reader.next_field()? {
        match number {
            1 => name = field.text()?.into(),
            3 => inner = Some(Value::Tensor(tensor(field.message()?, None)?.1)),
            4 => inner = Some(Value::Tensor(sparse_tensor(field.message()?, None)?.1)),
            5 => inner = Some(sequence(field.message()?, depth + 1)?.1),
            7 => inner = Some(optional(field.message()?, depth + 1)?.1),
            _ => {}
        }
    }
    Ok((name, Value::Optional(inner.map(Box::new))))
}
