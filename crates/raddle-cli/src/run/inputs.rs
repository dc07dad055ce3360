//! Inputs of a run: arrays from files, or random numbers.

use std::path::PathBuf;
use std::str::FromStr;

use raddle_tensor::convert::{Compute, Overflow};
use raddle_tensor::graph::{Dim, Graph, ValueId, ValueType};
use raddle_tensor::{DType, Tensor, Value};
use raddle_weights::Weights;

use super::outputs::describe_type;

/// Values by the names of inputs.
pub type Named = Vec<(String, Value)>;

/// `--input` as it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The input; all arrays of the file by their names if `None`.
    name: Option<String>,
    path: PathBuf,
    /// The array of the file.
    array: Option<String>,
}

impl FromStr for Given {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, file) = match text.split_once('=') {
            Some((name, file)) => (Some(name.to_owned()), file),
            None => (None, text),
        };
        if file.is_empty() || name.as_deref() == Some("") {
            return Err("expected NAME=FILE, NAME=FILE:ARRAY or FILE".into());
        }
        // A colon belongs to the path if such a file exists.
        let split = file.rsplit_once(':').filter(|_| !std::path::Path::new(file).exists());
        let (path, array) = match split {
            Some((path, array)) => (path, Some(array.to_owned())),
            None => (file, None),
        };
        Ok(Self { name, path: path.into(), array })
    }
}

/// `--dim` as it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeDim {
    /// The symbol of the model.
    pub name: String,
    /// Its length.
    pub len: usize,
}

impl FromStr for FreeDim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = text.split_once('=');
        let dim = split.and_then(|(name, len)| Some((name, len.parse().ok()?)));
        let (name, len) = dim.ok_or("expected NAME=LENGTH, such as n=8")?;
        Ok(Self { name: name.to_owned(), len })
    }
}

/// Why the inputs do not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] raddle_weights::Error),
    /// The file has no such array, or several and none of the input's name.
    #[error("{}: which array is input {name}? it has {arrays}; say {name}={}:ARRAY", path.display(), path.display())]
    NoSuchArray {
        /// The file.
        path: PathBuf,
        /// The input or array that was asked for.
        name: String,
        /// The arrays of the file.
        arrays: String,
    },
    /// Inputs that nothing was given for.
    #[error("no value for {missing}; give it with --input NAME=FILE.npy, or all with --random")]
    Missing {
        /// The inputs with their types.
        missing: String,
    },
    /// An input that has no sensible random value.
    #[error("input {name} is {what} and cannot be random; give it with --input {name}=FILE.npy")]
    NotRandom {
        /// The input.
        name: String,
        /// Its type.
        what: String,
    },
    /// The tensor is too large or of a type without numbers.
    #[error(transparent)]
    Tensor(#[from] raddle_tensor::Error),
}

/// Reads the arrays that are given.
///
/// ## Errors
/// [`InputError::File`], [`InputError::NoSuchArray`].
pub fn read(graph: &Graph, given: &[Given]) -> Result<Named, InputError> {
    let mut named = Named::new();
    for Given { name, path, array } in given {
        let weights = Weights::load(path)?;
        let Some(name) = name else {
            let is_input = |name: &str| graph.inputs.iter().any(|&id| graph.name_of(id) == name);
            let arrays = weights.arrays.into_iter().filter(|(name, _)| is_input(name));
            named.extend(arrays.map(|(name, array)| (name, Value::Tensor(array.into()))));
            continue;
        };
        let wanted = array.as_deref().unwrap_or(name);
        let is_only = array.is_none() && weights.arrays.len() == 1;
        let list: Vec<String> =
            weights.arrays.iter().map(|(name, array)| format!("{name:?} ({array:?})")).collect();
        let mut arrays = weights.arrays.into_iter();
        let found = arrays.find(|(own, _)| is_only || own == wanted);
        let (_, array) = found.ok_or_else(|| InputError::NoSuchArray {
            path: path.clone(),
            name: name.clone(),
            arrays: list.join(", "),
        })?;
        named.push((name.clone(), Value::Tensor(array.into())));
    }
    Ok(named)
}

/// Inputs without a value of their own.
pub fn required(graph: &Graph) -> impl Iterator<Item = ValueId> {
    let has_value = |id: ValueId| graph.constants.iter().any(|(constant, _)| *constant == id);
    graph.inputs.iter().copied().filter(move |&id| !has_value(id))
}

/// Checks that every input has a value.
///
/// ## Errors
/// [`InputError::Missing`].
pub fn check_complete(graph: &Graph, named: &Named) -> Result<(), InputError> {
    let is_missing = |&id: &ValueId| !named.iter().any(|(name, _)| name == graph.name_of(id));
    let describe = |id: ValueId| {
        let declared = graph.values[id.index()].declared.as_ref();
        let declared = declared.map_or("anything".into(), describe_type);
        format!("input {} ({declared})", graph.name_of(id))
    };
    let missing: Vec<String> = required(graph).filter(is_missing).map(describe).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(InputError::Missing { missing: missing.join(", ") }),
    }
}

/// Gives random values to the inputs that have none: floats of -1 to 1, integers
/// 0 and 1, which are sound as tokens, masks and indices.
///
/// ## Errors
/// [`InputError::NotRandom`], [`InputError::Tensor`].
pub fn fill(
    graph: &Graph,
    named: &mut Named,
    dims: &[FreeDim],
    seed: u64,
) -> Result<(), InputError> {
    for id in required(graph) {
        let name = graph.name_of(id);
        if named.iter().any(|(own, _)| own == name) {
            continue;
        }
        let declared = graph.values[id.index()].declared.as_ref();
        let Some(ValueType::Tensor(dtype, Some(shape))) = declared else {
            let what = declared.map_or("of an unknown type".into(), describe_type);
            return Err(InputError::NotRandom { name: name.into(), what });
        };
        let len = |dim: &Dim| match dim {
            Dim::Fixed(len) => *len,
            Dim::Symbol(name) => dims.iter().find(|dim| dim.name == *name).map_or(1, |dim| dim.len),
            Dim::Unknown => 1,
        };
        let shape: Vec<usize> = shape.iter().map(len).collect();
        named.push((name.into(), Value::Tensor(random(&shape, *dtype, seed)?)));
    }
    Ok(())
}

/// A tensor of random numbers.
fn random(shape: &[usize], dtype: DType, seed: u64) -> Result<Tensor, raddle_tensor::Error> {
    let count = raddle_tensor::shape::element_count(shape, dtype)?;
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    let elements: Vec<f32> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        // 24 bits, of which every value is an f32.
        let unit = (state >> 40) as f32 / (1u32 << 24) as f32;
        if dtype.is_float() { unit * 2.0 - 1.0 } else { (unit * 2.0).floor() }
    })
    .take(count)
    .collect();
    let data = match dtype {
        DType::Bool => {
            raddle_tensor::Data::new(elements.iter().map(|&x| x != 0.0).collect::<Vec<bool>>())
        }
        _ => f32::narrow(elements, dtype, Overflow::Saturate)?,
    };
    Tensor::from_data(shape, dtype, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_read_as_they_are_given() {
        let given = |name: Option<&str>, path: &str, array: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            Ok(Given { name: owned(name), path: path.into(), array: owned(array) })
        };
        assert_eq!("x=a.npy".parse(), given(Some("x"), "a.npy", None));
        assert_eq!("x=a.npz:y".parse(), given(Some("x"), "a.npz", Some("y")));
        assert_eq!("a.npz".parse(), given(None, "a.npz", None));
        assert!("x=".parse::<Given>().is_err());
        assert!("n=x".parse::<FreeDim>().is_err());
    }

    #[test]
    fn random_values_are_sound_for_their_type() {
        let x = random(&[100], DType::F32, 1).unwrap();
        assert!(x.elements::<f32>().unwrap().iter().all(|x| (-1.0..1.0).contains(x)));
        let x = random(&[100], DType::I64, 1).unwrap();
        let x = x.elements::<i64>().unwrap();
        assert!(x.contains(&0) && x.contains(&1) && x.iter().all(|x| (0..2).contains(x)));
        assert_eq!(random(&[3], DType::Bool, 1).unwrap().len(), 3);
        assert!(random(&[3], DType::String, 1).is_err());
    }
}
