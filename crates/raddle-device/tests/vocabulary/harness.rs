//! Runs closures as kernels on the CPU device and collects what each thread
//! returns.

use std::sync::Mutex;

use raddle_device::index::{
    block_threads, block_x, block_y, block_z, grid_dim_x, grid_dim_y, thread_linear,
};
use raddle_sim::{Fault, Launch, Options};

/// The shape of a launch.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub cluster: [u32; 3],
    pub dynamic_shared_bytes: usize,
}

/// One block of `threads` threads.
pub const fn block_of(threads: u32) -> Shape {
    Shape { grid: [1; 3], block: [threads, 1, 1], cluster: [1; 3], dynamic_shared_bytes: 0 }
}

/// Block sizes that touch every case: one thread, partial and whole warps, one
/// and many warps, and the largest.
pub const BLOCK_SHAPES: &[[u32; 3]] = &[
    [1, 1, 1],
    [2, 1, 1],
    [31, 1, 1],
    [32, 1, 1],
    [33, 1, 1],
    [40, 1, 1],
    [96, 1, 1],
    [100, 1, 1],
    [256, 1, 1],
    [257, 1, 1],
    [1000, 1, 1],
    [1024, 1, 1],
    [7, 5, 3],
    [16, 16, 1],
    [1, 1, 64],
    [33, 3, 2],
];

impl Shape {
    /// Runs `kernel` in every thread; the results in order of block and thread.
    pub fn run<T: Send>(self, kernel: impl Fn() -> T + Sync) -> Vec<T> {
        self.try_run(kernel).unwrap_or_else(|fault| panic!("{self:?}: {fault}"))
    }

    /// As [`run`](Self::run), for kernels that may fail.
    pub fn try_run<T: Send>(self, kernel: impl Fn() -> T + Sync) -> Result<Vec<T>, Fault> {
        let options = Options { threads: 2, ..Options::from_env()? };
        self.try_run_with(&options, kernel)
    }

    /// As [`try_run`](Self::try_run), with settings.
    pub fn try_run_with<T: Send>(
        self,
        options: &Options,
        kernel: impl Fn() -> T + Sync,
    ) -> Result<Vec<T>, Fault> {
        let results = Mutex::new(Vec::new());
        let store = || {
            let block = (block_z() * grid_dim_y() + block_y()) * grid_dim_x() + block_x();
            let place = block * block_threads() + thread_linear();
            let result = kernel();
            results.lock().unwrap().push((place, result));
        };
        launch(self, &store, options)?;
        let mut results = results.into_inner().unwrap();
        results.sort_by_key(|&(place, _)| place);
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }
}

fn launch<K: Fn() + Sync>(shape: Shape, kernel: &K, options: &Options) -> Result<(), Fault> {
    unsafe fn body<K: Fn()>(kernel: *const u8) {
        // SAFETY: `params` below points to the kernel.
        unsafe { (*kernel.cast::<K>())() }
    }
    let launch = Launch {
        grid: shape.grid,
        block: shape.block,
        cluster: shape.cluster,
        dynamic_shared_bytes: shape.dynamic_shared_bytes,
        synchronizes: true,
        body: body::<K>,
        params: core::ptr::from_ref(kernel).cast(),
        kernel: "test",
    };
    // SAFETY: the closure is `Sync` and outlives the call.
    unsafe { raddle_sim::run_with(&launch, options) }
}

/// The panic message of a launch that a thread's panic ended, and its line.
#[track_caller]
pub fn panic_of<T>(result: Result<Vec<T>, Fault>) -> (String, String, u32) {
    match result {
        Err(Fault::Panic { message, file, line, .. }) => (message, file, line),
        Err(fault) => panic!("expected a panic, found {fault}"),
        Ok(_) => panic!("expected a panic, but the kernel ended well"),
    }
}

/// An associative operation that does not commute: affine maps `x -> a x + b`
/// modulo 2^32, composed left to right.
pub fn compose(f: [u32; 2], g: [u32; 2]) -> [u32; 2] {
    [f[0].wrapping_mul(g[0]), f[1].wrapping_mul(g[0]).wrapping_add(g[1])]
}

/// A map that differs for each `i`.
pub fn affine(i: u32) -> [u32; 2] {
    [i.wrapping_mul(0x9e37_79b9) | 1, i.wrapping_mul(0x85eb_ca6b) ^ 0x1234_5678]
}
