//! TLS on both services, certificates that are renewed, and rules that configurations
//! must keep.

use std::path::{Path, PathBuf};

use hyper::Method;
use raddle_server::check;
use raddle_server::client::{GrpcClient, HttpClient};
use raddle_server::load::{self, Arrival, Plan};
use raddle_server::serve::Running;
use raddle_server::tls::{TlsSettings, Trust};

use super::rig::*;

/// A certificate of the tests: for localhost and 127.0.0.1, signed by itself.
fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/tls").join(name)
}

/// Puts a pair in place as settings name it.
fn place(root: &Path, name: &str) -> TlsSettings {
    let tls = TlsSettings {
        certificate: root.join("cert.pem"),
        key: root.join("key.pem"),
        client_authority: None,
    };
    std::fs::copy(pem(&format!("{name}.cert.pem")), &tls.certificate).unwrap();
    std::fs::copy(pem(&format!("{name}.key.pem")), &tls.key).unwrap();
    tls
}

async fn start(name: &str) -> Rig {
    let root = fresh(name);
    write_version(&root, "m", 1, "copy");
    let mut settings = settings(&root);
    settings.limits.header_seconds = 0.5;
    settings.tls = Some(place(&root, "first"));
    Rig::start(settings).await
}

#[test]
fn both_protocols_and_the_load_generator_speak_tls() {
    block_on(async {
        let rig = start("secure-tls").await;
        let trust = Trust::open(&pem("first.cert.pem")).unwrap();
        let bound = rig.running.bound;
        let (http, grpc) = (bound.http, bound.grpc);
        for name in ["localhost", "127.0.0.1"] {
            let secret = Some((&trust, name));
            let mut client = HttpClient::connect_with(http, secret).await.unwrap();
            let reply = client.infer(&request("m", &[3; 50_000])).await.unwrap();
            assert_eq!(numbers(&reply.outputs[0].tensor), [3; 50_000]);
            let client = GrpcClient::connect_with(grpc, secret).await.unwrap();
            let reply = client.infer(&request("m", &[4; 50_000]), None).await.unwrap();
            assert_eq!(numbers(&reply.outputs[0].tensor), [4; 50_000]);
        }
        // Another name, another authority, no TLS at all: nobody gets in.
        assert!(HttpClient::connect_with(http, Some((&trust, "example.org"))).await.is_err());
        let other = Trust::open(&pem("second.cert.pem")).unwrap();
        let refused = GrpcClient::connect_with(grpc, Some((&other, "localhost"))).await;
        let refused = refused.err().expect("an unknown authority").to_string();
        assert!(refused.contains("no TLS with localhost"), "{refused}");
        let mut plain = HttpClient::connect(http).await.unwrap();
        assert!(plain.json(Method::GET, "/v2").await.is_err());
        // Metrics are for the machine itself.
        let mut metrics = HttpClient::connect(bound.metrics).await.unwrap();
        assert!(metrics.json(Method::GET, "/v2/health/ready").await.is_ok());
        for scheme in ["https", "grpcs"] {
            let port = if scheme == "https" { http.port() } else { grpc.port() };
            let plan = Plan {
                target: format!("{scheme}://localhost:{port}").parse().unwrap(),
                model: "m".into(),
                version: String::new(),
                rows: 1,
                open_dim: 4,
                warm_up: std::time::Duration::ZERO,
                duration: std::time::Duration::from_millis(100),
                timeout: None,
                authorization: None,
                trust: Some(trust.clone()),
            };
            let outcome = load::run(&plan, Arrival::Clients(2), |_| {}).await.unwrap();
            assert_eq!(outcome.failed(), 0, "{:?}", outcome.failures);
            let without = Plan { trust: None, ..plan };
            let error = load::run(&without, Arrival::Clients(1), |_| {}).await.unwrap_err();
            assert!(error.to_string().contains("--authority"), "{error}");
        }
        rig.running.stop().await;
    });
}

#[test]
fn certificates_are_renewed_and_bad_ones_are_not() {
    block_on(async {
        let rig = start("secure-renew").await;
        let identity = rig.running.front.identity.as_ref().unwrap();
        let first = Trust::open(&pem("first.cert.pem")).unwrap();
        let second = Trust::open(&pem("second.cert.pem")).unwrap();
        let http = rig.running.bound.http;
        let connect = async |trust: &Trust| {
            let mut client = HttpClient::connect_with(http, Some((trust, "localhost"))).await?;
            client.json(Method::GET, "/v2").await
        };
        let mut open = HttpClient::connect_with(http, Some((&first, "localhost"))).await.unwrap();
        // Half of a pair: the old one stays.
        std::fs::copy(pem("second.cert.pem"), rig.root.join("cert.pem")).unwrap();
        identity.refresh();
        assert!(connect(&first).await.is_ok() && connect(&second).await.is_err());
        place(&rig.root, "second");
        identity.refresh();
        assert!(connect(&first).await.is_err());
        connect(&second).await.unwrap();
        assert!(open.json(Method::GET, "/v2").await.is_ok(), "connections go on");
        rig.running.stop().await;
    });
}

#[test]
fn pairs_that_do_not_fit_and_clients_without_a_certificate_are_refused() {
    block_on(async {
        let root = fresh("secure-refused");
        write_version(&root, "m", 1, "copy");
        let mut settings = settings(&root);
        let mut tls = place(&root, "first");
        std::fs::copy(pem("second.key.pem"), &tls.key).unwrap();
        settings.tls = Some(tls.clone());
        let backend = std::sync::Arc::new(TrialBackend(Default::default()));
        let refused = Running::start(settings.clone(), backend).await.err().expect("no pair");
        assert!(refused.to_string().contains("cert.pem"), "{refused}");
        std::fs::copy(pem("first.key.pem"), &tls.key).unwrap();
        tls.client_authority = Some(pem("second.cert.pem"));
        settings.tls = Some(tls);
        let rig = Rig::start(settings).await;
        let trust = Trust::open(&pem("first.cert.pem")).unwrap();
        let secret = Some((&trust, "localhost"));
        // The refusal comes with the first answer, or already with the greeting.
        let answer = match HttpClient::connect_with(rig.running.bound.http, secret).await {
            Ok(mut client) => client.json(Method::GET, "/v2").await.map(drop),
            Err(error) => Err(error),
        };
        assert!(answer.is_err());
        rig.running.stop().await;
    });
}

#[test]
fn what_breaks_a_rule_is_not_loaded_and_check_config_says_so() {
    block_on(async {
        let root = fresh("secure-policy");
        write_version(&root, "m", 1, "copy");
        write_config(&root, "m", "max_batch_size: 8");
        let rules = fresh("secure-policy-rules").join("own.rego");
        let own = "package raddle\n\
            deny contains v if {\n input.kind == \"model\"\n\
            count(input.model.name) > 1\n\
            v := {\"rule\": \"short_names\", \"field\": \"name\",\n\
            \"value\": input.model.name, \"expected\": \"one letter\"}\n}\n";
        std::fs::write(&rules, own).unwrap();
        let mut settings = settings(&root);
        settings.policy.rules = vec![rules];
        settings.policy.bounds.batch_max = 16;
        let rig = Rig::start(settings.clone()).await;
        let mut http = HttpClient::connect(rig.running.bound.http).await.unwrap();
        assert!(http.infer(&request("m", &[1])).await.is_ok());
        // A reload that breaks a rule leaves the old version serving, and says why.
        write_config(&root, "m", "max_batch_size: 17");
        let path = "/v2/repository/models/m/load";
        let error = http.json(Method::POST, path).await.unwrap_err().to_string();
        let expected = "m/config.pbtxt: rule batch_size: max_batch_size is 17, expected at most 16";
        assert!(error.contains(expected), "{error}");
        assert!(http.infer(&request("m", &[1])).await.is_ok());
        write_version(&root, "long", 1, "copy");
        assert!(http.json(Method::POST, "/v2/repository/models/long/load").await.is_err());
        let index = http.json(Method::POST, "/v2/repository/index").await.unwrap().to_string();
        assert!(index.contains("rule short_names: name is \\\"long\\\", expected one letter"));
        settings.limits.connections = 70_000;
        let findings = check::check(&settings, &TrialBackend(Default::default())).unwrap();
        let problems: Vec<String> = findings.into_iter().filter_map(|it| it.problem).collect();
        let parts = ["rule connections: limits.connections is 70000", "short_names", expected];
        for part in parts {
            assert!(problems.iter().any(|problem| problem.contains(part)), "{problems:?}");
        }
        assert_eq!(problems.len(), parts.len());
        rig.running.stop().await;
        let backend = std::sync::Arc::new(TrialBackend(Default::default()));
        assert!(Running::start(settings, backend).await.is_err(), "nor do settings");
    });
}
