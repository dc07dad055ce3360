//! Files that are cut off, damaged or made to mislead: errors, never a panic.

use raddle_tensor::{Tensor, Value};

use crate::{Error, Model};

/// A length-delimited field.
fn field(number: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 128, "one byte of length is enough for tests");
    [&[number << 3 | 2, payload.len() as u8], payload].concat()
}

fn varint(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> Vec<u8> {
    let names = |number, names: &[&str]| -> Vec<u8> {
        names.iter().flat_map(|name| field(number, name.as_bytes())).collect()
    };
    field(1, &[names(1, inputs), names(2, outputs), field(4, op.as_bytes())].concat())
}

fn edge(number: u8, name: &str) -> Vec<u8> {
    field(number, &field(1, name.as_bytes()))
}

/// A model of opset 13 from the parts of its graph.
fn model(parts: &[Vec<u8>]) -> Vec<u8> {
    [field(8, &varint(2, 13)), field(7, &parts.concat())].concat()
}

fn relu() -> Vec<u8> {
    model(&[node("Relu", &["x"], &["y"]), edge(11, "x"), edge(12, "y")])
}

fn error_of(bytes: &[u8]) -> String {
    Model::from_bytes(bytes).unwrap_err().to_string()
}

#[test]
fn a_small_model_runs() {
    let model = Model::from_bytes(&relu()).unwrap();
    let outputs = model.run([("x", Value::from(Tensor::vector(vec![-1f32, 2.0])))]).unwrap();
    assert_eq!(outputs, [("y".into(), Tensor::vector(vec![0f32, 2.0]).into())]);
    let wrong = model.run([("z", Value::from(Tensor::scalar(1f32)))]).unwrap_err();
    assert_eq!(wrong.to_string(), "the graph has no input z; its inputs are x");
}

/// A model whose input has two open lengths of a name.
fn relu_of(name: &str) -> Vec<u8> {
    let dims = [field(1, &field(2, name.as_bytes())), field(1, &field(2, name.as_bytes()))];
    let tensor = [varint(1, 1), field(2, &dims.concat())].concat();
    let input = [field(1, b"x"), field(2, &field(1, &tensor))].concat();
    model(&[node("Relu", &["x"], &["y"]), field(11, &input), edge(12, "y")])
}

#[test]
fn a_question_mark_is_no_name_of_a_length() {
    let run = |name: &str| {
        let x = Tensor::new(&[1, 2], vec![-1f32, 2.0]).unwrap();
        Model::from_bytes(&relu_of(name)).unwrap().run([("x", Value::from(x))])
    };
    assert!(run("?").is_ok());
    let error = run("n").unwrap_err().to_string();
    assert_eq!(error, "input x is declared as float[n, n], found float[1, 2]");
}

#[test]
fn no_damage_makes_the_reader_panic() {
    let bytes = relu();
    for len in 0..bytes.len() {
        let _ = Model::from_bytes(&bytes[..len]);
    }
    for at in 0..bytes.len() {
        for value in 0..=255 {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            if let Ok(graph) = crate::read_graph(&damaged) {
                let _ = raddle_tensor::infer::types(&graph, &[]);
            }
            let _ = Model::from_bytes(&damaged);
        }
    }
    assert!(matches!(Model::from_bytes(&bytes[..bytes.len() - 1]), Err(Error::Wire { .. })));
}

#[test]
fn wrong_graphs_are_named() {
    let unknown = model(&[node("Frobnicate", &[], &["y"]), edge(12, "y")]);
    assert_eq!(
        error_of(&unknown),
        "node y (Frobnicate, opset 13): operation Frobnicate is not supported"
    );
    let undefined = model(&[node("Relu", &["x"], &["y"]), edge(12, "y")]);
    assert_eq!(error_of(&undefined), "y (Relu): value x is not defined before it");
    let cycle = model(&[node("Relu", &["b"], &["a"]), node("Relu", &["a"], &["b"]), edge(12, "b")]);
    assert_eq!(error_of(&cycle), "a (Relu): value b is not defined before it");
    let twice = model(&[edge(11, "x"), node("Relu", &["x"], &["y"]), node("Relu", &["x"], &["y"])]);
    assert_eq!(error_of(&twice), "value y is defined twice");
}

#[test]
fn tensors_that_lie_about_their_size_are_refused() {
    // dims 2^63 - 1 (nine bytes of varint), type float, no data
    let huge = [vec![8], vec![0xff; 8], vec![0x7f], varint(2, 1), field(8, b"w")].concat();
    assert!(error_of(&model(&[field(5, &huge)])).contains("larger than"));
    let short = [varint(1, 2), varint(2, 1), field(9, &[0; 4]), field(8, b"w")].concat();
    assert_eq!(
        error_of(&model(&[field(5, &short)])),
        "tensor w: its shape needs 8 bytes of data, found 4"
    );
    let location = [field(1, b"location"), field(2, b"../secret")].concat();
    let outside = [varint(2, 1), varint(14, 1), field(13, &location)].concat();
    assert!(error_of(&model(&[field(5, &outside)])).contains("below the model's folder"));
}
