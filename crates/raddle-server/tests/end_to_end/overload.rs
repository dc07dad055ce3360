//! Batching, priorities, deadlines, cancellation and full queues, as clients see them.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use raddle_server::client::{GrpcClient, HttpClient};
use raddle_server::error::Reason;
use raddle_server::protocol::InferRequest;
use raddle_server::stats::Stats;
use raddle_server::{Error, Status};

use super::rig::*;

/// Sends a request on a task of its own.
fn send(grpc: &GrpcClient, wanted: InferRequest) -> tokio::task::JoinHandle<Result<i32, Error>> {
    let grpc = grpc.clone();
    tokio::spawn(async move { Ok(numbers(&grpc.infer(&wanted, None).await?.outputs[0].tensor)[0]) })
}

fn stats(rig: &Rig) -> Arc<Stats> {
    Arc::clone(&rig.running.server.version("m", "").unwrap().stats)
}

/// Waits until so many requests are under way.
async fn pending(rig: &Rig, wanted: u64) {
    let stats = stats(rig);
    while stats.pending.load(SeqCst) != wanted {
        tokio::task::yield_now().await;
    }
}

async fn blocked(
    name: &str,
    config: &str,
) -> (Rig, GrpcClient, tokio::task::JoinHandle<Result<i32, Error>>) {
    let root = fresh(name);
    write_version(&root, "m", 1, "copy gate");
    write_config(&root, "m", config);
    let rig = Rig::start(settings(&root)).await;
    let grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
    let first = send(&grpc, request("m", &[1]));
    let probe = Arc::clone(&rig.probe);
    tokio::task::spawn_blocking(move || probe.wait_for_batch()).await.unwrap();
    (rig, grpc, first)
}

#[test]
fn requests_that_wait_share_a_batch() {
    block_on(async {
        let (rig, grpc, first) =
            blocked("overload-batch", "max_batch_size: 4 dynamic_batching {}").await;
        let rest: Vec<_> = (2..8).map(|number| send(&grpc, request("m", &[number]))).collect();
        pending(&rig, 7).await;
        rig.probe.open_gate();
        assert_eq!(first.await.unwrap().unwrap(), 1);
        for (number, answer) in (2..8).zip(rest) {
            assert_eq!(answer.await.unwrap().unwrap(), number);
        }
        assert_eq!(*rig.probe.batches.lock().unwrap(), [1, 4, 2]);
        rig.running.stop().await;
    });
}

#[test]
fn priorities_go_first() {
    block_on(async {
        let config =
            "max_batch_size: 1 dynamic_batching { priority_levels: 3 default_priority_level: 2 }";
        let (rig, grpc, first) = blocked("overload-priority", config).await;
        let mut answers = Vec::new();
        for (at, priority) in [3, 0, 1].into_iter().enumerate() {
            let number = 10 + at as i32;
            let wanted = InferRequest { priority, ..request("m", &[number]) };
            answers.push(send(&grpc, wanted));
            pending(&rig, 2 + at as u64).await;
        }
        rig.probe.open_gate();
        first.await.unwrap().unwrap();
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
        assert_eq!(*rig.probe.firsts.lock().unwrap(), [1, 12, 11, 10]);
        rig.running.stop().await;
    });
}

#[test]
fn a_full_queue_answers_at_once_with_a_hint() {
    block_on(async {
        let config =
            "max_batch_size: 1 dynamic_batching { default_queue_policy { max_queue_size: 2 } }";
        let (rig, grpc, first) = blocked("overload-full", config).await;
        let waiting = [send(&grpc, request("m", &[2])), send(&grpc, request("m", &[3]))];
        pending(&rig, 3).await;
        let began = Instant::now();
        let refused = send(&grpc, request("m", &[4])).await.unwrap().unwrap_err();
        assert!(
            matches!(refused, Error::Remote { status: Status::ResourceExhausted, .. }),
            "{refused}"
        );
        let mut http = HttpClient::connect(rig.running.bound.http).await.unwrap();
        let (body, head) = raddle_server::protocol::json::write_request(&request("m", &[5]));
        let headers = [("inference-header-content-length", head.to_string())];
        let reply = http.send(hyper::Method::POST, "/v2/models/m/infer", &headers, body).await;
        let (status, headers, _) = reply.unwrap();
        assert_eq!(status.as_u16(), 429);
        assert!(headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
        assert!(headers.contains_key("retry-after-ms"));
        assert!(began.elapsed() < Duration::from_secs(5), "refusals do not wait");
        assert_eq!(stats(&rig).failures(Reason::Rejected), 2);
        rig.probe.open_gate();
        first.await.unwrap().unwrap();
        for answer in waiting {
            answer.await.unwrap().unwrap();
        }
        rig.running.stop().await;
    });
}

#[test]
fn deadlines_end_the_wait() {
    block_on(async {
        let (rig, grpc, first) =
            blocked("overload-deadline", "max_batch_size: 1 dynamic_batching {}").await;
        let own = InferRequest { timeout_us: 20_000, ..request("m", &[2]) };
        let late = send(&grpc, own).await.unwrap().unwrap_err();
        assert!(matches!(late, Error::Remote { status: Status::DeadlineExceeded, .. }), "{late}");
        let late =
            grpc.infer(&request("m", &[3]), Some(Duration::from_millis(20))).await.unwrap_err();
        assert!(matches!(late, Error::Remote { status: Status::DeadlineExceeded, .. }), "{late}");
        assert_eq!(rig.running.server.version("m", "").unwrap().waiting(), 0);
        rig.probe.open_gate();
        first.await.unwrap().unwrap();
        assert_eq!(*rig.probe.firsts.lock().unwrap(), [1], "what is late is not computed");
        rig.running.stop().await;
    });
}

#[test]
fn a_client_that_goes_away_frees_its_place() {
    block_on(async {
        let config =
            "max_batch_size: 1 dynamic_batching { default_queue_policy { max_queue_size: 2 } }";
        let (rig, grpc, first) = blocked("overload-cancel", config).await;
        let given_up = send(&grpc, request("m", &[2]));
        let mut http = HttpClient::connect(rig.running.bound.http).await.unwrap();
        let hung_up = tokio::spawn(async move { http.infer(&request("m", &[3])).await.map(drop) });
        pending(&rig, 3).await;
        given_up.abort();
        hung_up.abort();
        pending(&rig, 1).await;
        assert_eq!(rig.running.server.version("m", "").unwrap().waiting(), 0);
        assert_eq!(stats(&rig).failures(Reason::Cancelled), 2);
        let next = send(&grpc, request("m", &[4]));
        pending(&rig, 2).await;
        rig.probe.open_gate();
        assert_eq!((first.await.unwrap().unwrap(), next.await.unwrap().unwrap()), (1, 4));
        assert_eq!(*rig.probe.firsts.lock().unwrap(), [1, 4]);
        rig.running.stop().await;
    });
}

#[test]
fn neighbours_of_a_bad_request_are_answered() {
    block_on(async {
        let root = fresh("overload-neighbours");
        write_version(&root, "m", 1, "copy gate fail-on 13 panic-on 14 lose-on 15");
        let rig = Rig::start(settings(&root)).await;
        let grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
        let first = send(&grpc, request("m", &[1]));
        let probe = Arc::clone(&rig.probe);
        tokio::task::spawn_blocking(move || probe.wait_for_batch()).await.unwrap();
        let group: Vec<_> = [2, 13, 3].map(|number| send(&grpc, request("m", &[number]))).into();
        pending(&rig, 4).await;
        rig.probe.open_gate();
        first.await.unwrap().unwrap();
        let mut outcomes = Vec::new();
        for answer in group {
            outcomes.push(answer.await.unwrap());
        }
        assert!(matches!((&outcomes[0], &outcomes[2]), (Ok(2), Ok(3))), "{outcomes:?}");
        assert!(matches!(&outcomes[1], Err(Error::Remote { status: Status::InvalidArgument, .. })));
        // An instance that panics or is lost is made anew.
        let before = rig.probe.instances.load(SeqCst);
        for number in [14, 15] {
            let failed = send(&grpc, request("m", &[number])).await.unwrap().unwrap_err();
            assert!(matches!(failed, Error::Remote { status: Status::Internal, .. }), "{failed}");
            assert_eq!(send(&grpc, request("m", &[5])).await.unwrap().unwrap(), 5);
        }
        assert_eq!(rig.probe.instances.load(SeqCst), before + 2);
        rig.running.stop().await;
    });
}

#[test]
fn a_quick_model_survives_panics_too() {
    block_on(async {
        let rig = Rig::with("overload-quick", "copy quick fail-on 13 panic-on 14 lose-on 15").await;
        let grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
        for (number, expected) in
            [(13, Status::InvalidArgument), (14, Status::Internal), (15, Status::Internal)]
        {
            let failed = send(&grpc, request("m", &[number])).await.unwrap().unwrap_err();
            assert!(
                matches!(failed, Error::Remote { status, .. } if status == expected),
                "{failed}"
            );
            assert_eq!(send(&grpc, request("m", &[5])).await.unwrap().unwrap(), 5);
        }
        let found = stats(&rig);
        assert_eq!((found.success.get().0, found.failures(Reason::Backend)), (3, 2));
        rig.running.stop().await;
    });
}

#[test]
fn one_client_does_not_take_everything() {
    block_on(async {
        let root = fresh("overload-clients");
        write_version(&root, "m", 1, "copy gate");
        let mut limited = settings(&root);
        limited.limits.requests_per_client = 2;
        let rig = Rig::start(limited).await;
        let grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
        let taken = [send(&grpc, request("m", &[1])), send(&grpc, request("m", &[2]))];
        pending(&rig, 2).await;
        let refused = send(&grpc, request("m", &[3])).await.unwrap().unwrap_err();
        assert!(
            matches!(refused, Error::Remote { status: Status::ResourceExhausted, .. }),
            "{refused}"
        );
        rig.probe.open_gate();
        for answer in taken {
            answer.await.unwrap().unwrap();
        }
        assert_eq!(send(&grpc, request("m", &[4])).await.unwrap().unwrap(), 4);
        rig.running.stop().await;
    });
}

#[test]
fn at_four_times_the_load_goodput_stays() {
    block_on(async {
        // 4 ms for a batch of up to 4: some 1,000 rows a second at best.
        let root = fresh("overload-goodput");
        write_version(&root, "m", 1, "copy slow 4");
        let config =
            "max_batch_size: 4 dynamic_batching { default_queue_policy { max_queue_size: 8 } }";
        write_config(&root, "m", config);
        let rig = Rig::start(settings(&root)).await;
        let grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
        let mut answers = Vec::new();
        for _ in 0..20 {
            // Three times what fits queue and batch, at once.
            let burst: Vec<_> =
                (1..=48).map(|number| send(&grpc, request("m", &[number]))).collect();
            for answer in burst {
                answers.push(answer.await.unwrap());
            }
        }
        let answered = answers.iter().filter(|answer| answer.is_ok()).count();
        let is_shed = |error: &Error| {
            matches!(error, Error::Remote { status: Status::ResourceExhausted, .. })
        };
        assert!(answers.iter().filter_map(|it| it.as_ref().err()).all(is_shed));
        // The queue is full after the first moments of each burst.
        assert!((160..960).contains(&answered), "{answered}");
        let found = stats(&rig);
        assert_eq!(found.failures(Reason::Rejected) as usize, answers.len() - answered);
        assert_eq!(found.failures(Reason::Backend), 0);
        rig.running.stop().await;
    });
}

#[test]
fn inputs_are_staged_while_others_are_computed() {
    block_on(async {
        let root = fresh("overload-stage");
        write_version(&root, "m", 1, "copy gate stage fail-on 13");
        write_config(&root, "m", "max_batch_size: 8 dynamic_batching {}");
        let rig = Rig::start(settings(&root)).await;
        let grpc = GrpcClient::connect(rig.running.bound.grpc).await.unwrap();
        let first = send(&grpc, request("m", &[1]));
        let probe = Arc::clone(&rig.probe);
        tokio::task::spawn_blocking(move || probe.wait_for_batch()).await.unwrap();
        // One batch of these, which fails and is run again one by one.
        let others = [2, 13, 3].map(|number| send(&grpc, request("m", &[number])));
        pending(&rig, 4).await;
        rig.probe.open_gate();
        assert_eq!(first.await.unwrap().unwrap(), 1);
        let mut answers = Vec::new();
        for other in others {
            answers.push(other.await.unwrap().ok());
        }
        assert_eq!(answers, [Some(2), None, Some(3)]);
        let [staged, found] = &rig.probe.staged;
        assert_eq!(staged.load(SeqCst), 4);
        assert!(found.load(SeqCst) >= 4, "each batch gets what was staged for it");
        rig.running.stop().await;
    });
}
