//! `ModelInferRequest` and `ModelInferResponse` on the wire, without copying tensors.
//!
//! A request arrives as a [`Rope`]. Its raw tensors are cut out of the rope as they
//! lie there, and what remains, some hundred bytes, is read by prost. A reply is a
//! short head and the outputs' own buffers behind it.

use std::collections::HashMap;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::proto::{Choice, Contents, InferReplyHead, InferRequestHead, InferTensor, Parameter};
use super::{Answered, InferReply, InferRequest, Input, OutputRequest, Region};
use crate::error::{Error, Result};
use crate::tensor::{Datatype, Rope, Tensor, join_strings};

/// Field of the raw tensors in a request.
const RAW_INPUTS: u32 = 7;
/// Field of the raw tensors in a reply.
const RAW_OUTPUTS: u32 = 6;

/// Reads a request.
///
/// ## Errors
/// [`Error::Invalid`] with what is wrong.
pub fn read_request(message: Rope) -> Result<InferRequest> {
    let (head, raw) = cut(message, RAW_INPUTS)?;
    let head = InferRequestHead::decode(head)
        .map_err(|why| Error::invalid(format!("the message is no ModelInferRequest: {why}")))?;
    let has_contents =
        |input: &InferTensor| input.contents.is_some() || !region_of(&input.parameters).is_empty();
    let (with, without): (usize, usize) = (
        head.inputs.iter().filter(|input| has_contents(input)).count(),
        head.inputs.iter().filter(|input| !has_contents(input)).count(),
    );
    // Inputs in shared memory have no entry of their own.
    if raw.len() != without && !(raw.is_empty() && with > 0 && without == 0) {
        return Err(Error::invalid(format!(
            "{} raw_input_contents for {without} inputs without other contents",
            raw.len()
        )));
    }
    let mut raw = raw.into_iter();
    let mut request = InferRequest {
        model: head.model_name,
        version: head.model_version,
        id: head.id,
        priority: number(&head.parameters, "priority").unwrap_or(0),
        timeout_us: number(&head.parameters, "timeout").unwrap_or(0),
        inputs: Vec::with_capacity(head.inputs.len()),
        outputs: Vec::with_capacity(head.outputs.len()),
        is_binary_output: true,
    };
    refuse_sequences(head.parameters.keys().map(String::as_str))?;
    for input in head.inputs {
        request.inputs.push(read_input(input, &mut raw)?);
    }
    for output in head.outputs {
        if output.parameters.contains_key("classification") {
            return Err(Error::Unsupported("the extension classification".into()));
        }
        let region = region(&output.name, &output.parameters)?;
        request.outputs.push(OutputRequest { name: output.name, is_binary: None, region });
    }
    Ok(request)
}

/// Sequences would need state that models here do not have.
pub fn refuse_sequences<'a>(mut parameters: impl Iterator<Item = &'a str>) -> Result<()> {
    match parameters.any(|name| name == "sequence_id") {
        true => Err(Error::Unsupported("the extension sequence".into())),
        false => Ok(()),
    }
}

fn read_input(input: InferTensor, raw: &mut impl Iterator<Item = Rope>) -> Result<Input> {
    let datatype = datatype(&input.name, &input.datatype)?;
    let shape = shape(&input.name, &input.shape)?;
    let region = region(&input.name, &input.parameters)?;
    let data = match (&region, input.contents) {
        (Some(_), _) => Rope::default(),
        (None, Some(contents)) => from_contents(&input.name, datatype, contents)?,
        (None, None) => raw.next().unwrap_or_default(),
    };
    Ok(Input { tensor: Tensor { name: input.name, datatype, shape, data }, region })
}

/// The type of a name.
pub fn datatype(tensor: &str, name: &str) -> Result<Datatype> {
    Datatype::from_name(name).ok_or_else(|| {
        let known: Vec<&str> = Datatype::all().map(Datatype::name).collect();
        Error::invalid(format!(
            "tensor {tensor}: datatype {name:?} is none of {}",
            known.join(", ")
        ))
    })
}

/// A shape without negative lengths.
pub fn shape(tensor: &str, dims: &[i64]) -> Result<Vec<usize>> {
    let lens = dims.iter().map(|&dim| usize::try_from(dim).ok());
    let lens: Option<Vec<usize>> = lens.collect();
    lens.ok_or_else(|| Error::invalid(format!("tensor {tensor}: shape {dims:?} is negative")))
}

fn region_of(parameters: &HashMap<String, Parameter>) -> &str {
    match parameters.get("shared_memory_region").and_then(|it| it.choice.as_ref()) {
        Some(Choice::String(name)) => name,
        _ => "",
    }
}

fn region(tensor: &str, parameters: &HashMap<String, Parameter>) -> Result<Option<Region>> {
    let name = region_of(parameters);
    if name.is_empty() {
        return Ok(None);
    }
    let bytes = number(parameters, "shared_memory_byte_size").ok_or_else(|| {
        Error::invalid(format!("tensor {tensor}: shared_memory_byte_size is missing"))
    })?;
    let offset = number(parameters, "shared_memory_offset").unwrap_or(0);
    Ok(Some(Region { name: name.into(), offset, bytes }))
}

fn number(parameters: &HashMap<String, Parameter>, name: &str) -> Option<u64> {
    match parameters.get(name)?.choice.as_ref()? {
        Choice::Int64(number) => u64::try_from(*number).ok(),
        Choice::Uint64(number) => Some(*number),
        Choice::String(text) => text.parse().ok(),
        Choice::Bool(_) | Choice::Double(_) => None,
    }
}

/// Typed contents as raw bytes.
fn from_contents(name: &str, datatype: Datatype, contents: Contents) -> Result<Rope> {
    let narrow = || Error::invalid(format!("tensor {name}: a value is too large for its type"));
    macro_rules! bytes {
        ($list:expr) => {
            $list.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()
        };
        ($list:expr => $type:ty) => {{
            let values: Option<Vec<$type>> =
                $list.iter().map(|&value| <$type>::try_from(value).ok()).collect();
            bytes!(values.ok_or_else(narrow)?)
        }};
    }
    let data = match datatype {
        Datatype::Bool => contents.bools.iter().map(|&value| u8::from(value)).collect(),
        Datatype::Int8 => bytes!(contents.ints => i8),
        Datatype::Int16 => bytes!(contents.ints => i16),
        Datatype::Int32 => bytes!(contents.ints),
        Datatype::Int64 => bytes!(contents.int64s),
        Datatype::Uint8 => bytes!(contents.uints => u8),
        Datatype::Uint16 => bytes!(contents.uints => u16),
        Datatype::Uint32 => bytes!(contents.uints),
        Datatype::Uint64 => bytes!(contents.uint64s),
        Datatype::Fp32 => bytes!(contents.fp32s),
        Datatype::Fp64 => bytes!(contents.fp64s),
        Datatype::Bytes => join_strings(&contents.bytes),
        Datatype::Fp16 | Datatype::Bf16 => {
            return Err(Error::invalid(format!(
                "tensor {name}: {} has no typed contents, use raw_input_contents",
                datatype.name()
            )));
        }
    };
    Ok(data.into())
}

/// Splits a message into the field `wanted`, of which there may be several, and the
/// rest, which keeps its order.
fn cut(mut message: Rope, wanted: u32) -> Result<(Bytes, Vec<Rope>)> {
    let broken = || Error::invalid("the message ends within a field");
    let mut head = BytesMut::with_capacity(256);
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let (field, kind) = ((key >> 3) as u32, key & 7);
        let len = match kind {
            0 => {
                let value = varint(&mut message)?;
                encode_varint(key, &mut head);
                encode_varint(value, &mut head);
                continue;
            }
            1 => 8,
            2 => varint(&mut message)?,
            5 => 4,
            _ => return Err(Error::invalid(format!("the message has a field of kind {kind}"))),
        };
        let len = usize::try_from(len).map_err(|_| broken())?;
        let value = message.split_to(len).ok_or_else(broken)?;
        if kind == 2 && field == wanted {
            found.push(value);
            continue;
        }
        encode_varint(key, &mut head);
        if kind == 2 {
            encode_varint(len as u64, &mut head);
        }
        value.parts().iter().for_each(|part| head.put_slice(part));
    }
    Ok((head.freeze(), found))
}

fn varint(message: &mut Rope) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = message.take_byte().ok_or_else(|| Error::invalid("the message is cut off"))?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Error::invalid("the message has a number of more than 64 bits"))
}

/// Writes a reply: the head, then each output's own bytes.
pub fn write_reply(reply: InferReply) -> Rope {
    let mut head = InferReplyHead {
        model_name: reply.model,
        model_version: reply.version.to_string(),
        id: reply.id,
        ..InferReplyHead::default()
    };
    let mut raw = Vec::with_capacity(reply.outputs.len());
    for Answered { tensor, region, .. } in reply.outputs {
        head.outputs.push(InferTensor {
            name: tensor.name,
            datatype: tensor.datatype.name().into(),
            shape: tensor.shape.iter().map(|&dim| dim as i64).collect(),
            parameters: region.as_ref().map(region_parameters).unwrap_or_default(),
            contents: None,
        });
        // Clients count on one entry for each output, empty for shared memory.
        raw.push(tensor.data);
    }
    join(&head, raw, RAW_OUTPUTS)
}

fn region_parameters(region: &Region) -> HashMap<String, Parameter> {
    let parameter = |name: &str, choice| (name.to_owned(), Parameter { choice: Some(choice) });
    HashMap::from([
        parameter("shared_memory_region", Choice::String(region.name.clone())),
        parameter("shared_memory_offset", Choice::Int64(region.offset as i64)),
        parameter("shared_memory_byte_size", Choice::Int64(region.bytes as i64)),
    ])
}

/// A message with raw tensors behind it.
fn join(head: &impl Message, raw: Vec<Rope>, field: u32) -> Rope {
    /// Tensors below this are copied, which costs less than a piece of their own.
    const COPIED_MAX: usize = 4096;
    let small: usize = raw.iter().map(Rope::len).filter(|&len| len <= COPIED_MAX).sum();
    let mut piece = BytesMut::with_capacity(head.encoded_len() + small + raw.len() * 12);
    // A buffer in memory has room for every message.
    head.encode(&mut piece).expect("a growing buffer takes any message");
    let mut message = Rope::default();
    for tensor in raw {
        encode_key(field, WireType::LengthDelimited, &mut piece);
        encode_varint(tensor.len() as u64, &mut piece);
        for part in tensor.into_parts() {
            if part.len() <= COPIED_MAX {
                piece.put_slice(&part);
            } else {
                message.push(piece.split().freeze());
                message.push(part);
            }
        }
    }
    message.push(piece.freeze());
    message
}

/// Writes a request, for our client.
pub fn write_request(request: &InferRequest) -> Rope {
    let mut head = InferRequestHead {
        model_name: request.model.clone(),
        model_version: request.version.clone(),
        id: request.id.clone(),
        ..InferRequestHead::default()
    };
    let mut parameter = |name: &str, value: u64| {
        if value > 0 {
            let choice = Some(Choice::Uint64(value));
            head.parameters.insert(name.to_owned(), Parameter { choice });
        }
    };
    parameter("priority", request.priority);
    parameter("timeout", request.timeout_us);
    let mut raw = Vec::new();
    for Input { tensor, region } in &request.inputs {
        head.inputs.push(InferTensor {
            name: tensor.name.clone(),
            datatype: tensor.datatype.name().into(),
            shape: tensor.shape.iter().map(|&dim| dim as i64).collect(),
            parameters: region.as_ref().map(region_parameters).unwrap_or_default(),
            contents: None,
        });
        if region.is_none() {
            raw.push(tensor.data.clone());
        }
    }
    head.outputs = request
        .outputs
        .iter()
        .map(|output| super::proto::RequestedOutput {
            name: output.name.clone(),
            parameters: output.region.as_ref().map(region_parameters).unwrap_or_default(),
        })
        .collect();
    join(&head, raw, RAW_INPUTS)
}

/// Reads a reply, for our client.
///
/// ## Errors
/// [`Error::Invalid`] with what is wrong.
pub fn read_reply(message: Rope) -> Result<InferReply> {
    let (head, raw) = cut(message, RAW_OUTPUTS)?;
    let head = InferReplyHead::decode(head)
        .map_err(|why| Error::invalid(format!("the message is no ModelInferResponse: {why}")))?;
    if raw.len() != head.outputs.len() {
        return Err(Error::invalid("a reply without one raw tensor for each output"));
    }
    let answered = |(output, data): (InferTensor, Rope)| {
        let datatype = datatype(&output.name, &output.datatype)?;
        let shape = shape(&output.name, &output.shape)?;
        let region = region(&output.name, &output.parameters)?;
        let tensor = Tensor { name: output.name, datatype, shape, data };
        Ok(Answered { tensor, is_binary: true, region })
    };
    let outputs = head.outputs.into_iter().zip(raw).map(answered).collect::<Result<_>>()?;
    let version = head.model_version.parse().unwrap_or(0);
    Ok(InferReply { model: head.model_name, version, id: head.id, outputs })
}

#[cfg(test)]
mod tests;
