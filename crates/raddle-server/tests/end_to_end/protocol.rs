//! Every call of the protocol, over HTTP and gRPC.

use hyper::Method;
use raddle_server::client::{GrpcClient, HttpClient, framed, next_message};
use raddle_server::protocol::{OutputRequest, Region, proto, wire};
use raddle_server::tensor::{Datatype, Rope, Tensor, join_strings};
use raddle_server::{Error, Status};
use serde_json::json;

use super::rig::*;

/// The status of a failure.
#[track_caller]
fn status<T>(result: Result<T, Error>) -> Status {
    match result.map(drop).expect_err("this must fail") {
        Error::Remote { status, .. } => status,
        other => panic!("not from the server: {other}"),
    }
}

#[test]
fn inference_works_over_both() {
    block_on(async {
        let rig = Rig::with("protocol-infer", "add 5").await;
        let bound = rig.running.bound;
        let mut http = HttpClient::connect(bound.http).await.unwrap();
        let grpc = GrpcClient::connect(bound.grpc).await.unwrap();
        let mut wanted = rows("m", &[&[1, 2, 3], &[4, 5, 6]]);
        wanted.id = "seven".into();
        for reply in [http.infer(&wanted).await.unwrap(), grpc.infer(&wanted, None).await.unwrap()]
        {
            assert_eq!((reply.model.as_str(), reply.version, reply.id.as_str()), ("m", 1, "seven"));
            let y = &reply.outputs[0].tensor;
            assert_eq!((y.name.as_str(), y.shape.as_slice()), ("y", &[2, 3][..]));
            assert_eq!(numbers(y), [6, 7, 8, 9, 10, 11]);
        }
        wanted.version = "1".into();
        wanted.outputs = vec![OutputRequest { name: "y".into(), ..OutputRequest::default() }];
        assert_eq!(numbers(&http.infer(&wanted).await.unwrap().outputs[0].tensor)[0], 6);
        // A megabyte each way, in however many pieces.
        let large: Vec<i32> = (1..300_000).collect();
        let wanted = request("m", &large);
        for reply in [http.infer(&wanted).await.unwrap(), grpc.infer(&wanted, None).await.unwrap()]
        {
            assert!(numbers(&reply.outputs[0].tensor).iter().zip(&large).all(|(y, x)| *y == x + 5));
        }
        rig.running.stop().await;
    });
}

#[test]
fn mistakes_have_their_status() {
    block_on(async {
        let rig = Rig::with("protocol-mistakes", "copy fail-on 13").await;
        let mut http = HttpClient::connect(rig.running.bound.http).await.unwrap();
        let grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
        let with_shape = |shape: &[usize]| {
            let mut wrong = request("m", &[1, 2]);
            wrong.inputs[0].tensor.shape = shape.to_vec();
            wrong
        };
        let mut version = request("m", &[1]);
        version.version = "9".into();
        let mut name = request("m", &[1]);
        name.inputs[0].tensor.name = "z".into();
        let mut output = request("m", &[1]);
        output.outputs = vec![OutputRequest { name: "z".into(), ..OutputRequest::default() }];
        let mut datatype = request("m", &[1]);
        datatype.inputs[0].tensor.datatype = Datatype::Fp32;
        let mut region = request("m", &[1]);
        region.inputs[0].region = Some(Region { name: "r".into(), offset: 0, bytes: 4 });
        region.inputs[0].tensor.data = Rope::default();
        let cases = [
            (request("n", &[1]), Status::NotFound),
            (version, Status::NotFound),
            (name, Status::InvalidArgument),
            (output, Status::InvalidArgument),
            (datatype, Status::InvalidArgument),
            (with_shape(&[1, 3]), Status::InvalidArgument),
            (with_shape(&[2]), Status::InvalidArgument),
            (with_shape(&[99, 99]), Status::InvalidArgument),
            (request("m", &[13]), Status::InvalidArgument),
            (region, Status::PermissionDenied),
        ];
        for (wrong, expected) in cases {
            assert_eq!(status(http.infer(&wrong).await), expected, "{wrong:?}");
            assert_eq!(status(grpc.infer(&wrong, None).await), expected, "{wrong:?}");
        }
        // The connections are as good as before.
        assert_eq!(numbers(&http.infer(&request("m", &[1])).await.unwrap().outputs[0].tensor), [1]);
        let unknown = grpc.unary("/inference.GRPCInferenceService/Dance", Rope::default(), None);
        assert_eq!(status(unknown.await), Status::Unimplemented);
        rig.running.stop().await;
    });
}

#[test]
fn the_server_tells_about_itself_over_http() {
    block_on(async {
        let rig = Rig::with("protocol-http", "copy").await;
        let mut http = HttpClient::connect(rig.running.bound.http).await.unwrap();
        http.infer(&request("m", &[1])).await.unwrap();
        let mut get = async |path: &str| http.json(Method::GET, path).await;
        assert_eq!(get("/v2/health/live").await.unwrap(), json!({ "live": true }));
        assert_eq!(get("/v2/health/ready").await.unwrap(), json!({ "ready": true }));
        assert_eq!(get("/v2").await.unwrap()["name"], "raddle");
        let about = get("/v2/models/m").await.unwrap();
        assert_eq!(
            about["inputs"],
            json!([{ "name": "x", "datatype": "INT32", "shape": [-1, -1] }])
        );
        assert_eq!(about["versions"], json!(["1"]));
        assert_eq!(get("/v2/models/m/versions/1/ready").await.unwrap()["ready"], true);
        assert_eq!(status(get("/v2/models/m/versions/2/ready").await), Status::NotFound);
        let config = get("/v2/models/m/config").await.unwrap();
        assert_eq!(
            (config["max_batch_size"].as_u64(), config["name"].as_str()),
            (Some(32), Some("m"))
        );
        for path in ["/v2/models/m/stats", "/v2/models/stats"] {
            let stats = get(path).await.unwrap();
            assert_eq!(stats["model_stats"][0]["inference_count"], 1, "{stats}");
            assert_eq!(stats["model_stats"][0]["inference_stats"]["success"]["count"], 1);
        }
        let page = get("/status.json").await.unwrap();
        assert_eq!(page["models"][0]["versions"][0]["answered"], 1, "{page}");
        assert_eq!(status(get("/v2/nothing").await), Status::NotFound);
        let (status, headers, body) =
            http.send(Method::GET, "/", &[], Rope::default()).await.unwrap();
        assert_eq!(
            (status.as_u16(), headers["content-type"].to_str().unwrap()),
            (200, "text/html; charset=utf-8")
        );
        assert!(body.to_bytes().starts_with(b"<!doctype html>"));
        let mut metrics = HttpClient::connect(rig.running.bound.metrics).await.unwrap();
        let (_, _, body) =
            metrics.send(Method::GET, "/metrics", &[], Rope::default()).await.unwrap();
        let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        assert!(
            text.contains("nv_inference_request_success{model=\"m\",version=\"1\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains(
                "raddle_request_seconds_bucket{model=\"m\",version=\"1\",le=\"+Inf\"} 1\n"
            )
        );
        check_exposition(&text);
        rig.running.stop().await;
    });
}

/// Every sample belongs to the family before it, and each family stands once.
fn check_exposition(text: &str) {
    let mut family = "";
    let mut seen = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap();
            assert!(!seen.contains(&family), "{family} stands twice");
            seen.push(family);
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let ends = ["", "_bucket", "_sum", "_count"];
            assert!(ends.iter().any(|end| name.strip_suffix(end) == Some(family)), "{line}");
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
    }
    assert!(seen.len() > 20);
}

#[test]
fn the_server_tells_about_itself_over_grpc() {
    block_on(async {
        let rig = Rig::with("protocol-grpc", "copy").await;
        let grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
        grpc.infer(&request("m", &[1]), None).await.unwrap();
        let name = proto::ModelName { name: "m".into(), version: String::new() };
        let live: proto::Live = grpc.call("ServerLive", &proto::Empty {}).await.unwrap();
        let ready: proto::Ready = grpc.call("ServerReady", &proto::Empty {}).await.unwrap();
        let model: proto::Ready = grpc.call("ModelReady", &name).await.unwrap();
        assert!(live.live && ready.ready && model.ready);
        let about: proto::ServerMetadata =
            grpc.call("ServerMetadata", &proto::Empty {}).await.unwrap();
        assert!(about.extensions.contains(&"statistics".to_owned()));
        assert!(!about.extensions.contains(&"system_shared_memory".to_owned()), "it is off");
        let about: proto::ModelMetadata = grpc.call("ModelMetadata", &name).await.unwrap();
        assert_eq!((about.platform.as_str(), about.outputs[0].name.as_str()), ("trial", "y"));
        let config: proto::ModelConfigReply = grpc.call("ModelConfig", &name).await.unwrap();
        assert_eq!(config.config.unwrap().max_batch_size, 32);
        let stats: proto::Statistics = grpc.call("ModelStatistics", &name).await.unwrap();
        assert_eq!(stats.model_stats[0].execution_count, 1);
        let index: proto::RepositoryIndex =
            grpc.call("RepositoryIndex", &proto::RepositoryIndexRequest::default()).await.unwrap();
        assert_eq!((index.models[0].name.as_str(), index.models[0].state.as_str()), ("m", "READY"));
        let missing = proto::ModelName { name: "q".into(), version: String::new() };
        let missing = grpc.call::<proto::ModelMetadata>("ModelMetadata", &missing).await;
        assert_eq!(status(missing), Status::NotFound);
        let health = proto::HealthCheck::default().encode_to_vec();
        let health = grpc.unary("/grpc.health.v1.Health/Check", health.into(), None).await.unwrap();
        assert_eq!(&health.to_bytes()[..], [8, 1]);
        let logs: proto::LogSettings =
            grpc.call("LogSettings", &proto::LogSettings::default()).await.unwrap();
        assert!(logs.settings.contains_key("log_info"));
        rig.running.stop().await;
    });
}

use prost::Message;

#[test]
fn streams_answer_in_order_and_survive_errors() {
    block_on(async {
        let rig = Rig::with("protocol-stream", "copy fail-on 13").await;
        let grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
        let mut body = Rope::default();
        for number in [1, 13, 2, 3] {
            let message = wire::write_request(&request("m", &[number]));
            framed(message).into_parts().into_iter().for_each(|part| body.push(part));
        }
        let path = "/inference.GRPCInferenceService/ModelStreamInfer";
        let response = grpc.start(path, body, None).await.unwrap();
        let collected = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
        let status = collected.trailers().unwrap()["grpc-status"].clone();
        let mut body = Rope::from(collected.to_bytes());
        let mut answers = Vec::new();
        while let Some(message) = next_message(&mut body).unwrap() {
            let bytes = message.to_bytes();
            let is_error = bytes[0] == 0x0a;
            let content = Rope::from(bytes.slice(if bytes[1] < 0x80 { 2 } else { 3 }..));
            answers.push(match is_error {
                true => String::from_utf8(content.to_bytes().to_vec()).unwrap(),
                false => {
                    let reply = wire::read_reply(content).unwrap();
                    format!("{:?}", numbers(&reply.outputs[0].tensor))
                }
            });
        }
        assert_eq!(status, "0");
        assert_eq!(
            (answers[0].as_str(), answers[2].as_str(), answers[3].as_str()),
            ("[1]", "[2]", "[3]")
        );
        assert!(answers[1].contains("told to fail on this"), "{answers:?}");
        rig.running.stop().await;
    });
}

#[test]
fn json_tensors_gzip_and_raw_bodies_work() {
    block_on(async {
        let rig = Rig::with("protocol-json", "add 1").await;
        let mut http = HttpClient::connect(rig.running.bound.http).await.unwrap();
        let path = "/v2/models/m/infer";
        let body = json!({ "inputs": [{ "name": "x", "datatype": "INT32", "shape": [2, 2], "data": [[1, 2], [3, 4]] }] });
        let body = Rope::from(body.to_string().into_bytes());
        let (status, _, reply) = http.send(Method::POST, path, &[], body.clone()).await.unwrap();
        let reply: serde_json::Value = serde_json::from_slice(&reply.to_bytes()).unwrap();
        assert_eq!((status.as_u16(), &reply["outputs"][0]["data"]), (200, &json!([2, 3, 4, 5])));

        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, &body.to_bytes()).unwrap();
        let packed = Rope::from(encoder.finish().unwrap());
        let headers =
            [("content-encoding", "gzip".to_owned()), ("accept-encoding", "gzip".to_owned())];
        let (status, headers, reply) =
            http.send(Method::POST, path, &headers, packed).await.unwrap();
        assert_eq!((status.as_u16(), headers["content-encoding"].to_str().unwrap()), (200, "gzip"));
        let mut text = String::new();
        let reply = reply.to_bytes();
        std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&reply[..]), &mut text)
            .unwrap();
        assert!(text.contains("[2,3,4,5]"), "{text}");

        let raw = Rope::from([7i32, 8].map(i32::to_le_bytes).concat());
        let headers = [("inference-header-content-length", "0".to_owned())];
        let (status, headers, reply) = http.send(Method::POST, path, &headers, raw).await.unwrap();
        assert_eq!(status.as_u16(), 200);
        let head: usize =
            headers["inference-header-content-length"].to_str().unwrap().parse().unwrap();
        assert_eq!(&reply.to_bytes()[head..], [8i32, 9].map(i32::to_le_bytes).concat());
        rig.running.stop().await;
    });
}

#[test]
fn optional_inputs_and_strings_are_split_right() {
    block_on(async {
        let rig = Rig::with("protocol-strings", "copy strings").await;
        let grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
        let mut with = rows("m", &[&[1], &[2]]);
        with.inputs.push(raddle_server::protocol::Input {
            tensor: Tensor {
                name: "s".into(),
                datatype: Datatype::Bytes,
                shape: vec![2, 1],
                data: join_strings(["long text", ""]).into(),
            },
            region: None,
        });
        let ask = |wanted| {
            let grpc = grpc.clone();
            tokio::spawn(async move { grpc.infer(&wanted, None).await.unwrap() })
        };
        let asked: Vec<_> = (0..8).map(|_| ask(with.clone())).collect();
        for reply in asked {
            let reply = reply.await.unwrap();
            assert_eq!(reply.outputs[1].tensor.data.to_bytes(), join_strings(["long text", ""]));
        }
        let without = grpc.infer(&rows("m", &[&[1], &[2]]), None).await.unwrap();
        assert_eq!(without.outputs[1].tensor.data.to_bytes(), join_strings(["", ""]));
        rig.running.stop().await;
    });
}

#[test]
fn shared_memory_carries_tensors_when_it_is_allowed() {
    block_on(async {
        let root = fresh("protocol-shm");
        write_version(&root, "m", 1, "add 1");
        let mut allowed = settings(&root);
        allowed.allow_shared_memory = true;
        let rig = Rig::start(allowed).await;
        let grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
        let mut http = HttpClient::connect(rig.running.bound.http).await.unwrap();
        let key = format!("raddle-e2e-{}", std::process::id());
        let path = std::path::Path::new("/dev/shm").join(&key);
        std::fs::write(&path, [5i32, 6, 0, 0].map(i32::to_le_bytes).concat()).unwrap();
        let register =
            proto::SharedMemoryRegister { name: "r".into(), key, offset: 0, byte_size: 16 };
        let _: proto::Empty = grpc.call("SystemSharedMemoryRegister", &register).await.unwrap();
        let list = http.json(Method::GET, "/v2/systemsharedmemory/status").await.unwrap();
        assert_eq!(
            (list[0]["name"].as_str(), list[0]["byte_size"].as_u64()),
            (Some("r"), Some(16))
        );
        let mut wanted = request("m", &[0, 0]);
        wanted.inputs[0].tensor.data = Rope::default();
        wanted.inputs[0].region = Some(Region { name: "r".into(), offset: 0, bytes: 8 });
        let region = Some(Region { name: "r".into(), offset: 8, bytes: 8 });
        wanted.outputs = vec![OutputRequest { name: "y".into(), is_binary: None, region }];
        let reply = grpc.infer(&wanted, None).await.unwrap();
        assert!(reply.outputs[0].tensor.data.is_empty() && reply.outputs[0].region.is_some());
        assert_eq!(std::fs::read(&path).unwrap(), [5i32, 6, 6, 7].map(i32::to_le_bytes).concat());
        let unregister = proto::SharedMemoryName::default();
        let _: proto::Empty = grpc.call("SystemSharedMemoryUnregister", &unregister).await.unwrap();
        assert_eq!(status(grpc.infer(&wanted, None).await), Status::InvalidArgument);
        std::fs::remove_file(path).unwrap();
        rig.running.stop().await;
    });
}

#[test]
fn tokens_keep_strangers_out() {
    block_on(async {
        let root = fresh("protocol-tokens");
        write_version(&root, "m", 1, "copy");
        std::fs::write(root.join("tokens"), "# staff\nsecret\nother\n").unwrap();
        let mut guarded = settings(&root);
        guarded.tokens_file = Some(root.join("tokens"));
        let rig = Rig::start(guarded).await;
        let mut http = HttpClient::connect(rig.running.bound.http).await.unwrap();
        let mut grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
        let wanted = request("m", &[1]);
        for token in [None, Some("Bearer secre"), Some("Basic secret"), Some("secret")] {
            if let Some(token) = token {
                http.headers.insert("authorization", token.parse().unwrap());
                grpc.headers.insert("authorization", token.parse().unwrap());
            }
            assert_eq!(status(http.infer(&wanted).await), Status::Unauthenticated);
            assert_eq!(status(grpc.infer(&wanted, None).await), Status::Unauthenticated);
        }
        assert!(http.json(Method::GET, "/v2/health/ready").await.is_ok());
        http.headers.insert("authorization", "Bearer other".parse().unwrap());
        grpc.headers.insert("authorization", "bearer secret".parse().unwrap());
        assert!(http.infer(&wanted).await.is_ok() && grpc.infer(&wanted, None).await.is_ok());
        rig.running.stop().await;
    });
}
