//! Making a failing program smaller.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::program::{Op, program};

/// No program is made smaller for longer than this.
const TIME_MAX: Duration = Duration::from_secs(20);

/// A program's failure, panics included.
pub fn attempt(
    run: &mut dyn FnMut(&[Op]) -> Result<(), String>,
    program: &[Op],
) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| run(program))).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        Err(format!("panic: {}", text.unwrap_or("without a text")))
    })
}

/// Leaves out larger, then smaller parts as long as the program still fails.
#[must_use]
pub fn shrink(run: &mut dyn FnMut(&[Op]) -> Result<(), String>, mut ops: Vec<Op>) -> Vec<Op> {
    let start = Instant::now();
    let mut part = ops.len().div_ceil(2);
    while part > 0 && !ops.is_empty() {
        let mut at = 0;
        let mut has_shrunk = false;
        while at < ops.len() && start.elapsed() < TIME_MAX {
            let end = (at + part).min(ops.len());
            let rest = [&ops[..at], &ops[end..]].concat();
            if attempt(run, &rest).is_err() {
                ops = rest;
                has_shrunk = true;
            } else {
                at = end;
            }
        }
        if start.elapsed() >= TIME_MAX {
            break;
        }
        if !has_shrunk || part > 1 {
            part /= 2;
        }
    }
    ops
}

/// Runs a program made from a seed; the failure says what went wrong.
pub type Run<'a> = dyn FnMut(u64, &[Op]) -> Result<(), String> + 'a;

/// Runs the programs of `seeds`, each of `len` operations, and gives how many
/// operations that were.
///
/// # Panics
///
/// With the seed and a smaller program that fails as well, if one fails.
pub fn fuzz(
    seeds: impl IntoIterator<Item = u64>,
    len: usize,
    is_enough: &dyn Fn() -> bool,
    run: &mut Run<'_>,
) -> usize {
    let mut count = 0;
    for seed in seeds {
        if is_enough() {
            break;
        }
        let ops = program(seed, len);
        if let Err(failure) = attempt(&mut |ops| run(seed, ops), &ops) {
            let small = shrink(&mut |ops| run(seed, ops), ops);
            let again = attempt(&mut |ops| run(seed, ops), &small);
            let list: Vec<String> = small.iter().map(|op| format!("    {op:?},\n")).collect();
            panic!(
                "seed {seed}: {failure}\nmade smaller ({} operations):\n{}which fails with: {}",
                small.len(),
                list.concat(),
                again.err().unwrap_or_else(|| "nothing: it depends on chance".to_owned())
            );
        }
        count += len;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_is_left_out() {
        let is_wanted = |op: &Op| matches!(op, Op::Sync { on: 3 } | Op::Drop { slot: 5 });
        let mut run = |ops: &[Op]| {
            let has = |wanted: Op| ops.contains(&wanted);
            if has(Op::Sync { on: 3 }) && has(Op::Drop { slot: 5 }) {
                return Err("both".to_owned());
            }
            Ok(())
        };
        let ops = program(7, 4000);
        assert!(ops.iter().filter(|op| is_wanted(op)).count() > 2);
        let small = shrink(&mut run, ops);
        assert_eq!(small.len(), 2, "{small:?}");
    }
}
