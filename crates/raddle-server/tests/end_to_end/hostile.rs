//! Hostile clients: nonsense, lies about lengths, bodies without end, connections
//! that say nothing. Each gets an error or is cut off, and others notice nothing.

use std::time::{Duration, Instant};

use raddle_server::client::{GrpcClient, HttpClient};
use raddle_server::tensor::Rope;
use raddle_server::{Error, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::rig::*;

/// A server with narrow limits.
async fn narrow(name: &str) -> Rig {
    let root = fresh(name);
    write_version(&root, "m", 1, "copy");
    let mut settings = settings(&root);
    settings.limits.message_bytes = 100_000;
    settings.limits.tensor_bytes = 50_000;
    settings.limits.header_seconds = 0.2;
    settings.limits.body_seconds = 0.2;
    settings.limits.connections = 8;
    Rig::start(settings).await
}

/// Sends bytes and reads to the end, for a while at most.
async fn raw(address: std::net::SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may hang up in the middle.
    let _ = stream.write_all(bytes).await;
    let mut found = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut found));
    let _ = read.await.expect("the server ends the connection");
    found
}

async fn still_works(rig: &Rig) {
    let mut http = HttpClient::connect(rig.running.bound.http).await.unwrap();
    assert_eq!(numbers(&http.infer(&request("m", &[3])).await.unwrap().outputs[0].tensor), [3]);
    let grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
    assert!(grpc.infer(&request("m", &[3]), None).await.is_ok());
}

/// Numbers that look random.
fn dice(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
    *state >> 33
}

#[test]
fn fuzzed_bodies_are_errors() {
    block_on(async {
        let root = fresh("hostile-fuzz");
        write_version(&root, "m", 1, "copy");
        // Narrow in size; in time only those that say nothing need be hurried.
        let mut narrow = settings(&root);
        narrow.limits.message_bytes = 100_000;
        narrow.limits.tensor_bytes = 50_000;
        let rig = Rig::start(narrow).await;
        let mut state = 17;
        let grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
        let mut http = HttpClient::connect(rig.running.bound.http).await.unwrap();
        let message =
            raddle_server::protocol::wire::write_request(&request("m", &[1, 2])).to_bytes();
        let (body, head) = raddle_server::protocol::json::write_request(&request("m", &[1, 2]));
        let body = body.to_bytes();
        for _ in 0..300 {
            let mut changed = message.to_vec();
            for _ in 0..=dice(&mut state) % 3 {
                let at = dice(&mut state) as usize % changed.len();
                changed[at] = dice(&mut state) as u8;
            }
            let path = "/inference.GRPCInferenceService/ModelInfer";
            if let Err(error) = grpc.unary(path, changed.into(), None).await {
                assert!(
                    matches!(error, Error::Remote { status, .. } if status != Status::Internal),
                    "{error}"
                );
            }
            let mut changed = body.to_vec();
            let at = dice(&mut state) as usize % changed.len();
            changed[at] = dice(&mut state) as u8;
            let head = head + dice(&mut state) as usize % 5;
            let headers = [("inference-header-content-length", head.to_string())];
            let path = "/v2/models/m/infer";
            let reply =
                http.send(hyper::Method::POST, path, &headers, changed.into()).await.unwrap();
            assert!([200, 400, 404].contains(&reply.0.as_u16()), "{}", reply.0);
        }
        still_works(&rig).await;
        rig.running.stop().await;
    });
}

#[test]
fn lies_and_oversize_are_refused() {
    block_on(async {
        let rig = narrow("hostile-lies").await;
        let http = rig.running.bound.http;
        let head = "POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\n";
        let huge = format!("{head}content-length: 99999999999\r\n\r\n");
        let answer = String::from_utf8(raw(http, huge.as_bytes()).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("message_bytes"), "{answer}");
        let lie = format!(
            "{head}inference-header-content-length: 900\r\nconnection: close\r\ncontent-length: 4\r\n\r\n{{}}{{}}"
        );
        let answer = String::from_utf8(raw(http, lie.as_bytes()).await).unwrap();
        assert!(answer.contains("the body has 4 bytes"), "{answer}");
        let endless = format!(
            "{head}transfer-encoding: chunked\r\n\r\n{}",
            "ffff\r\n".to_owned() + &"x".repeat(0xffff)
        );
        let answer = String::from_utf8(
            raw(
                http,
                &[endless.as_bytes(), b"\r\nffff\r\n", &[b'y'; 0xffff][..], b"\r\n"].concat(),
            )
            .await,
        )
        .unwrap();
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");

        let grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
        let path = "/inference.GRPCInferenceService/ModelInfer";
        let large = grpc.infer(&request("m", &vec![1; 20_000]), None).await.unwrap_err();
        assert!(
            matches!(large, Error::Remote { status: Status::ResourceExhausted, .. }),
            "{large}"
        );
        // A prefix that promises four gigabytes.
        let promise =
            grpc.start(path, Rope::from(vec![0, 255, 255, 255, 255, 1]), None).await.unwrap();
        assert_eq!(promise.headers()["grpc-status"], "8");
        let short = grpc.start(path, Rope::from(vec![0, 0, 0, 0, 9, 1]), None).await.unwrap();
        assert_eq!(short.headers()["grpc-status"], "3");
        let flag = grpc.start(path, Rope::from(vec![7, 0, 0, 0, 1, 1]), None).await.unwrap();
        assert_eq!(flag.headers()["grpc-status"], "3");
        let tensor = grpc.infer(&request("m", &vec![1; 15_000]), None).await.unwrap_err();
        assert!(tensor.to_string().contains("tensor_bytes"), "{tensor}");
        still_works(&rig).await;
        rig.running.stop().await;
    });
}

#[test]
fn slow_and_silent_clients_are_cut_off() {
    block_on(async {
        let rig = narrow("hostile-slow").await;
        let http = rig.running.bound.http;
        let began = Instant::now();
        let never_ends = raw(http, b"GET /v2/health/live HTTP/1.1\r\nhost:");
        let no_body = raw(
            http,
            b"POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\nabc",
        );
        let (head, body) = (never_ends.await, no_body.await);
        assert!(head.is_empty() || head.starts_with(b"HTTP/1.1 408"), "{head:?}");
        assert!(String::from_utf8_lossy(&body).contains("body_seconds"), "{body:?}");
        assert!(began.elapsed() < Duration::from_secs(15));
        still_works(&rig).await;
        rig.running.stop().await;
    });
}

#[test]
fn nonsense_on_both_ports_is_survived() {
    block_on(async {
        let rig = narrow("hostile-nonsense").await;
        let mut state = 99;
        for address in [rig.running.bound.http, rig.running.bound.grpc] {
            for _ in 0..5 {
                let bytes: Vec<u8> = (0..500).map(|_| dice(&mut state) as u8).collect();
                raw(address, &bytes).await;
            }
        }
        still_works(&rig).await;
        rig.running.stop().await;
    });
}

#[test]
fn connections_beyond_the_limit_are_closed_and_others_work() {
    block_on(async {
        let rig = narrow("hostile-connections").await;
        let mut http = HttpClient::connect(rig.running.bound.http).await.unwrap();
        assert!(http.infer(&request("m", &[1])).await.is_ok());
        let mut idle = Vec::new();
        for _ in 0..7 {
            idle.push(TcpStream::connect(rig.running.bound.grpc).await.unwrap());
        }
        let front = &rig.running.front;
        while front.connections.load(std::sync::atomic::Ordering::SeqCst) < 8 {
            tokio::task::yield_now().await;
        }
        assert_eq!(raw(rig.running.bound.http, b"").await, b"");
        assert!(front.refused.load(std::sync::atomic::Ordering::SeqCst) >= 1);
        assert!(http.infer(&request("m", &[2])).await.is_ok(), "who is in stays in");
        drop((http, idle));
        while front.connections.load(std::sync::atomic::Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(front.memory.load(std::sync::atomic::Ordering::SeqCst), 0, "nothing is held");
        still_works(&rig).await;
        rig.running.stop().await;
    });
}
