//! 06: softmax over the rows of a matrix, a block to a row.
//!
//! `y = exp(x - max) / sum(exp(x - max))` takes the maximum of a row, then a sum
//! that depends on it, then the quotient: three passes over the row. Maximum and
//! sum can be found in one: a pair (maximum so far, sum relative to it) can be
//! joined with another such pair, so both come out of a single reduction over
//! values of a type of our own.
//!
//! ```text
//! cargo run --release -p raddle-examples --bin ex06_softmax
//! ```

use std::array;
use std::process::ExitCode;

use raddle::prelude::*;
use raddle_examples::{
    Outcome, Sizes, expect_close, gb_per_s, median_ms, on_best_device, print_rate,
};

mod kernels {
    use raddle::prelude::*;

    /// Threads of a block.
    pub const THREADS: u32 = 256;

    /// Some elements' maximum, and the sum of `exp(x - max)` over them.
    #[repr(C)]
    #[derive(Clone, Copy, DeviceType)]
    struct Part {
        max: f32,
        sum: f32,
    }

    impl Part {
        /// Of no elements. The maximum is finite, as infinity less infinity is
        /// not a number.
        const EMPTY: Self = Self { max: f32::MIN, sum: 0.0 };

        /// Of these and other elements.
        fn join(self, other: Self) -> Self {
            let max = self.max.max(other.max);
            let sum = self.sum * (self.max - max).exp() + other.sum * (other.max - max).exp();
            Self { max, sum }
        }

        /// Of these and four more elements.
        fn with(self, x: F32x4) -> Self {
            let max = x.to_array().into_iter().fold(self.max, f32::max);
            let more: f32 = x.to_array().into_iter().map(|x| (x - max).exp()).sum();
            Self { max, sum: self.sum * (self.max - max).exp() + more }
        }
    }

    /// Softmax of each row. A row is a chunk of `y`; elements come and go in
    /// vectors of four, which is one access of 16 bytes.
    #[kernel(block = THREADS)]
    pub fn softmax(x: &[F32x4], mut y: PerBlock<F32x4>) {
        let columns = y.chunk_len();
        for (row, mut y) in y.iter_mut() {
            // Checked once for the whole row.
            let x = &x[row * columns..][..columns];
            let mine = x.iter().skip(thread_x() as usize).step_by(block_dim_x() as usize);
            let part = mine.fold(Part::EMPTY, |part, &x| part.with(x));
            let Part { max, sum } = block_all_reduce(part, Part::join);
            let scale = 1.0 / sum;
            for (column, y) in y.iter_mut() {
                *y = [x[column].map(|x| (x - max).exp() * scale)];
            }
        }
    }
}

/// Elements of a row.
const COLUMNS: usize = 4096;

fn main() -> ExitCode {
    on_best_device(Sizes { gpu: 32 * 1024, cpu: 256 }, |device, rows| run(device, rows, COLUMNS))
}

fn run(device: &Device, rows: usize, columns: usize) -> Outcome {
    let stream = device.stream()?;
    let value =
        |i: usize| (i as u32).wrapping_mul(2_654_435_761) as f32 / (1u64 << 29) as f32 - 4.0;
    let x: Vec<F32x4> =
        (0..rows * columns / 4).map(|i| F32x4::new(array::from_fn(|k| value(4 * i + k)))).collect();
    let x_device = stream.upload(&x)?;
    let mut y = stream.zeros::<F32x4>(x.len())?;

    let grid = Grid::new(rows as u32, kernels::THREADS);
    let mut softmax = || -> Outcome {
        stream.launch(grid, kernels::softmax(&x_device, y.chunks_mut(columns / 4)))?;
        Ok(())
    };
    softmax()?;
    let ms = median_ms(&stream, softmax)?;

    let y = y.to_vec()?;
    let rows_of = |vectors| as_elements(vectors).chunks_exact(columns);
    for (x, y) in rows_of(&x).zip(rows_of(&y)) {
        let max = x.iter().copied().fold(f32::MIN, f32::max);
        let exps: Vec<f32> = x.iter().map(|x| (x - max).exp()).collect();
        let sum: f64 = exps.iter().copied().map(f64::from).sum();
        let expected: Vec<f32> = exps.iter().map(|e| (f64::from(*e) / sum) as f32).collect();
        // A few roundings in `exp`, one for each level of the sum.
        expect_close("softmax", y, &expected, 32.0 * f32::EPSILON)?;
    }
    let bytes = 2 * rows * columns * size_of::<f32>();
    print_rate(&format!("softmax of {rows} by {columns}"), ms, gb_per_s(bytes, ms), "GB/s");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn rows_are_those_of_a_plain_loop() {
        raddle_examples::on_every_device(&[1, 5], |device, rows| {
            super::run(device, rows, 4)?;
            super::run(device, rows, 1500)
        });
    }
}
