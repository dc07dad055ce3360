//! Canaries: traffic split, rollback, promotion, restarts.

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use raddle_server::client::{GrpcClient, HttpClient};
use raddle_server::protocol::InferRequest;
use raddle_server::server::Reason;

use super::rig::*;

async fn start(name: &str, canary: &str, new: &str) -> (Rig, GrpcClient) {
    let root = fresh(name);
    write_version(&root, "m", 1, "copy add 1");
    write_config(
        &root,
        "m",
        &format!("max_batch_size: 8 dynamic_batching {{}} canary {{ {canary} }}"),
    );
    let rig = Rig::start(settings(&root)).await;
    write_version(&root, "m", 2, new);
    load(&rig).await;
    let grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
    (rig, grpc)
}

async fn load(rig: &Rig) {
    let server = Arc::clone(&rig.running.server);
    let loading = tokio::task::spawn_blocking(move || server.sync("m", Reason::Poll));
    loading.await.unwrap().unwrap();
}

/// Asks `count` times; gives the answers of each version and the failures.
async fn ask(grpc: &GrpcClient, count: usize) -> ([usize; 3], usize) {
    let (mut by_version, mut failures) = ([0; 3], 0);
    for _ in 0..count {
        match grpc.infer(&request("m", &[7]), None).await {
            Ok(reply) => by_version[reply.version as usize] += 1,
            Err(_) => failures += 1,
        }
    }
    (by_version, failures)
}

fn events(rig: &Rig) -> String {
    let served = rig.running.server.model("m").unwrap();
    rig.running.server.canary_json(&served).to_string()
}

/// Waits until something has happened, such as a verdict.
async fn wait_for(rig: &Rig, what: &str) {
    while !events(rig).contains(what) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn shares_labels_and_headers_choose_the_version() {
    block_on(async {
        let (rig, grpc) = start(
            "canary-routes",
            "steps: [10, 50] step_seconds: 3600 p99_ms_max: 60000",
            "copy add 2",
        )
        .await;
        let (by_version, failures) = ask(&grpc, 200).await;
        assert_eq!(failures, 0);
        assert!((15..=25).contains(&by_version[2]), "{by_version:?}");
        let with = |version: &str| InferRequest { version: version.into(), ..request("m", &[7]) };
        for (version, expected) in [("1", 1), ("2", 2), ("stable", 1), ("canary", 2)] {
            assert_eq!(grpc.infer(&with(version), None).await.unwrap().version, expected);
        }
        for (header, value, expected) in
            [("x-raddle-canary", "always", 2), ("x-raddle-canary", "never", 1)]
        {
            let mut told = grpc.clone();
            told.headers.insert(header, value.parse().unwrap());
            let (by_version, _) = ask(&told, 10).await;
            assert_eq!(by_version[expected], 10, "{value}");
        }
        let mut keyed = grpc.clone();
        keyed.headers.insert("x-raddle-route-key", "user-17".parse().unwrap());
        let (by_version, _) = ask(&keyed, 10).await;
        assert!(by_version.contains(&10), "one key, one version: {by_version:?}");
        rig.running.stop().await;
    });
}

#[test]
fn errors_roll_back_and_the_version_stays_out() {
    block_on(async {
        let (rig, grpc) =
            start("canary-errors", "steps: [50] step_seconds: 3600 p99_ms_max: 60000", "copy fail")
                .await;
        let mut failures = 0;
        while rig.running.server.model("m").unwrap().routes().canary.is_some() {
            failures += ask(&grpc, 4).await.1;
        }
        assert!((3..500).contains(&failures), "{failures}");
        assert_eq!(ask(&grpc, 50).await, ([0, 50, 0], 0));
        wait_for(&rig, "requests failed, at most 0.8 % may").await;
        load(&rig).await;
        assert_eq!(ask(&grpc, 20).await, ([0, 20, 0], 0), "looking again does not bring it back");
        let root = rig.root.clone();
        rig.running.stop().await;
        let again = Rig::start(settings(&root)).await;
        let grpc = GrpcClient::connect(again.running.bound.grpc).await.unwrap();
        assert_eq!(ask(&grpc, 20).await, ([0, 20, 0], 0), "nor does a restart");
        // Other files are another chance.
        write_version(&root, "m", 2, "copy add 2");
        load(&again).await;
        assert!(again.running.server.model("m").unwrap().routes().canary.is_some());
        again.running.stop().await;
    });
}

#[test]
fn latency_rolls_back() {
    block_on(async {
        let rules = "steps: [50] step_seconds: 3600 p99_ms_max: 30";
        let (rig, grpc) = start("canary-latency", rules, "copy slow 60").await;
        while rig.running.server.model("m").unwrap().routes().canary.is_some() {
            ask(&grpc, 2).await;
        }
        wait_for(&rig, "took longer than 30 ms").await;
        rig.running.stop().await;
    });
}

#[test]
fn a_canary_that_hangs_is_taken_back() {
    block_on(async {
        let rules = "steps: [100] step_seconds: 3600 p99_ms_max: 20";
        let (rig, grpc) = start("canary-hangs", rules, "copy gate").await;
        let asked: Vec<_> = (1..5)
            .map(|number| {
                let grpc = grpc.clone();
                tokio::spawn(async move { grpc.infer(&request("m", &[number]), None).await })
            })
            .collect();
        while rig.running.server.model("m").unwrap().routes().canary.is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(ask(&grpc, 5).await, ([0, 5, 0], 0));
        rig.probe.open_gate();
        for answer in asked {
            assert_eq!(answer.await.unwrap().unwrap().version, 2, "what was in is answered");
        }
        rig.running.stop().await;
    });
}

#[test]
fn a_healthy_canary_is_promoted_step_by_step() {
    block_on(async {
        let rules = "steps: [20, 60] step_seconds: 0.1 samples_min: 10 p99_ms_max: 60000";
        let (rig, grpc) = start("canary-promotion", rules, "copy add 2").await;
        while rig.running.server.model("m").unwrap().routes().canary.is_some() {
            assert_eq!(ask(&grpc, 10).await.1, 0);
        }
        assert_eq!(ask(&grpc, 10).await, ([0, 0, 10], 0));
        wait_for(&rig, "is promoted").await;
        assert!(events(&rig).contains("advances to 60 %"), "{}", events(&rig));
        assert_eq!(rig.probe.models.load(std::sync::atomic::Ordering::SeqCst), 1);
        let root = rig.root.clone();
        rig.running.stop().await;
        let again = Rig::start(settings(&root)).await;
        let grpc = GrpcClient::connect(again.running.bound.grpc).await.unwrap();
        assert_eq!(ask(&grpc, 10).await, ([0, 0, 10], 0));
        again.running.stop().await;
    });
}

#[test]
fn a_restart_resumes_and_an_operator_decides() {
    block_on(async {
        let rules = "steps: [10, 50] step_seconds: 3600 p99_ms_max: 60000";
        let (rig, _) = start("canary-restart", rules, "copy add 2").await;
        let root = rig.root.clone();
        rig.running.stop().await;
        let again = Rig::start(settings(&root)).await;
        let mut http = HttpClient::connect(again.running.bound.http).await.unwrap();
        let view = http.json(Method::GET, "/v2/models/m/canary").await.unwrap();
        assert_eq!((&view["stable"], &view["canary"]["version"]), (&1.into(), &2.into()), "{view}");
        assert_eq!(view["canary"]["percent"], 10);
        let view = http.json(Method::POST, "/v2/models/m/canary/promote").await.unwrap();
        assert_eq!((&view["stable"], view["canary"].is_null()), (&2.into(), true), "{view}");
        assert!(http.json(Method::POST, "/v2/models/m/canary/rollback").await.is_err());
        write_version(&root, "m", 3, "copy add 3");
        load(&again).await;
        let view = http.json(Method::POST, "/v2/models/m/canary/rollback").await.unwrap();
        assert_eq!(
            (&view["stable"], &view["rejected"][0]["reason"]),
            (&2.into(), &"by request".into())
        );
        again.running.stop().await;
    });
}
