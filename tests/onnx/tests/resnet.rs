//! ResNet-18 as torchvision exports it, held against PyTorch's output.
//!
//! `RADDLE_RESNET18` names a folder with `resnet18.onnx` and `resnet18_io.npz`
//! (arrays `x` and `y`); without it the test says that it is skipped.

use std::path::Path;

use raddle_onnx::Model;
use raddle_onnx_tests::npz;
use raddle_tensor::Value;

#[test]
fn resnet18_agrees_with_pytorch() {
    let Some(folder) = std::env::var_os("RADDLE_RESNET18") else {
        println!("resnet18: SKIPPED: RADDLE_RESNET18 names no folder");
        return;
    };
    let folder = Path::new(&folder);
    let arrays = std::fs::read(folder.join("resnet18_io.npz")).unwrap();
    let (x, y) = (npz::array(&arrays, "x").unwrap(), npz::array(&arrays, "y").unwrap());
    let model = Model::load(folder.join("resnet18.onnx")).unwrap();
    let graph = model.plan().graph();
    let name = graph.name_of(graph.inputs[0]).to_owned();
    let start = std::time::Instant::now();
    let outputs = model.run([(name, Value::Tensor(x))]).unwrap();
    println!("resnet18: {:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    let found = outputs[0].1.as_tensor().unwrap().elements::<f32>().unwrap();
    let expected = y.elements::<f32>().unwrap();
    let scale = expected.iter().fold(0f32, |max, y| max.max(y.abs()));
    let error = found.iter().zip(expected).fold(0f32, |max, (a, b)| max.max((a - b).abs())) / scale;
    assert_eq!(found.len(), expected.len());
    assert!(error <= 1e-4, "relative error {error}");
}
