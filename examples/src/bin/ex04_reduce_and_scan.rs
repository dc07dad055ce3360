//! 04: a sum and a running sum over the whole grid.
//!
//! Threads of a block combine their values with `block_all_reduce` and the scans;
//! blocks meet at the end of a kernel only, so that anything larger takes several
//! launches. All outputs are exclusive, hence everything here is safe Rust:
//!
//! ```text
//! x        |  chunk 0  |  chunk 1  |  chunk 2  |      one block each
//! scanned  |  running  |  running  |  running  |      within its chunk
//! totals   [ t0, t1, t2 ]  ->  [ t0, t0+t1, t0+t1+t2 ]  by one block
//! scanned  |           |   + t0    |  + t0+t1  |
//! ```
//!
//! ```text
//! cargo run --release -p raddle-examples --bin ex04_reduce_and_scan
//! ```

use std::process::ExitCode;

use kernels::THREADS;
use raddle::prelude::*;
use raddle_examples::{
    Outcome, Sizes, expect_equal, gb_per_s, median_ms, on_best_device, print_rate,
};

mod kernels {
    use raddle::prelude::*;

    /// Threads of a block. A kernel that states them needs no code for others.
    pub const THREADS: u32 = 256;

    /// One sum for each block: over every `gridDim`th element of `x`, so that a
    /// warp reads neighbouring elements.
    #[kernel(block = THREADS, instances(u32, u64))]
    pub fn sum<T: DeviceType + Into<u64>>(x: &[T], mut sums: PerBlock<u64>) {
        let elements = x.iter().skip(global_x()).step_by(global_dim_x());
        let mine: u64 = elements.map(|&x| x.into()).sum();
        let of_block = block_all_reduce(mine, |a, b| a + b);
        for (_, mut slot) in sums.iter_mut() {
            // The thread that owns the slot's only element writes it.
            slot.iter_mut().for_each(|(_, sum)| *sum = [of_block]);
        }
    }

    /// Running sums within each chunk, and each chunk's total. A chunk may be
    /// longer than what the block scans at once: `carry` is the sum so far.
    #[kernel(block = THREADS)]
    pub fn scan_chunks(x: &[u32], mut scanned: PerBlock<u32, 4>, mut totals: PerBlock<u32>) {
        let chunk_len = scanned.chunk_len();
        let threads = block_dim_x() as usize;
        for ((c, mut chunk), (_, mut total)) in scanned.iter_mut().zip(totals.iter_mut()) {
            let x = x.get(c * chunk_len..).unwrap_or_default();
            let mut carry = 0;
            // Every thread takes part in every round, since a scan has barriers.
            for round in (0..chunk_len).step_by(4 * threads) {
                let first = round + 4 * thread_x() as usize;
                let mut sums = [0; 4];
                let mut sum = 0;
                for (i, running) in sums.iter_mut().enumerate() {
                    let is_inside = first + i < chunk_len;
                    sum += x.get(first + i).filter(|_| is_inside).copied().unwrap_or(0);
                    *running = sum;
                }
                let before = block_exclusive_scan(sum, 0, |a, b| a + b);
                if let Some(out) = chunk.get_mut(first) {
                    *out = sums.map(|sum| carry + before.value + sum);
                }
                carry += before.total;
            }
            total.iter_mut().for_each(|(_, total)| *total = [carry]);
        }
    }

    /// Adds to each chunk what all chunks before it sum up to.
    #[kernel]
    pub fn add_before(running_totals: &[u32], mut scanned: PerBlock<u32, 4>) {
        for (c, mut chunk) in scanned.iter_mut() {
            if c > 0 {
                let before = running_totals[c - 1];
                chunk.iter_mut().for_each(|(_, values)| *values = values.map(|v| before + v));
            }
        }
    }
}

/// Elements that a block scans.
const CHUNK_LEN: usize = 8 * 1024;

fn main() -> ExitCode {
    on_best_device(Sizes { gpu: 1 << 28, cpu: 1 << 20 }, run)
}

fn run(device: &Device, n: usize) -> Outcome {
    let stream = device.stream()?;
    let x: Vec<u32> = (0..n as u32).map(|i| i.wrapping_mul(2_654_435_761) >> 29).collect();
    let x_device = stream.upload(&x)?;

    let expected: u64 = x.iter().map(|&x| u64::from(x)).sum();
    expect_equal("sum", &[sum(&stream, &x_device)?], &[expected])?;
    let ms = median_ms(&stream, || sum(&stream, &x_device).map(drop))?;
    print_rate("sum", ms, gb_per_s(4 * n, ms), "GB/s");

    let mut running = 0;
    let expected: Vec<u32> = x.iter().map(|x| (running += x, running).1).collect();
    let scanned = scan(&stream, &x_device)?.slice(..n)?.to_vec()?;
    expect_equal("running sum", &scanned, &expected)?;
    let ms = median_ms(&stream, || scan(&stream, &x_device).map(drop))?;
    // Reads x; writes, reads and writes the running sums.
    print_rate("running sum", ms, gb_per_s(4 * 4 * n, ms), "GB/s");
    Ok(())
}

/// The sum of all elements, in two launches.
fn sum(stream: &Stream, x: &Buffer<u32>) -> Outcome<u64> {
    // Enough blocks to keep every multiprocessor busy, and few enough for one
    // block to sum their results.
    let blocks = 8 * stream.device().multiprocessor_count();
    let mut sums = stream.zeros::<u64>(blocks as usize)?;
    stream.launch(Grid::new(blocks, THREADS), kernels::sum(x, sums.chunks_mut(1)))?;
    let mut total = stream.zeros::<u64>(1)?;
    stream.launch(Grid::new(1, THREADS), kernels::sum(&sums, total.chunks_mut(1)))?;
    Ok(total.to_vec()?[0])
}

/// The running sums, followed by the last one up to a whole number of chunks.
fn scan(stream: &Stream, x: &Buffer<u32>) -> Outcome<Buffer<u32>> {
    let chunks = x.len().div_ceil(CHUNK_LEN);
    let grid = Grid::new(chunks as u32, THREADS);
    let mut scanned = stream.zeros::<u32>(chunks * CHUNK_LEN)?;
    // Threads scan four elements at a time, so there are zeros at the end.
    let totals_len = chunks.next_multiple_of(4);
    let mut totals = stream.zeros::<u32>(totals_len)?;
    let call = kernels::scan_chunks(x, scanned.chunks_mut(CHUNK_LEN), totals.chunks_mut(1));
    stream.launch(grid, call)?;
    let mut running = stream.zeros::<u32>(totals_len)?;
    let mut total = stream.zeros::<u32>(1)?;
    let call = kernels::scan_chunks(&totals, running.chunks_mut(totals_len), total.chunks_mut(1));
    stream.launch(Grid::new(1, THREADS), call)?;
    stream.launch(grid, kernels::add_before(&running, scanned.chunks_mut(CHUNK_LEN)))?;
    Ok(scanned)
}

#[cfg(test)]
mod tests {
    #[test]
    fn sums_are_exact() {
        raddle_examples::on_every_device(&[1, 8192, 50_001], super::run);
    }
}
