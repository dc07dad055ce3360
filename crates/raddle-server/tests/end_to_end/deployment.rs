//! The files in `deploy`: metrics that they name are exported, settings are read. What
//! their own tools say is `cargo xtask deploy-check`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use raddle_server::client::HttpClient;
use raddle_server::config::ServerSettings;
use raddle_server::tensor::Rope;

use super::rig::*;

fn deploy() -> PathBuf {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    checkout.expect("crates/raddle-server").join("deploy")
}

fn read(file: &str) -> String {
    std::fs::read_to_string(deploy().join(file)).unwrap_or_else(|why| panic!("{file}: {why}"))
}

/// Names in a text that begin as our metrics do.
fn metrics(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit();
    let words = text.split(|c: char| !is_part(c));
    words.filter(|word| word.starts_with("nv_") || word.starts_with("raddle_")).collect()
}

#[test]
fn dashboards_and_alerts_name_metrics_that_there_are() {
    block_on(async {
        let rig = Rig::with("deployment-metrics", "copy").await;
        let mut client = HttpClient::connect(rig.running.bound.metrics).await.unwrap();
        let page = client.send(hyper::Method::GET, "/metrics", &[], Rope::default()).await;
        let page = String::from_utf8(page.unwrap().2.to_bytes().to_vec()).unwrap();
        let families: BTreeSet<&str> =
            page.lines().filter_map(|it| it.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let files =
            ["prometheus/rules.yaml", "grafana/dashboard.json", "kubernetes/autoscaler.yaml"];
        let mut seen = 0;
        for file in files {
            let text = read(file);
            for name in metrics(&text) {
                let base =
                    ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                let is_there =
                    families.contains(name) || base.is_some_and(|it| families.contains(it));
                assert!(is_there, "{file} names {name}, which is not exported");
                seen += 1;
            }
        }
        assert!(seen >= 12, "{seen}");
        rig.running.stop().await;
    });
}

#[test]
fn settings_and_probes_are_right() {
    let settings = ServerSettings::load(&deploy().join("raddle.toml")).unwrap();
    settings.check().unwrap();
    let manifest = read("kubernetes/deployment.yaml");
    for address in [settings.http, settings.grpc, settings.metrics] {
        assert!(manifest.contains(&format!("containerPort: {}", address.port())), "{address}");
    }
    let grace = manifest.split("terminationGracePeriodSeconds: ").nth(1).unwrap();
    let grace: f64 = grace.lines().next().unwrap().parse().unwrap();
    assert!(grace > settings.drain_seconds);
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("grafana/dashboard.json")).unwrap();
    assert_eq!(dashboard["panels"].as_array().unwrap().len(), 8);
}
