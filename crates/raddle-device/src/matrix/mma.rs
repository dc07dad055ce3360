//! `mma.sync`: a matrix product by one warp, `acc += a * b`, with the operands
//! in the fragments that [the module](super) describes.
//!
//! The calls are *aligned*: all lanes of the warp make them together. A result
//! in a warp of which some lanes do not take part is unspecified.
//!
//! # Rounding
//!
//! Products are exact. The host body adds them to the accumulator one by one
//! with `k` ascending, each sum rounded to the accumulator's format (for `f16`
//! accumulators: in `f32`, rounded to `f16` at the end; for `f64`: fused). The
//! hardware adds several products at once, in an order and with a rounding of
//! inner sums that NVIDIA does not state, so results in `f16` and `f32` agree to
//! within `K` units in the last place of the largest partial sum. Integer results
//! are equal and wrap.
//!
//! *Source*: PTX ISA, "Matrix multiply-accumulate operation using mma
//! instruction".

#[cfg(not(raddle_device))]
use core::panic::Location;

#[cfg(not(raddle_device))]
use crate::float::{bf16, f16};
use crate::float::{bf16x2, f16x2, tf32};

intrinsics! {
    MMA, "Warp Level Matrix Multiply-Accumulate Instructions: mma";
    fn f32_f16(acc: *mut [f32; 4], a: *const [f16x2; 4], b: *const [f16x2; 2]) = "raddle.asm.c:+f*4,r*4,r*2:mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$0, $1, $2, $3};", sm 80, ptx 70;
    fn f32_bf16(acc: *mut [f32; 4], a: *const [bf16x2; 4], b: *const [bf16x2; 2]) = "raddle.asm.c:+f*4,r*4,r*2:mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$0, $1, $2, $3};", sm 80, ptx 70;
    fn f16_f16(acc: *mut [f16x2; 2], a: *const [f16x2; 4], b: *const [f16x2; 2]) = "raddle.asm.c:+r*2,r*4,r*2:mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {$0, $1}, {$2, $3, $4, $5}, {$6, $7}, {$0, $1};", sm 80, ptx 70;
    fn f32_tf32(acc: *mut [f32; 4], a: *const [tf32; 4], b: *const [tf32; 2]) = "raddle.asm.c:+f*4,r*4,r*2:mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$0, $1, $2, $3};", sm 80, ptx 70;
    fn s32_s8_s8(acc: *mut [i32; 4], a: *const [u32; 4], b: *const [u32; 2]) = "raddle.asm.c:+r*4,r*4,r*2:mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$0, $1, $2, $3};", sm 80, ptx 70;
    fn s32_s8_u8(acc: *mut [i32; 4], a: *const [u32; 4], b: *const [u32; 2]) = "raddle.asm.c:+r*4,r*4,r*2:mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32 {$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$0, $1, $2, $3};", sm 80, ptx 70;
    fn s32_u8_s8(acc: *mut [i32; 4], a: *const [u32; 4], b: *const [u32; 2]) = "raddle.asm.c:+r*4,r*4,r*2:mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$0, $1, $2, $3};", sm 80, ptx 70;
    fn s32_u8_u8(acc: *mut [i32; 4], a: *const [u32; 4], b: *const [u32; 2]) = "raddle.asm.c:+r*4,r*4,r*2:mma.sync.aligned.m16n8k32.row.col.s32.u8.u8.s32 {$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$0, $1, $2, $3};", sm 80, ptx 70;
    fn f64_k4(acc: *mut [f64; 2], a: f64, b: f64) = "raddle.asm.c:+d*2,d,d:mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {$0, $1}, {$2}, {$3}, {$0, $1};", sm 80, ptx 70;
    fn f64_k16(acc: *mut [f64; 4], a: *const [f64; 8], b: *const [f64; 4]) = "raddle.asm.c:+d*4,d*8,d*4:mma.sync.aligned.m16n8k16.row.col.f64.f64.f64.f64 {$0, $1, $2, $3}, {$4, $5, $6, $7, $8, $9, $10, $11}, {$12, $13, $14, $15}, {$0, $1, $2, $3};", sm 90, ptx 78;
}

/// 16×8×16 in half precision, `f32` accumulator. PTX
/// `mma.sync.m16n8k16.f32.f16.f16.f32`, `sm_80`.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn mma_f32_f16(acc: &mut [f32; 4], a: &[f16x2; 4], b: &[f16x2; 2]) {
    #[cfg(raddle_device)]
    // SAFETY: computes values only.
    unsafe {
        f32_f16(acc, a, b);
    }
    #[cfg(not(raddle_device))]
    {
        let all = exchange(a, b, Location::caller());
        accumulate(
            acc,
            K16,
            |lane, i| half(all[lane].0, i),
            |lane, i| half(all[lane].1, i),
            |c, a, b| c + a * b,
        );
    }
}

/// 16×8×16 in bfloat16, `f32` accumulator. PTX
/// `mma.sync.m16n8k16.f32.bf16.bf16.f32`, `sm_80`.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn mma_f32_bf16(acc: &mut [f32; 4], a: &[bf16x2; 4], b: &[bf16x2; 2]) {
    #[cfg(raddle_device)]
    // SAFETY: computes values only.
    unsafe {
        f32_bf16(acc, a, b);
    }
    #[cfg(not(raddle_device))]
    {
        let all = exchange(a, b, Location::caller());
        accumulate(
            acc,
            K16,
            |lane, i| brain(all[lane].0, i),
            |lane, i| brain(all[lane].1, i),
            |c, a, b| c + a * b,
        );
    }
}

/// 16×8×16 in half precision, `f16` accumulator: pair `i` holds elements `2i` and
/// `2i + 1`. PTX `mma.sync.m16n8k16.f16.f16.f16.f16`, `sm_80`.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn mma_f16_f16(acc: &mut [f16x2; 2], a: &[f16x2; 4], b: &[f16x2; 2]) {
    #[cfg(raddle_device)]
    // SAFETY: computes values only.
    unsafe {
        f16_f16(acc, a, b);
    }
    #[cfg(not(raddle_device))]
    {
        let all = exchange(a, b, Location::caller());
        let [[c0, c1], [c2, c3]] = acc.map(f16x2::to_f32s);
        let mut wide = [c0, c1, c2, c3];
        accumulate(
            &mut wide,
            K16,
            |lane, i| half(all[lane].0, i),
            |lane, i| half(all[lane].1, i),
            |c, a, b| c + a * b,
        );
        *acc = [f16x2::from_f32s(wide[0], wide[1]), f16x2::from_f32s(wide[2], wide[3])];
    }
}

/// 16×8×8 in tf32, `f32` accumulator. PTX `mma.sync.m16n8k8.f32.tf32.tf32.f32`,
/// `sm_80`.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn mma_f32_tf32(acc: &mut [f32; 4], a: &[tf32; 4], b: &[tf32; 2]) {
    #[cfg(raddle_device)]
    // SAFETY: computes values only.
    unsafe {
        f32_tf32(acc, a, b);
    }
    #[cfg(not(raddle_device))]
    {
        let all = exchange(a, b, Location::caller());
        accumulate(
            acc,
            TF32_K8,
            |lane, i| all[lane].0[i].to_f32(),
            |lane, i| all[lane].1[i].to_f32(),
            |c, a, b| c + a * b,
        );
    }
}

macro_rules! mma_integers {
    ($($name:ident $row:ident $a:ident $b:ident $ptx:literal;)*) => { $(
        /// 16×8×32 in 8-bit integers, four to a register with the first in the lowest
        /// byte, wrapping `i32` accumulator.
        #[doc = concat!("PTX `", $ptx, "`, `sm_80`.")]
        #[inline(always)]
        #[cfg_attr(not(raddle_device), track_caller)]
        pub fn $name(acc: &mut [i32; 4], a: &[u32; 4], b: &[u32; 2]) {
            #[cfg(raddle_device)]
            // SAFETY: computes values only.
            unsafe {
                $row(acc, a, b);
            }
            #[cfg(not(raddle_device))]
            {
                let all = exchange(a, b, Location::caller());
                let left = |lane: usize, i: usize| i32::from(byte(&all[lane].0, i) as $a);
                let right = |lane: usize, i: usize| i32::from(byte(&all[lane].1, i) as $b);
                accumulate(acc, K32, left, right, |c, a, b| c.wrapping_add(a * b));
            }
        }
    )* };
}
mma_integers! {
    mma_i32_i8_i8 s32_s8_s8 i8 i8 "mma.sync.m16n8k32.s32.s8.s8.s32";
    mma_i32_i8_u8 s32_s8_u8 i8 u8 "mma.sync.m16n8k32.s32.s8.u8.s32";
    mma_i32_u8_i8 s32_u8_s8 u8 i8 "mma.sync.m16n8k32.s32.u8.s8.s32";
    mma_i32_u8_u8 s32_u8_u8 u8 u8 "mma.sync.m16n8k32.s32.u8.u8.s32";
}

/// 8×8×4 in double precision. PTX `mma.sync.m8n8k4.f64.f64.f64.f64`, `sm_80`.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn mma_f64_k4(acc: &mut [f64; 2], a: f64, b: f64) {
    #[cfg(raddle_device)]
    // SAFETY: computes values only.
    unsafe {
        f64_k4(acc, a, b);
    }
    #[cfg(not(raddle_device))]
    {
        let all = exchange(&a, &b, Location::caller());
        accumulate(
            acc,
            F64_K4,
            |lane, _| all[lane].0,
            |lane, _| all[lane].1,
            |c, a, b| a.mul_add(b, c),
        );
    }
}

/// 16×8×16 in double precision. PTX `mma.sync.m16n8k16.f64.f64.f64.f64`, `sm_90`.
///
/// # Safety
///
/// The kernel requires compute capability 9.0 or later; for an older target its
/// PTX does not assemble.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub unsafe fn mma_f64_k16(acc: &mut [f64; 4], a: &[f64; 8], b: &[f64; 4]) {
    #[cfg(raddle_device)]
    // SAFETY: computes values only; the caller's target has the instruction.
    unsafe {
        f64_k16(acc, a, b);
    }
    #[cfg(not(raddle_device))]
    {
        let all = exchange(a, b, Location::caller());
        accumulate(
            acc,
            F64_K16,
            |lane, i| all[lane].0[i],
            |lane, i| all[lane].1[i],
            |c, a, b| a.mul_add(b, c),
        );
    }
}

/// Where an operand's elements lie: the inverse of the module's table.
#[cfg(not(raddle_device))]
#[derive(Clone, Copy)]
struct Shape {
    k: usize,
    /// Lane and index of A's element at (row, k).
    a: fn(usize, usize) -> (usize, usize),
    /// Lane and index of B's element at k of a column; the lane is `4 * column`
    /// plus this.
    b: fn(usize) -> (usize, usize),
}

#[cfg(not(raddle_device))]
const K16: Shape = Shape {
    k: 16,
    a: |row, k| (row % 8 * 4 + k % 8 / 2, k % 2 + row / 8 * 2 + k / 8 * 4),
    b: |k| (k % 8 / 2, k % 2 + k / 8 * 2),
};
#[cfg(not(raddle_device))]
const K32: Shape = Shape {
    k: 32,
    a: |row, k| (row % 8 * 4 + k % 16 / 4, k % 4 + row / 8 * 4 + k / 16 * 8),
    b: |k| (k % 16 / 4, k % 4 + k / 16 * 4),
};
#[cfg(not(raddle_device))]
const TF32_K8: Shape =
    Shape { k: 8, a: |row, k| (row % 8 * 4 + k % 4, row / 8 + k / 4 * 2), b: |k| (k % 4, k / 4) };
#[cfg(not(raddle_device))]
const F64_K4: Shape = Shape { k: 4, a: |row, k| (row * 4 + k, 0), b: |k| (k, 0) };
#[cfg(not(raddle_device))]
const F64_K16: Shape = Shape { k: 16, ..TF32_K8 };

/// Every lane's operands.
#[cfg(not(raddle_device))]
fn exchange<A: Copy + Default, B: Copy + Default>(
    a: &A,
    b: &B,
    at: &'static Location<'static>,
) -> [(A, B); 32] {
    let mine = (*a, *b);
    let mut all = [(A::default(), B::default()); 32];
    let bytes = size_of::<(A, B)>();
    // SAFETY: the operands are arrays of numbers without padding between them, so
    // that all bytes are initialised, and any bytes that come back are numbers.
    let (payload, results) = unsafe {
        (
            core::slice::from_raw_parts((&raw const mine).cast::<u8>(), bytes),
            core::slice::from_raw_parts_mut(all.as_mut_ptr().cast::<u8>(), 32 * bytes),
        )
    };
    crate::host::engine().warp_collect(u32::MAX, payload, results, at);
    all
}

/// `acc[row, column] += sum over k of a[row, k] * b[k, column]` for this lane's
/// elements, `k` ascending.
#[cfg(not(raddle_device))]
fn accumulate<C: Copy, E: Copy>(
    acc: &mut [C],
    shape: Shape,
    a: impl Fn(usize, usize) -> E,
    b: impl Fn(usize, usize) -> E,
    multiply_add: impl Fn(C, E, E) -> C,
) {
    let lane = crate::index::lane();
    for (i, element) in acc.iter_mut().enumerate() {
        let (row, column) = super::accumulator_place(lane, i as u32);
        for k in 0..shape.k {
            let (a_lane, a_index) = (shape.a)(row as usize, k);
            let (b_lane, b_index) = (shape.b)(k);
            let left = a(a_lane, a_index);
            let right = b(4 * column as usize + b_lane, b_index);
            *element = multiply_add(*element, left, right);
        }
    }
}

/// Element `i` of packed halves as `f32`.
#[cfg(not(raddle_device))]
fn half<const N: usize>(pairs: [f16x2; N], i: usize) -> f32 {
    f16::from_bits((pairs[i / 2].to_bits() >> (16 * (i % 2))) as u16).to_f32()
}

#[cfg(not(raddle_device))]
fn brain<const N: usize>(pairs: [bf16x2; N], i: usize) -> f32 {
    bf16::from_bits((pairs[i / 2].to_bits() >> (16 * (i % 2))) as u16).to_f32()
}

/// Byte `i` of packed words.
#[cfg(not(raddle_device))]
fn byte(words: &[u32], i: usize) -> u8 {
    words[i / 4].to_le_bytes()[i % 4]
}
