//! 05: shared memory, and why a transpose needs it.
//!
//! Memory is fast where a warp touches neighbouring addresses. A transpose reads
//! rows and writes columns, so one of the two sides is always strided, unless a
//! block turns a tile around in its shared memory first:
//!
//! ```text
//! x (rows)      -> shared tile ->      y (rows of y are columns of x)
//! read along →     write →, read ↓     written along →
//! ```
//!
//! `PerBlockTile` gives each block tiles of the output, and each of its threads
//! elements of them; that is why no thread can write what another one does.
//!
//! ```text
//! cargo run --release -p raddle-examples --bin ex05_transpose
//! ```

use std::process::ExitCode;

use raddle::prelude::*;
use raddle_examples::{
    Outcome, Sizes, expect_equal, gb_per_s, median_ms, on_best_device, print_rate,
};

mod kernels {
    use raddle::prelude::*;

    /// Edge of a tile.
    pub const TILE: usize = 32;

    /// Neighbouring threads write neighbours and read `columns` elements apart.
    #[kernel]
    pub fn transpose_strided(x: &[f32], rows: u32, columns: u32, mut y: PerThread<f32>) {
        if let Some((i, y)) = y.mine() {
            let (row, column) = (i as u32 % rows, i as u32 / rows);
            *y = x[row as usize * columns as usize + column as usize];
        }
    }

    /// Through a tile in shared memory.
    ///
    /// Shared memory has 32 banks, and a column of a 32 by 32 tile lies in one of
    /// them. Storing element (row, column) at column `column ^ row` keeps rows and
    /// columns each in 32 different banks.
    #[kernel(block = 256)]
    pub fn transpose(x: &[f32], columns: u32, mut y: PerBlockTile<f32, TILE, TILE>) {
        let mut shared = shared!([[f32; TILE]; TILE]);
        let columns = columns as usize;
        for mut tile in y.iter_mut() {
            // The tile of y at (row, column) is that of x at (column, row).
            let start = tile.first_col() * columns + tile.first_row();
            let view = shared.fill_matrix(|row, place| {
                let column = place ^ row;
                // What lies outside of x lands outside of y.
                x.get(start + row * columns + column).copied().unwrap_or(0.0)
            });
            // The remainder changes nothing, but shows that the index is in bounds.
            tile.iter_mut().for_each(|(row, column, y)| {
                *y = [view[column % TILE][(row ^ column) % TILE]];
            });
        }
    }
}

fn main() -> ExitCode {
    on_best_device(Sizes { gpu: 16384, cpu: 1024 }, run)
}

/// Transposes a matrix of `n` rows and about as many columns.
fn run(device: &Device, n: usize) -> Outcome {
    let stream = device.stream()?;
    let (rows, columns) = (n, n + n / 3);
    // Whole numbers that an `f32` tells apart.
    let x: Vec<f32> = (0..rows * columns).map(|i| (i % 16_777_213) as f32).collect();
    let expected: Vec<f32> =
        (0..rows * columns).map(|i| x[i % rows * columns + i / rows]).collect();
    let x = stream.upload(&x)?;
    let mut y = stream.zeros::<f32>(rows * columns)?;
    let bytes = 2 * rows * columns * size_of::<f32>();

    let strided = || -> Outcome {
        let call = kernels::transpose_strided(&x, rows as u32, columns as u32, &mut y);
        stream.launch(Grid::cover(rows * columns, 256), call)?;
        Ok(())
    };
    let ms = median_ms(&stream, strided)?;
    expect_equal("strided", &y.to_vec()?, &expected)?;
    print_rate("strided", ms, gb_per_s(bytes, ms), "GB/s");

    y.copy_from(&vec![0.0; rows * columns])?;
    let tiles = [rows, columns].map(|len| len.div_ceil(kernels::TILE) as u32);
    let tiled = || -> Outcome {
        let call = kernels::transpose(&x, columns as u32, y.matrix_mut(columns, rows));
        stream.launch(Grid::new(tiles, 256), call)?;
        Ok(())
    };
    let ms = median_ms(&stream, tiled)?;
    expect_equal("through shared memory", &y.to_vec()?, &expected)?;
    print_rate("through shared memory", ms, gb_per_s(bytes, ms), "GB/s");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn rows_become_columns() {
        raddle_examples::on_every_device(&[1, 32, 100], super::run);
    }
}
