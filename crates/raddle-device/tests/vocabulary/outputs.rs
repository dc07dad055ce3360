//! Exclusive outputs: every element belongs to exactly one thread.

use raddle_device::index::{global_x, thread_linear};
use raddle_device::output::{
    PerBlock, PerBlockTile, PerThread, PerThreadChunks, RawChunks, RawMatrix,
};
use raddle_device::param::{KernelParam, RawSlice};

use crate::harness::{Shape, block_of};

/// Memory for outputs, aligned as the host promises.
#[repr(align(16))]
struct Memory([u32; 4096]);

impl Memory {
    fn new() -> Box<Self> {
        Box::new(Self([0; 4096]))
    }

    fn raw(&mut self, len: usize) -> RawSlice {
        assert!(len <= self.0.len());
        RawSlice { ptr: self.0.as_mut_ptr() as u64, len: len as u64 }
    }

    /// Elements below `len` were written once, those beyond never.
    fn check(&self, what: &str, owns: impl Fn(usize) -> bool) {
        for (index, &count) in self.0.iter().enumerate() {
            assert_eq!(count, u32::from(owns(index)), "{what}: element {index}");
        }
    }
}

const GRIDS: &[(u32, u32)] = &[(1, 1), (1, 33), (3, 32), (7, 40), (64, 128)];
const LENGTHS: &[usize] = &[0, 1, 31, 64, 1000, 4096];

fn grid(blocks: u32, threads: u32) -> Shape {
    Shape { grid: [blocks, 1, 1], ..block_of(threads) }
}

#[test]
fn per_thread() {
    for &(blocks, threads) in GRIDS {
        for &len in LENGTHS {
            let mut memory = Memory::new();
            let raw = memory.raw(len);
            grid(blocks, threads).run(|| {
                // SAFETY: `raw` describes live memory that nobody else uses.
                let mut out = unsafe { PerThread::<u32>::from_raw(&raw) };
                assert_eq!(out.len(), len);
                let mine = out.mine().map(|(index, _)| index);
                assert_eq!(mine, (global_x() < len).then(global_x));
                for (index, element) in out.iter_mut() {
                    *element += 1;
                    assert!(index < len);
                }
            });
            memory.check("per thread", |index| index < len);
        }
    }
}

#[test]
fn per_thread_chunks() {
    for &(blocks, threads) in GRIDS {
        for len in [0, 4, 32, 1000, 4096] {
            let mut memory = Memory::new();
            let raw = memory.raw(len);
            grid(blocks, threads).run(|| {
                // SAFETY: `raw` describes live memory that nobody else uses.
                let mut out = unsafe { PerThreadChunks::<u32, 4>::from_raw(&raw) };
                assert_eq!((out.len(), out.chunks(), out.is_empty()), (len, len / 4, len == 0));
                let mine = out.mine().map(|(chunk, _)| chunk);
                assert_eq!(mine, (global_x() < len / 4).then(global_x));
                for (_, chunk) in out.iter_mut() {
                    *chunk = chunk.map(|count| count + 1);
                }
            });
            memory.check("chunks", |index| index < len);
        }
    }
}

#[test]
fn per_block() {
    for &(blocks, threads) in GRIDS {
        for (len, chunk_len) in [(4096, 256), (4000, 40), (8, 8), (0, 4)] {
            let mut memory = Memory::new();
            let raw = RawChunks { slice: memory.raw(len), chunk_len: chunk_len as u64 };
            grid(blocks, threads).run(|| {
                // SAFETY: `raw` describes live memory that nobody else uses.
                let mut out = unsafe { PerBlock::<u32, 4>::from_raw(&raw) };
                for (_, mut chunk) in out.iter_mut() {
                    for (index, vector) in chunk.iter_mut() {
                        *vector = vector.map(|count| count + 1);
                        assert!(index % 4 == 0 && index < chunk_len);
                    }
                    let vectors = (0..chunk_len).filter(|&i| chunk.get_mut(i).is_some()).count();
                    assert_eq!(vectors, chunk.iter_mut().count());
                }
            });
            memory.check("per block", |index| index < len);
        }
    }
}

fn check_tiles<const ROWS: usize, const COLS: usize, const N: usize>(
    (rows, cols, stride): (usize, usize, usize),
    shape: Shape,
) {
    let mut memory = Memory::new();
    let raw = RawMatrix {
        slice: memory.raw(if rows == 0 { 0 } else { (rows - 1) * stride + cols }),
        rows: rows as u64,
        cols: cols as u64,
        stride: stride as u64,
    };
    let what = format!("{ROWS}x{COLS} by {N} in {rows}x{cols}, {shape:?}");
    shape.run(|| {
        // SAFETY: `raw` describes live memory that nobody else uses.
        let mut out = unsafe { PerBlockTile::<u32, ROWS, COLS, N>::from_raw(&raw) };
        assert_eq!((out.rows(), out.cols()), (rows, cols));
        for mut tile in out.iter_mut() {
            let (first_row, first_col) = (tile.first_row(), tile.first_col());
            let mut owned = Vec::new();
            for (row, col, vector) in tile.iter_mut() {
                *vector = vector.map(|count| count + 1);
                assert!(first_row + row < rows && first_col + col + N <= cols);
                owned.push((row, col));
            }
            for row in 0..ROWS + 1 {
                for col in 0..COLS + 1 {
                    let is_mine = tile.get_mut(row, col).is_some();
                    assert_eq!(is_mine, owned.contains(&(row, col)), "thread {}", thread_linear());
                }
            }
        }
    });
    memory.check(&what, |index| index / stride < rows && index % stride < cols);
}

#[test]
fn per_block_tiles() {
    let shapes = [([1, 1], [32, 1]), ([2, 3], [8, 4]), ([5, 9], [7, 3]), ([1, 4], [16, 16])];
    for (grid, block) in shapes {
        let shape =
            Shape { grid: [grid[0], grid[1], 1], block: [block[0], block[1], 1], ..block_of(1) };
        for matrix in [(48, 32, 32), (50, 40, 60), (1, 4, 8), (3, 64, 64), (0, 8, 8)] {
            check_tiles::<16, 16, 1>(matrix, shape);
            check_tiles::<8, 32, 4>(matrix, shape);
            check_tiles::<3, 4, 2>(matrix, shape);
        }
        check_tiles::<16, 16, 1>((33, 31, 37), shape);
    }
}
