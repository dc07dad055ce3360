//! Requests and replies there and back, whatever pieces they arrive in, and hostile
//! bytes.

use super::super::proto::RequestedOutput;
use super::*;

fn request() -> InferRequest {
    let tensor = |name: &str, datatype, shape: &[usize], data: Vec<u8>| Input {
        tensor: Tensor { name: name.into(), datatype, shape: shape.to_vec(), data: data.into() },
        region: None,
    };
    InferRequest {
        model: "m".into(),
        version: "3".into(),
        id: "abc".into(),
        priority: 2,
        timeout_us: 1_000_000,
        inputs: vec![
            tensor("x", Datatype::Fp32, &[1, 2500], (0..10_000).map(|at| at as u8).collect()),
            tensor("s", Datatype::Bytes, &[1, 2], join_strings(["a", ""])),
            tensor("e", Datatype::Int64, &[1, 0], vec![]),
        ],
        outputs: vec![OutputRequest { name: "y".into(), ..OutputRequest::default() }],
        is_binary_output: true,
    }
}

/// The same bytes in pieces of `len`.
fn pieces(rope: &Rope, len: usize) -> Rope {
    let mut bytes = rope.to_bytes();
    let mut pieces = Rope::default();
    while !bytes.is_empty() {
        pieces.push(bytes.split_to(len.min(bytes.len())));
    }
    pieces
}

#[test]
fn requests_are_read_whatever_pieces_they_come_in() {
    let wanted = request();
    let message = write_request(&wanted);
    for len in [1, 7, 64, 4096, 1 << 20] {
        let found = read_request(pieces(&message, len)).unwrap();
        assert_eq!(
            (&found.model, &found.version, &found.id),
            (&wanted.model, &wanted.version, &wanted.id)
        );
        assert_eq!((found.priority, found.timeout_us), (2, 1_000_000));
        assert_eq!(found.outputs, wanted.outputs);
        assert_eq!(found.inputs.len(), 3);
        for (found, wanted) in found.inputs.iter().zip(&wanted.inputs) {
            assert_eq!(found.tensor.name, wanted.tensor.name);
            assert_eq!(found.tensor.shape, wanted.tensor.shape);
            assert_eq!(found.tensor.data.to_bytes(), wanted.tensor.data.to_bytes());
        }
    }
}

#[test]
fn raw_tensors_are_not_copied() {
    let message = write_request(&request()).to_bytes();
    let found = read_request(message.clone().into()).unwrap();
    let tensor = &found.inputs[0].tensor.data.parts()[0];
    assert!(message.as_ptr_range().contains(&tensor.as_ptr()));
    // And those of a reply are the model's own.
    let data = Bytes::from(vec![7; 100_000]);
    let reply = InferReply {
        model: "m".into(),
        version: 1,
        id: String::new(),
        outputs: vec![Answered {
            tensor: Tensor {
                name: "y".into(),
                datatype: Datatype::Uint8,
                shape: vec![100_000],
                data: data.clone().into(),
            },
            is_binary: true,
            region: None,
        }],
    };
    let message = write_reply(reply);
    assert!(message.parts().iter().any(|part| part.as_ptr() == data.as_ptr()));
    let reply = read_reply(message).unwrap();
    assert_eq!(reply.outputs[0].tensor.data.to_bytes(), data);
}

#[test]
fn typed_contents_become_raw() {
    let read = |datatype: &str, contents| {
        let input = InferTensor {
            name: "x".into(),
            datatype: datatype.into(),
            shape: vec![2],
            contents: Some(contents),
            ..InferTensor::default()
        };
        let head = InferRequestHead { inputs: vec![input], ..InferRequestHead::default() };
        read_request(head.encode_to_vec().into()).map(|it| it.inputs[0].tensor.data.to_bytes())
    };
    let ints = |ints: &[i32]| Contents { ints: ints.to_vec(), ..Contents::default() };
    assert_eq!(read("INT8", ints(&[-1, 2])).unwrap(), &[255u8, 2][..]);
    assert_eq!(read("INT16", ints(&[-1, 2])).unwrap(), &[255u8, 255, 2, 0][..]);
    assert!(read("INT8", ints(&[300, 2])).unwrap_err().to_string().contains("too large"));
    let floats = Contents { fp32s: vec![1.0, 2.0], ..Contents::default() };
    assert_eq!(read("FP32", floats.clone()).unwrap().len(), 8);
    assert!(read("FP16", floats).unwrap_err().to_string().contains("raw_input_contents"));
    let texts = Contents { bytes: vec!["a".into(), "bc".into()], ..Contents::default() };
    assert_eq!(read("BYTES", texts).unwrap(), join_strings(["a", "bc"]));
    assert!(read("FLOAT", Contents::default()).unwrap_err().to_string().contains("FP32"));
}

#[test]
fn what_is_not_done_is_refused() {
    let with = |name: &str, choice| {
        let parameter = (name.to_owned(), Parameter { choice: Some(choice) });
        let head = InferRequestHead {
            parameters: HashMap::from([parameter]),
            ..InferRequestHead::default()
        };
        read_request(head.encode_to_vec().into())
    };
    assert!(matches!(with("sequence_id", Choice::Int64(4)), Err(Error::Unsupported(_))));
    assert_eq!(with("priority", Choice::Int64(4)).unwrap().priority, 4);
    let classes = RequestedOutput {
        name: "y".into(),
        parameters: HashMap::from([(
            "classification".into(),
            Parameter { choice: Some(Choice::Int64(3)) },
        )]),
    };
    let head = InferRequestHead { outputs: vec![classes], ..InferRequestHead::default() };
    assert!(matches!(read_request(head.encode_to_vec().into()), Err(Error::Unsupported(_))));
}

#[test]
fn hostile_bytes_are_errors() {
    let message = write_request(&request()).to_bytes();
    for end in 0..message.len().min(600) {
        // A prefix may be a message, but never a panic.
        let _ = read_request(message.slice(..end).into());
    }
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..20_000 {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let mut changed = message.slice(..200).to_vec();
        let at = (state >> 33) as usize % changed.len();
        changed[at] = (state >> 20) as u8;
        let _ = read_request(changed.into());
    }
    for hostile in [&[0x3a, 0xff, 0xff, 0xff, 0xff, 0x7f][..], &[0xff; 11], &[0x3b], &[0x39, 0]] {
        assert!(read_request(hostile.to_vec().into()).is_err(), "{hostile:?}");
    }
    // An entry too many or too few.
    let mut extra = message.to_vec();
    extra.extend([0x3a, 0]);
    assert!(read_request(extra.into()).unwrap_err().to_string().contains("raw_input_contents"));
}
