//! `wgmma`: every N, every pair of types, every layout, A from both places.

use raddle::device::matrix::*;
use raddle::device::tile::MmaElement;
use raddle::prelude::*;

/// Room for the operands: A 64×K and B K×256 with K of 128 bytes.
const A_BYTES: usize = 64 * 128;
const B_BYTES: usize = 256 * 128;

/// Shared memory for one product, aligned for every swizzle.
#[repr(C, align(1024))]
struct Operands {
    a: [u8; A_BYTES],
    b: [u8; B_BYTES],
}

/// Writes element (`mn`, `k`) of `elements[mn * k_len + k]` where `place` says, all
/// threads of the block together.
///
/// # Safety
///
/// Every place lies within the memory at `to`, which nobody else accesses.
unsafe fn scatter<T: AnyBits>(
    to: *mut u8,
    elements: &[T],
    k_len: usize,
    place: impl Fn(usize, usize) -> usize,
) {
    let mut i = thread_x() as usize;
    while i < elements.len() {
        // SAFETY: the caller's places lie within the operand.
        unsafe { to.add(place(i / k_len, i % k_len)).cast::<T>().write(elements[i]) };
        i += block_dim_x() as usize;
    }
}

/// Place of (`mn`, `k`) in rows of one span each, swizzled.
fn k_major<T>(swizzle: Swizzle) -> impl Fn(usize, usize) -> usize {
    move |mn, k| {
        let linear = mn * swizzle.span_bytes() as usize + k * size_of::<T>();
        swizzle.apply(linear as u32) as usize
    }
}

/// Place of (`mn`, `k`) without swizzle: bricks of 8 rows by 16 bytes, those of one
/// row of bricks behind each other.
fn bricks<T>(k_len: usize) -> impl Fn(usize, usize) -> usize {
    move |mn, k| {
        let (byte, row_bytes) = (k * size_of::<T>(), k_len * size_of::<T>());
        mn / 8 * (8 * row_bytes) + byte / 16 * 128 + mn % 8 * 16 + byte % 16
    }
}

/// Place of (`mn`, `k`) of halves with `mn` along the rows: spans of 64 `mn` by all
/// `k_len`, one behind the other.
fn mn_major(k_len: usize) -> impl Fn(usize, usize) -> usize {
    move |mn, k| {
        let linear = mn / 64 * (k_len * 128) + k * 128 + mn % 64 * 2;
        Swizzle::Span128.apply(linear as u32) as usize
    }
}

/// The descriptor for [`mn_major`].
fn mn_layout(k_len: usize) -> SharedLayout {
    SharedLayout {
        swizzle: Swizzle::Span128,
        leading_bytes: k_len as u32 * 128,
        stride_bytes: 1024,
    }
}

/// This thread's accumulator after `products` of it, in f32.
///
/// # Safety
///
/// All threads of one warpgroup make the call, on `sm_90a`.
unsafe fn run<const R: usize>(products: impl FnOnce(&mut [f32; R])) -> [f32; R] {
    // SAFETY: zero is an f32.
    let mut acc: [f32; R] = unsafe { core::mem::zeroed() };
    fence_proxy_async_shared();
    barrier();
    // SAFETY: the kernels have one warpgroup and require sm_90a.
    unsafe {
        wgmma_fence(&mut acc);
        products(&mut acc);
        wgmma_commit();
        wgmma_wait::<0, R>(&mut acc);
    }
    acc
}

/// Both operands along `k` in 128-byte rows, two steps of 32 bytes: K is 64 bytes of
/// the 128. `a`: 64×2K, `b`: N×2K.
macro_rules! all_sizes {
    ($($name:ident $r:literal;)*) => { $(
        /// f16, N = 2 * R.
        #[kernel(block = 128, arch = 90)]
        pub fn $name(a: &[f16], b: &[f16], mut out: PerThread<[f32; $r]>) {
            let memory = shared!(Operands).as_ptr();
            // SAFETY: the operands fit; the products are waited for.
            let acc = unsafe {
                let (to_a, to_b) = ((&raw mut (*memory).a).cast::<u8>(), (&raw mut (*memory).b).cast::<u8>());
                scatter(to_a, a, 32, k_major::<f16>(Swizzle::Span128));
                scatter(to_b, b, 32, k_major::<f16>(Swizzle::Span128));
                let layout = SharedLayout::dense(Swizzle::Span128);
                let a = Operand::<f16, KMajor>::new(MatrixDescriptor::new(to_a, layout));
                let b = Operand::<f16, KMajor>::new(MatrixDescriptor::new(to_b, layout));
                run(|acc: &mut [f32; $r]| {
                    wgmma(acc, a, b, false);
                    wgmma(acc, a.advance(32), b.advance(32), true);
                })
            };
            if let Some((_, result)) = out.mine() {
                unroll::<2>(|half| unroll::<{ $r / 2 }>(|i| result[half * ($r / 2) + i] = acc[half * ($r / 2) + i]));
            }
        }
    )* };
}
all_sizes! {
    n8 4; n16 8; n24 12; n32 16; n48 24; n64 32; n80 40; n96 48; n112 56; n128 64; n160 80; n192 96;
    n224 112; n256 128;
}

/// One product of 64×64 with A and B in shared memory, along `k`, for each swizzle
/// that 32 bytes fit in.
macro_rules! types {
    ($($name:ident $from_registers:ident $a:ident $b:ident [$fragment:ty];)*) => { $(
        /// Every swizzle: result `i` is that of swizzle `i`.
        #[kernel(block = 128, arch = 90)]
        pub fn $name(a: &[$a], b: &[$b], mut out: PerThread<[[f32; 32]; 4]>) {
            const K: usize = 32 / size_of::<$a>();
            let memory = shared!(Operands).as_ptr();
            let mut results = [[0.0; 32]; 4];
            // SAFETY: the operands fit; the products are waited for, and barriers part
            // them from the next writes.
            unsafe {
                let (to_a, to_b) = ((&raw mut (*memory).a).cast::<u8>(), (&raw mut (*memory).b).cast::<u8>());
                scatter(to_a, a, K, bricks::<$a>(K));
                scatter(to_b, b, K, bricks::<$b>(K));
                let layout = SharedLayout { swizzle: Swizzle::None, leading_bytes: 128, stride_bytes: 256 };
                let left = Operand::<$a, KMajor>::new(MatrixDescriptor::new(to_a, layout));
                let right = Operand::<$b, KMajor>::new(MatrixDescriptor::new(to_b, layout));
                results[0] = run(|acc: &mut [f32; 32]| wgmma(acc, left, right, false));
                barrier();
                let mut i = 1;
                for swizzle in [Swizzle::Span32, Swizzle::Span64, Swizzle::Span128] {
                    scatter(to_a, a, K, k_major::<$a>(swizzle));
                    scatter(to_b, b, K, k_major::<$b>(swizzle));
                    let layout = SharedLayout::dense(swizzle);
                    let left = Operand::<$a, KMajor>::new(MatrixDescriptor::new(to_a, layout));
                    let right = Operand::<$b, KMajor>::new(MatrixDescriptor::new(to_b, layout));
                    results[i] = run(|acc: &mut [f32; 32]| wgmma(acc, left, right, true));
                    barrier();
                    i += 1;
                }
            }
            if let Some((_, result)) = out.mine() {
                *result = results;
            }
        }

        /// A from registers, by the formulas of `raddle::device::matrix`.
        #[kernel(block = 128, arch = 90)]
        pub fn $from_registers(a: &[$a], b: &[$b], mut out: PerThread<[f32; 32]>) {
            const K: usize = 32 / size_of::<$a>();
            const PACKED: usize = 4 / size_of::<$a>();
            let memory = shared!(Operands).as_ptr();
            let (lane, warp) = (lane() as usize, warp() as usize);
            let mut fragment = [<$a>::from_f32(0.0); 4 * PACKED];
            unroll::<4>(|register| unroll::<PACKED>(|i| {
                let row = 16 * warp + lane / 4 + 8 * (register % 2);
                let k = lane % 4 * PACKED + i + K / 2 * (register / 2);
                fragment[register * PACKED + i] = a[row * K + k];
            }));
            // SAFETY: the operands fit; the products are waited for; a fragment is 16
            // bytes of elements.
            let acc = unsafe {
                let to_b = (&raw mut (*memory).b).cast::<u8>();
                scatter(to_b, b, K, k_major::<$b>(Swizzle::Span128));
                let layout = SharedLayout::dense(Swizzle::Span128);
                let right = Operand::<$b, KMajor>::new(MatrixDescriptor::new(to_b, layout));
                let fragment: $fragment = core::mem::transmute_copy(&fragment);
                run(|acc: &mut [f32; 32]| wgmma_registers(acc, &fragment, right, false))
            };
            if let Some((_, result)) = out.mine() {
                *result = acc;
            }
        }
    )* };
}
types! {
    f16_f16 f16_f16_registers f16 f16 [[f16x2; 4]];
    bf16_bf16 bf16_bf16_registers bf16 bf16 [[bf16x2; 4]];
    tf32_tf32 tf32_tf32_registers tf32 tf32 [[tf32; 4]];
    e4m3_e4m3 e4m3_e4m3_registers f8e4m3 f8e4m3 [[[f8e4m3; 4]; 4]];
    e4m3_e5m2 e4m3_e5m2_registers f8e4m3 f8e5m2 [[[f8e4m3; 4]; 4]];
    e5m2_e4m3 e5m2_e4m3_registers f8e5m2 f8e4m3 [[[f8e5m2; 4]; 4]];
    e5m2_e5m2 e5m2_e5m2_registers f8e5m2 f8e5m2 [[[f8e5m2; 4]; 4]];
}

/// The transposed layouts of 16-bit types: A 64×16, B 16×128, over both of each.
/// Results: A along `m`, B along `n`, both, and B along `n` with A in registers.
macro_rules! transposed {
    ($($name:ident $ty:ident $pair:ident;)*) => { $(
        /// Every pair of layouts with a transposed operand.
        #[kernel(block = 128, arch = 90)]
        pub fn $name(a: &[$ty], b: &[$ty], mut out: PerThread<[[f32; 64]; 4]>) {
            let memory = shared!(Operands).as_ptr();
            let (lane, warp) = (lane() as usize, warp() as usize);
            let dense = SharedLayout::dense(Swizzle::Span128);
            // SAFETY: the operands fit; the products are waited for, and barriers part
            // them from the next writes.
            let results = unsafe {
                let (to_a, to_b) = ((&raw mut (*memory).a).cast::<u8>(), (&raw mut (*memory).b).cast::<u8>());
                let left = Operand::<$ty, KMajor>::new(MatrixDescriptor::new(to_a, dense));
                let right = Operand::<$ty, KMajor>::new(MatrixDescriptor::new(to_b, dense));
                let left_m = Operand::<$ty, MnMajor>::new(MatrixDescriptor::new(to_a, mn_layout(16)));
                let right_n = Operand::<$ty, MnMajor>::new(MatrixDescriptor::new(to_b, mn_layout(16)));
                scatter(to_a, a, 16, mn_major(16));
                scatter(to_b, b, 16, k_major::<$ty>(Swizzle::Span128));
                let first = run(|acc: &mut [f32; 64]| wgmma(acc, left_m, right, false));
                barrier();
                scatter(to_b, b, 16, mn_major(16));
                let third = run(|acc: &mut [f32; 64]| wgmma(acc, left_m, right_n, false));
                barrier();
                scatter(to_a, a, 16, k_major::<$ty>(Swizzle::Span128));
                let second = run(|acc: &mut [f32; 64]| wgmma(acc, left, right_n, false));
                let fragment: [$pair; 4] = unrolled(|register| {
                    let row = 16 * warp + lane / 4 + 8 * (register % 2);
                    let k = lane % 4 * 2 + 8 * (register / 2);
                    $pair::new(a[row * 16 + k], a[row * 16 + k + 1])
                });
                let fourth = run(|acc: &mut [f32; 64]| wgmma_registers(acc, &fragment, right_n, false));
                [first, second, third, fourth]
            };
            if let Some((_, result)) = out.mine() {
                *result = results;
            }
        }
    )* };
}
transposed! {
    f16_transposed f16 f16x2;
    bf16_transposed bf16 bf16x2;
}

/// 64×8 sums over 32 of halves, `a` times `b` given by columns: by `wgmma` where there is
/// such a thing and by `mma.sync` elsewhere. The second output says which.
#[kernel(block = 128, arch = (80, 90))]
pub fn either_way(a: &[f16], b: &[f16], mut sums: PerThread<[f32; 4]>, mut way: PerThread<u32>) {
    let acc = if is_hopper() { by_warpgroup(a, b) } else { by_warps(a, b) };
    if let Some((_, sums)) = sums.mine() {
        *sums = acc;
    }
    if let Some((_, way)) = way.mine() {
        *way = if is_hopper() { 90 } else { 80 };
    }
}

fn by_warpgroup(a: &[f16], b: &[f16]) -> [f32; 4] {
    let memory = shared!(Operands).as_ptr();
    // SAFETY: the operands fit; the products are waited for; the variant that comes here
    // has one warpgroup.
    unsafe {
        let (to_a, to_b) =
            ((&raw mut (*memory).a).cast::<u8>(), (&raw mut (*memory).b).cast::<u8>());
        scatter(to_a, a, 32, k_major::<f16>(Swizzle::Span128));
        scatter(to_b, b, 32, k_major::<f16>(Swizzle::Span128));
        let layout = SharedLayout::dense(Swizzle::Span128);
        let a = Operand::<f16, KMajor>::new(MatrixDescriptor::new(to_a, layout));
        let b = Operand::<f16, KMajor>::new(MatrixDescriptor::new(to_b, layout));
        run(|acc: &mut [f32; 4]| {
            wgmma(acc, a, b, false);
            wgmma(acc, a.advance(32), b.advance(32), true);
        })
    }
}

fn by_warps(a: &[f16], b: &[f16]) -> [f32; 4] {
    let (g, q) = (lane() as usize / 4, lane() as usize % 4);
    let row = thread_x() as usize / 32 * 16 + g;
    let pair = |elements: &[f16], line: usize, k: usize| {
        f16x2::new(elements[line * 32 + k], elements[line * 32 + k + 1]).to_bits()
    };
    let mut acc = [0.0; 4];
    for step in [0, 16] {
        let k = step + 2 * q;
        let left =
            [pair(a, row, k), pair(a, row + 8, k), pair(a, row, k + 8), pair(a, row + 8, k + 8)];
        f16::multiply_add(&mut acc, &left, &[pair(b, g, k), pair(b, g, k + 8)]);
    }
    acc
}
