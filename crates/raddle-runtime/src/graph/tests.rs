//! Graphs on the CPU device: what a replay does, who it comes after, what it holds.

use crate::tests::{count, saxpy, stream};
use crate::{Buffer, Device, Error, Graph, Grid, Stream};

const N: usize = 256;

/// `y += 2 x`, captured with `y` and `x` borrowed.
fn doubled(stream: &Stream, x: &Buffer<f32>, y: &mut Buffer<f32>) -> Graph {
    let captured = stream.capture(|stream| {
        stream.launch(Grid::cover(N, 64), saxpy(2.0, x, y))?;
        Ok(())
    });
    captured.unwrap().0
}

#[test]
fn capturing_runs_nothing_and_every_replay_runs_it_all() {
    let stream = stream();
    let x = stream.filled(N, 3.0f32).unwrap();
    let mut y = stream.zeros::<f32>(N).unwrap();
    let graph = doubled(&stream, &x, &mut y);
    assert_eq!(y.to_vec().unwrap(), [0.0; N]);
    assert_eq!(graph.kernels().collect::<Vec<_>>(), ["test::saxpy"]);
    for replay in 1..=5 {
        graph.launch(&stream).unwrap().wait().unwrap();
        assert_eq!(y.to_vec().unwrap(), [6.0 * replay as f32; N]);
    }
}

#[test]
fn copies_fills_writes_and_zeros_are_captured_with_their_data() {
    let stream = stream();
    let mut host = vec![7u32; 10];
    let (graph, (sum, filled)) = stream
        .capture(|stream| {
            let mut sum = stream.zeros::<u32>(40)?;
            let mut filled = stream.filled(10, 5u32)?;
            stream.write(filled.slice_mut(..10)?, &host)?;
            stream.copy(&filled, sum.slice_mut(10..20)?)?;
            stream.fill(sum.slice_mut(20..30)?, 9)?;
            stream.launch(Grid::new(1, 40), count(&mut sum))?;
            Ok((sum, filled))
        })
        .unwrap();
    host.fill(1);
    for _ in 0..3 {
        graph.launch(&stream).unwrap();
        let found = sum.to_vec().unwrap();
        let expected: Vec<u32> = [1, 8, 10, 1].iter().flat_map(|&value| [value; 10]).collect();
        assert_eq!(found, expected);
        assert_eq!(filled.to_vec().unwrap(), [7; 10]);
    }
}

#[test]
fn a_graph_keeps_the_memory_of_buffers_that_were_dropped() {
    let stream = stream();
    let x = stream.filled(N, 1.0f32).unwrap();
    let mut y = stream.zeros::<f32>(N).unwrap();
    let mut z = stream.zeros::<f32>(N).unwrap();
    let (graph, ()) = stream
        .capture(|stream| {
            stream.launch(Grid::cover(N, 64), saxpy(2.0, &x, &mut y))?;
            stream.launch(Grid::cover(N, 64), saxpy(1.0, &y, &mut z))?;
            Ok(())
        })
        .unwrap();
    let address = y.address();
    drop((x, y));
    // What is allocated now must not lie where the graph writes.
    let others: Vec<Buffer<f32>> = (0..50).map(|_| stream.zeros(N).unwrap()).collect();
    assert!(others.iter().all(|other| other.address() != address));
    graph.launch(&stream).unwrap();
    graph.launch(&stream).unwrap();
    assert_eq!(z.to_vec().unwrap(), [6.0; N]);
    assert!(others.iter().all(|other| other.to_vec().unwrap() == [0.0; N]));
    drop(graph);
    assert_eq!(z.to_vec().unwrap(), [6.0; N]);
}

#[test]
fn memory_comes_back_when_the_last_graph_is_gone() {
    let device = Device::cpu();
    let stream = device.stream().unwrap();
    let held = |device: &Device| device.inner().graphs.lock().held_len();
    let before = held(&device);
    for _ in 0..100 {
        let x = stream.filled(1 << 16, 1.0f32).unwrap();
        let mut y = stream.zeros::<f32>(1 << 16).unwrap();
        let first = doubled(&stream, &x, &mut y);
        let second = doubled(&stream, &x, &mut y);
        first.launch(&stream).unwrap();
        drop(x);
        drop(first);
        second.launch(&stream).unwrap();
        drop(y);
        drop(second);
    }
    // Other tests of this device hold memory at the same time, but not so much.
    assert!(held(&device) < before + 100, "{before} then {}", held(&device));
}

#[test]
fn temporaries_of_a_capture_share_their_memory() {
    let stream = stream();
    let (graph, addresses) = stream
        .capture(|stream| {
            let mut addresses = Vec::new();
            for _ in 0..10 {
                let mut temporary = stream.zeros::<f32>(N)?;
                stream.launch(Grid::new(1, 32), saxpy(0.0, &stream.zeros(N)?, &mut temporary))?;
                addresses.push(temporary.address());
            }
            Ok(addresses)
        })
        .unwrap();
    let distinct: std::collections::HashSet<u64> = addresses.into_iter().collect();
    assert!(distinct.len() <= 2, "{distinct:?}");
    graph.launch(&stream).unwrap().wait().unwrap();
}

#[test]
fn graphs_and_other_work_on_many_streams_are_ordered() {
    let device = Device::cpu();
    let streams: Vec<Stream> = (0..4).map(|_| device.stream().unwrap()).collect();
    let x = streams[0].filled(N, 1.0f32).unwrap();
    let mut y = streams[0].zeros::<f32>(N).unwrap();
    let first = doubled(&streams[1], &x, &mut y);
    let second = doubled(&streams[2], &x, &mut y);
    for round in 0..40 {
        first.launch(&streams[round % 4]).unwrap();
        second.launch(&streams[(round + 1) % 4]).unwrap();
        let call = saxpy(1.0, &x, &mut y);
        streams[(round + 2) % 4].launch(Grid::cover(N, 64), call).unwrap();
    }
    assert_eq!(y.to_vec().unwrap(), [200.0; N]);
}

#[test]
fn replays_note_themselves_with_their_peers_and_their_memory() {
    let device = Device::cpu();
    let (a, b) = (device.stream().unwrap(), device.stream().unwrap());
    let x = a.filled(N, 1.0f32).unwrap();
    let mut y = a.zeros::<f32>(N).unwrap();
    let (first, second) = (doubled(&a, &x, &mut y), doubled(&b, &x, &mut y));
    first.launch(&a).unwrap();
    let table = device.inner().graphs.lock();
    let mut waits = Vec::new();
    let mut note = |entry: crate::timeline::Use| {
        waits.push(entry.stream);
        Ok(())
    };
    // The peer waits for the replay, and so does any reader of what it wrote.
    table.before_replay(second.id(), (b.queue().id, 0), &mut note).unwrap();
    let read = crate::timeline::Access::Read;
    table.before(y.address(), read, (b.queue().id, 0), &mut note).unwrap();
    // A reader of what it only reads does not.
    table.before(x.address(), read, (b.queue().id, 0), &mut note).unwrap();
    assert_eq!(waits, [a.queue().id, a.queue().id]);
}

#[test]
fn what_cannot_be_captured_is_refused_with_its_name() {
    let stream = stream();
    let x = stream.filled(N, 1.0f32).unwrap();
    let refused = |work: &dyn Fn(&Stream) -> Result<(), Error>| {
        let error = stream.capture(|stream| work(stream)).map(|_| ()).unwrap_err();
        let Error::Capture { operation } = error else { panic!("{error}") };
        operation
    };
    assert_eq!(refused(&|stream| stream.synchronize()), "waiting");
    assert_eq!(refused(&|stream| stream.to_vec(&x).map(|_| ())), "download");
    assert_eq!(refused(&|stream| stream.to_vec_async(&x).map(|_| ())), "a download");
    assert_eq!(refused(&|stream| stream.done().wait()), "waiting");
    assert_eq!(refused(&|stream| stream.record().map(|_| ())), "recording an event");
    assert_eq!(refused(&|stream| stream.capture(|_| Ok(())).map(|_| ())), "capture");
    // Nothing of it stays: the streams work as before.
    for _ in 0..20 {
        Device::cpu().stream().unwrap().synchronize().unwrap();
    }
    assert_eq!(x.to_vec().unwrap(), [1.0; N]);
}

#[test]
fn a_capture_that_fails_or_panics_leaves_nothing_behind() {
    let stream = stream();
    let x = stream.filled(N, 1.0f32).unwrap();
    let mut y = stream.zeros::<f32>(N).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        stream.capture(|stream| {
            stream.launch(Grid::cover(N, 64), saxpy(2.0, &x, &mut y))?;
            std::panic::resume_unwind(Box::new("the user's code"));
            #[expect(unreachable_code, reason = "says what the closure returns")]
            Ok(())
        })
    }));
    assert!(panicked.is_err());
    let failed = stream
        .capture(|stream| stream.launch(Grid::new(0, 64), saxpy(2.0, &x, &mut y)).map(|_| ()));
    assert!(matches!(failed, Err(Error::LaunchLimit { .. })));
    stream.launch(Grid::cover(N, 64), saxpy(2.0, &x, &mut y)).unwrap();
    assert_eq!(y.to_vec().unwrap(), [2.0; N]);
}

#[test]
fn another_threads_work_and_drops_do_not_get_into_a_capture() {
    // A device of its own: panics of the same kernel in other tests reach this one's.
    let device = Device::new_cpu();
    let stream = device.stream().unwrap();
    let x = stream.filled(N, 1.0f32).unwrap();
    let mut y = stream.zeros::<f32>(N).unwrap();
    let (graph, ()) = stream
        .capture(|captured| {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let other = device.stream().unwrap();
                        let mut z = other.zeros::<f32>(N).unwrap();
                        other.launch(Grid::cover(N, 64), saxpy(1.0, &x, &mut z)).unwrap();
                        stream.synchronize().unwrap();
                        assert_eq!(z.to_vec().unwrap(), [1.0; N]);
                    }
                });
                captured.launch(Grid::cover(N, 64), saxpy(2.0, &x, &mut y)).map(|_| ())
            })
        })
        .unwrap();
    assert_eq!(graph.kernels().count(), 1);
    graph.launch(&stream).unwrap();
    assert_eq!(y.to_vec().unwrap(), [2.0; N]);
}

#[test]
fn updates_change_arguments_and_buffers_and_refuse_other_shapes() {
    let stream = stream();
    let x = stream.filled(N, 1.0f32).unwrap();
    let mut y = stream.zeros::<f32>(N).unwrap();
    let mut z = stream.zeros::<f32>(N).unwrap();
    let mut graph = doubled(&stream, &x, &mut y);
    graph.launch(&stream).unwrap();
    graph
        .update(&stream, |stream| {
            stream.launch(Grid::cover(N, 64), saxpy(5.0, &x, &mut z)).map(|_| ())
        })
        .unwrap();
    graph.launch(&stream).unwrap();
    assert_eq!((y.to_vec().unwrap(), z.to_vec().unwrap()), (vec![2.0; N], vec![5.0; N]));
    graph.set_launch(0, Grid::cover(N, 32), saxpy(-1.0, &x, &mut y)).unwrap();
    drop(x);
    graph.launch(&stream).unwrap();
    assert_eq!((y.to_vec().unwrap(), z.to_vec().unwrap()), (vec![1.0; N], vec![5.0; N]));

    let mut cells = stream.zeros::<u32>(4).unwrap();
    let shape = |error: Error| match error {
        Error::GraphShape { reason } => reason,
        other => panic!("{other}"),
    };
    let error = graph.set_launch(1, Grid::new(1, 1), count(&mut cells)).unwrap_err();
    assert_eq!(shape(error), "it has 1 launches, number 1 was to be changed");
    let error = graph.set_launch(0, Grid::new(1, 1), count(&mut cells)).unwrap_err();
    assert!(shape(error).contains("it was to be changed to one of test::count"));
    let error = graph.update(&stream, |_| Ok(())).unwrap_err();
    assert_eq!(shape(error), "it has 0 operations, 1 expected");
    let error = graph
        .update(&stream, |stream| stream.launch(Grid::new(1, 1), count(&mut cells)).map(|_| ()))
        .unwrap_err();
    assert_eq!(shape(error), "expected test::saxpy as number 0, found test::count");
    graph.launch(&stream).unwrap();
    assert_eq!(y.to_vec().unwrap(), [0.0; N]);
}

#[test]
fn a_panic_in_a_replay_shows_at_the_next_wait() {
    let stream = stream();
    let x = stream.zeros::<f32>(36).unwrap();
    let mut y = stream.zeros::<f32>(64).unwrap();
    let (graph, ()) = stream
        .capture(|stream| stream.launch(Grid::new(2, 32), saxpy(1.0, &x, &mut y)).map(|_| ()))
        .unwrap();
    stream.synchronize().unwrap();
    let error = graph.launch(&stream).unwrap().wait().unwrap_err();
    assert!(matches!(error, Error::KernelPanic { kernel: "test::saxpy", .. }), "{error}");
    stream.synchronize().unwrap();
}
