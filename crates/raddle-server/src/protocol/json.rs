//! Requests and replies over HTTP: a JSON head, and binary tensors behind it.
//!
//! *Source:* the Open Inference Protocol's HTTP form and Triton's binary tensor data
//! extension. `Inference-Header-Content-Length` says how long the head is; tensors
//! follow in order, each as long as its `binary_data_size`.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::parameter::Parameter;
use super::wire::{datatype, refuse_sequences, shape};
use super::{Answered, InferReply, InferRequest, Input, OutputRequest, Region};
use crate::error::{Error, Result};
use crate::tensor::{Datatype, Rope, Tensor, element_count, join_strings, strings};

#[derive(Debug, Serialize, Deserialize)]
struct RequestHead<'a> {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    id: String,
    #[serde(borrow, default, skip_serializing_if = "RequestParameters::is_empty")]
    parameters: RequestParameters<'a>,
    #[serde(borrow)]
    inputs: Vec<TensorHead<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    outputs: Vec<OutputHead<'a>>,
}

/// The parameters that mean something here; others are passed over. A value of the wrong
/// kind is named by whoever wants it.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct RequestParameters<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    priority: Option<Parameter<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    timeout: Option<Parameter<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    binary_data_output: Option<Parameter<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    sequence_id: Option<Parameter<'a>>,
}

impl RequestParameters<'_> {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct TensorHead<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    datatype: Cow<'a, str>,
    shape: Vec<i64>,
    #[serde(borrow, default, skip_serializing_if = "TensorParameters::is_empty")]
    parameters: TensorParameters<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

#[derive(Debug, Serialize, Deserialize)]
struct OutputHead<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "TensorParameters::is_empty")]
    parameters: TensorParameters<'a>,
}

/// Parameters of inputs and outputs, as [`RequestParameters`].
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct TensorParameters<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    binary_data_size: Option<Parameter<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    binary_data: Option<Parameter<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    classification: Option<Parameter<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    shared_memory_region: Option<Parameter<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    shared_memory_offset: Option<Parameter<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    shared_memory_byte_size: Option<Parameter<'a>>,
}

impl<'a> TensorParameters<'a> {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn of_binary(len: usize) -> Self {
        Self { binary_data_size: Some(Parameter::Whole(len as u64)), ..Self::default() }
    }

    fn of_region(region: &'a Region) -> Self {
        Self {
            shared_memory_region: Some(Parameter::Text(region.name.as_str().into())),
            shared_memory_offset: Some(Parameter::Whole(region.offset)),
            shared_memory_byte_size: Some(Parameter::Whole(region.bytes)),
            ..Self::default()
        }
    }
}

#[derive(Debug, Deserialize)]
struct ReplyHead<'a> {
    #[serde(borrow)]
    model_name: Cow<'a, str>,
    #[serde(borrow)]
    model_version: Cow<'a, str>,
    #[serde(default)]
    id: String,
    #[serde(borrow)]
    outputs: Vec<TensorHead<'a>>,
}

/// Outputs below this are copied behind the head, which costs less than a piece of their
/// own.
const COPIED_MAX: usize = 4096;

/// Reads a request of a model's URL. `head_len` is the length of the JSON head; the
/// whole body if `None`.
///
/// ## Errors
/// [`Error::Invalid`] with what is wrong.
pub fn read_request(mut body: Rope, head_len: Option<usize>) -> Result<InferRequest> {
    let head_len = head_len.unwrap_or(body.len());
    let total = body.len();
    let head = body.split_to(head_len).ok_or_else(|| {
        Error::invalid(format!(
            "inference-header-content-length is {head_len}, the body has {total} bytes"
        ))
    })?;
    let head = head.to_bytes();
    let head: RequestHead<'_> = serde_json::from_slice(&head)
        .map_err(|why| Error::invalid(format!("the body is no inference request: {why}")))?;
    let parameters = head.parameters;
    refuse_sequences(parameters.sequence_id.iter().map(|_| "sequence_id"))?;
    let mut request = InferRequest {
        id: head.id,
        priority: number(&parameters.priority, "priority")?.unwrap_or(0),
        timeout_us: number(&parameters.timeout, "timeout")?.unwrap_or(0),
        is_binary_output: flag(&parameters.binary_data_output, "binary_data_output")?
            .unwrap_or(false),
        ..InferRequest::default()
    };
    for input in head.inputs {
        request.inputs.push(read_input(input, &mut body)?);
    }
    if !body.is_empty() {
        return Err(Error::invalid(format!("{} bytes after the last tensor", body.len())));
    }
    for OutputHead { name, parameters } in head.outputs {
        if number(&parameters.classification, "classification")?.is_some_and(|classes| classes > 0)
        {
            return Err(Error::Unsupported("the extension classification".into()));
        }
        let is_binary = flag(&parameters.binary_data, "binary_data")?;
        let region = region(&name, &parameters)?;
        request.outputs.push(OutputRequest { name: name.into_owned(), is_binary, region });
    }
    Ok(request)
}

/// A request that consists of the only input's bytes (the head's length is 0).
pub fn raw_request(
    body: Rope,
    name: &str,
    datatype: Datatype,
    dims: &[i64],
) -> Result<InferRequest> {
    let open = dims.iter().skip(1).filter(|&&dim| dim < 0).count();
    let Some(size) = datatype.size().filter(|_| open <= 1) else {
        return Err(Error::invalid(format!(
            "input {name}: the shape of a raw body is not known, use an inference request"
        )));
    };
    let mut shape: Vec<usize> = dims.iter().map(|&dim| usize::try_from(dim).unwrap_or(1)).collect();
    if let Some(at) = (1..dims.len()).find(|&at| dims[at] < 0) {
        shape[at] = body.len() / size / element_count(name, &shape)?.max(1);
    }
    let tensor = Tensor { name: name.into(), datatype, shape, data: body };
    let inputs = vec![Input { tensor, region: None }];
    Ok(InferRequest { inputs, is_binary_output: true, ..InferRequest::default() })
}

fn read_input(input: TensorHead<'_>, body: &mut Rope) -> Result<Input> {
    let TensorHead { name, parameters, data, .. } = input;
    let name = name.into_owned();
    let datatype = datatype(&name, &input.datatype)?;
    let shape = shape(&name, &input.shape)?;
    let region = region(&name, &parameters)?;
    let data = match (&region, number(&parameters.binary_data_size, "binary_data_size")?, data) {
        (Some(_), None, None) => Rope::default(),
        (None, Some(size), None) => {
            let left = body.len();
            let size_in_memory = usize::try_from(size).ok();
            size_in_memory.and_then(|size| body.split_to(size)).ok_or_else(|| {
                Error::invalid(format!(
                    "input {name}: binary_data_size is {size}, {left} bytes are left"
                ))
            })?
        }
        (None, None, Some(data)) => from_json(&name, datatype, &data)?.into(),
        _ => {
            return Err(Error::invalid(format!(
                "input {name}: expected one of data, binary_data_size and shared_memory_region"
            )));
        }
    };
    Ok(Input { tensor: Tensor { name, datatype, shape, data }, region })
}

fn number(given: &Option<Parameter<'_>>, name: &str) -> Result<Option<u64>> {
    match given {
        None => Ok(None),
        Some(Parameter::Whole(number)) => Ok(Some(*number)),
        Some(other) => {
            Err(Error::invalid(format!("parameter {name}: expected a whole number, found {other}")))
        }
    }
}

fn flag(given: &Option<Parameter<'_>>, name: &str) -> Result<Option<bool>> {
    match given {
        None => Ok(None),
        Some(Parameter::Flag(flag)) => Ok(Some(*flag)),
        Some(other) => {
            Err(Error::invalid(format!("parameter {name}: expected true or false, found {other}")))
        }
    }
}

fn region(tensor: &str, parameters: &TensorParameters<'_>) -> Result<Option<Region>> {
    let Some(Parameter::Text(name)) = &parameters.shared_memory_region else { return Ok(None) };
    let bytes = number(&parameters.shared_memory_byte_size, "shared_memory_byte_size")?;
    let bytes = bytes.ok_or_else(|| {
        Error::invalid(format!("tensor {tensor}: shared_memory_byte_size is missing"))
    })?;
    let offset = number(&parameters.shared_memory_offset, "shared_memory_offset")?.unwrap_or(0);
    Ok(Some(Region { name: name.as_ref().into(), offset, bytes }))
}

/// Elements of nested lists as raw bytes.
fn from_json(name: &str, datatype: Datatype, data: &Value) -> Result<Vec<u8>> {
    let mut flat = Vec::new();
    flatten(data, &mut flat);
    let wrong =
        |value: &Value| Error::invalid(format!("input {name}: {value} is no {}", datatype.name()));
    macro_rules! bytes {
        ($read:expr) => {{
            let mut bytes = Vec::with_capacity(flat.len() * datatype.size().unwrap_or(4));
            for value in flat {
                let number = $read(value).ok_or_else(|| wrong(value))?;
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes
        }};
    }
    fn signed<T: TryFrom<i64>>(value: &Value) -> Option<T> {
        value.as_i64().and_then(|number| number.try_into().ok())
    }
    fn unsigned<T: TryFrom<u64>>(value: &Value) -> Option<T> {
        value.as_u64().and_then(|number| number.try_into().ok())
    }
    Ok(match datatype {
        Datatype::Bool => bytes!(|value: &Value| {
            value.as_bool().map(u8::from).or_else(|| value.as_u64().map(|it| u8::from(it != 0)))
        }),
        Datatype::Int8 => bytes!(signed::<i8>),
        Datatype::Int16 => bytes!(signed::<i16>),
        Datatype::Int32 => bytes!(signed::<i32>),
        Datatype::Int64 => bytes!(signed::<i64>),
        Datatype::Uint8 => bytes!(unsigned::<u8>),
        Datatype::Uint16 => bytes!(unsigned::<u16>),
        Datatype::Uint32 => bytes!(unsigned::<u32>),
        Datatype::Uint64 => bytes!(unsigned::<u64>),
        Datatype::Fp32 => bytes!(|value: &Value| value.as_f64().map(|number| number as f32)),
        Datatype::Fp64 => bytes!(Value::as_f64),
        Datatype::Bytes => {
            let texts = flat.iter().map(|value| value.as_str().ok_or_else(|| wrong(value)));
            join_strings(texts.collect::<Result<Vec<_>>>()?)
        }
        Datatype::Fp16 | Datatype::Bf16 => {
            return Err(Error::invalid(format!(
                "input {name}: {} cannot be sent as JSON, use binary data",
                datatype.name()
            )));
        }
    })
}

fn flatten<'a>(value: &'a Value, flat: &mut Vec<&'a Value>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| flatten(value, flat)),
        single => flat.push(single),
    }
}

/// Writes a reply; the length of its head if there are binary tensors behind it.
///
/// ## Errors
/// [`Error::Invalid`] if an output cannot be written as JSON.
pub fn write_reply(reply: InferReply) -> Result<(Rope, Option<usize>)> {
    let mut outputs = Vec::with_capacity(reply.outputs.len());
    let (mut has_binary, mut joined) = (false, 0);
    for Answered { tensor, is_binary, region } in &reply.outputs {
        let (mut parameters, mut data) = (TensorParameters::default(), None);
        if let Some(region) = region {
            parameters = TensorParameters::of_region(region);
        } else if *is_binary {
            has_binary = true;
            joined += tensor.data.len().min(COPIED_MAX);
            parameters = TensorParameters::of_binary(tensor.data.len());
        } else {
            data = Some(to_json(tensor)?);
        }
        outputs.push(WrittenTensor {
            name: &tensor.name,
            datatype: tensor.datatype.name(),
            shape: &tensor.shape,
            parameters,
            data,
        });
    }
    let (model_name, model_version) = (reply.model.as_str(), reply.version.to_string());
    let head = WrittenReply { model_name, model_version, id: &reply.id, outputs };
    let mut text = Vec::with_capacity(256 + joined);
    serde_json::to_writer(&mut text, &head).map_err(|why| Error::invalid(why.to_string()))?;
    let head_len = has_binary.then_some(text.len());
    let is_behind = |it: &Answered| it.is_binary && it.region.is_none();
    let binary = reply.outputs.into_iter().filter(is_behind);
    let mut parts = binary.flat_map(|it| it.tensor.data.into_parts()).peekable();
    while let Some(part) = parts.next_if(|part| part.len() <= COPIED_MAX) {
        text.extend_from_slice(&part);
    }
    let mut body = Rope::from(text);
    parts.for_each(|part| body.push(part));
    Ok((body, head_len))
}

/// [`ReplyHead`] of a reply that is still there.
#[derive(Serialize)]
struct WrittenReply<'a> {
    model_name: &'a str,
    model_version: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    outputs: Vec<WrittenTensor<'a>>,
}

/// [`TensorHead`] of a tensor that is still there.
#[derive(Serialize)]
struct WrittenTensor<'a> {
    name: &'a str,
    datatype: &'a str,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "TensorParameters::is_empty")]
    parameters: TensorParameters<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}

/// A tensor's elements as a flat list.
fn to_json(tensor: &Tensor) -> Result<Value> {
    let data = tensor.data.to_bytes();
    macro_rules! list {
        ($type:ty) => {
            data.chunks_exact(size_of::<$type>())
                .map(|bytes| <$type>::from_le_bytes(bytes.try_into().expect("exact chunks")))
        };
    }
    let not_finite = || {
        let name = &tensor.name;
        Error::invalid(format!("output {name} is not finite everywhere, ask for binary data"))
    };
    let real = |number: f64| serde_json::Number::from_f64(number).map(Value::Number);
    Ok(Value::Array(match tensor.datatype {
        Datatype::Bool => data.iter().map(|&byte| Value::Bool(byte != 0)).collect(),
        Datatype::Uint8 => data.iter().map(|&byte| byte.into()).collect(),
        Datatype::Uint16 => list!(u16).map(Value::from).collect(),
        Datatype::Uint32 => list!(u32).map(Value::from).collect(),
        Datatype::Uint64 => list!(u64).map(Value::from).collect(),
        Datatype::Int8 => list!(i8).map(Value::from).collect(),
        Datatype::Int16 => list!(i16).map(Value::from).collect(),
        Datatype::Int32 => list!(i32).map(Value::from).collect(),
        Datatype::Int64 => list!(i64).map(Value::from).collect(),
        Datatype::Fp32 => {
            let list: Option<_> = list!(f32).map(|number| real(number.into())).collect();
            list.ok_or_else(not_finite)?
        }
        Datatype::Fp64 => {
            let list: Option<_> = list!(f64).map(real).collect();
            list.ok_or_else(not_finite)?
        }
        Datatype::Bytes => {
            let texts = strings(&data, &tensor.name)?.into_iter().map(|text| {
                let text = String::from_utf8(text.to_vec());
                text.map(Value::from).map_err(|_| {
                    let name = &tensor.name;
                    Error::invalid(format!("output {name} is not UTF-8, ask for binary data"))
                })
            });
            texts.collect::<Result<_>>()?
        }
        Datatype::Fp16 | Datatype::Bf16 => {
            return Err(Error::invalid(format!(
                "output {}: {} cannot be sent as JSON, ask for binary data",
                tensor.name,
                tensor.datatype.name()
            )));
        }
    }))
}

/// Writes a request, for our client: a head and binary tensors; the head's length.
pub fn write_request(request: &InferRequest) -> (Rope, usize) {
    let given = |number: u64| (number > 0).then_some(Parameter::Whole(number));
    let parameters = RequestParameters {
        priority: given(request.priority),
        timeout: given(request.timeout_us),
        binary_data_output: Some(Parameter::Flag(true)),
        sequence_id: None,
    };
    let mut binary = Rope::default();
    let mut inputs = Vec::new();
    for Input { tensor, region } in &request.inputs {
        let parameters = match region {
            Some(region) => TensorParameters::of_region(region),
            None => {
                tensor.data.parts().iter().for_each(|part| binary.push(part.clone()));
                TensorParameters::of_binary(tensor.data.len())
            }
        };
        inputs.push(TensorHead {
            name: tensor.name.as_str().into(),
            datatype: tensor.datatype.name().into(),
            shape: tensor.shape.iter().map(|&dim| dim as i64).collect(),
            parameters,
            data: None,
        });
    }
    let output = |output: &'_ OutputRequest| OutputHead {
        name: output.name.clone().into(),
        parameters: TensorParameters::default(),
    };
    let outputs = request.outputs.iter().map(output).collect();
    let head = RequestHead { id: request.id.clone(), parameters, inputs, outputs };
    // Texts, numbers and lists of them always have a JSON form.
    let head = serde_json::to_vec(&head).expect("the head is plain data");
    let head_len = head.len();
    let mut body = Rope::from(head);
    binary.into_parts().into_iter().for_each(|part| body.push(part));
    (body, head_len)
}

/// Reads a reply, for our client.
///
/// ## Errors
/// [`Error::Invalid`] with what is wrong.
pub fn read_reply(mut body: Rope, head_len: Option<usize>) -> Result<InferReply> {
    let head = body.split_to(head_len.unwrap_or(body.len()));
    let head = head.ok_or_else(|| Error::invalid("a reply shorter than its head"))?;
    let head = head.to_bytes();
    let head: ReplyHead<'_> = serde_json::from_slice(&head)
        .map_err(|why| Error::invalid(format!("the body is no inference reply: {why}")))?;
    let mut outputs = Vec::new();
    for output in head.outputs {
        let is_binary = output.data.is_none();
        let Input { tensor, region } = read_input(output, &mut body)?;
        outputs.push(Answered { tensor, is_binary, region });
    }
    let version = head.model_version.parse().unwrap_or(0);
    Ok(InferReply { model: head.model_name.into_owned(), version, id: head.id, outputs })
}

/// An error as both the protocol and Triton give it.
pub fn error_body(error: &Error) -> Bytes {
    serde_json::json!({ "error": error.to_string() }).to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str, binary: &'static [u8]) -> Result<InferRequest> {
        let mut body = Rope::from(json.as_bytes().to_vec());
        body.push(Bytes::from_static(binary));
        read_request(body, Some(json.len()))
    }

    fn input(datatype: &str, rest: &str) -> String {
        format!(r#"{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":[2],{rest}}}]}}"#)
    }

    #[test]
    fn binary_and_json_tensors_are_read() {
        let json = r#"{"id":"7","parameters":{"binary_data_output":true,"priority":1},
            "inputs":[{"name":"a","datatype":"FP32","shape":[1,2],"data":[[1,2.5]]},
            {"name":"b","datatype":"UINT8","shape":[3],"parameters":{"binary_data_size":3}},
            {"name":"c","datatype":"BYTES","shape":[1],"data":["hi"]}],
            "outputs":[{"name":"y","parameters":{"binary_data":false}}]}"#;
        let found = read(json, b"xyz").unwrap();
        assert_eq!((found.id.as_str(), found.priority, found.is_binary_output), ("7", 1, true));
        let data: Vec<Bytes> = found.inputs.iter().map(|it| it.tensor.data.to_bytes()).collect();
        assert_eq!(data[0], [1f32.to_le_bytes(), 2.5f32.to_le_bytes()].concat());
        assert_eq!((&data[1][..], &data[2][..]), (&b"xyz"[..], &b"\x02\0\0\0hi"[..]));
        assert_eq!(found.outputs[0].is_binary, Some(false));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |json: &str, binary| read(json, binary).unwrap_err().to_string();
        assert!(error("{", b"").contains("no inference request"));
        assert!(error(&input("INT8", r#""data":[1,200]"#), b"").contains("200 is no INT8"));
        assert!(error(&input("INT8", r#""data":[1.5,2]"#), b"").contains("1.5 is no INT8"));
        assert!(error(&input("FP16", r#""data":[1,2]"#), b"").contains("use binary data"));
        let sized = input("INT8", r#""parameters":{"binary_data_size":9}"#);
        assert_eq!(error(&sized, b"ab"), "input x: binary_data_size is 9, 2 bytes are left");
        let sized = input("INT8", r#""parameters":{"binary_data_size":2}"#);
        assert_eq!(error(&sized, b"abc"), "1 bytes after the last tensor");
        let negative = input("INT8", r#""parameters":{"binary_data_size":-2}"#);
        assert!(error(&negative, b"").contains("expected a whole number"));
        assert!(error(&input("INT8", r#""parameters":{}"#), b"").contains("expected one of data"));
        let long = read_request(Rope::from(vec![b' '; 4]), Some(5)).unwrap_err().to_string();
        assert!(long.contains("the body has 4 bytes"), "{long}");
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(read(&input("INT8", &format!("\"data\":{deep}")), b"").is_err());
    }

    #[test]
    fn replies_are_json_or_binary() {
        let tensor = |datatype, data: Vec<u8>| Tensor {
            name: "y".into(),
            datatype,
            shape: vec![2],
            data: data.into(),
        };
        let reply = |tensor, is_binary| InferReply {
            model: "m".into(),
            version: 2,
            id: "q".into(),
            outputs: vec![Answered { tensor, is_binary, region: None }],
        };
        let floats = [1.5f32, -2.0].map(f32::to_le_bytes).concat();
        let (body, head) =
            write_reply(reply(tensor(Datatype::Fp32, floats.clone()), false)).unwrap();
        assert_eq!(head, None);
        let json: Value = serde_json::from_slice(&body.to_bytes()).unwrap();
        assert_eq!(json["outputs"][0]["data"], serde_json::json!([1.5, -2.0]));
        let (body, head) =
            write_reply(reply(tensor(Datatype::Fp32, floats.clone()), true)).unwrap();
        let again = read_reply(body, head).unwrap();
        assert_eq!((again.version, again.id.as_str()), (2, "q"));
        assert_eq!(again.outputs[0].tensor.data.to_bytes(), floats);
        let nan = [f32::NAN, 0.0].map(f32::to_le_bytes).concat();
        let refused = write_reply(reply(tensor(Datatype::Fp32, nan), false)).unwrap_err();
        assert!(refused.to_string().contains("not finite"));
    }

    #[test]
    fn a_raw_body_is_the_only_input() {
        let raw =
            |dims: &[i64], len| raw_request(Rope::from(vec![0; len]), "x", Datatype::Fp32, dims);
        assert_eq!(raw(&[-1, 3, -1], 24).unwrap().inputs[0].tensor.shape, [1, 3, 2]);
        assert!(raw(&[-1, -1, -1], 24).is_err());
        assert_eq!(raw(&[-1, 6], 24).unwrap().inputs[0].tensor.shape, [1, 6]);
    }
}
