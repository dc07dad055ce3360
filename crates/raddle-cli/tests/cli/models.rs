//! Models from the command line: made, run on arrays and pictures, and refused.

use std::path::Path;

use raddle_weights::{Array, Weights, npy};

use super::{checkout, fresh, outcome, raddle};

/// Runs the binary in a folder; it must succeed, and gives its output.
#[track_caller]
fn succeed(dir: &Path, arguments: &[&str]) -> String {
    let (code, text, errors) = outcome(raddle(arguments).current_dir(dir));
    assert_eq!(code, 0, "{arguments:?}: {errors}");
    text
}

/// Runs the binary in a folder; it must fail with this in its message.
#[track_caller]
fn fail(dir: &Path, arguments: &[&str], expected: &str) {
    let (code, _, errors) = outcome(raddle(arguments).current_dir(dir));
    assert!(code != 0 && errors.contains(expected), "{arguments:?}: {errors}");
    assert!(!errors.contains("panicked"), "{errors}");
}

#[test]
fn a_model_is_made_and_run_on_arrays() {
    let dir = fresh("run-arrays");
    assert!(succeed(&dir, &["zoo"]).contains("resnet18 "));
    let text = succeed(&dir, &["zoo", "mlp", "-o", "mlp.onnx", "--seed", "7"]);
    assert!(text.contains("made mlp.onnx: mlp, random weights of seed 7"), "{text}");

    let pixels: Vec<f32> = (0..3 * 784).map(|at| (at % 11) as f32 / 11.0).collect();
    npy::write(dir.join("x.npy"), &Array::from_f32(&[3, 784], &pixels).unwrap()).unwrap();
    let run = ["run", "mlp.onnx", "--input", "input=x.npy", "--output"];
    let text = succeed(&dir, &[&run[..], &["out", "--bench", "2"]].concat());
    assert!(text.starts_with("device  CPU, "), "{text}");
    assert!(text.contains("output  logits: float[3, 10], "), "{text}");
    assert!(text.contains("bench   2 runs: median "), "{text}");
    let logits = npy::read(dir.join("out/logits.npy")).unwrap();
    assert_eq!(logits.shape(), [3, 10]);

    // The same in one file, and as inputs of the next run from there.
    succeed(&dir, &[&run[..], &["out.npz"]].concat());
    let archive = Weights::load(dir.join("out.npz")).unwrap();
    assert_eq!(archive.arrays, [("logits".to_owned(), logits.clone())]);

    // Half precision stays near.
    succeed(&dir, &[&run[..], &["half.safetensors", "--dtype", "f16"]].concat());
    let half = Weights::load(dir.join("half.safetensors")).unwrap();
    let (half, full) = (half.arrays[0].1.to_f32().unwrap(), logits.to_f32().unwrap());
    let scale = full.iter().fold(0f32, |max, x| max.max(x.abs()));
    for (a, b) in half.iter().zip(&full) {
        assert!(a != b || a.abs() < scale);
        assert!((a - b).abs() < 1e-2 * scale, "{a} {b}");
    }
}

#[test]
fn what_cannot_run_is_said() {
    let dir = fresh("run-errors");
    succeed(&dir, &["zoo", "mlp", "-o", "mlp.onnx"]);
    std::fs::write(dir.join("cut.onnx"), &std::fs::read(dir.join("mlp.onnx")).unwrap()[..900])
        .unwrap();
    npy::write(dir.join("x.npy"), &Array::from_f32(&[1, 3], &[0.0; 3]).unwrap()).unwrap();
    fail(&dir, &["run", "mlp.onnx", "--device", "tpu"], "expected cpu, gpu or gpu:N");
    fail(&dir, &["run", "mlp.onnx"], "no value for input input (float[n, 784])");
    fail(&dir, &["run", "mlp.onnx", "--input", "input=x.npy"], "float[n, 784]");
    fail(&dir, &["run", "mlp.onnx", "--random", "--input", "y=x.npy"], "no input y");
    fail(&dir, &["run", "none.onnx"], "none.onnx");
    fail(&dir, &["run", "cut.onnx"], "cut.onnx: byte ");
    fail(&dir, &["run", "zoo:resnet19"], "no model is called \"resnet19\"");
    fail(&dir, &["run", "mlp.onnx", "--image", "x.npy"], "the model takes no picture");
    fail(&dir, &["zoo", "mlp", "--weights", "x.npy"], "\"fc1.weight\"");
}

#[test]
fn pictures_are_classified() {
    let dir = fresh("run-pictures");
    let scene = checkout().join("docs/scene.png");
    let labels: String = (0..1000).map(|class| format!("label-{class}\n")).collect();
    std::fs::write(dir.join("labels.txt"), labels).unwrap();
    std::fs::create_dir(dir.join("pictures")).unwrap();
    std::fs::copy(&scene, dir.join("pictures/a.png")).unwrap();
    std::fs::write(dir.join("pictures/damaged.jpg"), [0xff, 0xd8, 0xff, 0]).unwrap();
    let run = ["run", "zoo:mobilenet_v2", "--image", "pictures", "--labels", "labels.txt"];
    let (code, text, errors) =
        outcome(raddle(&run).args(["--top", "3", "--seed", "1"]).current_dir(&dir));
    // The sound picture is classified although another is damaged.
    assert_eq!(code, 1);
    assert!(errors.contains("damaged.jpg: damaged JPEG"), "{errors}");
    let best: Vec<&str> = text.lines().skip_while(|line| !line.contains("a.png")).collect();
    assert_eq!(best.len(), 4, "{text}");
    let percent = |line: &str| line.split_whitespace().next().unwrap().parse::<f32>().unwrap();
    assert!(percent(best[1]) >= percent(best[2]) && percent(best[2]) >= percent(best[3]));
    assert!(best[1].contains(" %  label-"), "{text}");

    std::fs::write(dir.join("labels.txt"), "cat\ndog\n").unwrap();
    fail(&dir, &run, "1000 labels expected, one a line, found 2");
}

#[test]
fn a_model_is_inspected() {
    let dir = fresh("inspect-model");
    succeed(&dir, &["zoo", "lstm", "-o", "lstm.onnx"]);
    let text = succeed(&dir, &["inspect", "lstm.onnx", "--dim", "t=5"]);
    assert!(text.contains("input       tokens: int64[n, t]\n"), "{text}");
    assert!(text.contains("dimensions  n = 1, t = 5\n"), "{text}");
    assert!(text.contains("all nodes run on the CPU"), "{text}");
    // Gathering rows of constants, two layers, what reads them, and the classifier.
    let route = "gpu in f16  kernels for any model, 7 of 7 nodes in 16 bits, ";
    assert!(text.contains(route), "{text}");
    let device = ["--dim", "t=3", "--device", "simulator", "--dtype", "bf16", "--json"];
    let json = succeed(&dir, &[&["inspect", "lstm.onnx"], &device[..]].concat());
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["launches"]["dtype"], "bf16");
    let steps = report["launches"]["steps"].as_array().unwrap();
    let written =
        |step: &&serde_json::Value| step["kernel"].as_str().unwrap().starts_with("written");
    // A step of each layer is a product and one written kernel.
    assert!(steps.iter().filter(written).count() >= 2 * 3, "{report:#}");
    fail(&dir, &["inspect", "lstm.onnx", "--device", "cpu"], "expected gpu, gpu:N or simulator");
    let pictures = ["--svg", "lstm.svg", "--html", "lstm.html", "--json"];
    let json = succeed(&dir, &[&["inspect", "lstm.onnx"], &pictures[..]].concat());
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    // Two layers of 128 with 64 and 128 inputs, the embedding, the classifier, three axes.
    let weights = 512 * (64 + 128) + 512 * (128 + 128) + 2 * 1024 + 64_000 + 1_290 + 2;
    assert_eq!(report["parameters"], weights);
    assert_eq!(report["nodes"][1]["op"], "Transpose");
    assert_eq!(report["nodes"][1]["outputs"][0]["shape"], serde_json::json!([1, 1, 64]));
    let svg = std::fs::read_to_string(dir.join("lstm.svg")).unwrap();
    // Paper; input, nodes and output twice, as they are written and as they run.
    assert_eq!(svg.matches("<rect").count(), 1 + 2 * (1 + 7 + 1));
    let html = std::fs::read_to_string(dir.join("lstm.html")).unwrap();
    assert!(html.contains("<svg") && html.contains("LSTM"));
}

#[test]
fn what_passes_made_of_a_model_is_shown() {
    let dir = fresh("inspect-fused");
    let text = succeed(&dir, &["inspect", "zoo:mobilenet_v2", "--dim", "n=3", "--nodes"]);
    assert!(text.contains("of Conv + BatchNormalization + Clip\n"), "{text}");
    assert!(text.contains("float[n, 1280, 7, 7]"), "{text}");
    let json = succeed(&dir, &["inspect", "zoo:mobilenet_v2", "--dim", "n=3", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    let runs_as = &report["runs_as"];
    assert_eq!(runs_as["passes"][1]["name"], "fold-batch-norm");
    assert_eq!(runs_as["passes"][1]["changes"], 52);
    let first = &runs_as["nodes"][0];
    assert_eq!(first["op"], "raddle.PackedConv");
    let made_of: Vec<_> = first["made_of"].as_array().unwrap().iter().map(|it| &it["op"]).collect();
    assert_eq!(made_of, ["Conv", "BatchNormalization", "Clip"]);
    let plan = &report["memory_plan"];
    // The first depthwise convolution with a stride: 96 channels in and out.
    assert_eq!(plan["bound_bytes"], 3 * 96 * (112 * 112 + 56 * 56) * 4);
    assert_eq!(plan["peak_bytes"], plan["bound_bytes"]);
}

#[test]
fn a_model_that_cannot_run_is_shown_with_the_reasons() {
    let dir = fresh("inspect-unknown");
    succeed(&dir, &["zoo", "mlp", "-o", "mlp.onnx"]);
    // A name of the same length, so that the file stays sound.
    let mut file = std::fs::read(dir.join("mlp.onnx")).unwrap();
    while let Some(at) = file.windows(6).position(|bytes| bytes == b"\x22\x04Relu") {
        file[at..at + 6].copy_from_slice(b"\x22\x04Rel<");
    }
    std::fs::write(dir.join("odd.onnx"), &file).unwrap();
    let text = succeed(&dir, &["inspect", "odd.onnx", "--svg", "odd.svg"]);
    assert!(text.contains("support     the model does not load: "), "{text}");
    assert!(text.contains("node relu1 (Rel<): operation Rel< is not supported"), "{text}");
    assert!(text.contains("node relu2 (Rel<)"), "{text}");
    let svg = std::fs::read_to_string(dir.join("odd.svg")).unwrap();
    assert!(svg.contains("#ff8a80") && svg.contains("Rel&lt;") && !svg.contains("Rel<"));
    fail(&dir, &["inspect", "none.onnx"], "none.onnx");
    std::fs::write(dir.join("text.onnx"), "no model").unwrap();
    fail(&dir, &["inspect", "text.onnx"], "text.onnx: ");
    fail(&dir, &["run", "odd.onnx", "--random"], "Rel<");
}
