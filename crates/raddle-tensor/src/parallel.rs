//! Loops over large outputs on all cores.
//!
//! Bodies come as `dyn Fn`, so that the machinery of the thread pool is
//! compiled once for each element type and not once for each operation. Where the
//! pool has one thread only, loops run where they are.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Outputs below this many elements are not worth waking a thread.
const PARALLEL_LEN_MIN: usize = 1 << 15;

/// Elements of one piece of work.
const PIECE_LEN: usize = 1 << 13;

/// Most tasks that small parts are gathered into.
const TASKS_PER_THREAD_MAX: usize = 32;

/// Whether a run is inside the pool.
static IS_ENTERED: AtomicBool = AtomicBool::new(false);

/// The thread of the pool that it is on.
static RUNNER: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Threads that look for work of it, or were asked to.
static HELPERS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether this thread is one of them.
    static IS_HELPING: Cell<bool> = const { Cell::new(false) };
}

/// Most of those: what they do is wait, mostly.
const HELPERS_MAX: usize = 7;

/// How long one of them looks for work in vain. Most loops of a network follow each
/// other within less, and a thread that sleeps takes about as long to wake.
const HELP_MAX: Duration = Duration::from_micros(200);

/// Pauses between two looks.
const PAUSES: usize = 32;

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
            RUNNER.store(usize::MAX, Ordering::Relaxed);
            IS_ENTERED.store(false, Ordering::Relaxed);
        }
    }
    let _leave = Leave;
    rayon::scope(|_| {
        RUNNER.store(rayon::current_thread_index().unwrap_or(usize::MAX), Ordering::Relaxed);
        run()
    })
}

/// Runs tasks on all cores; `init` makes what a thread works with.
///
/// Each thread begins with a range of its own, so that it finds what it wrote in the
/// loop ahead in its own caches, and then takes tasks from the ends of others' ranges.
/// The calling thread waits for the last tasks awake: a thread that yields on a busy
/// machine gets no turn for as long as the tasks of many loops take.
pub fn each<T: Send, S>(
    tasks: Vec<T>,
    init: &(impl Fn() -> S + Sync),
    run: &(impl Fn(&mut S, T) + Sync),
) {
    let count = tasks.len();
    let threads = rayon::current_num_threads().min(count);
    if threads <= 1 {
        let mut scratch = init();
        return tasks.into_iter().for_each(|task| run(&mut scratch, task));
    }
    call_helpers();
    let left = AtomicUsize::new(count);
    let mut tasks = tasks.into_iter();
    let range = |at: usize| (at + 1) * count / threads - at * count / threads;
    let ranges: Vec<Mutex<VecDeque<T>>> =
        (0..threads).map(|at| Mutex::new(tasks.by_ref().take(range(at)).collect())).collect();
    // A task that panics leaves the others as they are.
    let range = |at: usize| ranges[at].lock().unwrap_or_else(PoisonError::into_inner);
    let work = || {
        let own = rayon::current_thread_index().unwrap_or(0) % threads;
        let next = || {
            let found = range(own).pop_front();
            let others = (1..threads).map(|at| (own + at) % threads);
            found.or_else(|| others.into_iter().find_map(|at| range(at).pop_back()))
        };
        let mut scratch = None;
        while let Some(task) = next() {
            run(scratch.get_or_insert_with(init), task);
            left.fetch_sub(1, Ordering::Release);
        }
    };
    rayon::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|_| work());
        }
        work();
        let start = Instant::now();
        while left.load(Ordering::Acquire) > 0 && start.elapsed() < HELP_MAX {
            std::hint::spin_loop();
        }
        // The others still have to say that they are done.
        (0..PAUSES).for_each(|_| std::hint::spin_loop());
    });
}

/// Asks other threads to wait for tasks of the run awake. Those that stop waiting are
/// asked again.
fn call_helpers() {
    if rayon::current_thread_index() != Some(RUNNER.load(Ordering::Relaxed)) {
        return;
    }
    // One that a run begins on is no help to it.
    let wanted = HELPERS_MAX.min(rayon::current_num_threads() - 1);
    let wanted = wanted + usize::from(IS_HELPING.get());
    while HELPERS.load(Ordering::Relaxed) < wanted {
        HELPERS.fetch_add(1, Ordering::Relaxed);
        rayon::spawn(help);
    }
}

/// Does what parts there are until the run is over or there were none for a while. It
/// must end on its own: the thread may be in the middle of a part that waits.
fn help() {
    /// Lets another one be asked, after a panic too.
    struct Leave {
        was_helping: bool,
    }
    impl Drop for Leave {
        fn drop(&mut self) {
            IS_HELPING.set(self.was_helping);
            HELPERS.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let leave = Leave { was_helping: IS_HELPING.get() };
    let is_runner = rayon::current_thread_index() == Some(RUNNER.load(Ordering::Relaxed));
    if is_runner || leave.was_helping {
        return;
    }
    IS_HELPING.set(true);
    let mut last = Instant::now();
    while IS_ENTERED.load(Ordering::Relaxed) {
        if rayon::yield_now() == Some(rayon::Yield::Executed) {
            last = Instant::now();
        } else if last.elapsed() > HELP_MAX {
            return;
        } else {
            (0..PAUSES).for_each(|_| std::hint::spin_loop());
        }
    }
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
        return;
    }
    if row_len < 2 * PIECE_LEN {
        let rows_per_part = PIECE_LEN.div_ceil(row_len);
        parts(out, rows_per_part * row_len, &|part, piece| serial(part * rows_per_part, piece));
    } else {
        let pieces = |(row, line): (usize, _)| {
            <[T]>::chunks_mut(line, PIECE_LEN)
                .enumerate()
                .map(move |(part, piece)| (row, part * PIECE_LEN, piece))
        };
        let pieces = out.chunks_mut(row_len).enumerate().flat_map(pieces).collect();
        each(pieces, &|| (), &|(), (row, column, piece): (usize, usize, &mut [T])| {
            body(row, column, piece);
        });
    }
}

/// Calls `body(index, part)` for consecutive parts of `part_len`, each a piece
/// of work of its own however small.
pub fn parts<T: Send>(out: &mut [T], part_len: usize, body: &(dyn Fn(usize, &mut [T]) + Sync)) {
    if out.is_empty() || part_len == 0 {
        return;
    }
    let threads = rayon::current_num_threads();
    if out.len() <= part_len || threads == 1 {
        return out.chunks_mut(part_len).enumerate().for_each(|(at, part)| body(at, part));
    }
    // Very many are handed out several at a time.
    let several = (out.len() / part_len / (threads * TASKS_PER_THREAD_MAX)).max(1);
    let tasks = out.chunks_mut(several * part_len).enumerate().collect();
    each(tasks, &|| (), &|(), (first, parts): (usize, &mut [T])| {
        for (at, part) in parts.chunks_mut(part_len).enumerate() {
            body(first * several + at, part);
        }
    });
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
    let mut work: Vec<(usize, Range<usize>, &mut [f32])> = out
        .chunks_mut(height * row_len)
        .enumerate()
        .flat_map(|(plane, out)| {
            let part = move |(at, part): (usize, _)| {
                (plane, at * rows..((at + 1) * rows).min(height), part)
            };
            out.chunks_mut(rows * row_len).enumerate().map(part)
        })
        .collect();
    // The same rows of all planes one after the other: whoever reads them next does too.
    work.sort_by_key(|(_, rows, _)| rows.start);
    each(work, &|| (), &|(), (plane, rows, part)| body(plane, rows, part));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills squares by tasks, some of which have loops of their own.
    fn squares(count: usize) -> Vec<usize> {
        let mut out = vec![0; count];
        let tasks: Vec<_> = out.chunks_mut(3).enumerate().collect();
        each(tasks, &|| 3, &|step: &mut usize, (at, out): (usize, &mut [usize])| {
            parts(out, 1, &|place, out| out[0] = (at * *step + place).pow(2));
        });
        out
    }

    #[test]
    fn every_task_runs_once_whoever_calls() {
        for count in [0, 1, 3, 50, 5000] {
            let expected: Vec<usize> = (0..count).map(|at| at * at).collect();
            assert_eq!(squares(count), expected);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    // Some of them inside a run and some beside it.
                    scope.spawn(|| {
                        for _ in 0..20 {
                            assert_eq!(inside(|| squares(count)), expected);
                        }
                    });
                }
            });
        }
    }

    #[test]
    fn a_panic_in_a_task_reaches_the_caller_and_spoils_nothing() {
        let run = || inside(|| each((0..100).collect(), &|| (), &|(), at| assert!(at != 70, "70")));
        assert!(std::panic::catch_unwind(run).is_err());
        assert_eq!(inside(|| squares(10)).len(), 10);
    }
}
