//! Configurations as Triton's documentation writes them, and what is refused.

use std::path::Path;

use super::*;

fn read(source: &str) -> Result<ModelConfig> {
    ModelConfig::from_text(source, Path::new("m/config.pbtxt"))
}

fn signature(shape: &[i64]) -> Signature {
    let spec = |name: &str| TensorSpec {
        name: name.into(),
        datatype: Datatype::Fp32,
        shape: shape.to_vec(),
        is_optional: false,
    };
    Signature { inputs: vec![spec("x")], outputs: vec![spec("y")], has_rows: true }
}

const FULL: &str = r#"
name: "m"
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 3, -1 ] } ]
output { name: "y", data_type: TYPE_FP32, dims: [ 3, 4 ] }
version_policy: { specific { versions: [1, 3] } }
instance_group [ { count: 2 kind: KIND_GPU gpus: [ 0, 2 ] }, { kind: KIND_CPU } ]
dynamic_batching {
  preferred_batch_size: [ 8, 4 ]
  max_queue_delay_microseconds: 100
  priority_levels: 2
  default_priority_level: 2
  default_queue_policy { default_timeout_microseconds: 5000 max_queue_size: 16 }
}
parameters { key: "image" value: { string_value: "yes" } }
optimization { graph { level: 1 } }
canary { steps: [10, 50] step_seconds: 2 p99_ms_max: 50.5 }
"#;

#[test]
fn everything_is_read() {
    let mut config = read(FULL).unwrap();
    config.complete(&signature(&[-1, 3, 4])).unwrap();
    assert_eq!(config.max_batch_size, Some(8));
    assert_eq!(config.version_policy, VersionPolicy::Specific(vec![1, 3]));
    assert_eq!(config.batching.preferred_sizes, [4, 8]);
    assert_eq!(config.batching.delay, Duration::from_micros(100));
    assert_eq!(config.batching.timeout, Some(Duration::from_millis(5)));
    assert_eq!((config.batching.queue_size, config.batching.may_override_timeout), (16, false));
    assert_eq!(config.parameters["image"], "yes");
    assert_eq!(config.ignored, ["optimization"]);
    let canary = config.canary.as_ref().unwrap();
    assert_eq!((canary.steps.as_slice(), canary.step), (&[10, 50][..], Duration::from_secs(2)));
    assert_eq!(canary.p99_max, Duration::from_micros(50_500));
    let devices = ["cpu", "gpu:0", "gpu:1", "gpu:2"].map(String::from);
    let placed = config.placement(&devices).unwrap();
    assert_eq!(placed, ["gpu:0", "gpu:2", "gpu:0", "gpu:2", "cpu"]);
    // What is printed is read again as the same.
    let mut again = ModelConfig::from_json(&config.to_json().to_string()).unwrap();
    again.ignored = config.ignored.clone();
    assert_eq!(again, config);
}

#[test]
fn what_is_left_open_is_worked_out() {
    let mut config = ModelConfig { name: "m".into(), ..ModelConfig::default() };
    config.complete(&signature(&[-1, 3])).unwrap();
    assert_eq!((config.max_batch_size, config.inputs[0].shape.as_slice()), (Some(32), &[3][..]));
    assert_eq!(config.placement(&["cpu".into()]).unwrap(), ["cpu"]);
    let mut fixed = ModelConfig::default();
    fixed.complete(&signature(&[2, 3])).unwrap();
    assert_eq!((fixed.max_batch_size, fixed.outputs[0].shape.as_slice()), (Some(0), &[2, 3][..]));
}

#[test]
fn mistakes_are_named() {
    let error = |source: &str| read(source).unwrap_err().to_string();
    assert_eq!(error("colour: 1"), "m/config.pbtxt: field colour is not known");
    assert!(error("dynamic_batching { x: 1 }").contains("field dynamic_batching.x is not known"));
    assert!(error("max_batch_size: -1").contains("max_batch_size: expected a whole number"));
    assert!(error("ensemble_scheduling {}").contains("ensemble_scheduling is not supported"));
    assert!(error("input { name: 'x' data_type: TYPE_INT31 }").contains("TYPE_INT31"));
    assert!(error("instance_group { count: 0 }").contains("expected 1 to 1024"));
    assert!(error("canary { steps: [120] }").contains("steps"));
    assert!(error("canary { step_seconds: -1 }").contains("-1 is no time"));

    let complete = |source: &str, shape: &[i64]| {
        read(source).unwrap().complete(&signature(shape)).unwrap_err().to_string()
    };
    assert!(complete("max_batch_size: 4", &[1, 3]).contains("set it to 0"));
    let named = complete("input { name: 'z' data_type: TYPE_FP32 dims: 3 }", &[1, 3]);
    assert!(named.contains("has input z, the model has x"), "{named}");
    let typed = complete("input { name: 'x' data_type: TYPE_FP16 dims: [1, 3] }", &[1, 3]);
    assert!(typed.contains("FP32 [1, 3] in the model, FP16 [1, 3]"), "{typed}");
    let gpu = read("instance_group { kind: KIND_GPU }").unwrap();
    assert!(gpu.placement(&["cpu".into()]).unwrap_err().to_string().contains("asks for a GPU"));
}
