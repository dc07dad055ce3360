//! Outputs of a run: in words, and as files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use raddle_tensor::convert::Compute;
use raddle_tensor::graph::{Dim, ValueType};
use raddle_tensor::{DType, Tensor, Value};
use raddle_weights::npz::Compression;
use raddle_weights::{Array, Weights, npy, npz, safetensors};

/// Why outputs were not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// An array could not be written.
    #[error(transparent)]
    Array(#[from] raddle_weights::Error),
    /// An output that no array can hold.
    #[error("output {name}: {source}")]
    Kind {
        /// The output.
        name: String,
        /// Why.
        source: Box<raddle_weights::Error>,
    },
    /// The folder could not be made.
    #[error("{}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Writes outputs below a folder or into one file, by the path's extension, and
/// gives the files.
///
/// ## Errors
/// See [`OutputError`].
pub fn write(path: &Path, outputs: &[(String, Value)]) -> Result<Vec<PathBuf>, OutputError> {
    let mut arrays = Vec::new();
    for (name, value) in outputs {
        flatten(name, value, &mut arrays)?;
    }
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("npz") => {
            let arrays = arrays.iter().map(|(name, array)| (name.as_str(), array));
            npz::write(path, arrays, Compression::Stored)?;
        }
        Some("safetensors") => {
            safetensors::write(path, &Weights { arrays, metadata: Vec::new() })?;
        }
        _ => return write_folder(path, &arrays),
    }
    Ok(vec![path.to_owned()])
}

fn write_folder(dir: &Path, arrays: &[(String, Array)]) -> Result<Vec<PathBuf>, OutputError> {
    std::fs::create_dir_all(dir)
        .map_err(|source| OutputError::Folder { path: dir.to_owned(), source })?;
    let mut taken = BTreeSet::new();
    let mut files = Vec::new();
    for (name, array) in arrays {
        let path = dir.join(format!("{}.npy", file_name(name, &mut taken)));
        npy::write(&path, array)?;
        files.push(path);
    }
    Ok(files)
}

/// A file name for an output. Names in a model may be anything, `../x` included;
/// what is not a letter, digit, dot, dash or underscore becomes an underscore.
fn file_name(name: &str, taken: &mut BTreeSet<String>) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let plain: String = name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect();
    let plain = plain.trim_start_matches('.');
    let plain = if plain.is_empty() { "output" } else { plain };
    let numbered = |number: usize| match number {
        0 => plain.to_owned(),
        _ => format!("{plain}_{number}"),
    };
    let mut number = 0;
    while !taken.insert(numbered(number)) {
        number += 1;
    }
    numbered(number)
}

/// The tensors of a value: itself, or the items of a sequence by number.
fn flatten(
    name: &str,
    value: &Value,
    arrays: &mut Vec<(String, Array)>,
) -> Result<(), OutputError> {
    match value {
        Value::Tensor(tensor) => {
            let array = Array::try_from(tensor).map_err(|source| OutputError::Kind {
                name: name.to_owned(),
                source: source.into(),
            })?;
            arrays.push((name.to_owned(), array));
        }
        Value::Sequence(sequence) => {
            for (at, item) in sequence.items.iter().enumerate() {
                flatten(&format!("{name}.{at}"), item, arrays)?;
            }
        }
        Value::Optional(Some(value)) => flatten(name, value, arrays)?,
        Value::Optional(None) => {}
    }
    Ok(())
}

/// A value in a line: type, shape and what its numbers are like.
pub fn describe(value: &Value) -> String {
    match value {
        Value::Tensor(tensor) => describe_tensor(tensor),
        Value::Sequence(sequence) => {
            format!("a sequence of {} values of {}", sequence.items.len(), sequence.dtype)
        }
        Value::Optional(Some(value)) => format!("optionally {}", describe(value)),
        Value::Optional(None) => "an optional without a value".into(),
    }
}

fn describe_tensor(tensor: &Tensor) -> String {
    let kind = format!("{}{:?}", tensor.dtype(), tensor.shape());
    let Ok(elements) = f32::widen(tensor) else { return kind };
    if elements.is_empty() || tensor.dtype() == DType::Bool {
        return kind;
    }
    let finite = || elements.iter().copied().filter(|x| x.is_finite());
    let not_finite = elements.len() - finite().count();
    let mean = finite().map(f64::from).sum::<f64>() / finite().count().max(1) as f64;
    let (min, max) =
        (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
    match not_finite {
        0 => format!("{kind}, {min} to {max}, mean {mean:.6}"),
        _ => format!("{kind}, {not_finite} of {} values are not finite", elements.len()),
    }
}

/// A declared type in words: `float[n, 3, 224, 224]`.
pub fn describe_type(declared: &ValueType) -> String {
    match declared {
        ValueType::Tensor(dtype, Some(dims)) => {
            let dim = |dim: &Dim| match dim {
                Dim::Fixed(len) => len.to_string(),
                Dim::Symbol(name) => name.clone(),
                Dim::Unknown => "?".into(),
            };
            format!("{dtype}[{}]", dims.iter().map(dim).collect::<Vec<_>>().join(", "))
        }
        ValueType::Tensor(dtype, None) => format!("{dtype} of any shape"),
        ValueType::Sequence(item) => format!("a sequence of {}", describe_type(item)),
        ValueType::Optional(item) => format!("optionally {}", describe_type(item)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_model_never_leave_the_folder() {
        let mut taken = BTreeSet::new();
        let names = ["logits", "../../etc/passwd", "a/b", "a_b", "", "..", "é"];
        let found = names.map(|name| file_name(name, &mut taken));
        assert_eq!(found, ["logits", "_.._etc_passwd", "a_b", "a_b_1", "output", "output_1", "_"]);
    }

    #[test]
    fn values_are_described() {
        let tensor = Tensor::new(&[2], vec![1.0f32, 3.0]).unwrap();
        assert_eq!(describe(&tensor.into()), "float[2], 1 to 3, mean 2.000000");
        let tensor = Tensor::new(&[2], vec![1.0f32, f32::NAN]).unwrap();
        assert_eq!(describe(&tensor.into()), "float[2], 1 of 2 values are not finite");
    }
}
