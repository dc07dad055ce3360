//! Versions come and go under load, and no request notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use hyper::Method;
use raddle_server::client::{GrpcClient, HttpClient};
use raddle_server::tensor::Rope;
use serde_json::json;

use super::rig::*;

/// Clients that ask until they are told to stop.
struct Load {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Load {
    async fn start(rig: &Rig, clients: usize) -> Self {
        let (is_over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = Vec::new();
        for _ in 0..clients {
            let grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
            let mut http = HttpClient::connect(rig.running.bound.http).await.unwrap();
            let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
            tasks.push(tokio::spawn(async move {
                let mut failures = Vec::new();
                while !is_over.load(SeqCst) {
                    let wanted = request("m", &[7]);
                    let both = [grpc.infer(&wanted, None).await, http.infer(&wanted).await];
                    for reply in both {
                        match reply {
                            Ok(reply) => {
                                let found = numbers(&reply.outputs[0].tensor)[0];
                                // Version N adds N.
                                if found != 7 + reply.version as i32 {
                                    failures.push(format!("{found} from {}", reply.version));
                                }
                                answered.fetch_add(1, SeqCst);
                            }
                            Err(error) => failures.push(error.to_string()),
                        }
                    }
                }
                failures
            }));
        }
        Self { is_over, answered, clients: tasks }
    }

    /// Waits until so many more requests are answered.
    async fn progress(&self, more: usize) {
        let wanted = self.answered.load(SeqCst) + more;
        while self.answered.load(SeqCst) < wanted {
            tokio::task::yield_now().await;
        }
    }

    async fn stop(self) -> Vec<String> {
        self.is_over.store(true, SeqCst);
        let mut failures = Vec::new();
        for client in self.clients {
            failures.extend(client.await.unwrap());
        }
        failures
    }
}

#[test]
fn ten_reloads_under_load_fail_nothing() {
    reload_under_load("reload-load", "");
}

#[test]
fn ten_reloads_of_a_quick_model_fail_nothing() {
    reload_under_load("reload-quick", "quick");
}

fn reload_under_load(name: &str, more: &str) {
    block_on(async {
        let rig = Rig::with(name, &format!("copy add 1 {more}")).await;
        let load = Load::start(&rig, 8).await;
        let mut http = HttpClient::connect(rig.running.bound.http).await.unwrap();
        for version in 2..12 {
            load.progress(100).await;
            write_version(&rig.root, "m", version, &format!("copy add {version} {more}"));
            http.json(Method::POST, "/v2/repository/models/m/load").await.unwrap();
            let index = http.json(Method::POST, "/v2/repository/index").await.unwrap();
            let ready = json!([{ "name": "m", "version": version.to_string(), "state": "READY", "reason": "" }]);
            assert_eq!(index, ready);
        }
        load.progress(100).await;
        assert_eq!(load.stop().await, Vec::<String>::new());
        assert_eq!(rig.probe.models.load(SeqCst), 1, "all but the last are dropped");
        rig.running.stop().await;
    });
}

#[test]
fn a_changed_file_of_the_same_version_is_reloaded_by_watching() {
    block_on(async {
        let root = fresh("reload-watch");
        write_version(&root, "m", 1, "copy add 1");
        let mut watching = settings(&root);
        watching.poll_seconds = 0.02;
        let rig = Rig::start(watching).await;
        let grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
        let ask = async || {
            let reply = grpc.infer(&request("m", &[7]), None).await?;
            Ok::<_, raddle_server::Error>((reply.version, numbers(&reply.outputs[0].tensor)[0]))
        };
        assert_eq!(ask().await.unwrap(), (1, 8));
        write_version(&root, "m", 1, "copy add 100");
        while ask().await.unwrap() != (1, 107) {}
        // A bad version leaves the good one, and the index says why.
        write_version(&root, "m", 2, "broken");
        let mut http = HttpClient::connect(rig.running.bound.http).await.unwrap();
        loop {
            let index = http.json(Method::POST, "/v2/repository/index").await.unwrap();
            assert_eq!(index[0]["state"], "READY", "{index}");
            if index[1]["reason"].as_str().is_some_and(|why| why.contains("the file is broken")) {
                assert_eq!(index[1]["state"], "UNAVAILABLE");
                break;
            }
        }
        assert_eq!(ask().await.unwrap(), (1, 107));
        // And a good one after it takes over.
        write_version(&root, "m", 2, "copy add 2");
        while ask().await.unwrap() != (2, 9) {}
        // A new model appears, an old one goes with its folder.
        write_version(&root, "n", 1, "copy");
        while grpc.infer(&request("n", &[1]), None).await.is_err() {}
        std::fs::remove_dir_all(root.join("m")).unwrap();
        while ask().await.is_ok() {}
        rig.running.stop().await;
        assert_eq!(rig.probe.models.load(SeqCst), 0);
    });
}

#[test]
fn models_are_unloaded_and_stay_so_until_they_are_asked_for() {
    block_on(async {
        let rig = Rig::with("reload-unload", "copy").await;
        let mut http = HttpClient::connect(rig.running.bound.http).await.unwrap();
        http.json(Method::POST, "/v2/repository/models/m/unload").await.unwrap();
        assert_eq!(rig.probe.models.load(SeqCst), 0);
        assert!(
            http.infer(&request("m", &[1])).await.unwrap_err().to_string().contains("not ready")
        );
        rig.running.server.poll();
        assert!(http.infer(&request("m", &[1])).await.is_err());
        let root = rig.root.clone();
        rig.running.stop().await;

        let again = Rig::start(settings(&root)).await;
        let mut http = HttpClient::connect(again.running.bound.http).await.unwrap();
        assert!(http.infer(&request("m", &[1])).await.is_err(), "also after a restart");
        // With a configuration of its own.
        let config = json!({ "max_batch_size": 3 }).to_string();
        let body = json!({ "parameters": { "config": config } }).to_string();
        let path = "/v2/repository/models/m/load";
        let (status, _, body) =
            http.send(Method::POST, path, &[], Rope::from(body.into_bytes())).await.unwrap();
        assert_eq!(status.as_u16(), 200, "{:?}", body.to_bytes());
        assert_eq!(
            http.json(Method::GET, "/v2/models/m/config").await.unwrap()["max_batch_size"],
            3
        );
        assert!(http.infer(&request("m", &[1])).await.is_ok());
        let wrong = json!({ "parameters": { "config": "{\"colour\":1}" } }).to_string();
        let (status, ..) =
            http.send(Method::POST, path, &[], Rope::from(wrong.into_bytes())).await.unwrap();
        assert_eq!(status.as_u16(), 400);
        assert!(http.infer(&request("m", &[1])).await.is_ok(), "a wrong order changes nothing");
        again.running.stop().await;
    });
}

#[test]
fn what_is_wrong_is_said_once_however_often_it_is_looked_at() {
    block_on(async {
        let rig = Rig::with("reload-once", "copy").await;
        std::fs::create_dir(rig.root.join("empty")).unwrap();
        write_version(&rig.root, "bad", 1, "broken");
        for _ in 0..3 {
            rig.running.server.poll();
        }
        for name in ["empty", "bad"] {
            let served = rig.running.server.model(name).unwrap();
            let history = served.history.lock().unwrap();
            let events: Vec<&str> = history.iter().map(|event| event.what.as_str()).collect();
            let numbers: std::collections::BTreeSet<&str> =
                events.iter().filter_map(|event| event.split(' ').nth(1)).collect();
            assert_eq!(events.len(), numbers.len(), "{events:?}");
            assert!(!served.reasons.lock().unwrap().is_empty());
        }
        write_version(&rig.root, "empty", 1, "copy");
        rig.running.server.poll();
        let served = rig.running.server.model("empty").unwrap();
        assert!(served.reasons.lock().unwrap().is_empty());
        rig.running.stop().await;
    });
}

#[test]
fn a_thousand_cycles_leave_nothing_behind() {
    block_on(async {
        let rig = Rig::with("reload-cycles", "copy").await;
        let server = Arc::clone(&rig.running.server);
        tokio::task::spawn_blocking(move || {
            for _ in 0..1000 {
                server.unload("m").unwrap();
                server.sync("m", raddle_server::server::Reason::Request(None)).unwrap();
            }
        })
        .await
        .unwrap();
        assert_eq!(rig.probe.models.load(SeqCst), 1);
        assert_eq!(rig.probe.instances.load(SeqCst), 1001);
        rig.running.stop().await;
    });
}

#[test]
fn stopping_answers_what_is_under_way() {
    block_on(async {
        let rig = Rig::with("reload-stop", "copy gate").await;
        let grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
        let answer = tokio::spawn(async move { grpc.infer(&request("m", &[9]), None).await });
        let probe = Arc::clone(&rig.probe);
        tokio::task::spawn_blocking(move || probe.wait_for_batch()).await.unwrap();
        let probe = Arc::clone(&rig.probe);
        let stopping = tokio::spawn(rig.running.stop());
        tokio::time::sleep(Duration::from_millis(1)).await;
        probe.open_gate();
        assert_eq!(numbers(&answer.await.unwrap().unwrap().outputs[0].tensor), [9]);
        stopping.await.unwrap();
        assert_eq!(probe.models.load(SeqCst), 0);
    });
}
