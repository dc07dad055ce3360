//! The pool through buffers, on CPU devices that nobody else uses.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use crate::{Buffer, Device, Error, MemoryUse, Stream};

const MIB: usize = 1 << 20;

fn device() -> (Device, Stream) {
    let device = Device::new_cpu();
    let stream = device.stream().unwrap();
    (device, stream)
}

fn uninitialized(stream: &Stream, bytes: usize) -> Buffer<u8> {
    // SAFETY: the tests do not read what they have not written.
    unsafe { stream.uninitialized(bytes) }.unwrap()
}

#[test]
fn a_dropped_block_is_used_again_at_once_and_nothing_grows() {
    let (device, stream) = device();
    let first = uninitialized(&stream, 64 * MIB).address();
    for _ in 0..20_000 {
        assert_eq!(uninitialized(&stream, 64 * MIB).address(), first);
    }
    let MemoryUse { live_bytes, reserved_bytes_max, hits, misses, growths, .. } =
        device.memory_use();
    assert_eq!((live_bytes, reserved_bytes_max), (0, 64 << 20));
    assert_eq!((hits, misses, growths), (20_000, 1, 1));
}

#[test]
fn blocks_hold_what_is_written_to_them_and_zeros_are_zeros() {
    let (device, stream) = device();
    let mut buffers: Vec<(Buffer<u32>, Vec<u32>)> = Vec::new();
    let mut state = 1u64;
    for step in 0..400u32 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let pick = (state >> 40) as usize;
        let len = if step % 50 == 0 { 400_000 + pick % 5000 } else { pick % 20_000 };
        if pick.is_multiple_of(3) {
            let zeros = stream.zeros::<u32>(len).unwrap();
            assert!(zeros.to_vec().unwrap().iter().all(|&x| x == 0), "{step}");
            continue;
        }
        let elements: Vec<u32> = (0..len as u32).map(|i| i ^ step).collect();
        let buffer = stream.upload(&elements).unwrap();
        assert!(buffer.address().is_multiple_of(256));
        buffers.push((buffer, elements));
        if buffers.len() > 20 {
            let (buffer, elements) = buffers.swap_remove(pick % 20);
            assert_eq!(buffer.to_vec().unwrap(), elements);
        }
    }
    for (buffer, elements) in &buffers {
        assert_eq!(&buffer.to_vec().unwrap(), elements);
    }
    assert_eq!(device.memory_use().live_blocks, buffers.len() as u64);
    drop(buffers);
    assert_eq!(device.memory_use().live_bytes, 0);
    device.trim_memory().unwrap();
    assert_eq!(device.memory_use().reserved_bytes, 0);
}

#[test]
fn memory_freed_on_one_stream_serves_another_and_threads_share_a_device() {
    let (device, first) = device();
    let address = uninitialized(&first, 32 * MIB).address();
    device.set_memory_limit(Some(40 << 20));
    let second = device.stream().unwrap();
    // There is no room for two: the other stream's cache gives the block up.
    assert_eq!(uninitialized(&second, 32 * MIB).address(), address);
    assert_eq!(device.memory_use().reserved_bytes_max, 32 << 20);
    device.set_memory_limit(None);
    std::thread::scope(|scope| {
        for seed in 0..4u8 {
            let device = &device;
            scope.spawn(move || {
                let stream = device.stream().unwrap();
                for round in 0..200 {
                    let len = 1000 + 997 * (round % 17);
                    let buffer = stream.filled(len, seed).unwrap();
                    let moved = device.stream().unwrap().to_vec(&buffer).unwrap();
                    assert_eq!(moved, vec![seed; len]);
                }
            });
        }
    });
    assert_eq!(device.memory_use().live_bytes, 0);
}

#[test]
fn a_dropped_stream_leaves_its_blocks_to_all() {
    let (device, stream) = device();
    let address = uninitialized(&stream, 8 * MIB).address();
    drop(stream);
    device.set_memory_limit(Some(8 << 20));
    let [a, b] = [device.stream().unwrap(), device.stream().unwrap()];
    assert_eq!(uninitialized(&b, 8 * MIB).address(), address);
    drop(a);
}

#[test]
fn exhaustion_is_an_error_that_names_request_state_and_holders() {
    if !crate::profile::tests::has_symbols() {
        return;
    }
    let (device, stream) = device();
    crate::set_memory_profile(crate::MemoryProfileMode::Full);
    device.set_memory_limit(Some(20 << 20));
    let held = hold_much(&stream);
    let error = stream.zeros::<u8>(16 * MIB).unwrap_err();
    let Error::OutOfMemory { requested_bytes, ref pool, .. } = error else { panic!("{error}") };
    assert_eq!(requested_bytes, 16 * MIB);
    assert_eq!((pool.usage.live_bytes, pool.usage.limit_bytes), (12 << 20, 20 << 20));
    let text = error.to_string();
    assert!(text.contains("out of memory on cpu"), "{text}");
    assert!(text.contains("1 buffers hold 12582912 of 12582912 bytes reserved"), "{text}");
    // Holders are those of all CPU devices of the process: other tests' too.
    let is_named = pool.holders.iter().any(|holder| {
        holder.stack.frames().iter().take(2).any(|frame| frame.function.contains("hold_much"))
    });
    assert!(is_named, "{text}");
    drop(held);
    assert_eq!(stream.filled(16 * MIB, 3u8).unwrap().to_vec().unwrap()[16 * MIB - 1], 3);
}

#[inline(never)]
fn hold_much(stream: &Stream) -> Buffer<u8> {
    uninitialized(stream, 12 * MIB)
}

#[test]
fn the_hook_can_give_memory_up() {
    static HELD: Mutex<Vec<Buffer<u8>>> = Mutex::new(Vec::new());
    let (device, stream) = device();
    device.set_memory_limit(Some(32 << 20));
    HELD.lock().unwrap().extend((0..3).map(|_| uninitialized(&stream, 10 * MIB)));
    device.set_memory_hook(|pressure| {
        assert_eq!(pressure.requested_bytes, 20 * MIB);
        HELD.lock().unwrap().pop().is_some()
    });
    drop(uninitialized(&stream, 20 * MIB));
    assert_eq!(HELD.lock().unwrap().len(), 1);
    device.set_memory_hook(|_| false);
    assert!(matches!(stream.zeros::<u8>(40 * MIB), Err(Error::OutOfMemory { .. })));
    HELD.lock().unwrap().clear();
}

#[test]
fn free_memory_goes_back_and_peaks_can_be_looked_for_anew() {
    let (device, stream) = device();
    let keep = uninitialized(&stream, 4 * MIB);
    drop(uninitialized(&stream, 24 * MIB));
    assert_eq!(device.memory_use().live_bytes_max, 28 << 20);
    assert_eq!(device.trim_memory().unwrap(), 24 << 20);
    device.reset_memory_peaks();
    let usage = device.memory_use();
    assert_eq!((usage.live_bytes_max, usage.reserved_bytes_max), (4 << 20, 4 << 20));
    drop(keep);
}

#[test]
fn a_size_that_cannot_be_is_an_error_and_costs_nothing() {
    let (device, stream) = device();
    let error = stream.zeros::<u8>(isize::MAX as usize - 4096).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    assert_eq!(device.memory_use().live_bytes, 0);
}

/// Threads with a stream each meet in no lock, and change no counter of another's.
#[test]
fn streams_that_have_what_they_need_share_nothing() {
    let (device, stream) = device();
    let other = device.stream().unwrap();
    for _ in 0..3 {
        drop([(); 3].map(|()| uninitialized(&other, MIB >> 4)));
        drop([(); 3].map(|()| uninitialized(&stream, MIB >> 4)));
    }
    let pool = &device.inner().pool;
    let (done, ended) = std::sync::mpsc::channel();
    let thread = {
        // All that the device has for everybody.
        let _locks = (
            crate::sync::lock(&pool.small),
            crate::sync::lock(&pool.large),
            crate::sync::lock(&pool.hook),
            crate::sync::lock(&stream.queue().state),
        );
        let work = move || {
            for _ in 0..1000 {
                drop([(); 3].map(|()| uninitialized(&other, MIB >> 4)));
            }
            let _ = done.send(other.queue().live.bytes_max.load(Ordering::Relaxed));
        };
        let thread = std::thread::spawn(work);
        let most = ended.recv_timeout(std::time::Duration::from_secs(60));
        assert_eq!(most, Ok(3 << 16), "it waits for a lock that it does not need");
        thread
    };
    thread.join().unwrap();
    let of_stream = &stream.queue().live;
    assert_eq!(of_stream.bytes.load(Ordering::Relaxed), 0);
    assert!(std::ptr::from_ref(of_stream).addr().is_multiple_of(128));
    let keep = uninitialized(&stream, MIB);
    let strong = |stream: &Stream| std::sync::Arc::strong_count(&stream.anchor().place);
    assert_eq!((strong(&stream), strong(&device.stream().unwrap())), (2, 1));
    drop(keep);
}
