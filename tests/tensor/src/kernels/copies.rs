//! Cache hints, `cp.async`, `ldmatrix` and `stmatrix`.

use raddle::device::matrix::*;
use raddle::prelude::*;

/// Copies through every kind of load and store.
#[kernel]
pub fn hinted(input: &[F32x4], mut out: PerThread<[F32x4; 8]>) {
    for (i, results) in out.iter_mut() {
        let source = &input[i];
        prefetch_l1(source);
        prefetch_l2(source);
        // SAFETY: the input is global memory that nobody writes.
        unsafe {
            prefetch_l2_evict_last(source);
            results[0] = load_nc(source);
            results[1] = load_nc_no_allocate(source);
            results[2] = load_evict_first(source);
            results[3] = load_evict_last(source);
        }
        store_cg(&mut results[4], load_cg(source));
        store_cs(&mut results[5], load_cs(source));
        store_wt(&mut results[6], load_cv(source));
        // Narrower accesses, byte by byte and in halves.
        let words: [f32; 4] = source.to_array();
        store_cs(&mut results[7][0], load_cg(&source[0]));
        store_cs(&mut results[7][1], words[1]);
        let bits = [load_cs(&source[2]), load_cv(&source[3])];
        results[7][2] = bits[0];
        results[7][3] = bits[1];
    }
}

/// Narrow hinted accesses: bytes, halves and 8 bytes.
#[kernel]
pub fn hinted_narrow(bytes: &[u8], halves: &[u16], wide: &[u64], mut out: PerThread<u64>) {
    for (i, result) in out.iter_mut() {
        // SAFETY: the inputs are global memory that nobody writes.
        let (byte, half, word) =
            unsafe { (load_nc(&bytes[i]), load_nc(&halves[i]), load_nc(&wide[i])) };
        store_cg(result, u64::from(byte) + u64::from(half) + word + u64::from(load_cs(&bytes[i])));
    }
}

/// `cp.async` of each size, whole and with zeros, one block of 64 threads.
#[kernel(block = 64)]
pub fn async_copies(input: &[[u32; 4]], mut out: PerThread<[[u32; 4]; 5]>) {
    let tile = shared!([[[u32; 4]; 5]; 64]);
    let t = thread_x() as usize;
    let mine = tile.as_ptr().cast::<[[u32; 4]; 5]>().wrapping_add(t);
    let source = &raw const input[t];
    // SAFETY: each thread copies to its own part of shared memory and reads it
    // after the wait.
    unsafe {
        let place = |i: usize| mine.cast::<[u32; 4]>().add(i);
        copy_async(place(0), source);
        copy_async_commit();
        copy_async_cg(place(1), source);
        copy_async_commit();
        copy_async_cg_l2_128(place(2), source);
        copy_async_or_zero(place(3), source, (t % 17) as u32);
        copy_async_commit();
        for i in 0..2 {
            copy_async(place(4).cast::<u32>().add(i), source.cast::<u32>().add(i));
        }
        copy_async(place(4).cast::<[u32; 2]>().add(1), source.cast::<[u32; 2]>().add(1));
        copy_async_commit();
        copy_async_wait::<1>();
        copy_async_wait::<0>();
        copy_async_wait_all();
        if let Some((_, result)) = out.mine() {
            *result = mine.read();
        }
    }
}

/// `cp.async` that an mbarrier counts: each thread reads its neighbour's copy in each
/// of two phases, one by each kind of arrival.
#[kernel(block = 64)]
pub fn counted_copies(input: &[[u32; 4]], mut out: PerThread<[[u32; 4]; 2]>) {
    let tile = shared!([[u32; 4]; 128]);
    let mut barriers = shared!([Mbarrier; 1]);
    let barriers = barriers.init_mbarriers(|_| 64);
    let place = tile.as_ptr().cast::<[u32; 4]>();
    let t = thread_x() as usize;
    // SAFETY: each thread copies to places of its own, and reads others' after the
    // phase that counts their copies.
    unsafe {
        copy_async(place.add(t), &raw const input[t]);
        copy_async_arrive(&barriers[0]);
        barriers[0].wait_parity(0);
        let first = place.add((t + 1) % 64).read();
        copy_async_cg(place.add(64 + t), &raw const input[64 + t]);
        copy_async_hold(&barriers[0]);
        let arrival = barriers[0].arrive();
        barriers[0].wait(arrival);
        if let Some((_, result)) = out.mine() {
            *result = [first, place.add(64 + (t + 1) % 64).read()];
        }
    }
}

/// Loads a 32×8 tile of halves with every `ldmatrix`; one warp.
#[kernel(block = 32)]
pub fn ldmatrices(input: &[u16], mut out: PerThread<[u32; 14]>) {
    let mut tile = shared!([u16; 256]);
    let tile = tile.fill(|i| input[i]);
    let row = &raw const tile[lane() as usize * 8];
    // SAFETY: rows of the shared tile, which nobody writes any more.
    let (one, two, four, one_t, two_t, four_t) = unsafe {
        (
            ldmatrix_x1(row),
            ldmatrix_x2(row),
            ldmatrix_x4(row),
            ldmatrix_x1_trans(row),
            ldmatrix_x2_trans(row),
            ldmatrix_x4_trans(row),
        )
    };
    if let Some((_, result)) = out.mine() {
        result[0] = one[0];
        result[1..3].copy_from_slice(&two);
        result[3..7].copy_from_slice(&four);
        result[7] = one_t[0];
        result[8..10].copy_from_slice(&two_t);
        result[10..14].copy_from_slice(&four_t);
    }
}

/// Stores registers with every `stmatrix` and gives back the six tiles; one warp.
#[kernel(block = 32, arch = 90)]
pub fn stmatrices(input: &[[u32; 4]], mut out: PerThread<[u32; 24]>) {
    let tiles = shared!([[u32; 128]; 6]);
    let lane = lane() as usize;
    let row = |tile: usize| tiles.as_ptr().cast::<[u32; 4]>().wrapping_add(32 * tile + lane);
    for tile in 0..6 {
        // SAFETY: each lane clears its own row.
        unsafe { row(tile).write([0; 4]) };
    }
    barrier();
    let [a, b, c, d] = input[lane];
    // SAFETY: rows of the shared tiles, one for each lane.
    unsafe {
        stmatrix_x1(row(0), [a]);
        stmatrix_x2(row(1), [a, b]);
        stmatrix_x4(row(2), [a, b, c, d]);
        stmatrix_x1_trans(row(3), [a]);
        stmatrix_x2_trans(row(4), [a, b]);
        stmatrix_x4_trans(row(5), [a, b, c, d]);
    }
    barrier();
    if let Some((_, result)) = out.mine() {
        for tile in 0..6 {
            // SAFETY: written before the barrier.
            let words = unsafe { row(tile).read() };
            result[4 * tile..4 * tile + 4].copy_from_slice(&words);
        }
    }
}
