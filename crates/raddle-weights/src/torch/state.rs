//! The Python names that a state dict needs, what calling each gives, and the
//! tensors that a finished pickle holds.

use super::pickle::Machine;
use super::storage::Storages;
use super::value::{Global, Storage, Value, ValueId, View};
use crate::cursor::Cursor;
use crate::names;
use crate::{Budget, Error, Place, Result, Weights};

/// What to do about a pickle that needs more than data.
pub const REMEDY: &str =
    "nothing in a file is ever run; save the weights alone: torch.save(model.state_dict(), file)";

/// Most dimensions of a tensor.
const RANK_MAX: usize = 32;
/// Most nesting of dicts.
const DEPTH_MAX: usize = 32;
/// Most bytes of a storage's name.
const KEY_BYTES_MAX: usize = 256;

/// What a permitted name stands for.
pub fn global(module: &str, name: &str) -> Option<Global> {
    Some(match (module, name) {
        ("collections", "OrderedDict") | ("builtins" | "__builtin__", "dict") => Global::Dict,
        ("builtins" | "__builtin__", "set" | "frozenset") => Global::Set,
        ("torch", "Size") => Global::Size,
        ("torch", "device") => Global::Device,
        ("torch._utils", "_rebuild_tensor") => Global::Tensor,
        ("torch._utils", "_rebuild_tensor_v2") => Global::TensorV2,
        ("torch._utils", "_rebuild_tensor_v3") => Global::TensorV3,
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
            Global::Parameter
        }
        ("torch" | "torch.storage" | "torch.cuda", "UntypedStorage") => Global::StorageType(None),
        ("torch" | "torch.storage" | "torch.cuda", storage) if storage.ends_with("Storage") => {
            Global::StorageType(Some(names::by_storage(storage)?.dtype))
        }
        ("torch", dtype) => Global::DType(names::by_torch(dtype)?.dtype),
        _ => return None,
    })
}

/// What a call gives.
pub enum Made {
    /// One of its arguments.
    Same(ValueId),
    /// Something new.
    New(Value),
}

/// Calls a permitted name with a tuple of arguments.
pub fn call(
    machine: &Machine,
    callee: ValueId,
    arguments: ValueId,
    cursor: &Cursor<'_>,
    at: usize,
) -> Result<Made> {
    let malformed = |what: String| cursor.malformed(at, what);
    let Value::Global(global) = *machine.value(callee) else {
        return Err(malformed("a call of what is no function".into()));
    };
    let arguments =
        machine.tuple(arguments).ok_or_else(|| malformed("a call without arguments".into()))?;
    let wrong = || malformed(format!("arguments that {global:?} does not take"));
    let first = arguments.first().copied();
    Ok(match global {
        Global::Dict => match first.map(|first| machine.value(first)) {
            None => Made::New(Value::Dict(Vec::new())),
            Some(Value::List(pairs)) if arguments.len() == 1 => dict_of(machine, pairs, &wrong)?,
            Some(_) => return Err(wrong()),
        },
        Global::Set => first.map_or(Made::New(Value::Set(Vec::new())), Made::Same),
        Global::Size | Global::Device => Made::Same(first.ok_or_else(wrong)?),
        Global::Parameter => match first.map(|first| machine.value(first)) {
            Some(Value::Tensor(_)) => Made::Same(arguments[0]),
            _ => return Err(wrong()),
        },
        Global::Tensor | Global::TensorV2 | Global::TensorV3 => {
            Made::New(Value::Tensor(Box::new(view(machine, global, arguments).ok_or_else(wrong)?)))
        }
        Global::StorageType(_) | Global::DType(_) => return Err(wrong()),
    })
}

/// A dict from a list of pairs, as old Pythons wrote ordered ones.
fn dict_of(machine: &Machine, pairs: &[ValueId], wrong: &dyn Fn() -> Error) -> Result<Made> {
    let pair = |id: &ValueId| match machine.value(*id) {
        Value::Tuple(items) | Value::List(items) => match items[..] {
            [key, value] => Some((key, value)),
            _ => None,
        },
        _ => None,
    };
    let entries: Option<Vec<_>> = pairs.iter().map(pair).collect();
    Ok(Made::New(Value::Dict(entries.ok_or_else(wrong)?)))
}

/// The tensor of storage, offset, size, stride and, in version 3, type.
fn view(machine: &Machine, global: Global, arguments: &[ValueId]) -> Option<View> {
    let [storage, offset, size, stride, ..] = *arguments else { return None };
    let Value::Storage(_) = machine.value(storage) else { return None };
    let sizes = |id| {
        let items = machine.tuple(id).filter(|items| items.len() <= RANK_MAX)?;
        let size = |&id: &ValueId| machine.int(id).and_then(|size| u64::try_from(size).ok());
        items.iter().map(size).collect::<Option<Vec<u64>>>()
    };
    let shape = sizes(size)?.into_iter().map(|dim| usize::try_from(dim).ok());
    let shape = shape.collect::<Option<Vec<_>>>()?;
    let strides = sizes(stride).filter(|strides| strides.len() == shape.len())?;
    let dtype = match (global, arguments.get(6).map(|id| machine.value(*id))) {
        (Global::TensorV3, Some(Value::Global(Global::DType(dtype)))) => Some(*dtype),
        (Global::TensorV3, _) => return None,
        _ => None,
    };
    let offset = machine.int(offset).and_then(|offset| u64::try_from(offset).ok())?;
    Some(View { storage, dtype, offset, shape, strides })
}

/// Gives an object its attributes. Dicts of a model have some that say nothing
/// about the weights; everything else is refused.
pub fn build(machine: &Machine, object: ValueId, cursor: &Cursor<'_>, at: usize) -> Result<()> {
    match machine.value(object) {
        Value::Dict(_) => Ok(()),
        _ => Err(cursor.malformed(at, "attributes for what is no dict")),
    }
}

/// The storage that a persistent id names:
/// `('storage', type, key, location, len)` and, in legacy files, the view of it.
pub fn storage(machine: &Machine, id: ValueId, cursor: &Cursor<'_>, at: usize) -> Result<Storage> {
    let wrong = || cursor.malformed(at, "a persistent id that names no storage");
    let items = machine.tuple(id).ok_or_else(wrong)?;
    let kind = items.first().and_then(|id| machine.text(*id));
    if kind == Some("module") {
        return Err(Error::Unsupported {
            place: cursor.place_of(at),
            what: "the source of a whole module".into(),
            remedy: REMEDY,
        });
    }
    let (Some("storage"), [_, class, key, _, len, rest @ ..]) = (kind, items) else {
        return Err(wrong());
    };
    let Value::Global(Global::StorageType(dtype)) = *machine.value(*class) else {
        return Err(wrong());
    };
    let key = machine.text(*key).filter(|key| key.len() <= KEY_BYTES_MAX).ok_or_else(wrong)?;
    let key = key.to_owned();
    let count = |id| machine.int(id).and_then(|len| u64::try_from(len).ok());
    let len = count(*len).ok_or_else(wrong)?;
    let Some(view) = rest.first().filter(|id| *machine.value(**id) != Value::None) else {
        return Ok(Storage { key, dtype, len, view_offset: 0 });
    };
    match machine.tuple(*view) {
        Some(&[_, offset, len]) => Ok(Storage {
            key,
            dtype,
            len: count(len).ok_or_else(wrong)?,
            view_offset: count(offset).ok_or_else(wrong)?,
        }),
        _ => Err(wrong()),
    }
}

/// All tensors below a value, by their joined names; scalars and texts become
/// metadata.
pub fn collect(
    machine: &Machine,
    top: ValueId,
    storages: &mut Storages<'_, '_>,
    place: &Place,
    budget: &mut Budget,
) -> Result<Weights> {
    let mut weights = Weights::default();
    // A value may hang below many others, so every visit counts against the
    // budget: it ends walks that a hostile file makes exponential.
    let mut open = vec![(String::new(), top, 0)];
    while let Some((name, id, depth)) = open.pop() {
        let refuse = |what: &str| Error::Malformed { place: place.clone(), what: what.into() };
        if depth > DEPTH_MAX {
            return Err(refuse("dicts nested in each other beyond what a state dict is"));
        }
        let joined = |key: &str| match name.as_str() {
            "" => key.to_owned(),
            name => format!("{name}.{key}"),
        };
        match machine.value(id) {
            Value::Tensor(view) => {
                let place = place.entry(&format!("{}, tensor {name}", place.entry));
                let array = storages.read(machine, view, &place, budget)?;
                weights.arrays.push((name, array));
            }
            Value::Dict(entries) => {
                let key = |id: ValueId| match machine.value(id) {
                    Value::Text(text) => Some(text.clone()),
                    Value::Int(int) => Some(int.to_string()),
                    _ => None,
                };
                // From the back, since the last one pushed is looked at first.
                for (own, value) in entries.iter().rev() {
                    let own = key(*own).ok_or_else(|| refuse("a key that is no text"))?;
                    let own = joined(&own);
                    budget.take(Some(own.len()), place)?;
                    open.push((own, *value, depth + 1));
                }
            }
            Value::Tuple(items) | Value::List(items) => {
                for (at, item) in items.iter().enumerate().rev() {
                    let own = joined(&at.to_string());
                    budget.take(Some(own.len()), place)?;
                    open.push((own, *item, depth + 1));
                }
            }
            Value::Bool(bool) => weights.metadata.push((name, bool.to_string())),
            Value::Int(int) => weights.metadata.push((name, int.to_string())),
            Value::Float(float) => weights.metadata.push((name, float.to_string())),
            Value::Text(text) => {
                budget.take(Some(text.len()), place)?;
                weights.metadata.push((name, text.clone()));
            }
            Value::None
            | Value::LargeInt
            | Value::Bytes
            | Value::Set(_)
            | Value::Global(_)
            | Value::Storage(_) => {}
        }
    }
    if weights.arrays.is_empty() {
        return Err(Error::Unsupported {
            place: place.clone(),
            what: "a checkpoint without a tensor".into(),
            remedy: REMEDY,
        });
    }
    Ok(weights)
}
