//! `wgmma`: a matrix product by a warpgroup, four warps whose first is a
//! multiple of four, with B and possibly A read from shared memory.
//!
//! `m64nNkK` computes `acc += a * b` for A of 64×K and B of K×N; K is 32 bytes of
//! elements. Each warp holds 16 rows of the accumulator in `N / 2` registers a
//! lane: the array `[f32; N / 2]`, whose length picks N. Element `4 * j + i` is
//! element `i` of the 16×8 accumulator (see [the module](super)) of columns `8 * j`
//! and up.
//!
//! The product runs while the warpgroup goes on:
//!
//! ```text
//! wgmma_fence(&mut acc);                  before the first product, and after
//!                                         touching acc or a register operand
//! wgmma(&mut acc, a, b, true); ...        start products
//! wgmma_commit();                         close them into a group
//! wgmma_wait::<0, _>(&mut acc);           acc may be read again
//! ```
//!
//! The host body computes at once, which is the earliest completion that the
//! instruction allows; products are exact and added with `k` ascending, each sum
//! rounded to `f32`. The hardware's sums differ as for `mma.sync`.
//!
//! *Source*: PTX ISA, "Asynchronous Warpgroup Level Matrix Multiply-Accumulate
//! Instructions", `sm_90a`.

#[cfg(not(raddle_device))]
use core::panic::Location;

use super::descriptor::{KMajor, Major, MatrixDescriptor, MnMajor};
use crate::float::{Float, bf16, bf16x2, f8e4m3, f8e5m2, f16, f16x2, tf32};

/// The register list of an accumulator.
macro_rules! registers {
    (4) => { "$0, $1, $2, $3" };
    (8) => { concat!(registers!(4), ", $4, $5, $6, $7") };
    (12) => { concat!(registers!(8), ", $8, $9, $10, $11") };
    (16) => { concat!(registers!(12), ", $12, $13, $14, $15") };
    (24) => { concat!(registers!(16), ", $16, $17, $18, $19, $20, $21, $22, $23") };
    (32) => { concat!(registers!(24), ", $24, $25, $26, $27, $28, $29, $30, $31") };
    (40) => { concat!(registers!(32), ", $32, $33, $34, $35, $36, $37, $38, $39") };
    (48) => { concat!(registers!(40), ", $40, $41, $42, $43, $44, $45, $46, $47") };
    (56) => { concat!(registers!(48), ", $48, $49, $50, $51, $52, $53, $54, $55") };
    (64) => { concat!(registers!(56), ", $56, $57, $58, $59, $60, $61, $62, $63") };
    (80) => { concat!(registers!(64), ", $64, $65, $66, $67, $68, $69, $70, $71, $72, $73, $74, $75, $76, $77, $78, $79") };
    (96) => { concat!(registers!(80), ", $80, $81, $82, $83, $84, $85, $86, $87, $88, $89, $90, $91, $92, $93, $94, $95") };
    (104) => { concat!(registers!(96), ", $96, $97, $98, $99, $100, $101, $102, $103") };
    (112) => { concat!(registers!(104), ", $104, $105, $106, $107, $108, $109, $110, $111") };
    (128) => { concat!(registers!(112), ", $112, $113, $114, $115, $116, $117, $118, $119, $120, $121, $122, $123, $124, $125, $126, $127") };
}

/// Calls `$callback` with the sizes: name, N, registers, and the operands after
/// the accumulator's.
macro_rules! for_each_size {
    ($callback:ident $arguments:tt) => {
        $callback! {
            $arguments
            (n8 8 4 "$4" "$5" "$6" "$7" "$8" "$9")
            (n16 16 8 "$8" "$9" "$10" "$11" "$12" "$13")
            (n24 24 12 "$12" "$13" "$14" "$15" "$16" "$17")
            (n32 32 16 "$16" "$17" "$18" "$19" "$20" "$21")
            (n48 48 24 "$24" "$25" "$26" "$27" "$28" "$29")
            (n64 64 32 "$32" "$33" "$34" "$35" "$36" "$37")
            (n80 80 40 "$40" "$41" "$42" "$43" "$44" "$45")
            (n96 96 48 "$48" "$49" "$50" "$51" "$52" "$53")
            (n112 112 56 "$56" "$57" "$58" "$59" "$60" "$61")
            (n128 128 64 "$64" "$65" "$66" "$67" "$68" "$69")
            (n160 160 80 "$80" "$81" "$82" "$83" "$84" "$85")
            (n192 192 96 "$96" "$97" "$98" "$99" "$100" "$101")
            (n208 208 104 "$104" "$105" "$106" "$107" "$108" "$109")
            (n224 224 112 "$112" "$113" "$114" "$115" "$116" "$117")
            (n256 256 128 "$128" "$129" "$130" "$131" "$132" "$133")
        }
    };
}

/// A module with one row for each N of an instruction with A in shared memory.
macro_rules! shared_rows {
    (($module:ident $k:literal $types:literal $transposes:literal)
        $(($name:ident $n:literal $registers:tt $r0:literal $r1:literal $r2:literal $r3:literal $r4:literal $r5:literal))*
    ) => {
        pub(crate) mod $module {
            intrinsics! {
                ROWS, "wgmma.mma_async";
                $(fn $name(acc: *mut [f32; $registers], a: u64, b: u64, accumulates: u32) = concat!(
                    "raddle.asm.c.v:+f*", $registers, ",l,l,r:{ .reg .pred p; setp.ne.b32 p, ", $r2, ", 0; ",
                    "wgmma.mma_async.sync.aligned.m64n", $n, "k", $k, ".f32.", $types,
                    " {", registers!($registers), "}, ", $r0, ", ", $r1, ", p, 1, 1", $transposes, "; }"
                ), sm 90, ptx 80;)*
            }

            /// # Safety
            ///
            /// As for [`wgmma`](super::wgmma).
            #[cfg(raddle_device)]
            #[inline(always)]
            pub(super) unsafe fn issue<const R: usize>(acc: &mut [f32; R], a: u64, b: u64, accumulates: bool) {
                let (acc, accumulates) = ((&raw mut *acc), u32::from(accumulates));
                // SAFETY: by the caller's contract; the array has `R` elements.
                unsafe {
                    match R {
                        $($registers => $name(acc.cast(), a, b, accumulates),)*
                        _ => {}
                    }
                }
            }
        }
    };
}

/// A module with one row for each N of an instruction with A in registers.
macro_rules! register_rows {
    (($module:ident $k:literal $types:literal $transposes:literal)
        $(($name:ident $n:literal $registers:tt $r0:literal $r1:literal $r2:literal $r3:literal $r4:literal $r5:literal))*
    ) => {
        pub(crate) mod $module {
            intrinsics! {
                ROWS, "wgmma.mma_async";
                $(fn $name(acc: *mut [f32; $registers], a: *const [u32; 4], b: u64, accumulates: u32) = concat!(
                    "raddle.asm.c.v:+f*", $registers, ",r*4,l,r:{ .reg .pred p; setp.ne.b32 p, ", $r5, ", 0; ",
                    "wgmma.mma_async.sync.aligned.m64n", $n, "k", $k, ".f32.", $types,
                    " {", registers!($registers), "}, {", $r0, ", ", $r1, ", ", $r2, ", ", $r3, "}, ", $r4,
                    ", p, 1, 1", $transposes, "; }"
                ), sm 90, ptx 80;)*
            }

            /// # Safety
            ///
            /// As for [`wgmma_registers`](super::wgmma_registers).
            #[cfg(raddle_device)]
            #[inline(always)]
            pub(super) unsafe fn issue<const R: usize>(acc: &mut [f32; R], a: &[u32; 4], b: u64, accumulates: bool) {
                let (acc, accumulates) = ((&raw mut *acc), u32::from(accumulates));
                // SAFETY: by the caller's contract; the array has `R` elements.
                unsafe {
                    match R {
                        $($registers => $name(acc.cast(), a, b, accumulates),)*
                        _ => {}
                    }
                }
            }
        }
    };
}

/// A module whose rows hold an accumulator in its registers at a point of the
/// program, so that the compiler moves no use of it across that point.
macro_rules! pin_rows {
    (($module:ident)
        $(($name:ident $n:literal $registers:tt $r0:literal $r1:literal $r2:literal $r3:literal $r4:literal $r5:literal))*
    ) => {
        pub(crate) mod $module {
            intrinsics! {
                ROWS, "wgmma.fence";
                $(fn $name(acc: *mut [f32; $registers]) = concat!(
                    "raddle.asm.v:+f*", $registers, ",~{memory}:// accumulator ", registers!($registers)
                ), sm 20, ptx 20;)*
            }

            /// Orders uses of `acc` with the asynchronous instructions around.
            #[cfg(raddle_device)]
            #[inline(always)]
            pub(super) fn pin<const R: usize>(acc: &mut [f32; R]) {
                let acc = &raw mut *acc;
                // SAFETY: no instruction; the array has `R` elements.
                unsafe {
                    match R {
                        $($registers => $name(acc.cast()),)*
                        _ => {}
                    }
                }
            }

            /// Whether an accumulator of `registers` registers exists.
            pub(super) const fn is_accumulator(registers: usize) -> bool {
                matches!(registers, $($registers)|*)
            }
        }
    };
}

for_each_size! { pin_rows (pins) }
for_each_size! { shared_rows (f16_kk 16 "f16.f16" ", 0, 0") }
for_each_size! { shared_rows (f16_km 16 "f16.f16" ", 0, 1") }
for_each_size! { shared_rows (f16_mk 16 "f16.f16" ", 1, 0") }
for_each_size! { shared_rows (f16_mm 16 "f16.f16" ", 1, 1") }
for_each_size! { register_rows (f16_rk 16 "f16.f16" ", 0") }
for_each_size! { register_rows (f16_rm 16 "f16.f16" ", 1") }
for_each_size! { shared_rows (bf16_kk 16 "bf16.bf16" ", 0, 0") }
for_each_size! { shared_rows (bf16_km 16 "bf16.bf16" ", 0, 1") }
for_each_size! { shared_rows (bf16_mk 16 "bf16.bf16" ", 1, 0") }
for_each_size! { shared_rows (bf16_mm 16 "bf16.bf16" ", 1, 1") }
for_each_size! { register_rows (bf16_rk 16 "bf16.bf16" ", 0") }
for_each_size! { register_rows (bf16_rm 16 "bf16.bf16" ", 1") }
for_each_size! { shared_rows (tf32_kk 8 "tf32.tf32" "") }
for_each_size! { register_rows (tf32_rk 8 "tf32.tf32" "") }
for_each_size! { shared_rows (e4m3_e4m3_kk 32 "e4m3.e4m3" "") }
for_each_size! { register_rows (e4m3_e4m3_rk 32 "e4m3.e4m3" "") }
for_each_size! { shared_rows (e4m3_e5m2_kk 32 "e4m3.e5m2" "") }
for_each_size! { register_rows (e4m3_e5m2_rk 32 "e4m3.e5m2" "") }
for_each_size! { shared_rows (e5m2_e4m3_kk 32 "e5m2.e4m3" "") }
for_each_size! { register_rows (e5m2_e4m3_rk 32 "e5m2.e4m3" "") }
for_each_size! { shared_rows (e5m2_e5m2_kk 32 "e5m2.e5m2" "") }
for_each_size! { register_rows (e5m2_e5m2_rk 32 "e5m2.e5m2" "") }

intrinsics! {
    WGMMA, "wgmma.fence, wgmma.commit_group, wgmma.wait_group";
    fn fence() = "raddle.asm.c.v:~{memory}:wgmma.fence.sync.aligned;", sm 90, ptx 80;
    fn commit_group() = "raddle.asm.c.v:~{memory}:wgmma.commit_group.sync.aligned;", sm 90, ptx 80;
    fn wait_0() = "raddle.asm.c.v:~{memory}:wgmma.wait_group.sync.aligned 0;", sm 90, ptx 80;
    fn wait_1() = "raddle.asm.c.v:~{memory}:wgmma.wait_group.sync.aligned 1;", sm 90, ptx 80;
    fn wait_2() = "raddle.asm.c.v:~{memory}:wgmma.wait_group.sync.aligned 2;", sm 90, ptx 80;
    fn wait_3() = "raddle.asm.c.v:~{memory}:wgmma.wait_group.sync.aligned 3;", sm 90, ptx 80;
    fn wait_4() = "raddle.asm.c.v:~{memory}:wgmma.wait_group.sync.aligned 4;", sm 90, ptx 80;
    fn wait_5() = "raddle.asm.c.v:~{memory}:wgmma.wait_group.sync.aligned 5;", sm 90, ptx 80;
    fn wait_6() = "raddle.asm.c.v:~{memory}:wgmma.wait_group.sync.aligned 6;", sm 90, ptx 80;
    fn wait_7() = "raddle.asm.c.v:~{memory}:wgmma.wait_group.sync.aligned 7;", sm 90, ptx 80;
}

/// The element types and layouts for which there is an instruction with both
/// operands in shared memory: `Self` is A's type, `B` that of B.
pub trait WgmmaShared<MA: Major, B: Float, MB: Major>: Float {
    /// Issues the instruction.
    ///
    /// # Safety
    ///
    /// As for [`wgmma`].
    #[cfg(raddle_device)]
    unsafe fn issue<const R: usize>(acc: &mut [f32; R], a: u64, b: u64, accumulates: bool);
}

/// A lane's part of A in registers, for which there is an instruction with B of
/// type `B`: four registers, laid out as A of `mma.sync` with the same K, for the
/// 16 rows of the warp.
pub trait WgmmaFragment<B: Float, MB: Major>: Copy {
    /// Element type of A.
    type Element: Float;

    /// Issues the instruction.
    ///
    /// # Safety
    ///
    /// As for [`wgmma_registers`].
    #[cfg(raddle_device)]
    unsafe fn issue<const R: usize>(&self, acc: &mut [f32; R], b: u64, accumulates: bool);
}

macro_rules! shared_products {
    ($($a:ident $ma:ident $b:ident $mb:ident $module:ident;)*) => { $(
        impl WgmmaShared<$ma, $b, $mb> for $a {
            #[cfg(raddle_device)]
            #[inline(always)]
            unsafe fn issue<const R: usize>(acc: &mut [f32; R], a: u64, b: u64, accumulates: bool) {
                // SAFETY: by the caller's contract.
                unsafe { $module::issue(acc, a, b, accumulates) }
            }
        }
    )* };
}
shared_products! {
    f16 KMajor f16 KMajor f16_kk;
    f16 KMajor f16 MnMajor f16_km;
    f16 MnMajor f16 KMajor f16_mk;
    f16 MnMajor f16 MnMajor f16_mm;
    bf16 KMajor bf16 KMajor bf16_kk;
    bf16 KMajor bf16 MnMajor bf16_km;
    bf16 MnMajor bf16 KMajor bf16_mk;
    bf16 MnMajor bf16 MnMajor bf16_mm;
    tf32 KMajor tf32 KMajor tf32_kk;
    f8e4m3 KMajor f8e4m3 KMajor e4m3_e4m3_kk;
    f8e4m3 KMajor f8e5m2 KMajor e4m3_e5m2_kk;
    f8e5m2 KMajor f8e4m3 KMajor e5m2_e4m3_kk;
    f8e5m2 KMajor f8e5m2 KMajor e5m2_e5m2_kk;
}

macro_rules! register_products {
    ($($a:ident $fragment:ty, $b:ident $mb:ident $module:ident;)*) => { $(
        impl WgmmaFragment<$b, $mb> for $fragment {
            type Element = $a;
            #[cfg(raddle_device)]
            #[inline(always)]
            unsafe fn issue<const R: usize>(&self, acc: &mut [f32; R], b: u64, accumulates: bool) {
                // SAFETY: a fragment is four registers of 32 bits.
                let a = unsafe { &*(&raw const *self).cast::<[u32; 4]>() };
                // SAFETY: by the caller's contract.
                unsafe { $module::issue(acc, a, b, accumulates) }
            }
        }
        const _: () = assert!(size_of::<$fragment>() == 16);
    )* };
}
register_products! {
    f16 [f16x2; 4], f16 KMajor f16_rk;
    f16 [f16x2; 4], f16 MnMajor f16_rm;
    bf16 [bf16x2; 4], bf16 KMajor bf16_rk;
    bf16 [bf16x2; 4], bf16 MnMajor bf16_rm;
    tf32 [tf32; 4], tf32 KMajor tf32_rk;
    f8e4m3 [[f8e4m3; 4]; 4], f8e4m3 KMajor e4m3_e4m3_rk;
    f8e4m3 [[f8e4m3; 4]; 4], f8e5m2 KMajor e4m3_e5m2_rk;
    f8e5m2 [[f8e5m2; 4]; 4], f8e4m3 KMajor e5m2_e4m3_rk;
    f8e5m2 [[f8e5m2; 4]; 4], f8e5m2 KMajor e5m2_e5m2_rk;
}

/// Starts `acc += a * b`, or `acc = a * b` if not `accumulates`, with A of 64×K
/// and B of K×N in shared memory; N is twice the accumulator's length: 8, 16, 24,
/// 32, 48, 64, 80, 96, 112, 128, 160, 192, 208, 224 or 256. PTX
/// `wgmma.mma_async`, `sm_90a`.
///
/// # Safety
///
/// All threads of the warpgroup make the call with the same descriptors, which
/// describe shared memory of this block that is initialised and that nobody
/// writes until the group of this product has been waited for; writes by ordinary
/// stores are followed by a proxy fence and a barrier. `acc` is not used between
/// this call and the wait, except by further products. The kernel requires
/// `sm_90a`.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub unsafe fn wgmma<A, B, MA: Major, MB: Major, const R: usize>(
    acc: &mut [f32; R],
    a: Operand<A, MA>,
    b: Operand<B, MB>,
    accumulates: bool,
) where
    A: WgmmaShared<MA, B, MB>,
    B: Float,
{
    const { assert!(pins::is_accumulator(R), "no `wgmma` has an accumulator of this length") };
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        A::issue(acc, a.descriptor.operand(), b.descriptor.operand(), accumulates);
    }
    #[cfg(not(raddle_device))]
    // SAFETY: by the caller's contract the operands can be read.
    unsafe {
        host::product(acc, host::Left::Shared(a), b, accumulates, Location::caller());
    }
}

/// [`wgmma`] with A in registers: `a` holds the 16 rows of each warp.
///
/// # Safety
///
/// As for [`wgmma`]; `a` is not changed until the product has been waited for.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub unsafe fn wgmma_registers<F, B, MB: Major, const R: usize>(
    acc: &mut [f32; R],
    a: &F,
    b: Operand<B, MB>,
    accumulates: bool,
) where
    F: WgmmaFragment<B, MB>,
    B: Float,
{
    const { assert!(pins::is_accumulator(R), "no `wgmma` has an accumulator of this length") };
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        a.issue(acc, b.descriptor.operand(), accumulates);
    }
    #[cfg(not(raddle_device))]
    {
        // SAFETY: a fragment is 16 bytes of numbers.
        let bytes = unsafe { *(&raw const *a).cast::<[u8; 16]>() };
        let left = host::Left::<F::Element, KMajor>::Registers(bytes);
        // SAFETY: by the caller's contract the operand can be read.
        unsafe { host::product(acc, left, b, accumulates, Location::caller()) };
    }
}

/// An operand in shared memory: where it lies and of what type its elements are.
#[derive(Clone, Copy, Debug)]
pub struct Operand<T, M: Major> {
    descriptor: MatrixDescriptor<M>,
    element: core::marker::PhantomData<T>,
}

impl<T, M: Major> Operand<T, M> {
    /// Elements of type `T` as `descriptor` describes.
    #[inline(always)]
    #[must_use]
    pub const fn new(descriptor: MatrixDescriptor<M>) -> Self {
        Self { descriptor, element: core::marker::PhantomData }
    }

    /// The operand `bytes` further, a multiple of 16; see
    /// [`MatrixDescriptor::advance`].
    #[inline(always)]
    #[must_use]
    pub fn advance(self, bytes: u32) -> Self {
        Self::new(self.descriptor.advance(bytes))
    }
}

/// Orders earlier accesses to `acc` before the products that follow. PTX
/// `wgmma.fence`, `sm_90a`.
///
/// Needed before the first [`wgmma`] and whenever the accumulator, or an operand
/// in registers, has been touched since the last.
///
/// # Safety
///
/// All threads of the warpgroup make the call; the kernel requires `sm_90a`.
#[inline(always)]
pub unsafe fn wgmma_fence<const R: usize>(acc: &mut [f32; R]) {
    #[cfg(raddle_device)]
    {
        pins::pin(acc);
        // SAFETY: by the caller's contract.
        unsafe { fence() };
    }
    #[cfg(not(raddle_device))]
    let _ = acc;
}

/// Closes the products started since the last commit into one group. PTX
/// `wgmma.commit_group`, `sm_90a`.
///
/// # Safety
///
/// All threads of the warpgroup make the call; the kernel requires `sm_90a`.
#[inline(always)]
pub unsafe fn wgmma_commit() {
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        commit_group();
    }
}

/// [`wgmma_fence`] between products on accumulators that nothing else has
/// touched: it leaves `acc` alone, which may be under way.
///
/// # Safety
///
/// As for [`wgmma_fence`].
#[inline(always)]
pub unsafe fn wgmma_fence_running() {
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        fence();
    }
}

/// Waits until at most the `N` youngest groups are under way, and makes `acc`,
/// which none of them writes, readable. PTX `wgmma.wait_group`, `sm_90a`; `N` is at
/// most 7.
///
/// # Safety
///
/// All threads of the warpgroup make the call; the kernel requires `sm_90a`.
#[inline(always)]
pub unsafe fn wgmma_wait<const N: u32, const R: usize>(acc: &mut [f32; R]) {
    // SAFETY: by the caller's contract.
    unsafe { wgmma_wait_running::<N>() };
    #[cfg(raddle_device)]
    pins::pin(acc);
    #[cfg(not(raddle_device))]
    let _ = acc;
}

/// Waits until at most the `N` youngest groups are under way, whose accumulators
/// stay untouched: the operands of older groups may be overwritten afterwards.
/// PTX `wgmma.wait_group`, `sm_90a`; `N` is at most 7.
///
/// # Safety
///
/// All threads of the warpgroup make the call; the kernel requires `sm_90a`.
#[inline(always)]
pub unsafe fn wgmma_wait_running<const N: u32>() {
    const { assert!(N <= 7, "`wgmma_wait` leaves at most 7 groups under way") };
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        match N {
            0 => wait_0(),
            1 => wait_1(),
            2 => wait_2(),
            3 => wait_3(),
            4 => wait_4(),
            5 => wait_5(),
            6 => wait_6(),
            _ => wait_7(),
        }
    }
}

#[cfg(not(raddle_device))]
mod host;
