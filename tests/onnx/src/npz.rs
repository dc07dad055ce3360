//! Arrays out of an `.npz` file as `numpy.savez` writes it: a zip archive whose
//! entries are stored, not compressed. Enough for stored test data.

use raddle_onnx::Tensor;

/// The array of `f32` called `name`.
///
/// ## Errors
/// What is not as it should be.
pub fn array(file: &[u8], name: &str) -> Result<Tensor, String> {
    let entry = entry(file, &format!("{name}.npy"))?;
    if !entry.starts_with(b"\x93NUMPY\x01") {
        return Err("not an array of version 1".into());
    }
    let header_len = usize::from(u16::from_le_bytes([entry[8], entry[9]]));
    let header = std::str::from_utf8(&entry[10..10 + header_len]).map_err(|e| e.to_string())?;
    if !header.contains("'<f4'") || !header.contains("'fortran_order': False") {
        return Err(format!("not a row-major array of f32: {header}"));
    }
    let shape = header.split(['(', ')']).nth(1).ok_or("the header has no shape")?;
    let dims = shape.split(',').map(str::trim).filter(|dim| !dim.is_empty());
    let dims: Vec<usize> = dims.map(str::parse).collect::<Result<_, _>>().map_err(|_| header)?;
    let elements = entry[10 + header_len..].as_chunks().0.iter().map(|&b| f32::from_le_bytes(b));
    Tensor::new(&dims, elements.collect()).map_err(|error| error.to_string())
}

/// The bytes of a stored entry, found through the archive's directory.
fn entry<'a>(file: &'a [u8], name: &str) -> Result<&'a [u8], String> {
    let short = |at: usize| usize::from(u16::from_le_bytes([file[at], file[at + 1]]));
    let long = |at: usize| short(at) | short(at + 2) << 16;
    let mut at = 0;
    while let Some(found) = file[at..].windows(4).position(|bytes| bytes == b"PK\x01\x02") {
        at += found;
        let name_len = short(at + 28);
        if &file[at + 46..at + 46 + name_len] == name.as_bytes() {
            let (size, local) = (long(at + 20), long(at + 42));
            let start = local + 30 + short(local + 26) + short(local + 28);
            return match short(at + 10) {
                0 => Ok(&file[start..start + size]),
                method => Err(format!("{name} is compressed by method {method}")),
            };
        }
        at += 46 + name_len;
    }
    Err(format!("there is no {name}"))
}
