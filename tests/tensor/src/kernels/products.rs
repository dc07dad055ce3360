//! `mma.sync` from fragments laid out by the manual's formulas, and tiles.

use raddle::device::matrix::*;
use raddle::device::tile::*;
use raddle::prelude::*;

/// The fragment registers of A (`first` 0, 16 rows) or B (8 columns) of this lane,
/// by the table in `raddle::device::matrix`: `elements[line * K + k]`.
fn registers<T: MmaElement, const R: usize>(elements: &[T]) -> [u32; R] {
    let packed = 4 / size_of::<T>();
    let (g, q) = (lane() as usize / 4, lane() as usize % 4);
    unrolled(|register| {
        // Two registers of A lie below each other; B has but one row of them.
        let (below, beside) = if R == 4 { (register % 2, register / 2) } else { (0, register) };
        let start = (g + 8 * below) * T::K + q * packed + T::K / 2 * beside;
        let mut word = 0u32;
        for i in 0..packed {
            let mut bits = 0u32;
            // SAFETY: elements have any bits and at most four bytes.
            unsafe {
                (&raw mut bits).cast::<T>().write(elements[start + i]);
            }
            word |= bits << (8 * size_of::<T>() * i);
        }
        word
    })
}

/// `acc + a * b` for one fragment: A is 16×K, B is given by columns, 8×K.
#[kernel(block = 32, instances(f16, bf16, tf32, i8, u8))]
pub fn fragments<T: MmaElement>(a: &[T], b: &[T], c: &[T::Sum], mut out: PerThread<[T::Sum; 4]>) {
    let (left, right) = (registers::<T, 4>(a), registers::<T, 2>(b));
    if let Some((_, result)) = out.mine() {
        let mut acc = unrolled::<_, 4>(|i| {
            let (row, column) = accumulator_place(lane(), i as u32);
            c[row as usize * 8 + column as usize]
        });
        T::multiply_add(&mut acc, &left, &right);
        *result = acc;
    }
}

/// The remaining products: `f16` sums, mixed signs, and `f64`.
#[kernel(block = 32)]
pub fn other_fragments(
    a: &[f16],
    b: &[f16],
    bytes_a: &[u8],
    bytes_b: &[u8],
    wide_a: &[f64],
    wide_b: &[f64],
    mut halves: PerThread<[f16x2; 2]>,
    mut integers: PerThread<[[i32; 4]; 2]>,
    mut doubles: PerThread<[f64; 2]>,
) {
    let lane = lane() as usize;
    let left = registers::<f16, 4>(a).map(f16x2::from_bits);
    let right = registers::<f16, 2>(b).map(f16x2::from_bits);
    let mut sums = [f16x2::splat(f16::ONE); 2];
    mma_f16_f16(&mut sums, &left, &right);
    if let Some((_, result)) = halves.mine() {
        *result = sums;
    }
    let (left, right) = (registers::<u8, 4>(bytes_a), registers::<u8, 2>(bytes_b));
    let (mut mixed, mut other) = ([1; 4], [2; 4]);
    mma_i32_i8_u8(&mut mixed, &left, &right);
    mma_i32_u8_i8(&mut other, &left, &right);
    if let Some((_, result)) = integers.mine() {
        *result = [mixed, other];
    }
    // A is 8×4, B 4×8.
    let mut acc = [0.5; 2];
    mma_f64_k4(&mut acc, wide_a[lane], wide_b[lane % 4 * 8 + lane / 4]);
    if let Some((_, result)) = doubles.mine() {
        *result = acc;
    }
}

/// 16×8×16 in double precision; B is given by columns.
#[kernel(block = 32, arch = 90)]
pub fn double_fragments(a: &[f64], b: &[f64], mut out: PerThread<[f64; 4]>) {
    let (g, q) = (lane() as usize / 4, lane() as usize % 4);
    let left = unrolled(|i| a[(g + 8 * (i % 2)) * 16 + q + 4 * (i / 2)]);
    let right = unrolled(|i| b[g * 16 + q + 4 * i]);
    let mut acc = [1.0; 4];
    // SAFETY: the kernel requires compute capability 9.0.
    unsafe { mma_f64_k16(&mut acc, &left, &right) };
    if let Some((_, result)) = out.mine() {
        *result = acc;
    }
}

/// 2×2 warps of 2×4 fragments: tiles of 64×64.
pub type Shape = Tiling<2, 2, 2, 4>;

/// `c = a * bᵀ + c`, `k` in steps of 64 bytes.
#[kernel(block = Shape::THREADS, instances(f16, bf16, i8))]
pub fn tiles<T: MmaElement>(a: &[T], b: &[T], mut c: TileMut<T::Sum, Shape>, k: usize)
where
    T::Sum: core::ops::Add<Output = T::Sum>,
{
    tile_product::<T, 64>(a, b, &mut c, k);
}

#[inline(always)]
fn tile_product<T: MmaElement, const BYTES: usize>(
    a: &[T],
    b: &[T],
    c: &mut TileMut<T::Sum, Shape>,
    k: usize,
) where
    T::Sum: core::ops::Add<Output = T::Sum>,
{
    let (a, b) = (Matrix::new(a, c.rows(), k), Matrix::new(b, c.cols(), k));
    let (row, col) = c.place();
    let mut acc = Accumulator::<T::Sum, 2, 4>::zero();
    if size_of::<T>() == 1 {
        let mut ring = shared!([Stage<SharedTile<T, 64, 64>, SharedTile<T, 64, 64>>; 4]);
        ring.stream(
            k.div_ceil(64),
            |step, left, right| {
                left.copy(&a, row, step * 64);
                right.copy(&b, col, step * 64);
            },
            |left, right| acc.add_product::<Shape, _, 64, 64, 64>(left, right),
        );
    } else {
        let mut ring = shared!([Stage<SharedTile<T, 64, 32>, SharedTile<T, 64, 32>>; 3]);
        ring.stream(
            k.div_ceil(32),
            |step, left, right| {
                left.copy(&a, row, step * 32);
                right.copy(&b, col, step * 32);
            },
            |left, right| acc.add_product::<Shape, _, 64, 64, 32>(left, right),
        );
    }
    c.update(acc, |old, sum| old + sum);
}

/// `c = a * b` with B row-major, in steps of 64 of `k`, rows of 128 bytes.
#[kernel(block = Shape::THREADS)]
pub fn tiles_of_rows(a: &[f16], b: &[f16], mut c: TileMut<f16, Shape>, k: usize) {
    let (a, b) = (Matrix::new(a, c.rows(), k), Matrix::new(b, k, c.cols()));
    let (row, col) = c.place();
    let mut acc = Accumulator::<f32, 2, 4>::zero();
    let mut ring = shared!([Stage<SharedTile<f16, 64, 64>, SharedTile<f16, 64, 64>>; 2]);
    ring.stream(
        k.div_ceil(64),
        |step, left, right| {
            left.copy(&a, row, step * 64);
            right.copy(&b, step * 64, col);
        },
        |left, right| {
            for slice in 0..4 {
                let a = left.left::<2>(warp_row::<Shape>(), slice * 16);
                let b = right.right_rows::<4>(slice * 16, warp_col::<Shape>());
                acc.multiply_add(&a, &b);
            }
        },
    );
    c.write(acc.map(f16::from_f32));
}
