//! What the simulator costs: a switch, a barrier, a warp exchange, and a thread
//! of a kernel without barriers beside the same loop in plain Rust. One JSON line
//! for each figure; run with `cargo bench -p raddle-sim`.

use std::hint::black_box;
use std::panic::Location;
use std::time::Instant;

use raddle_device::host;
use raddle_sim::{Launch, Options};

fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let is_short = std::env::args().any(|argument| argument == "--test");
    let scale = if is_short { 100 } else { 1 };
    for threads in [2, 32, 256, 1024] {
        switches(threads, 2_000_000 / threads / scale);
    }
    for threads in [32, 256, 1024] {
        barriers(threads, 4_000_000 / threads / scale);
    }
    exchanges(256, 4_000 / scale);
    finished_threads(256, 4_000 / scale);
    launches(2_000 / scale);
    saxpy(1 << 24 >> (is_short as u32 * 8), 256);
}

/// Threads that give way to each other.
fn switches(threads: u32, rounds: u32) {
    let kernel = || {
        for _ in 0..rounds {
            // Not ready at first, ready when asked again: one switch.
            let mut was_asked = false;
            let mut ready = || std::mem::replace(&mut was_asked, true);
            host::engine().wait_until("a turn", &mut ready, Location::caller());
        }
    };
    let ns = best_ns(|| run(1, threads, true, &kernel));
    report("switch", &[("threads", threads)], ns / f64::from(threads) / f64::from(rounds));
}

/// Threads that meet at a block barrier.
fn barriers(threads: u32, rounds: u32) {
    let kernel = || {
        for _ in 0..rounds {
            host::engine().barrier(0, None, Location::caller());
        }
    };
    let ns = best_ns(|| run(1, threads, true, &kernel));
    report("barrier", &[("threads", threads)], ns / f64::from(threads) / f64::from(rounds));
}

/// Warps that exchange four bytes a lane, as for a shuffle.
fn exchanges(threads: u32, rounds: u32) {
    let kernel = || {
        let mut all = [0; 128];
        for round in 0..rounds {
            let bytes = round.to_ne_bytes();
            host::engine().warp_collect(u32::MAX, &bytes, &mut all, Location::caller());
            black_box(&all);
        }
    };
    let ns = best_ns(|| run(1, threads, true, &kernel));
    report("warp exchange", &[("threads", threads)], ns / f64::from(threads) / f64::from(rounds));
}

/// Threads of a kernel that could wait but do not.
fn finished_threads(threads: u32, blocks: u32) {
    let kernel = || {
        black_box(host::current().thread);
    };
    let ns = best_ns(|| run(blocks, threads, true, &kernel));
    report(
        "thread that does not wait",
        &[("threads", threads)],
        ns / f64::from(threads) / f64::from(blocks),
    );
}

/// Launches of one small block.
fn launches(rounds: u32) {
    let kernel = || {
        black_box(host::current().thread);
    };
    for synchronizes in [false, true] {
        let ns = best_ns(|| {
            for _ in 0..rounds {
                run(1, 32, synchronizes, &kernel);
            }
        });
        report("launch of one warp", &[("fibres", synchronizes as u32)], ns / f64::from(rounds));
    }
}

/// `y += a x`: as a kernel, and as a loop of plain Rust, on one OS thread each.
fn saxpy(len: usize, threads: u32) {
    let x: Vec<f32> = (0..len).map(|i| i as f32).collect();
    let mut y = vec![1.0f32; len];
    struct Out(*mut f32);
    // SAFETY: each thread of the kernel writes its own element.
    unsafe impl Sync for Out {}
    let out = Out(y.as_mut_ptr());
    let (x, out) = (&x[..], &out);
    let kernel = || {
        let context = host::current();
        let index = (context.block[0] * context.block_dim[0] + context.thread[0]) as usize;
        if index < x.len() {
            // SAFETY: in bounds, and only this thread has this index.
            unsafe { *out.0.add(index) += 2.0 * x[index] };
        }
    };
    let blocks = len as u32 / threads;
    let kernel_ns = best_ns(|| run(blocks, threads, false, &kernel)) / len as f64;
    let native_ns = best_ns(|| {
        for (y, x) in y.iter_mut().zip(x) {
            *y += 2.0 * x;
        }
        black_box(&y);
    }) / len as f64;
    report("saxpy thread, plain loop", &[("threads", threads)], kernel_ns);
    report("saxpy element, native loop", &[], native_ns);
}

/// Launches `kernel` on one OS thread, so that figures are per thread.
fn run<K: Fn()>(blocks: u32, threads: u32, synchronizes: bool, kernel: &K) {
    unsafe fn body<K: Fn()>(kernel: *const u8) {
        // SAFETY: `params` below points to the kernel.
        unsafe { (*kernel.cast::<K>())() }
    }
    let launch = Launch {
        grid: [blocks, 1, 1],
        block: [threads, 1, 1],
        cluster: [1; 3],
        dynamic_shared_bytes: 0,
        synchronizes,
        body: body::<K>,
        params: std::ptr::from_ref(kernel).cast(),
        kernel: "bench",
    };
    let options = Options { threads: 1, ..Options::from_env().expect("the environment is clean") };
    // SAFETY: one OS thread only, and the closure outlives the call.
    unsafe { raddle_sim::run_with(&launch, &options) }.expect("the kernel is right");
}

/// The shortest of several runs, in nanoseconds.
fn best_ns(mut work: impl FnMut()) -> f64 {
    let mut once = || {
        let start = Instant::now();
        work();
        start.elapsed().as_nanos() as f64
    };
    once();
    (0..SAMPLES).map(|_| once()).fold(f64::INFINITY, f64::min)
}

fn report(what: &str, facts: &[(&str, u32)], ns: f64) {
    let facts: String = facts.iter().map(|(name, value)| format!("\"{name}\":{value},")).collect();
    println!(
        "{{\"bench\":\"{what}\",{facts}\"ns\":{ns:.2},\"samples\":{SAMPLES},\"statistic\":\"min\"}}"
    );
}

const SAMPLES: u32 = 7;
