//! The three kernels, with the bindings that `#[kernel]` would make for them: PTX for
//! GPUs, bodies for the CPU device and for the fake driver, and what they do on
//! vectors, which is the oracle.

use raddle_device::kernel::{Image, Kernel, KernelMeta};
use raddle_device::output::PerThread;
use raddle_device::param::{KernelParam, ParamRules, RawSlice};
use raddle_fake_driver::{Fake, Kernel as FakeKernel, Parameters, Words};
use raddle_runtime::{Binder, KernelArg, KernelCall};

const PTX: &str = include_str!("kernels.ptx");

const fn kernel<P>(
    name: &'static str,
    images: &'static [Image],
    body: unsafe fn(*const u8),
) -> Kernel {
    let params_bytes = size_of::<P>() as u32;
    let meta = KernelMeta { params_bytes, params_align: 8, ..KernelMeta::NONE };
    let rules = ParamRules::ONE_D;
    Kernel { name, images, meta, rules, body, file: file!(), line: line!() }
}

const fn image(entry: &'static str) -> Image {
    Image { path: entry, target: "sm_75", entry, ptx: PTX, synchronizes: false, cubins: &[] }
}

/// Name of [`churn`] in errors and in the fake driver.
pub const CHURN: &str = "churn";

/// Parameter block of [`churn`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ChurnParams {
    ns: u64,
    target: RawSlice,
    sources: [RawSlice; 3],
    seed: u32,
}

static CHURN_KERNEL: Kernel = kernel::<ChurnParams>("test::churn", &[image(CHURN)], churn_body);

/// One element of [`churn`].
fn churned(old: u32, seed: u32, sources: [Option<u32>; 3]) -> u32 {
    let start = old.wrapping_mul(31).wrapping_add(seed);
    let terms = sources.into_iter().zip([3u32, 5, 7]);
    terms.fold(start, |sum, (source, factor)| {
        sum.wrapping_add(source.unwrap_or(0).wrapping_mul(factor))
    })
}

unsafe fn churn_body(params: *const u8) {
    let params = params.cast::<ChurnParams>();
    // SAFETY: the block holds what `churn` bound.
    let seed = unsafe { (*params).seed };
    // SAFETY: as above.
    let mut target = unsafe { PerThread::<u32>::from_raw(&raw const (*params).target) };
    let sources: [&[u32]; 3] = std::array::from_fn(|i| {
        // SAFETY: as above.
        unsafe { <&'static [u32]>::from_raw(&raw const (*params).sources[i]) }
    });
    for (i, element) in target.iter_mut() {
        let at = |source: &[u32]| source.get(i.checked_rem(source.len())?).copied();
        *element = churned(*element, seed, sources.map(at));
    }
}

/// `target[i] = 31 target[i] + seed + 3 a[i % len] + 5 b[i % len] + 7 c[i % len]`,
/// after `ns` nanoseconds on a GPU.
pub fn churn<'k>(
    ns: u64,
    target: impl KernelArg<'k, PerThread<u32>>,
    sources: [impl KernelArg<'k, &'static [u32]>; 3],
    seed: u32,
) -> KernelCall<'k, ChurnParams> {
    let mut binder = Binder::new(&CHURN_KERNEL);
    let target = target.bind(&mut binder);
    let sources = sources.map(|source| source.bind(&mut binder));
    // SAFETY: the block of this kernel, of what was bound here.
    unsafe { binder.finish(ChurnParams { ns, target, sources, seed }) }
}

/// What [`churn`] does, on vectors.
pub fn churn_oracle(target: &mut [u32], sources: [&[u32]; 3], seed: u32) {
    for (i, element) in target.iter_mut().enumerate() {
        let at = |source: &[u32]| source.get(i.checked_rem(source.len())?).copied();
        *element = churned(*element, seed, sources.map(at));
    }
}

/// Name of [`exchange`] in the fake driver.
pub const EXCHANGE: &str = "exchange";

/// Parameter block of [`exchange`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ExchangeParams {
    ns: u64,
    x: RawSlice,
    y: RawSlice,
    seed: u32,
}

static EXCHANGE_KERNEL: Kernel =
    kernel::<ExchangeParams>("test::exchange", &[image(EXCHANGE)], exchange_body);

unsafe fn exchange_body(params: *const u8) {
    let params = params.cast::<ExchangeParams>();
    // SAFETY: the block holds what `exchange` bound.
    let seed = unsafe { (*params).seed };
    // SAFETY: as above.
    let mut x = unsafe { PerThread::<u32>::from_raw(&raw const (*params).x) };
    // SAFETY: as above.
    let mut y = unsafe { PerThread::<u32>::from_raw(&raw const (*params).y) };
    for ((_, x), (_, y)) in x.iter_mut().zip(y.iter_mut()) {
        (*x, *y) = (y.wrapping_add(seed), *x ^ seed);
    }
}

/// `(x[i], y[i]) = (y[i] + seed, x[i] ^ seed)` for the elements that both have,
/// after `ns` nanoseconds on a GPU.
pub fn exchange<'k>(
    ns: u64,
    x: impl KernelArg<'k, PerThread<u32>>,
    y: impl KernelArg<'k, PerThread<u32>>,
    seed: u32,
) -> KernelCall<'k, ExchangeParams> {
    let mut binder = Binder::new(&EXCHANGE_KERNEL);
    let (x, y) = (x.bind(&mut binder), y.bind(&mut binder));
    // SAFETY: the block of this kernel, of what was bound here.
    unsafe { binder.finish(ExchangeParams { ns, x, y, seed }) }
}

/// What [`exchange`] does, on vectors.
pub fn exchange_oracle(x: &mut [u32], y: &mut [u32], seed: u32) {
    for (x, y) in x.iter_mut().zip(y) {
        (*x, *y) = (y.wrapping_add(seed), *x ^ seed);
    }
}

/// Name of [`gather`] in the fake driver.
pub const GATHER: &str = "gather";

/// Parameter block of [`gather`].
#[repr(C)]
#[derive(Clone, Copy)]
pub struct GatherParams {
    target: RawSlice,
    sources: [RawSlice; 7],
}

static GATHER_KERNEL: Kernel =
    kernel::<GatherParams>("test::gather", &[image(GATHER)], gather_body);

unsafe fn gather_body(params: *const u8) {
    let params = params.cast::<GatherParams>();
    // SAFETY: the block holds what `gather` bound.
    let mut target = unsafe { PerThread::<u32>::from_raw(&raw const (*params).target) };
    let sources: [&[u32]; 7] = std::array::from_fn(|i| {
        // SAFETY: as above.
        unsafe { <&'static [u32]>::from_raw(&raw const (*params).sources[i]) }
    });
    for (i, element) in target.iter_mut() {
        let found = sources.iter().filter_map(|source| source.get(i));
        *element = found.fold(0, |sum, &value| sum.wrapping_add(value));
    }
}

/// `target[i] = a[i] + b[i] + …` over seven sources: a launch with eight buffers.
pub fn gather<'k>(
    target: impl KernelArg<'k, PerThread<u32>>,
    sources: [impl KernelArg<'k, &'static [u32]>; 7],
) -> KernelCall<'k, GatherParams> {
    let mut binder = Binder::new(&GATHER_KERNEL);
    let target = target.bind(&mut binder);
    let sources = sources.map(|source| source.bind(&mut binder));
    // SAFETY: the block of this kernel, of what was bound here.
    unsafe { binder.finish(GatherParams { target, sources }) }
}

struct FakeGather;

impl FakeKernel for FakeGather {
    const ENTRY: &'static str = GATHER;

    fn touches(params: Parameters<'_>) -> Vec<(u64, u64, bool)> {
        (0..8).map(|i| (params.u64(16 * i), params.u64(16 * i + 8) * 4, i == 0)).collect()
    }

    fn run(_params: Parameters<'_>, ranges: &[Words]) {
        for i in 0..ranges[0].len() {
            let found = ranges[1..].iter().filter(|source| i < source.len());
            let sum = found.fold(0u32, |sum, source| sum.wrapping_add(source.get(i)));
            ranges[0].set(i, sum);
        }
    }
}

struct FakeChurn;

impl FakeKernel for FakeChurn {
    const ENTRY: &'static str = CHURN;

    fn touches(params: Parameters<'_>) -> Vec<(u64, u64, bool)> {
        let slice = |at| (params.u64(at), params.u64(at + 8) * 4);
        let span = |at, is_write| (slice(at).0, slice(at).1, is_write);
        vec![span(8, true), span(24, false), span(40, false), span(56, false)]
    }

    fn run(params: Parameters<'_>, ranges: &[Words]) {
        let seed = params.u32(72);
        for i in 0..ranges[0].len() {
            let at = |source: &Words| i.checked_rem(source.len()).map(|i| source.get(i));
            let sources = [at(&ranges[1]), at(&ranges[2]), at(&ranges[3])];
            ranges[0].set(i, churned(ranges[0].get(i), seed, sources));
        }
    }
}

struct FakeExchange;

impl FakeKernel for FakeExchange {
    const ENTRY: &'static str = EXCHANGE;

    fn touches(params: Parameters<'_>) -> Vec<(u64, u64, bool)> {
        let bytes = params.u64(16).min(params.u64(32)) * 4;
        vec![(params.u64(8), bytes, true), (params.u64(24), bytes, true)]
    }

    fn run(params: Parameters<'_>, ranges: &[Words]) {
        let (seed, x, y) = (params.u32(40), &ranges[0], &ranges[1]);
        for i in 0..x.len() {
            let (old_x, old_y) = (x.get(i), y.get(i));
            x.set(i, old_y.wrapping_add(seed));
            y.set(i, old_x ^ seed);
        }
    }
}

/// Gives the fake driver its form of the kernels.
pub fn register(fake: &Fake) {
    fake.register::<FakeChurn>();
    fake.register::<FakeExchange>();
    fake.register::<FakeGather>();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_blocks_are_laid_out_as_the_ptx_reads_them() {
        assert_eq!(size_of::<ChurnParams>(), 80);
        assert_eq!(std::mem::offset_of!(ChurnParams, sources), 24);
        assert_eq!(std::mem::offset_of!(ChurnParams, seed), 72);
        assert_eq!(size_of::<ExchangeParams>(), 48);
        assert_eq!(std::mem::offset_of!(ExchangeParams, seed), 40);
    }
}
