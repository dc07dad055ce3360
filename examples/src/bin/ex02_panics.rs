//! 02: what happens when something goes wrong.
//!
//! Indexing is checked, `unwrap` and `assert!` mean what they mean everywhere. A
//! thread that panics ends; the host gets an error with message, place, block and
//! thread at its next wait. The device goes on: the next launch works. Launches
//! that cannot be right are refused before they reach the driver.
//!
//! ```text
//! cargo run --release -p raddle-examples --bin ex02_panics
//! ```

use std::process::ExitCode;

use raddle::prelude::*;
use raddle_examples::{Failure, Outcome, Sizes, expect_equal, on_best_device};

mod kernels {
    use raddle::prelude::*;

    /// `table[index[i]]`, for each thread one.
    #[kernel]
    pub fn look_up(table: &[f32], index: &[u32], mut out: PerThread<f32>) {
        if let Some((i, out)) = out.mine() {
            *out = table[index[i] as usize];
        }
    }

    /// The digit that each character stands for.
    #[kernel]
    pub fn parse(text: &[char], mut out: PerThread<u32>) {
        if let Some((i, out)) = out.mine() {
            *out = text[i].to_digit(10).unwrap();
        }
    }

    /// Square roots, of numbers that have one.
    #[kernel]
    pub fn roots(x: &[f32], mut out: PerThread<f32>) {
        if let Some((i, out)) = out.mine() {
            assert!(x[i] >= 0.0, "number {i} is negative: {}", x[i]);
            *out = x[i].sqrt();
        }
    }
}

fn main() -> ExitCode {
    on_best_device(Sizes { gpu: 1 << 20, cpu: 1 << 12 }, run)
}

fn run(device: &Device, n: usize) -> Outcome {
    let stream = device.stream()?;
    let grid = Grid::cover(n, 128);

    let table = stream.upload(&[0.5f32, 1.5, 2.5, 3.5])?;
    let mut index: Vec<u32> = (0..n as u32).map(|i| i % 4).collect();
    index[n / 2] = 9;
    let index_device = stream.upload(&index)?;
    let mut out = stream.zeros::<f32>(n)?;
    let launch = stream.launch(grid, kernels::look_up(&table, &index_device, &mut out))?;
    let place = Place { element: n / 2, block: 128 };
    expect_panic(launch.wait(), "the len is 4 but the index is 9", Some(place))?;

    let mut text = vec!['7'; n];
    text[n - 1] = 'x';
    let text = stream.upload(&text)?;
    let mut digits = stream.zeros::<u32>(n)?;
    stream.launch(grid, kernels::parse(&text, &mut digits))?;
    // The error shows at whatever waits next, here a copy to the host.
    expect_panic(digits.to_vec().map(drop), "called `Option::unwrap()` on a `None` value", None)?;

    let mut x = vec![4.0f32; n];
    x[0] = -1.0;
    let x = stream.upload(&x)?;
    stream.launch(grid, kernels::roots(&x, &mut out))?;
    expect_panic(stream.synchronize(), "number 0 is negative: -1", None)?;

    // Nothing is broken: the same kernel with a valid index gives its results.
    index[n / 2] = 3;
    let index_device = stream.upload(&index)?;
    stream.launch(grid, kernels::look_up(&table, &index_device, &mut out))?;
    let expected: Vec<f32> = index.iter().map(|&i| i as f32 + 0.5).collect();
    expect_equal("after three panics", &out.to_vec()?, &expected)?;

    // Refused before anything runs.
    let too_many_threads = Grid::new(1, 2048);
    let call = kernels::look_up(&table, &index_device, &mut out);
    let error = stream.launch(too_many_threads, call).err();
    expect_error(error, "2048")?;
    // Indices along x would repeat in a grid with rows, and two threads would
    // own one element.
    let two_dimensional = Grid::new((2, 2), 128);
    let call = kernels::look_up(&table, &index_device, &mut out);
    expect_error(stream.launch(two_dimensional, call).err(), "1 dimension")
}

/// Where the thread of an element is, in a one-dimensional launch.
struct Place {
    element: usize,
    block: usize,
}

/// Demands that a kernel panicked with a message in this file.
fn expect_panic(outcome: raddle::Result<()>, words: &str, place: Option<Place>) -> Outcome {
    if let Err(Error::KernelPanic { message, file, block, thread, .. }) = &outcome {
        let is_there = place.is_none_or(|Place { element, block: threads }| {
            block[0] as usize == element / threads && thread[0] as usize == element % threads
        });
        if !(is_there && message.contains(words) && file.ends_with("ex02_panics.rs")) {
            return Err(Failure::NoSuchError { expected: words.to_owned() });
        }
    }
    expect_error(outcome.err(), words)
}

/// Demands an error that says `words`, and shows it.
fn expect_error(error: Option<Error>, words: &str) -> Outcome {
    match error {
        Some(error) if error.to_string().contains(words) => {
            println!("as intended: {error}");
            Ok(())
        }
        Some(other) => Err(other.into()),
        None => Err(Failure::NoSuchError { expected: words.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn panics_become_errors_and_later_launches_work() {
        raddle_examples::on_every_device(&[2, 1000], super::run);
    }
}
