//! Launches closures as kernels and names things briefly.

use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};

use raddle_device::host::{self, SharedKey};
use raddle_sim::{Fault, Launch, Options};

/// A launch to be adjusted and run.
#[derive(Clone, Copy)]
pub struct Case {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub cluster: [u32; 3],
    pub dynamic_shared_bytes: usize,
    pub synchronizes: bool,
    pub options: Options,
}

/// `blocks` blocks of `threads` threads on fibres.
pub fn fibres(blocks: u32, threads: u32) -> Case {
    let defaults = Options::from_env().expect("the environment is clean");
    let options = Options { threads: 4, seed: None, ..defaults };
    Case {
        grid: [blocks, 1, 1],
        block: [threads, 1, 1],
        cluster: [1; 3],
        dynamic_shared_bytes: 0,
        synchronizes: true,
        options,
    }
}

/// `blocks` blocks of `threads` threads in plain loops.
pub fn plain(blocks: u32, threads: u32) -> Case {
    Case { synchronizes: false, ..fibres(blocks, threads) }
}

impl Case {
    /// Runs `kernel` in every thread.
    pub fn run<K: Fn() + Sync>(self, kernel: K) -> Result<(), Fault> {
        unsafe fn body<K: Fn()>(kernel: *const u8) {
            // SAFETY: `params` below points to the kernel.
            unsafe { (*kernel.cast::<K>())() }
        }
        let launch = Launch {
            grid: self.grid,
            block: self.block,
            cluster: self.cluster,
            dynamic_shared_bytes: self.dynamic_shared_bytes,
            synchronizes: self.synchronizes,
            body: body::<K>,
            params: (&raw const kernel).cast(),
            kernel: "test",
        };
        // SAFETY: the closure is `Sync` and outlives the call.
        unsafe { raddle_sim::run_with(&launch, &self.options) }
    }
}

/// `threadIdx.x`.
pub fn thread() -> u32 {
    host::current().thread[0]
}

/// `blockIdx.x`.
pub fn block() -> u32 {
    host::current().block[0]
}

/// `__syncthreads()`.
#[track_caller]
pub fn sync() {
    host::engine().barrier(0, None, Location::caller());
}

/// One value from each lane of `mask`, and who took part.
#[track_caller]
pub fn collect(mask: u32, value: u32) -> ([u32; 32], u32) {
    let mut all = [0u8; 128];
    let took_part =
        host::engine().warp_collect(mask, &value.to_ne_bytes(), &mut all, Location::caller());
    let value = |lane: usize| {
        u32::from_ne_bytes([all[4 * lane], all[4 * lane + 1], all[4 * lane + 2], all[4 * lane + 3]])
    };
    (std::array::from_fn(value), took_part)
}

/// A shared array of `len` atomic words.
pub fn shared_words(site: &'static str, len: usize) -> &'static [AtomicU32] {
    let key = SharedKey { site, instance: "AtomicU32" };
    let words = host::engine().shared_static(key, 4 * len, 4);
    // SAFETY: the engine gives live, aligned memory for as long as the block
    // runs, and any bytes are words.
    unsafe { std::slice::from_raw_parts(words.cast(), len) }
}

/// `len` zeroed words of "global memory".
pub fn words(len: usize) -> Vec<AtomicU32> {
    (0..len).map(|_| AtomicU32::new(0)).collect()
}

/// Reads back global memory.
pub fn values(words: &[AtomicU32]) -> Vec<u32> {
    words.iter().map(get).collect()
}

pub fn get(word: &AtomicU32) -> u32 {
    word.load(Ordering::Relaxed)
}

pub fn put(word: &AtomicU32, value: u32) {
    word.store(value, Ordering::Relaxed);
}

pub fn add(word: &AtomicU32, value: u32) -> u32 {
    word.fetch_add(value, Ordering::Relaxed)
}

/// The line of the caller plus `offset`.
#[track_caller]
pub fn line(offset: u32) -> u32 {
    Location::caller().line() + offset
}
