//! `raddle serve`, `raddle load` and `raddle check-config`, as processes.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use raddle_server::client::{GrpcClient, HttpClient};
use raddle_server::protocol::{InferReply, InferRequest, Input};
use raddle_server::tensor::{Datatype, Tensor};

use super::{checkout, fresh, outcome, raddle};

/// A server as a process; killed at the end of a test.
struct Server {
    child: Child,
    http: SocketAddr,
    grpc: SocketAddr,
}

impl Server {
    /// Starts a server on a repository and waits until it says that it is ready.
    fn start(models: &Path, more: &[&str]) -> Self {
        let any = "127.0.0.1:0";
        let mut command = raddle(&["serve", "--http", any, "--grpc", any, "--metrics", any]);
        command.arg("--models").arg(models).args(more);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let output = child.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("it speaks");
        let address = |name: &str| {
            let rest = line.split(&format!("{name} ")).nth(1);
            let address = rest.and_then(|rest| rest.split([',', '\n']).next()?.parse().ok());
            address.unwrap_or_else(|| panic!("no {name} in {line:?}"))
        };
        Self { http: address("http"), grpc: address("grpc"), child }
    }

    /// Ends it as `kill -9` does.
    fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build();
    runtime.expect("there are threads").block_on(work)
}

/// A field of a protobuf message with contents of its own.
fn nested(field: u8, contents: &[u8]) -> Vec<u8> {
    assert!(contents.len() < 0x4000, "two bytes of length do");
    let len = contents.len();
    let head = [field << 3 | 2, (len & 0x7f) as u8 | 0x80, (len >> 7) as u8];
    [&head, contents].concat()
}

/// A model with one operation from `x` to `y`, both `[n, m]` of a type of ONNX.
fn one_op(op: &str, onnx_type: u8) -> Vec<u8> {
    let dims = [nested(1, &nested(2, b"n")), nested(1, &nested(2, b"m"))].concat();
    let value = |name: &str| {
        let tensor = [vec![8, onnx_type], nested(2, &dims)].concat();
        [nested(1, name.as_bytes()), nested(2, &nested(1, &tensor))].concat()
    };
    let node = [nested(1, b"x"), nested(2, b"y"), nested(4, op.as_bytes())].concat();
    let graph =
        [nested(1, &node), nested(2, b"g"), nested(11, &value("x")), nested(12, &value("y"))];
    [vec![8, 8], nested(7, &graph.concat()), nested(8, &[16, 13])].concat()
}

/// Writes a version of a model.
fn write_model(models: &Path, name: &str, version: u32, bytes: &[u8]) {
    let dir = models.join(name).join(version.to_string());
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("model.onnx"), bytes).unwrap();
}

fn request(model: &str, numbers: &[f32]) -> InferRequest {
    let data: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let tensor = Tensor {
        name: "x".into(),
        datatype: Datatype::Fp32,
        shape: vec![1, numbers.len()],
        data: data.into(),
    };
    let inputs = vec![Input { tensor, region: None }];
    InferRequest { model: model.into(), inputs, is_binary_output: true, ..InferRequest::default() }
}

fn floats(reply: &InferReply) -> Vec<f32> {
    let data = reply.outputs[0].tensor.data.to_bytes();
    data.chunks_exact(4).map(|it| f32::from_le_bytes(it.try_into().unwrap())).collect()
}

#[test]
fn models_are_served_from_files_and_load_is_measured() {
    let models = fresh("serve-files");
    write_model(&models, "negate", 1, &one_op("Neg", 1));
    std::fs::write(models.join("bare.onnx"), one_op("Abs", 1)).unwrap();
    let server = Server::start(&models, &["--poll", "0.1"]);
    block_on(async {
        let mut http = HttpClient::connect(server.http).await.unwrap();
        let grpc = GrpcClient::connect(server.grpc).await.unwrap();
        let wanted = request("negate", &[1.5, -2.0]);
        assert_eq!(floats(&http.infer(&wanted).await.unwrap()), [-1.5, 2.0]);
        assert_eq!(floats(&grpc.infer(&wanted, None).await.unwrap()), [-1.5, 2.0]);
        assert_eq!(floats(&http.infer(&request("bare", &[-3.0])).await.unwrap()), [3.0]);
        // A new version takes over by itself.
        write_model(&models, "negate", 2, &one_op("Abs", 1));
        while http.infer(&wanted).await.unwrap().version == 1 {}
        assert_eq!(floats(&http.infer(&wanted).await.unwrap()), [1.5, 2.0]);
    });
    let chart = models.join("chart.svg");
    let url = format!("http://{}", server.http);
    let load =
        ["load", "--url", &url, "--model", "negate", "--duration", "0.3", "--warm-up", "0.1"];
    let (code, text, errors) =
        outcome(raddle(&load).args(["--concurrency", "1,4", "--chart"]).arg(&chart));
    assert_eq!(code, 0, "{errors}");
    assert!(text.contains("1 clients") && text.contains("4 clients"), "{text}");
    assert!(std::fs::read_to_string(&chart).unwrap().ends_with("</svg>\n"));
    let url = format!("grpc://{}", server.grpc);
    let load = ["load", "--url", &url, "--model", "negate", "--duration", "0.3", "--json"];
    let (code, text, errors) = outcome(raddle(&load).args(["--rate", "100", "--warm-up", "0"]));
    assert_eq!(code, 0, "{errors}");
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["runs"][0]["failed"], 0, "{text}");
    assert!(found["runs"][0]["latency_ms"]["P99"].as_f64().unwrap() > 0.0, "{text}");
    let (code, _, errors) = outcome(&mut raddle(&["load", "--url", &url, "--model", "nothing"]));
    assert!(code == 1 && errors.contains("NotFound"), "{errors}");
}

#[test]
fn a_canary_survives_kill_9() {
    let models = fresh("serve-kill");
    let config = "dynamic_batching {} canary { steps: [20, 50] step_seconds: 3600 }";
    write_model(&models, "m", 1, &one_op("Neg", 1));
    std::fs::write(models.join("m/config.pbtxt"), config).unwrap();
    let mut server = Server::start(&models, &["--poll", "0.1"]);
    let canary = |address: SocketAddr| async move {
        let mut http = HttpClient::connect(address).await.unwrap();
        http.json(hyper::Method::GET, "/v2/models/m/canary").await.unwrap()
    };
    write_model(&models, "m", 2, &one_op("Abs", 1));
    block_on(async { while canary(server.http).await["canary"].is_null() {} });
    server.kill();
    let again = Server::start(&models, &["--poll", "0"]);
    let view = block_on(canary(again.http));
    assert_eq!((view["stable"].as_u64(), view["canary"]["version"].as_u64()), (Some(1), Some(2)));
    assert_eq!(view["canary"]["percent"], 20, "{view}");
}

#[test]
fn memory_is_flat_over_reloads() {
    let models = fresh("serve-cycles");
    write_model(&models, "m", 1, &one_op("Neg", 1));
    let server = Server::start(&models, &["--poll", "0"]);
    let resident_kib = || -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let mut early = 0;
    block_on(async {
        let mut http = HttpClient::connect(server.http).await.unwrap();
        for cycle in 0..300 {
            for order in ["unload", "load"] {
                let path = format!("/v2/repository/models/m/{order}");
                http.json(hyper::Method::POST, &path).await.unwrap();
            }
            assert_eq!(floats(&http.infer(&request("m", &[1.0])).await.unwrap()), [-1.0]);
            if cycle == 100 {
                early = resident_kib();
            }
        }
    });
    let late = resident_kib();
    assert!(late < early + 8 * 1024, "{early} KiB after 100 cycles, {late} KiB after 300");
}

#[test]
fn a_repository_is_checked() {
    let models = fresh("serve-check");
    write_model(&models, "good", 1, &one_op("Neg", 1));
    let check = || outcome(raddle(&["check-config", "--models"]).arg(&models));
    let (code, text, _) = check();
    assert!(code == 0 && text.contains("ok      model good version 1"), "{text}");
    write_model(&models, "gpu", 1, &one_op("Neg", 1));
    std::fs::write(models.join("gpu/config.pbtxt"), "instance_group { kind: KIND_GPU }").unwrap();
    write_model(&models, "torn", 1, &one_op("Neg", 1)[..20]);
    write_model(&models, "odd", 1, &one_op("Neg", 1));
    std::fs::write(models.join("odd/config.pbtxt"), "colour: 1").unwrap();
    let (code, text, _) = check();
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("wrong   model gpu version 1: ") && text.contains("asks for a GPU"),
        "{text}"
    );
    assert!(text.contains("wrong   model torn version 1: "), "{text}");
    assert!(
        text.contains("field colour is not known") && text.contains("6 checked, 3 wrong"),
        "{text}"
    );
    let settings = models.with_extension("toml");
    std::fs::write(&settings, "[policy.bounds]\nbatch_max = 4\n").unwrap();
    let mut ruled = raddle(&["check-config", "--models"]);
    let (code, text, _) = outcome(ruled.arg(&models).arg("--config").arg(&settings));
    let expected = "rule batch_size: max_batch_size is 32, expected at most 4";
    assert!(code == 1 && text.contains(expected), "{text}");
    let (code, _, errors) = outcome(&mut raddle(&["serve", "--models", "no-such-folder"]));
    assert!(code == 1 && errors.contains("no-such-folder"), "{errors}");
}

/// Python packages below the target folder, installed once; `None` where there is no
/// Python or no network.
fn tritonclient() -> Option<PathBuf> {
    let dir = checkout().join("target/tools/tritonclient-2.73");
    if !dir.join("tritonclient").is_dir() {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]);
        pip.arg(&dir).arg("tritonclient[grpc,http]==2.73.0");
        let is_installed = pip.output().is_ok_and(|output| output.status.success());
        if !is_installed {
            let _ = std::fs::remove_dir_all(&dir);
            return None;
        }
    }
    Some(dir)
}

#[test]
fn the_unmodified_tritonclient_works() {
    let Some(packages) = tritonclient() else {
        eprintln!("SKIPPED 1 test: tritonclient cannot be installed (python3 -m pip, network)");
        return;
    };
    let models = fresh("serve-tritonclient");
    // Numbers of TensorProto.DataType.
    let types = [
        ("bool", 9),
        ("uint8", 2),
        ("uint16", 4),
        ("uint32", 12),
        ("uint64", 13),
        ("int8", 3),
        ("int16", 5),
        ("int32", 6),
        ("int64", 7),
        ("fp16", 10),
        ("fp32", 1),
        ("fp64", 11),
        ("bytes", 8),
    ];
    for (name, number) in types {
        write_model(&models, &format!("identity_{name}"), 1, &one_op("Identity", number));
    }
    let server = Server::start(&models, &["--poll", "0", "--allow-shared-memory"]);
    let script = checkout().join("crates/raddle-cli/tests/cli/tritonclient_check.py");
    let mut python = Command::new("python3");
    python.arg(script).env("PYTHONPATH", packages);
    python.args([server.http.to_string(), server.grpc.to_string()]);
    python.arg(format!("/raddle-tritonclient-{}", std::process::id()));
    let (code, text, errors) = outcome(&mut python);
    assert_eq!(code, 0, "{errors}\n{text}");
    assert!(text.contains("checks "), "{text}");
}

/// A request of `rows` rows of 784 numbers for a model `mlp`.
fn mlp_request(model: &str, rows: usize) -> InferRequest {
    let numbers: Vec<f32> = (0..rows * 784).map(|at| (at * 31 % 255) as f32 / 255.0).collect();
    let mut wanted = request(model, &numbers);
    let tensor = &mut wanted.inputs[0].tensor;
    (tensor.name, tensor.shape) = ("input".into(), vec![rows, 784]);
    wanted
}

#[test]
fn models_are_served_with_the_kernels_for_gpus() {
    let models = fresh("serve-gpu");
    let placed = |kind: &str, more: &str| {
        format!("max_batch_size: 4 instance_group {{ kind: {kind} }} dynamic_batching {{}} {more}")
    };
    let precision = |name: &str| {
        format!("parameters {{ key: \"precision\" value {{ string_value: \"{name}\" }} }}")
    };
    let half = placed("KIND_GPU count: 2", &precision("f16"));
    let placements = [
        ("exact", placed("KIND_GPU", "")),
        ("half", half.clone()),
        ("reference", placed("KIND_CPU", "")),
    ];
    let file = models.join("exact/1/model.onnx");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let (code, _, errors) = outcome(raddle(&["zoo", "mlp", "--seed", "3", "-o"]).arg(&file));
    assert_eq!(code, 0, "{errors}");
    let bytes = std::fs::read(&file).unwrap();
    for (name, config) in placements {
        write_model(&models, name, 1, &bytes);
        std::fs::write(models.join(name).join("config.pbtxt"), config).unwrap();
    }
    let server = Server::start(&models, &["--device", "simulator"]);
    block_on(async {
        let mut http = HttpClient::connect(server.http).await.unwrap();
        // Fewer rows than a program has, as many, and what other rows were before.
        for rows in [3, 4, 1] {
            let reference = http.infer(&mlp_request("reference", rows)).await.unwrap();
            let expected = floats(&reference);
            assert_eq!(expected.len(), rows * 10);
            let scale = expected.iter().fold(0f32, |max, x| max.max(x.abs()));
            for (name, bound) in [("exact", 1e-5), ("half", 1e-2)] {
                let reply = http.infer(&mlp_request(name, rows)).await.unwrap();
                assert_eq!(reply.outputs[0].tensor.shape, [rows, 10]);
                for (found, expected) in floats(&reply).iter().zip(&expected) {
                    let error = (found - expected).abs() / scale;
                    assert!(error <= bound, "{name}, {rows} rows: {found}, expected {expected}");
                }
            }
        }
    });
    drop(server);

    // What cannot be is said, with the way out.
    let check = |device: &str| {
        let mut command = raddle(&["check-config", "--device", device, "--models"]);
        outcome(command.arg(&models))
    };
    let (code, text, _) = check("simulator");
    assert_eq!(code, 0, "{text}");
    let (code, text, _) = check("cpu");
    assert!(code == 1 && text.contains("instance_group asks for a GPU"), "{text}");
    std::fs::write(models.join("half/config.pbtxt"), half.replace("f16", "f8")).unwrap();
    let (code, text, _) = check("simulator");
    assert!(code == 1 && text.contains("precision is \"f8\", expected f32, tf32, f16"), "{text}");
}
