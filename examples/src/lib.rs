//! What the examples share: the choice of a device, comparison with the result of
//! a plain loop, timing, matrix products, and the same checks as a test.
//!
//! An example is a function `run(device, size)` that computes on the device,
//! compares with the host and prints what it measured. `main` gives it the best
//! device, tests give it every device at small sizes.
#![forbid(unsafe_code)]

mod compare;
mod device;
mod product;
mod time;

pub use compare::{Failure, Outcome, expect_close, expect_equal};
pub use device::{Sizes, on_best_device, on_every_device};
pub use product::{Levels, Rows, noise, product_rows};
pub use time::{gb_per_s, gflop_per_s, median_ms, print_rate};
