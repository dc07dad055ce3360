//! Loops over large outputs on all cores.
//!
//! Bodies come as `dyn Fn`, so that the machinery of the thread pool is
//! compiled once for each element type and not once for each operation. Where the
//! pool has one thread only, loops run where they are.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

/// Outputs below this many elements are not worth waking a thread.
const PARALLEL_LEN_MIN: usize = 1 << 15;

/// Elements of one piece of work.
const PIECE_LEN: usize = 1 << 13;

/// Whether a run is inside the pool.
static IS_ENTERED: AtomicBool = AtomicBool::new(false);

/// Runs something with many loops on a thread of the pool, so that not every loop
/// hands its work over and waits to be woken. One run at a time: a thread of the
/// pool that waits for others takes on other work, and with several runs that
/// could be a whole run, and another inside that one.
pub fn inside<R: Send>(run: impl FnOnce() -> R + Send) -> R {
    let is_alone = rayon::current_num_threads() == 1 || rayon::current_thread_index().is_some();
    if is_alone || IS_ENTERED.swap(true, Ordering::Relaxed) {
        return run();
    }
    /// Lets the next run in, after a panic too.
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            IS_ENTERED.store(false, Ordering::Relaxed);
        }
    }
    let _leave = Leave;
    rayon::scope(|_| run())
}

/// Calls `body(row, column, piece)` for pieces that together are `out`, whose
/// rows are `row_len` long. A piece lies within one row.
pub fn rows<T: Send>(
    out: &mut [T],
    row_len: usize,
    body: &(dyn Fn(usize, usize, &mut [T]) + Sync),
) {
    if out.is_empty() || row_len == 0 {
        return;
    }
    let serial = |first_row: usize, part: &mut [T]| {
        for (at, row) in part.chunks_mut(row_len).enumerate() {
            body(first_row + at, 0, row);
        }
    };
    if out.len() < PARALLEL_LEN_MIN || rayon::current_num_threads() == 1 {
        serial(0, out);
    } else if row_len < 2 * PIECE_LEN {
        let rows_per_part = PIECE_LEN.div_ceil(row_len);
        out.par_chunks_mut(rows_per_part * row_len)
            .enumerate()
            .for_each(|(part, piece)| serial(part * rows_per_part, piece));
    } else {
        out.par_chunks_mut(row_len).enumerate().for_each(|(row, line)| {
            line.par_chunks_mut(PIECE_LEN)
                .enumerate()
                .for_each(|(part, piece)| body(row, part * PIECE_LEN, piece));
        });
    }
}

/// Calls `body(index, part)` for consecutive parts of `part_len`, each a piece
/// of work of its own however small.
pub fn parts<T: Send>(out: &mut [T], part_len: usize, body: &(dyn Fn(usize, &mut [T]) + Sync)) {
    if out.is_empty() || part_len == 0 {
        return;
    }
    if out.len() <= part_len || rayon::current_num_threads() == 1 {
        out.chunks_mut(part_len).enumerate().for_each(|(at, part)| body(at, part));
    } else {
        out.par_chunks_mut(part_len).enumerate().for_each(|(at, part)| body(at, part));
    }
}

/// Calls `body(row, line)` for each whole row of `row_len` elements of `out`.
pub fn whole_rows<T: Send>(out: &mut [T], row_len: usize, body: &(dyn Fn(usize, &mut [T]) + Sync)) {
    if row_len == 0 {
        return;
    }
    let rows_per_part = PIECE_LEN.div_ceil(row_len);
    parts(out, rows_per_part * row_len, &|part, lines| {
        for (at, line) in lines.chunks_mut(row_len).enumerate() {
            body(part * rows_per_part + at, line);
        }
    });
}

/// What is done with some rows of a plane.
type RowsBody<'a> = dyn Fn(usize, Range<usize>, &mut [f32]) + Sync + 'a;

/// Calls `body(plane, rows, part)` for parts of planes of `[height, row_len]`, each
/// with at most so many rows.
pub fn rows_of_planes(
    out: &mut [f32],
    [height, row_len]: [usize; 2],
    rows_max: usize,
    body: &RowsBody<'_>,
) {
    let parts_of_plane = height.div_ceil(rows_max.min(height));
    let rows = height.div_ceil(parts_of_plane);
    let planes_per_part = (rows_max / height).max(1);
    if planes_per_part > 1 {
        parts(out, planes_per_part * height * row_len, &|part, planes| {
            for (at, plane) in planes.chunks_mut(height * row_len).enumerate() {
                body(part * planes_per_part + at, 0..height, plane);
            }
        });
        return;
    }
    let work: Vec<(usize, Range<usize>, &mut [f32])> = out
        .chunks_mut(height * row_len)
        .enumerate()
        .flat_map(|(plane, out)| {
            let part = move |(at, part): (usize, _)| {
                (plane, at * rows..((at + 1) * rows).min(height), part)
            };
            out.chunks_mut(rows * row_len).enumerate().map(part)
        })
        .collect();
    if work.len() == 1 || rayon::current_num_threads() == 1 {
        work.into_iter().for_each(|(plane, rows, part)| body(plane, rows, part));
    } else {
        work.into_par_iter().for_each(|(plane, rows, part)| body(plane, rows, part));
    }
}
