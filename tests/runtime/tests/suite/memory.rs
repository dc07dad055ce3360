//! Memory through the fake driver: which calls the pool makes, and that nothing is
//! handed out, freed or unmapped while work uses it.

use raddle_device::param::DeviceType;
use raddle_fake_driver::Fake;
use raddle_runtime::{
    Buffer, Device, Error, Grid, MemoryAdvice, MemorySide, Slice, SliceMut, Stream,
};
use raddle_runtime_tests::isolated;
use raddle_runtime_tests::kernels::{churn, churn_oracle};
use raddle_runtime_tests::random::numbers;

const MIB: usize = 1 << 20;

/// Calls that wait on the host, or allocate and free.
const CALLS_THAT_COST: [&str; 12] = [
    "cuStreamSynchronize",
    "cuEventSynchronize",
    "cuCtxSynchronize",
    "cuMemAlloc",
    "cuMemFree",
    "cuMemCreate",
    "cuMemMap",
    "cuMemUnmap",
    "cuMemAllocFromPoolAsync",
    "cuMemFreeAsync",
    "cuEventRecord",
    "cuStreamWaitEvent",
];

fn costly(fake: &Fake) -> Vec<(String, u64)> {
    let counts = fake.counts().into_iter();
    counts.filter(|(name, _)| CALLS_THAT_COST.contains(&name.as_str())).collect()
}

fn check_clean(fake: &Fake) {
    fake.ask("run all");
    let violations = fake.violations();
    assert!(violations.is_empty(), "{violations:#?}");
}

/// A buffer whose first and last hundred elements are set.
fn partly_filled<T: DeviceType>(stream: &Stream, len: usize, value: T) -> Buffer<T> {
    // SAFETY: the tests read nothing else.
    let mut buffer = unsafe { stream.uninitialized(len) }.unwrap();
    stream.fill(buffer.slice_mut(..100).unwrap(), value).unwrap();
    stream.fill(buffer.slice_mut(len - 100..).unwrap(), value).unwrap();
    buffer
}

fn launch(stream: &Stream, target: SliceMut<'_, u32>, source: Slice<'_, u32>, seed: u32) {
    let grid = Grid::new(2, 32);
    stream.launch(grid, churn(0, target, [source; 3], seed)).unwrap();
}

#[test]
fn a_stream_uses_one_block_again_and_again_without_a_costly_call() {
    let Some(fake) =
        isolated("memory::a_stream_uses_one_block_again_and_again_without_a_costly_call", &[])
    else {
        return;
    };
    let device = Device::cuda(0).unwrap();
    let stream = device.stream().unwrap();
    let source = stream.upload(&numbers(64, 1)).unwrap();
    let cycle = |seed| {
        // SAFETY: only written parts are read.
        let mut block = unsafe { stream.uninitialized::<u32>(64 * MIB / 4) }.unwrap();
        let part = block.slice_mut(..64).unwrap();
        stream.fill(part, seed).unwrap();
        let part = block.slice_mut(..64).unwrap();
        stream.launch(Grid::new(2, 32), churn(0, part, [source.as_slice(); 3], seed)).unwrap();
        block
    };
    drop(cycle(0));
    let _ = fake.counts();
    for seed in 1..1000 {
        drop(cycle(seed));
    }
    // The fill's elements go through pinned chunks, each with an event behind it.
    let mut calls = costly(&fake);
    calls.retain(|(name, count)| name != "cuEventRecord" || *count > 10);
    assert_eq!(calls, []);
    let last = cycle(5);
    let mut expected = vec![5u32; 64];
    let elements = source.to_vec().unwrap();
    churn_oracle(&mut expected, [&elements; 3], 5);
    assert_eq!(last.slice(..64).unwrap().to_vec().unwrap(), expected);
    let usage = device.memory_use();
    assert_eq!(usage.reserved_bytes_max, 66 << 20, "{usage:?}");
    drop((last, source));
    assert_eq!(device.memory_use().live_bytes, 0);
    device.trim_memory().unwrap();
    assert_eq!(device.memory_use().reserved_bytes, 0);
    check_clean(&fake);
}

#[test]
fn memory_in_use_elsewhere_is_waited_for_on_the_device() {
    let Some(fake) = isolated("memory::memory_in_use_elsewhere_is_waited_for_on_the_device", &[])
    else {
        return;
    };
    let device = Device::cuda(0).unwrap();
    let (first, second) = (device.stream().unwrap(), device.stream().unwrap());
    let source = first.upload(&numbers(100, 3)).unwrap();
    first.synchronize().unwrap();
    device.set_memory_limit(Some(34 << 20));
    for round in 0..30u32 {
        let mut block = partly_filled(&first, 8 * MIB, round);
        launch(&first, block.slice_mut(..100).unwrap(), source.as_slice(), round);
        let address = block.address();
        // Work on both streams: the drop waits for neither.
        let seen = second.upload(&numbers(100, 4)).unwrap();
        second
            .copy(block.slice(..100).unwrap(), second.zeros(100).unwrap().as_slice_mut())
            .unwrap();
        drop((block, seen));
        let _ = fake.counts();
        // SAFETY: what is read is filled below.
        let mut again = unsafe { second.uninitialized(8 * MIB) }.unwrap();
        assert_eq!(again.address(), address);
        let calls = costly(&fake);
        let waits = ["cuStreamSynchronize", "cuEventSynchronize", "cuCtxSynchronize"];
        assert!(calls.iter().all(|(name, _)| !waits.contains(&name.as_str())), "{calls:?}");
        second.fill(again.slice_mut(..100).unwrap(), 7u32).unwrap();
        launch(&second, again.slice_mut(..100).unwrap(), source.as_slice(), 1);
        let mut expected = vec![7u32; 100];
        churn_oracle(&mut expected, [&numbers(100, 3); 3], 1);
        assert_eq!(again.slice(..64).unwrap().to_vec().unwrap(), expected[..64]);
    }
    assert!(device.memory_use().device_waits > 0, "{:?}", device.memory_use());
    check_clean(&fake);
}

#[test]
fn exhaustion_is_typed_defragments_and_passes() {
    let Some(fake) = isolated("memory::exhaustion_is_typed_defragments_and_passes", &[]) else {
        return;
    };
    fake.set("memory", 128 << 20);
    let device = Device::cuda(0).unwrap();
    let stream = device.stream().unwrap();
    let mut held: Vec<_> = (0..14).map(|_| partly_filled(&stream, 8 * MIB, 1u8)).collect();
    let error = stream.filled(64 * MIB, 2u8).unwrap_err();
    let Error::OutOfMemory { requested_bytes, pool, .. } = &error else { panic!("{error}") };
    assert_eq!((*requested_bytes, pool.usage.live_bytes), (64 * MIB, 112 << 20));
    // Every second one goes: 56 MiB in seven holes. Pieces are mapped anew side by side.
    let mut index = 0;
    held.retain(|_| {
        index += 1;
        index % 2 == 0
    });
    let big = partly_filled(&stream, 48 * MIB, 3u8);
    assert_eq!(big.slice(48 * MIB - 3..).unwrap().to_vec().unwrap(), [3; 3]);
    for buffer in &held {
        assert_eq!(buffer.slice(8 * MIB - 2..).unwrap().to_vec().unwrap(), [1; 2]);
    }
    drop((held, big));
    drop(partly_filled(&stream, 100 * MIB, 4u8));
    device.trim_memory().unwrap();
    let ledger = fake.ledger(Some(0));
    assert_eq!(device.memory_use().reserved_bytes, 0, "{ledger:?}");
    check_clean(&fake);
}

#[test]
fn without_address_ranges_the_pool_uses_plain_segments() {
    let Some(fake) = isolated("memory::without_address_ranges_the_pool_uses_plain_segments", &[])
    else {
        return;
    };
    fake.set("attribute102", 0);
    let device = Device::cuda(0).unwrap();
    let stream = device.stream().unwrap();
    for round in 0..20u8 {
        let [a, b] = [3, 5].map(|mib| partly_filled(&stream, mib * MIB + 100, round));
        assert_eq!(b.slice(5 * MIB..).unwrap().to_vec().unwrap(), [round; 100]);
        drop((a, b));
    }
    let counts = fake.counts();
    assert_eq!((counts.get("cuMemAlloc"), counts.get("cuMemCreate")), (Some(&2), None));
    device.trim_memory().unwrap();
    assert_eq!(device.memory_use().reserved_bytes, 0);
    check_clean(&fake);
}

#[test]
fn a_peer_copy_outlives_the_drop_of_its_source() {
    let Some(fake) = isolated("memory::a_peer_copy_outlives_the_drop_of_its_source", &[]) else {
        return;
    };
    fake.set("devices", 2);
    fake.set("peers", 1);
    let [here, there] = [0, 1].map(|ordinal| Device::cuda(ordinal).unwrap());
    assert!(there.can_access_peer(&here).unwrap());
    for round in 0..40u32 {
        if round == 20 {
            there.enable_peer_access(&here).unwrap();
            there.enable_peer_access(&here).unwrap();
        }
        let (from, to) = (here.stream().unwrap(), there.stream().unwrap());
        let mut source = from.upload(&numbers(500, round)).unwrap();
        let other = from.upload(&numbers(10, 9)).unwrap();
        launch(&from, source.as_slice_mut(), other.as_slice(), round);
        let moved = source.to_device(&to).unwrap();
        drop(source);
        // The block is used again on its own stream at once.
        let reused = from.filled(500, 0xffff_ffffu32).unwrap();
        let mut expected = numbers(500, round);
        let grid = 64;
        churn_oracle(&mut expected[..grid], [&numbers(10, 9); 3], round);
        assert_eq!(moved.to_vec().unwrap()[..grid], expected[..grid]);
        drop(reused);
    }
    check_clean(&fake);
}

#[test]
fn host_memory_stays_until_its_work_has_ended() {
    let Some(fake) = isolated("memory::host_memory_stays_until_its_work_has_ended", &[]) else {
        return;
    };
    let device = Device::cuda(0).unwrap();
    let stream = device.stream().unwrap();
    for round in 0..60u32 {
        let host = numbers(3000, round);
        let mut target = stream.zeros::<u32>(3000).unwrap();
        let sent = stream.write_pinned(&mut target, device.pinned(&host).unwrap()).unwrap();
        // Let go of early, with the copy under way; its memory must not be reused.
        drop(sent);
        let decoy = device.pinned(&[0xdead_beefu32; 3000]).unwrap();
        let read = device.pinned_zeros::<u32>(3000).unwrap();
        let read = stream.read_pinned(&target, read).unwrap().wait().unwrap();
        assert_eq!(read[..], host);
        drop((decoy, read));
        // The same of several pieces.
        let pieces = host.chunks(700).rev().map(|it| device.pinned(it).unwrap()).collect();
        drop(stream.write_pinned_vectored(&mut target, pieces).unwrap());
        let decoys = host.chunks(700).map(|it| device.pinned(&vec![!0u32; it.len()]).unwrap());
        let decoys: Vec<_> = decoys.collect();
        let turned: Vec<u32> = host.chunks(700).rev().flatten().copied().collect();
        assert_eq!(target.to_vec().unwrap(), turned);
        stream.write(&mut target, &host).unwrap();
        drop(decoys);

        let mut mapped = device.mapped_zeros::<u32>(64).unwrap();
        mapped.host_mut().unwrap().fill(round);
        launch(&stream, mapped.as_slice_mut(), target.slice(..10).unwrap(), round);
        let mut expected = vec![round; 64];
        churn_oracle(&mut expected, [&host[..10]; 3], round);
        assert_eq!(mapped.host().unwrap(), expected);
        launch(&stream, mapped.as_slice_mut(), target.slice(..10).unwrap(), round);
        drop(mapped);
    }
    let error = stream.zeros::<u8>(4).unwrap().host().unwrap_err();
    assert!(matches!(error, Error::WrongMemory { found: "device", .. }), "{error}");
    device.trim_memory().unwrap();
    check_clean(&fake);
}

#[test]
fn managed_memory_needs_a_device_that_shares_it() {
    let Some(fake) = isolated("memory::managed_memory_needs_a_device_that_shares_it", &[]) else {
        return;
    };
    fake.set("attribute89", 0);
    let device = Device::cuda(0).unwrap();
    let error = device.managed_zeros::<u32>(100).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    let stream = device.stream().unwrap();
    let plain = stream.zeros::<u32>(10).unwrap();
    let error = plain.advise(&MemoryAdvice::ReadMostly).unwrap_err();
    assert!(matches!(error, Error::WrongMemory { .. }), "{error}");
    let error = stream.prefetch(&plain, &MemorySide::Host).unwrap_err();
    assert!(matches!(error, Error::WrongMemory { .. }), "{error}");
    check_clean(&fake);
}

#[test]
fn a_peer_copy_from_a_device_that_is_lost_is_an_error() {
    let name = "memory::a_peer_copy_from_a_device_that_is_lost_is_an_error";
    let Some(fake) = isolated(name, &[]) else { return };
    fake.set("devices", 2);
    fake.set("peers", 1);
    let [here, there] = [0, 1].map(|ordinal| Device::cuda(ordinal).unwrap());
    let (stream, lender) = (here.stream().unwrap(), there.stream().unwrap());
    let (none, mut source) = (lender.zeros::<u32>(0).unwrap(), lender.zeros::<u32>(64).unwrap());
    source.device().stream().unwrap().synchronize().unwrap();
    fake.set("held", 1);
    fake.ask("fault churn 0 719");
    lender.launch(Grid::cover(64, 32), churn(0, &mut source, [&none; 3], 1)).unwrap();
    let moved = source.to_device(&stream).unwrap();
    let awaited = stream.done();
    fake.set("held", 0);
    let is_told = |result: Result<(), Error>| match result {
        Err(Error::DeviceLost { device, source, .. }) => {
            assert!(device.starts_with("cuda:1"), "{device}");
            assert!(source.to_string().contains("CUDA_ERROR_LAUNCH_FAILED"), "{source}");
        }
        other => panic!("a lost device was expected, found {other:?}"),
    };
    is_told(awaited.wait());
    is_told(source.to_device(&stream).map(|_| ()));
    is_told(lender.synchronize());
    // This device has lost nothing.
    assert!(there.is_lost() && !here.is_lost());
    stream.synchronize().unwrap();
    assert_eq!(moved.len(), 64);
    assert_eq!(stream.upload(&[3u32; 9]).unwrap().to_vec().unwrap(), [3; 9]);
    check_clean(&fake);
}
