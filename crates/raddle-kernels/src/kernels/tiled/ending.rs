//! What becomes of a tile's sums: bias, residual and bounds, and where they are written.
#![allow(clippy::needless_range_loop)] // indices that unrolling makes constants

use raddle::prelude::*;

use super::arithmetic::{Multiply, Sums};
use super::{Place, Tiling, divided};

/// Where sums go.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    pub(super) bias: *const f32,
    pub(super) residual: *const f32,
    pub(super) out: *mut f32,
}

impl Tiling {
    /// The bias of a row, by its number among those of all matrices.
    ///
    /// # Safety
    ///
    /// There is a bias for it, if there is any.
    #[inline(always)]
    pub(super) unsafe fn bias(&self, row: u32, ending: Ending) -> f32 {
        match self.has_bias {
            0 => 0.0,
            // SAFETY: the caller's contract.
            _ => unsafe { ending.bias.add(row as usize).read() },
        }
    }

    /// What becomes of neighbouring sums of a row.
    ///
    /// # Safety
    ///
    /// The residual has their places, if there is one, and they are aligned as one.
    #[inline(always)]
    pub(super) unsafe fn results<const N: usize>(
        &self,
        mut sums: [f32; N],
        bias: f32,
        at: u32,
        ending: Ending,
    ) -> [f32; N] {
        let mut residual = [0.0; N];
        if self.has_residual != 0 {
            let from = ending.residual.wrapping_add(at as usize);
            // SAFETY: the caller's contract.
            residual = unsafe { read(from) };
        }
        for k in 0..N {
            sums[k] = clamp(sums[k] + bias + residual[k], self.min, self.max);
        }
        sums
    }
}

/// Reads neighbours that are aligned as one.
///
/// # Safety
///
/// They are there.
#[inline(always)]
pub(super) unsafe fn read<const N: usize>(from: *const f32) -> [f32; N] {
    let mut all = [0.0; N];
    // SAFETY: the caller's contract.
    unsafe {
        match N {
            4 => all.copy_from_slice(&from.cast::<F32x4>().read().to_array()),
            2 => all.copy_from_slice(&from.cast::<F32x2>().read().to_array()),
            _ => all[0] = from.read(),
        }
    }
    all
}

/// `x` within bounds; a NaN stays one.
#[inline(always)]
pub(super) fn clamp(x: f32, min: f32, max: f32) -> f32 {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

/// Writes a warp's 64×32.
///
/// # Safety
///
/// As for [`multiply`].
#[inline(always)]
pub(super) unsafe fn write<T: Multiply>(
    tiling: &Tiling,
    place: &Place,
    ending: Ending,
    [first_row, first_column]: [u32; 2],
    sums: &Sums,
) {
    let lane = lane();
    let out = ending.out.wrapping_add(place.part as usize * tiling.len as usize);
    let mut columns = [u32::MAX; 8];
    for j in 0..8 {
        let column = first_column + T::column(lane, j);
        if column < tiling.columns {
            let [image, pixel] = divided(column, tiling.pixels);
            columns[j] = image * tiling.image_step + pixel;
        }
    }
    let first = place.batch * tiling.rows + first_row;
    let lines = Columns { tiling, ending: Ending { out, ..ending }, columns };
    let rows = tiling.rows - first_row.min(tiling.rows);
    macro_rules! rows {
        ($($i:literal)*) => { $(
            let row = T::row(lane, $i);
            if row < rows {
                // SAFETY: the caller's contract.
                unsafe { lines.write::<T>(T::sums(sums, $i), first + row) };
            }
        )* };
    }
    rows!(0 1 2 3 4 5 6 7);
}

/// Where a lane's columns are written.
struct Columns<'a> {
    tiling: &'a Tiling,
    ending: Ending,
    /// Places in the output's first row, `u32::MAX` for those that are not there.
    columns: [u32; 8],
}

impl Columns<'_> {
    /// Writes a lane's part of a row.
    #[inline(always)]
    unsafe fn write<T: Multiply>(&self, sums: [f32; 8], row: u32) {
        let tiling = self.tiling;
        // SAFETY: the host holds the bias against the rows.
        let bias = if tiling.split == 1 { unsafe { tiling.bias(row, self.ending) } } else { 0.0 };
        let row = row * tiling.pixels;
        let [a, b, c, d, e, f, g, h] = sums;
        // SAFETY: neighbours of one image lie together, aligned as one, if its pixels are
        // whole so many.
        unsafe {
            if T::HAS_FOURS && tiling.pixels.is_multiple_of(4) {
                self.put([a, b, c, d], bias, [row, self.columns[0]]);
                self.put([e, f, g, h], bias, [row, self.columns[4]]);
            } else if !T::HAS_FOURS && tiling.pixels.is_multiple_of(2) {
                self.put([a, b], bias, [row, self.columns[0]]);
                self.put([c, d], bias, [row, self.columns[2]]);
                self.put([e, f], bias, [row, self.columns[4]]);
                self.put([g, h], bias, [row, self.columns[6]]);
            } else {
                for j in 0..8 {
                    self.put([sums[j]], bias, [row, self.columns[j]]);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn put<const N: usize>(&self, mut sums: [f32; N], bias: f32, [row, column]: [u32; 2]) {
        if column == u32::MAX {
            return;
        }
        let (at, tiling) = (row + column, self.tiling);
        let out = self.ending.out.wrapping_add(at as usize);
        // SAFETY: the host holds residual and output against the shape.
        unsafe {
            if tiling.split == 1 {
                sums = tiling.results(sums, bias, at, self.ending);
            }
            match N {
                4 => out.cast::<F32x4>().write(F32x4::new([
                    sums[0],
                    sums[1 % N],
                    sums[2 % N],
                    sums[3 % N],
                ])),
                2 => out.cast::<F32x2>().write(F32x2::new([sums[0], sums[1 % N]])),
                _ => out.write(sums[0]),
            }
        }
    }
}
