//! Graphs on the fake driver: what is captured, what a replay costs, what is held.

use std::time::Duration;

use raddle_fake_driver::Fake;
use raddle_runtime::{Buffer, Device, Error, Graph, Grid, Stream};
use raddle_runtime_tests::kernels::{churn, churn_oracle, exchange};
use raddle_runtime_tests::{isolated, watchdog};

const N: usize = 64;

fn churned(stream: &Stream, source: &Buffer<u32>, target: &mut Buffer<u32>, seed: u32) -> Graph {
    let captured = stream.capture(|stream| {
        let call = churn(0, target, [source; 3], seed);
        stream.launch(Grid::cover(N, 32), call).map(|_| ())
    });
    captured.unwrap().0
}

#[test]
fn a_replay_is_one_driver_call_whatever_it_touches() {
    let name = "graphs::a_replay_is_one_driver_call_whatever_it_touches";
    let Some(fake) = isolated(name, &[]) else { return };
    let _dog = watchdog(Duration::from_secs(60));
    let device = Device::cuda(0).unwrap();
    let stream = device.stream().unwrap();
    let mut buffers: Vec<Buffer<u32>> = (0..200).map(|_| stream.filled(N, 1).unwrap()).collect();
    let (graph, ()) = stream
        .capture(|stream| {
            for pair in buffers.chunks_mut(2) {
                let [x, y] = pair else { unreachable!("an even number") };
                stream.launch(Grid::cover(N, 32), exchange(0, &mut *x, &mut *y, 5))?;
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(graph.kernels().count(), 100);
    graph.launch(&stream).unwrap();
    let _ = fake.counts();
    for _ in 0..50 {
        graph.launch(&stream).unwrap();
    }
    let mut counts = fake.counts();
    assert_eq!(counts.remove("cuGraphLaunch"), Some(50));
    counts.remove("cuCtxSetCurrent");
    assert!(counts.is_empty(), "{counts:?}");
    let (mut x, mut y) = ([1u32; 1], [1u32; 1]);
    for _ in 0..51 {
        raddle_runtime_tests::kernels::exchange_oracle(&mut x, &mut y, 5);
    }
    for pair in buffers.chunks(2) {
        assert_eq!(pair[0].to_vec().unwrap(), [x[0]; N]);
        assert_eq!(pair[1].to_vec().unwrap(), [y[0]; N]);
    }
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[test]
fn graphs_hold_their_memory_and_are_ordered_with_all_other_work() {
    let name = "graphs::graphs_hold_their_memory_and_are_ordered_with_all_other_work";
    let Some(fake) = isolated(name, &[]) else { return };
    let _dog = watchdog(Duration::from_secs(100));
    for seed in 0..40 {
        fake.set("seed", seed);
        fake.set("eager", seed % 5);
        rounds(&fake);
    }
    let device = Device::cuda(0).unwrap();
    device.trim_memory().unwrap();
    fake.ask("run all");
    let ledger = fake.ledger(Some(0));
    for name in ["graphs", "execs", "used_bytes", "allocations", "mapped_bytes"] {
        assert_eq!(ledger.get(name).copied().unwrap_or(0), 0, "{name}: {ledger:?}");
    }
}

fn rounds(fake: &Fake) {
    let device = Device::cuda(0).unwrap();
    let streams: Vec<Stream> = (0..4).map(|_| device.stream().unwrap()).collect();
    let source = streams[0].filled(N, 1u32).unwrap();
    let mut target = streams[1].zeros::<u32>(N).unwrap();
    let first = churned(&streams[1], &source, &mut target, 11);
    let second = churned(&streams[2], &source, &mut target, 22);
    let mut expected = [0u32; N];
    for round in 0..12 {
        first.launch(&streams[round % 4]).unwrap();
        churn_oracle(&mut expected, [&[1; N]; 3], 11);
        second.launch(&streams[(round + 1) % 4]).unwrap();
        churn_oracle(&mut expected, [&[1; N]; 3], 22);
        let call = churn(0, &mut target, [&source; 3], 33);
        streams[(round + 2) % 4].launch(Grid::cover(N, 32), call).unwrap();
        churn_oracle(&mut expected, [&[1; N]; 3], 33);
    }
    drop(source);
    // What is allocated and written now must not lie where the graphs read.
    let others: Vec<Buffer<u32>> = (0..8).map(|_| streams[3].filled(N, 9).unwrap()).collect();
    first.launch(&streams[0]).unwrap();
    churn_oracle(&mut expected, [&[1; N]; 3], 11);
    assert_eq!(target.to_vec().unwrap(), expected);
    drop((first, target, second, others));
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[test]
fn captured_allocations_writes_and_fills_are_replayed() {
    let name = "graphs::captured_allocations_writes_and_fills_are_replayed";
    let Some(fake) = isolated(name, &[]) else { return };
    let _dog = watchdog(Duration::from_secs(60));
    let device = Device::cuda(0).unwrap();
    let stream = device.stream().unwrap();
    let host: Vec<u32> = (0..N as u32).collect();
    let (graph, out) = stream
        .capture(|stream| {
            let source = stream.upload(&host)?;
            let mut out = stream.zeros::<u32>(N)?;
            let call = churn(0, &mut out, [&source; 3], 4);
            stream.launch(Grid::cover(N, 32), call)?;
            let mut twice = stream.filled(2 * N, 7u32)?;
            stream.copy(&out, twice.slice_mut(N..)?)?;
            Ok((out, twice))
        })
        .unwrap();
    let mut expected = vec![0u32; N];
    churn_oracle(&mut expected, [&host; 3], 4);
    drop(host);
    for _ in 0..3 {
        graph.launch(&stream).unwrap();
        assert_eq!(out.0.to_vec().unwrap(), expected);
        let twice = out.1.to_vec().unwrap();
        assert!(twice[..N].iter().all(|&element| element == 7) && twice[N..] == expected);
    }
    drop(graph);
    stream.synchronize().unwrap();
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[test]
fn instances_are_updated_in_place() {
    let name = "graphs::instances_are_updated_in_place";
    let Some(fake) = isolated(name, &[]) else { return };
    let _dog = watchdog(Duration::from_secs(60));
    let device = Device::cuda(0).unwrap();
    let stream = device.stream().unwrap();
    let source = stream.filled(N, 2u32).unwrap();
    let mut first = stream.zeros::<u32>(N).unwrap();
    let mut second = stream.zeros::<u32>(N).unwrap();
    let mut graph = churned(&stream, &source, &mut first, 1);
    graph.launch(&stream).unwrap();
    let call = churn(0, &mut second, [&source; 3], 9);
    graph.set_launch(0, Grid::cover(N, 64), call).unwrap();
    graph.launch(&stream).unwrap();
    graph
        .update(&stream, |stream| {
            let call = churn(0, &mut first, [&source; 3], 3);
            stream.launch(Grid::cover(N, 32), call).map(|_| ())
        })
        .unwrap();
    drop(source);
    graph.launch(&stream).unwrap();
    let (mut a, mut b) = ([0u32; N], [0u32; N]);
    churn_oracle(&mut a, [&[2; N]; 3], 1);
    churn_oracle(&mut b, [&[2; N]; 3], 9);
    churn_oracle(&mut a, [&[2; N]; 3], 3);
    assert_eq!((first.to_vec().unwrap(), second.to_vec().unwrap()), (a.to_vec(), b.to_vec()));
    let counts = fake.counts();
    assert_eq!(counts["cuGraphInstantiateWithFlags"], 1);
    assert_eq!(counts["cuGraphExecKernelNodeSetParams"], 1);
    assert_eq!(counts["cuGraphExecUpdate"], 1);
    let error = graph.update(&stream, |_| Ok(())).unwrap_err();
    assert!(matches!(error, Error::GraphShape { .. }), "{error}");
    graph.launch(&stream).unwrap().wait().unwrap();
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[test]
fn other_threads_never_break_a_capture() {
    let name = "graphs::other_threads_never_break_a_capture";
    let Some(fake) = isolated(name, &[]) else { return };
    let _dog = watchdog(Duration::from_secs(60));
    fake.set("background", 1);
    let device = Device::cuda(0).unwrap();
    let stream = device.stream().unwrap();
    let source = stream.filled(N, 1u32).unwrap();
    let mut target = stream.zeros::<u32>(N).unwrap();
    for _ in 0..10 {
        let busy = || {
            for _ in 0..10 {
                let other = device.stream().unwrap();
                let mut mine = other.zeros::<u32>(1 << 16).unwrap();
                let call = churn(0, &mut mine, [&source; 3], 1);
                other.launch(Grid::cover(1 << 16, 256), call).unwrap();
                stream.synchronize().unwrap();
                drop(mine);
                device.trim_memory().unwrap();
            }
        };
        let (graph, ()) = std::thread::scope(|scope| {
            scope.spawn(busy);
            stream.capture(|captured| {
                for seed in 0..20 {
                    let call = churn(0, &mut target, [&source; 3], seed);
                    captured.launch(Grid::cover(N, 32), call)?;
                    drop(stream.filled(N, seed)?);
                }
                Ok(())
            })
        })
        .unwrap();
        assert_eq!(graph.kernels().count(), 20);
        graph.launch(&stream).unwrap().wait().unwrap();
    }
    assert_eq!(fake.violations(), Vec::<String>::new());
}
