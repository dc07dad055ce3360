//! The host body of `wgmma`.
//!
//! Each thread of the warpgroup reads its share of both operands before the
//! rendezvous and offers it as `f32`s, so that nobody reads shared memory after
//! the call: the operands may be overwritten as soon as one thread is past it.

use core::panic::Location;
use std::vec::Vec;

use super::{Major, Operand};
use crate::float::Float;

/// Threads of a warpgroup.
const THREADS: usize = 128;
/// Rows of the product.
const ROWS: usize = 64;
/// Bytes of `k` that one instruction covers.
const K_BYTES: usize = 32;

/// Where A is.
pub(super) enum Left<A, M: Major> {
    /// In shared memory.
    Shared(Operand<A, M>),
    /// In registers: this thread's fragment.
    Registers([u8; 16]),
}

/// `acc += a * b` for this thread's elements.
///
/// # Safety
///
/// The operands' shared memory can be read.
pub(super) unsafe fn product<A, B, MA, MB, const R: usize>(
    acc: &mut [f32; R],
    a: Left<A, MA>,
    b: Operand<B, MB>,
    accumulates: bool,
    at: &'static Location<'static>,
) where
    A: Float,
    B: Float,
    MA: Major,
    MB: Major,
{
    let (k_len, columns) = (K_BYTES / size_of::<A>(), 2 * R);
    let (a_share, b_share) = (ROWS * k_len / THREADS, columns * k_len / THREADS);
    let thread = crate::index::thread_linear() as usize % THREADS;
    let mut mine = Vec::with_capacity(a_share + b_share);
    for i in 0..a_share {
        // SAFETY: by the caller's contract.
        mine.push(unsafe { left_element(&a, k_len, thread, i) });
    }
    for index in b_share * thread..b_share * (thread + 1) {
        // SAFETY: by the caller's contract.
        mine.push(unsafe { shared_element(&b, index / k_len, index % k_len) });
    }
    let all = exchange(&mine, at);
    let share = a_share + b_share;
    let place_in_a = match a {
        Left::Shared(_) => |row: usize, k: usize, k_len: usize| {
            let (index, share) = (row * k_len + k, ROWS * k_len / THREADS);
            (index / share, index % share)
        },
        Left::Registers(_) => place_in_fragment,
    };
    for (j, element) in acc.iter_mut().enumerate() {
        let (row, column) = crate::matrix::accumulator_place(thread as u32 % 32, j as u32 % 4);
        let (row, column) = (row as usize + thread / 32 * 16, column as usize + j / 4 * 8);
        let mut sum = if accumulates { *element } else { 0.0 };
        for k in 0..k_len {
            let (owner, i) = place_in_a(row, k, k_len);
            let index = column * k_len + k;
            sum +=
                all[owner * share + i] * all[index / b_share * share + a_share + index % b_share];
        }
        *element = sum;
    }
}

/// Everybody's values, thread by thread.
fn exchange(mine: &[f32], at: &'static Location<'static>) -> Vec<f32> {
    let mut all = std::vec![0.0f32; mine.len() * THREADS];
    let bytes = size_of_val(mine);
    // SAFETY: `f32` has no padding, and any bytes are an `f32`.
    let (payload, results) = unsafe {
        (
            core::slice::from_raw_parts(mine.as_ptr().cast::<u8>(), bytes),
            core::slice::from_raw_parts_mut(all.as_mut_ptr().cast::<u8>(), bytes * THREADS),
        )
    };
    crate::host::engine().group_collect((THREADS / 32) as u32, payload, results, at);
    all
}

/// Element `i` of this thread's share of A.
///
/// # Safety
///
/// An operand in shared memory can be read.
unsafe fn left_element<A: Float, M: Major>(
    a: &Left<A, M>,
    k_len: usize,
    thread: usize,
    i: usize,
) -> f32 {
    match a {
        Left::Shared(operand) => {
            let index = ROWS * k_len / THREADS * thread + i;
            // SAFETY: by the caller's contract.
            unsafe { shared_element(operand, index / k_len, index % k_len) }
        }
        Left::Registers(bytes) => {
            // SAFETY: the fragment holds 16 bytes of elements.
            let element = unsafe { bytes.as_ptr().cast::<A>().add(i).read_unaligned() };
            as_operand(element)
        }
    }
}

/// # Safety
///
/// The operand can be read.
unsafe fn shared_element<T: Float, M: Major>(operand: &Operand<T, M>, mn: usize, k: usize) -> f32 {
    let address = operand.descriptor.element(mn, k, size_of::<T>());
    // SAFETY: by the caller's contract.
    as_operand(unsafe { address.cast::<T>().read() })
}

/// The number that the tensor core sees: of 32-bit elements the tf32 part.
fn as_operand<T: Float>(element: T) -> f32 {
    let value = element.to_f32();
    if size_of::<T>() == 4 { f32::from_bits(value.to_bits() & !0x1fff) } else { value }
}

/// Thread and index that hold element (row, k) of a fragment of A: the inverse
/// of the table in [`crate::matrix`], for four registers of `16 / k_len * 2`
/// elements.
fn place_in_fragment(row: usize, k: usize, k_len: usize) -> (usize, usize) {
    // Elements of a register: 1 (tf32), 2 or 4.
    let packed = k_len / 8;
    let register = row % 16 / 8 + k / (k_len / 2) * 2;
    let lane = row % 8 * 4 + k % (k_len / 2) / packed;
    (row / 16 * 32 + lane, register * packed + k % packed)
}
