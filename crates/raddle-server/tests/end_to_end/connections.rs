//! Connections of HTTP/1.1 as other clients than ours use them: torn, pipelined, in
//! chunks, with a question before the body, of the version before.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use hyper::Method;
use raddle_server::client::HttpClient;
use raddle_server::front::{Front, Listeners};
use raddle_server::protocol::json::{read_reply, write_request};
use raddle_server::tensor::Rope;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::rig::*;

/// A connection on which bytes are sent as they are.
struct Raw {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Raw {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, received: Vec::new() }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Receives more; false at the end.
    async fn receive(&mut self) -> bool {
        let read =
            tokio::time::timeout(Duration::from_secs(20), self.stream.read_buf(&mut self.received));
        read.await.expect("the server says something").unwrap() > 0
    }

    /// The next head, and the body that it promises.
    async fn reply(&mut self, has_body: bool) -> (String, Vec<u8>) {
        let end = loop {
            if let Some(at) = self.received.windows(4).position(|it| it == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.receive().await, "a head is there: {:?}", self.received);
        };
        let body = self.received.split_off(end);
        let head = String::from_utf8(std::mem::replace(&mut self.received, body)).unwrap();
        let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let len = if has_body { len.map_or(0, |len| len.parse().unwrap()) } else { 0 };
        while self.received.len() < len {
            assert!(self.receive().await, "the body is there");
        }
        let rest = self.received.split_off(len);
        (head, std::mem::replace(&mut self.received, rest))
    }

    /// The numbers that the next reply has.
    async fn numbers(&mut self) -> Vec<i32> {
        let (head, body) = self.reply(true).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let name = "inference-header-content-length: ";
        let head_len = head.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let reply = read_reply(Rope::from(body), Some(head_len.parse().unwrap())).unwrap();
        numbers(&reply.outputs[0].tensor)
    }

    async fn is_at_its_end(&mut self) -> bool {
        self.received.is_empty() && !self.receive().await
    }
}

/// Head and body of a request, with headers in between.
fn parts(of: &[i32], headers: &str) -> (String, Vec<u8>) {
    let (body, head_len) = write_request(&request("m", of));
    let head = format!(
        "POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\n{headers}\
         Inference-Header-Content-Length: {head_len}\r\n"
    );
    (head, body.to_bytes().to_vec())
}

/// A request that says how long its body is.
fn whole(of: &[i32], headers: &str) -> Vec<u8> {
    let (head, body) = parts(of, headers);
    let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), &body].concat()
}

#[test]
fn requests_come_torn_and_pipelined() {
    block_on(async {
        let rig = Rig::with("connections-torn", "copy").await;
        let mut raw = Raw::connect(rig.running.bound.http).await;
        for byte in whole(&[1, 2, 3], "") {
            raw.send(&[byte]).await;
        }
        assert_eq!(raw.numbers().await, [1, 2, 3]);
        let together: Vec<u8> = (0..20).flat_map(|n| whole(&[n, n + 1], "")).collect();
        raw.send(&together).await;
        for n in 0..20 {
            assert_eq!(raw.numbers().await, [n, n + 1]);
        }
        rig.running.stop().await;
        assert!(raw.is_at_its_end().await, "an idle connection ends with the server");
    });
}

#[test]
fn large_bodies_come_whole_however_they_are_torn() {
    block_on(async {
        let rig = Rig::with("connections-large", "copy").await;
        let front = &rig.running.front;
        for len in [3000, 4096, 20_000, 600_000] {
            let wanted: Vec<i32> = (0..len).collect();
            let request = whole(&wanted, "");
            for part in [request.len(), 1000, 65_537, 1 << 20] {
                let mut raw = Raw::connect(rig.running.bound.http).await;
                for _ in 0..2 {
                    for piece in request.chunks(part) {
                        raw.send(piece).await;
                    }
                    assert!(raw.numbers().await == wanted, "{len} in parts of {part}");
                }
            }
        }
        // One that breaks off holds nothing any more.
        let request = whole(&[7; 600_000], "");
        let mut raw = Raw::connect(rig.running.bound.http).await;
        raw.send(&request[..1_500_000]).await;
        while front.memory.load(SeqCst) < 1 << 20 {
            tokio::task::yield_now().await;
        }
        drop(raw);
        while front.memory.load(SeqCst) > 0 || front.connections.load(SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
        rig.running.stop().await;
    });
}

#[test]
fn a_promised_body_takes_no_memory_before_it_comes() {
    block_on(async {
        let rig = Rig::with("connections-promise", "copy").await;
        let mut raw = Raw::connect(rig.running.bound.http).await;
        let (head, _) = parts(&[1], "");
        raw.send(format!("{head}Content-Length: 60000000\r\n\r\nabc").as_bytes()).await;
        let front = &rig.running.front;
        while front.memory.load(SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(front.memory.load(SeqCst), 1 << 20);
        drop(raw);
        rig.running.stop().await;
    });
}

#[test]
fn bodies_come_in_chunks() {
    block_on(async {
        let rig = Rig::with("connections-chunks", "copy").await;
        let mut raw = Raw::connect(rig.running.bound.http).await;
        let wanted: Vec<i32> = (0..3000).collect();
        let (head, body) = parts(&wanted, "Transfer-Encoding: chunked\r\n");
        for size in [1, 7, 1000, 100_000] {
            let mut bytes = format!("{head}\r\n").into_bytes();
            for chunk in body.chunks(size) {
                bytes.extend_from_slice(format!("{:X};name=value\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\nsome-trailer: of no interest\r\n\r\n");
            bytes.extend_from_slice(&whole(&[size as i32], ""));
            raw.send(&bytes).await;
            assert!(raw.numbers().await == wanted, "chunks of {size}");
            assert_eq!(raw.numbers().await, [size as i32], "and what is behind them");
        }
        for (wrong, why) in [
            ("x\r\n", "a chunk without its length"),
            ("2\r\nabc\r\n", "a chunk is longer than its length"),
            ("2\nab\r\n", "a chunk's line does not end with CR LF"),
            ("2;a\rb\r\nab\r\n", "a chunk's line does not end with CR LF"),
            (&*"1".repeat(5000), "line is too long"),
            (&*format!("0\r\n{}", "a: b\r\n".repeat(2000)), "trailers are too long"),
        ] {
            let mut raw = Raw::connect(rig.running.bound.http).await;
            raw.send(format!("{head}\r\n{wrong}").as_bytes()).await;
            let (head, body) = raw.reply(true).await;
            let body = String::from_utf8(body).unwrap();
            assert!(head.starts_with("HTTP/1.1 400") && body.contains(why), "{head}{body}");
            assert!(raw.is_at_its_end().await, "nothing behind it is read as a head");
        }
        rig.running.stop().await;
    });
}

#[test]
fn clients_may_ask_before_they_send() {
    block_on(async {
        let rig = Rig::with("connections-expect", "copy").await;
        let mut raw = Raw::connect(rig.running.bound.http).await;
        let request = whole(&[4, 5], "Expect: 100-continue\r\n");
        let head = request.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
        for _ in 0..2 {
            raw.send(&request[..head]).await;
            let (go_on, _) = raw.reply(false).await;
            assert_eq!(go_on, "HTTP/1.1 100 Continue\r\n\r\n");
            raw.send(&request[head..]).await;
            assert_eq!(raw.numbers().await, [4, 5]);
        }
        // Who is refused is told so before the body, which is never read.
        let refused = String::from_utf8(request[..head].into()).unwrap().replace("/m/", "/n/");
        raw.send(refused.as_bytes()).await;
        let (head, _) = raw.reply(true).await;
        assert!(head.starts_with("HTTP/1.1 404") && head.contains("connection: close"), "{head}");
        assert!(raw.is_at_its_end().await);
        rig.running.stop().await;
    });
}

#[test]
fn connections_are_kept_as_both_sides_want() {
    block_on(async {
        let rig = Rig::with("connections-kept", "copy").await;
        let http = rig.running.bound.http;
        // A body that nobody wants is passed over if it is there.
        let mut raw = Raw::connect(http).await;
        raw.send(b"POST /nowhere HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc").await;
        assert!(raw.reply(true).await.0.starts_with("HTTP/1.1 404"));
        raw.send(b"HEAD /v2/health/live HTTP/1.1\r\n\r\n").await;
        let (head, _) = raw.reply(false).await;
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: 13"), "{head}");
        assert!(head.contains("\r\ndate: ") && head.contains(" GMT\r\n"), "{head}");
        raw.send(&whole(&[9], "Connection: close\r\n")).await;
        assert_eq!(raw.numbers().await, [9]);
        assert!(raw.is_at_its_end().await);
        let old = |headers: &str| format!("GET /v2/health/live HTTP/1.0\r\n{headers}\r\n");
        let mut raw = Raw::connect(http).await;
        raw.send(old("connection: keep-alive\r\n").as_bytes()).await;
        assert!(raw.reply(true).await.0.contains("connection: keep-alive"));
        raw.send(old("").as_bytes()).await;
        assert!(raw.reply(true).await.0.contains("connection: close"));
        assert!(raw.is_at_its_end().await);
        for (wrong, status) in [
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
            ("POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
            (&*format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(100_000)), 431),
        ] {
            let mut raw = Raw::connect(http).await;
            raw.send(wrong.as_bytes()).await;
            let (head, body) = raw.reply(true).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
            assert!(
                serde_json::from_slice::<serde_json::Value>(&body).unwrap()["error"].is_string()
            );
            assert!(raw.is_at_its_end().await, "{wrong:.50}");
        }
        rig.running.stop().await;
    });
}

#[test]
fn a_server_that_is_not_ready_says_what_it_waits_for() {
    block_on(async {
        let root = fresh("connections-waiting");
        write_version(&root, "m", 3, "copy made-behind-gate");
        let probe = Arc::new(Probe::default());
        let backend = Arc::new(TrialBackend(Arc::clone(&probe)));
        let server = raddle_server::Server::new(settings(&root), backend).unwrap();
        let front = Front::new(Arc::clone(&server)).unwrap();
        let (listeners, bound) = Listeners::bind(&front).unwrap();
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(listeners.serve(front, stopped));
        let loading = Arc::clone(&server);
        let loading = tokio::task::spawn_blocking(move || loading.load_all());
        let gate = Arc::clone(&probe);
        tokio::task::spawn_blocking(move || gate.wait_for_batch()).await.unwrap();
        let mut http = HttpClient::connect(bound.http).await.unwrap();
        let path = "/v2/health/ready";
        let (status, _, body) = http.send(Method::GET, path, &[], Rope::default()).await.unwrap();
        let found: serde_json::Value = serde_json::from_slice(&body.to_bytes()).unwrap();
        assert_eq!((status.as_u16(), &found["ready"]), (503, &false.into()));
        let waiting = &found["waiting_for"][0];
        assert_eq!((&waiting["model"], &waiting["version"]), (&"m".into(), &"3".into()));
        assert_eq!(waiting["at"][0], "instance 0 on cpu: waits for the gate");
        let index = server.index(false);
        assert_eq!((index[0].state, index[0].version.as_str()), ("LOADING", "3"));
        assert!(index[0].reason.contains("waits for the gate"), "{}", index[0].reason);
        probe.open_gate();
        loading.await.unwrap().unwrap();
        let ready = http.json(Method::GET, path).await.unwrap();
        assert_eq!(ready, serde_json::json!({ "ready": true }));
        assert_eq!(server.index(false)[0].state, "READY");
        stop.send(true).unwrap();
        serving.await.unwrap();
        let server = Arc::clone(&server);
        tokio::task::spawn_blocking(move || server.shut_down()).await.unwrap();
    });
}
