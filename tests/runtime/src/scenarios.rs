//! Small programs over the runtime's public interface, each of which checks its own
//! results: what is run with an error at every driver call in turn.
//!
//! A scenario returns the first error that the runtime gives it, and panics if the
//! runtime gives a wrong value instead. Whatever happens it drops everything that it
//! made.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};

use raddle_fake_driver::Fake;
use raddle_runtime::{Buffer, Device, DeviceKind, Error, Grid, Result, Stream};

use crate::harness::panic_in;
use crate::kernels::{CHURN, churn, churn_oracle, exchange, exchange_oracle};
use crate::random::numbers;
use crate::runner::block_on;

/// A program and what it is called.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// Runs it.
    pub run: fn(&Device) -> Result<()>,
}

/// All scenarios.
pub const ALL: &[Scenario] = &[
    Scenario { name: "copies", run: copies },
    Scenario { name: "launches", run: launches },
    Scenario { name: "streams", run: streams },
    Scenario { name: "staging", run: staging },
    Scenario { name: "events", run: events },
    Scenario { name: "futures", run: futures },
    Scenario { name: "cancelled", run: cancelled },
    Scenario { name: "leases", run: leases },
    Scenario { name: "pinned", run: pinned },
    Scenario { name: "graphs", run: graphs },
    Scenario { name: "panics", run: panics },
    Scenario { name: "managed", run: managed },
    Scenario { name: "peers", run: peers },
];

const LEN: usize = 100;

fn grid() -> Grid {
    Grid::new(2, 32)
}

fn copies(device: &Device) -> Result<()> {
    let stream = device.stream()?;
    let host = numbers(LEN, 1);
    let source = stream.upload(&host)?;
    let mut target = stream.zeros::<u32>(2 * LEN)?;
    stream.copy(&source, target.slice_mut(LEN..)?)?;
    stream.fill(target.slice_mut(..LEN / 2)?, 7)?;
    drop(source);
    let mut expected = vec![0; 2 * LEN];
    expected[..LEN / 2].fill(7);
    expected[LEN..].copy_from_slice(&host);
    assert_eq!(target.to_vec()?, expected);
    let mut found = vec![0; LEN];
    stream.download(target.slice(LEN..)?, &mut found)?;
    assert_eq!(found, host);
    Ok(())
}

fn launches(device: &Device) -> Result<()> {
    let stream = device.stream()?;
    let (mut x_host, mut y_host) = (numbers(LEN, 2), numbers(LEN, 3));
    let (mut x, mut y) = (stream.upload(&x_host)?, stream.upload(&y_host)?);
    for seed in 0..3 {
        stream.launch(grid(), churn(0, &mut x, [&y, &y, &y], seed))?;
        churn_oracle(&mut x_host, [&y_host, &y_host, &y_host], seed);
        stream.launch(grid(), exchange(0, &mut x, &mut y, seed))?.wait()?;
        exchange_oracle(&mut x_host, &mut y_host, seed);
    }
    assert_eq!(x.to_vec()?, x_host);
    assert_eq!(y.to_vec()?, y_host);
    Ok(())
}

fn streams(device: &Device) -> Result<()> {
    let streams: Result<Vec<Stream>> = (0..4).map(|_| device.stream()).collect();
    let streams = streams?;
    let mut expected = numbers(LEN, 4);
    let source_host = numbers(LEN, 5);
    let mut target = streams[0].upload(&expected)?;
    let source = streams[1].upload(&source_host)?;
    for step in 0..8 {
        let stream = &streams[step % 4];
        let seed = step as u32;
        stream.launch(grid(), churn(0, &mut target, [&source, &source, &source], seed))?;
        churn_oracle(&mut expected, [&source_host; 3], seed);
    }
    // Freed while three other streams have used it.
    drop(source);
    let copy = streams[3].filled(LEN, 9u32)?;
    assert_eq!(streams[2].to_vec(&target)?, expected);
    assert_eq!(copy.to_vec()?, [9; LEN]);
    streams.iter().try_for_each(Stream::synchronize)
}

/// More than one chunk of pinned memory, several times.
fn staging(device: &Device) -> Result<()> {
    const MANY: usize = 150_000;
    let stream = device.stream()?;
    let mut buffer = stream.zeros::<u32>(MANY)?;
    for seed in 0..4 {
        stream.write(&mut buffer, &numbers(MANY, seed))?;
    }
    assert_eq!(buffer.to_vec()?, numbers(MANY, 3));
    Ok(())
}

fn events(device: &Device) -> Result<()> {
    let stream = device.stream()?;
    let start = stream.record()?;
    let mut x = stream.zeros::<u32>(LEN)?;
    let (launched, ms) = stream.time(|| {
        let none = stream.zeros::<u32>(0)?;
        stream.launch(grid(), churn(0, &mut x, [&none, &none, &none], 1)).map(|_| ())
    })?;
    launched?;
    assert!(ms >= 0.0);
    let end = stream.record()?;
    end.synchronize()?;
    assert!(end.is_reached()? && end.elapsed_ms_since(&start)? >= 0.0);
    assert_eq!(x.to_vec()?, [1; LEN]);
    Ok(())
}

fn futures(device: &Device) -> Result<()> {
    let (stream, other) = (device.stream()?, device.stream()?);
    let mut expected = numbers(LEN, 6);
    let mut x = stream.upload(&expected)?;
    let none = other.zeros::<u32>(0)?;
    for seed in 0..2 {
        churn_oracle(&mut expected, [&[]; 3], seed);
        let launched = stream.launch(grid(), churn(0, &mut x, [&none, &none, &none], seed))?;
        block_on(launched.done())?;
    }
    let download = other.to_vec_async(&x)?;
    stream.fill(&mut x, 3)?;
    assert_eq!(block_on(download)?, expected);
    block_on(async { stream.done().await })?;
    assert_eq!(x.to_vec()?, [3; LEN]);
    Ok(())
}

fn cancelled(device: &Device) -> Result<()> {
    let stream = device.stream()?;
    let mut x = stream.zeros::<u32>(LEN)?;
    let none = stream.zeros::<u32>(0)?;
    let mut expected = vec![0; LEN];
    for seed in 0..4 {
        churn_oracle(&mut expected, [&[]; 3], seed);
        let call = churn(1000, &mut x, [&none, &none, &none], seed);
        let mut done = stream.launch(grid(), call)?.done();
        let _ = Pin::new(&mut done).poll(&mut Context::from_waker(Waker::noop()));
        let mut download = stream.to_vec_async(&x)?;
        let _ = Pin::new(&mut download).poll(&mut Context::from_waker(Waker::noop()));
        drop(stream.to_vec_async(&x)?);
    }
    assert_eq!(x.to_vec()?, expected);
    Ok(())
}

/// Streams that come and go, with memory that outlives them.
fn leases(device: &Device) -> Result<()> {
    let mut buffers = Vec::new();
    for i in 0..6u32 {
        let stream = device.stream()?;
        buffers.push(stream.filled(LEN, i)?);
        if i % 2 == 0 {
            stream.synchronize()?;
        }
    }
    let shared = device.default_stream()?;
    for (i, buffer) in buffers.iter().enumerate() {
        assert_eq!(shared.to_vec(buffer)?, [i as u32; LEN]);
    }
    shared.synchronize()
}

fn pinned(device: &Device) -> Result<()> {
    let stream = device.stream()?;
    let host = numbers(LEN, 7);
    let mut x = stream.zeros::<u32>(LEN)?;
    let source = stream.write_pinned(&mut x, device.pinned(&host)?)?.wait()?;
    assert_eq!(*source, host);
    drop(stream.read_pinned(&x, device.pinned_zeros(LEN)?)?);
    let copy = stream.read_pinned(&x, source)?;
    stream.fill(&mut x, 1)?;
    assert_eq!(*block_on(copy)?, host);
    drop(stream.write_pinned(&mut x, device.pinned(&host)?)?);
    assert_eq!(x.to_vec()?, host);
    let pieces = host.rchunks(LEN / 3 + 1).map(|piece| device.pinned(piece));
    let pieces = pieces.collect::<Result<Vec<_>>>()?;
    let turned: Vec<u32> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
    let copies = stream.write_pinned_vectored(&mut x, pieces)?;
    let read = stream.read_pinned(&x, device.pinned_zeros(LEN)?)?;
    let pieces = block_on(copies)?;
    assert_eq!(*block_on(read)?, turned);
    drop(stream.write_pinned_vectored(&mut x, pieces)?);
    assert_eq!(x.to_vec()?, turned);
    Ok(())
}

fn graphs(device: &Device) -> Result<()> {
    let (stream, other) = (device.stream()?, device.stream()?);
    let (mut x_host, y_host) = (numbers(LEN, 8), numbers(LEN, 9));
    let (mut x, y) = (stream.upload(&x_host)?, other.upload(&y_host)?);
    let mut capture = |seed: u32| {
        stream.capture(|stream| {
            let mut own = stream.filled(LEN, seed)?;
            stream.launch(grid(), churn(0, &mut own, [&y, &y, &y], seed))?;
            stream.launch(grid(), exchange(0, &mut own, &mut x, seed)).map(|_| ())
        })
    };
    let replayed = |host: &mut [u32], seed: u32| {
        let mut own = vec![seed; LEN];
        churn_oracle(&mut own, [&y_host; 3], seed);
        exchange_oracle(&mut own, host, seed);
    };
    let (graph, ()) = capture(5)?;
    let (again, ()) = capture(6)?;
    for stream in [&stream, &other, &stream] {
        graph.launch(stream)?;
        replayed(&mut x_host, 5);
    }
    again.launch(&other)?.wait()?;
    replayed(&mut x_host, 6);
    drop(graph);
    drop(y);
    again.launch(&other)?;
    replayed(&mut x_host, 6);
    drop(again);
    assert_eq!(x.to_vec()?, x_host);
    Ok(())
}

/// Twice, so that the first panic must have been cleared away.
fn panics(device: &Device) -> Result<()> {
    let (stream, other) = (device.stream()?, device.stream()?);
    let none = stream.zeros::<u32>(0)?;
    let mut x = stream.zeros::<u32>(LEN)?;
    for index in 10..12 {
        panic_in(&Fake::load(), CHURN, 0, index);
        let launched = stream.launch(grid(), churn(0, &mut x, [&none, &none, &none], 1));
        let found = launched.and_then(|launched| launched.wait());
        Fake::load().ask("panic none");
        let text = match found {
            Err(Error::KernelPanic { message, .. }) => message,
            Err(error) => return Err(error),
            Ok(()) => panic!("the panic was lost"),
        };
        // An earlier panic that nobody was told of, since a wait failed, comes first.
        let indices = [10, 11].map(|i| format!("the len is 3 but the index is {i}"));
        assert!(indices.iter().any(|end| text.ends_with(end)), "{text}");
        stream.fill(&mut x, index as u32)?;
        assert_eq!(other.to_vec(&x)?, [index as u32; LEN]);
    }
    stream.synchronize()
}

/// Memory that the host and the device reach at one address.
fn managed(device: &Device) -> Result<()> {
    let stream = device.stream()?;
    let host = numbers(LEN, 12);
    let run = |mut x: Buffer<u32>| -> Result<()> {
        let none = stream.zeros::<u32>(0)?;
        x.host_mut()?.copy_from_slice(&host);
        let mut expected = host.clone();
        for seed in 0..2 {
            stream.launch(grid(), churn(0, &mut x, [&none, &none, &none], seed))?;
            churn_oracle(&mut expected, [&[]; 3], seed);
            assert_eq!(x.host()?, expected);
        }
        let copy = stream.upload(&expected)?;
        stream.fill(&mut x, 4)?;
        stream.copy(&copy, &mut x)?;
        assert_eq!(x.to_vec()?, expected);
        Ok(())
    };
    run(device.mapped_zeros(LEN)?)?;
    run(device.managed_zeros(LEN)?)
}

/// How far the second device of a scenario is from the first.
pub const PEER_OFFSET: u32 = 1 << 18;

fn peers(device: &Device) -> Result<()> {
    let DeviceKind::Cuda(ordinal) = device.kind() else { return Ok(()) };
    let peer = Device::cuda(ordinal + PEER_OFFSET)?;
    let (here, there) = (device.stream()?, peer.stream()?);
    if device.can_access_peer(&peer)? {
        device.enable_peer_access(&peer)?;
        peer.enable_peer_access(device)?;
    }
    let host = numbers(LEN, 13);
    let mut source = here.upload(&host)?;
    let mut moved = source.to_device(&there)?;
    // The copy reads the source, and is not disturbed.
    here.fill(&mut source, 0)?;
    there.fill(moved.slice_mut(..LEN / 2)?, 5)?;
    here.copy_across(&moved, &mut source)?;
    drop(moved);
    let mut expected = host;
    expected[..LEN / 2].fill(5);
    // A device that is lost says so on its own streams: what came from it counts only
    // if they are well.
    let found = source.to_vec()?;
    there.synchronize()?;
    assert_eq!(found, expected);
    Ok(())
}
