//! Products and convolutions of `f32` by tiles of 128 or 64 rows and 128 columns.
//!
//! ```text
//! out[batch, row, column] = act(sum over k of left[row, k] * right[k, column] + bias[row] + residual)
//! block = ((batch * row tiles + row tile) * column tiles + column tile) * split + part
//! ```
//!
//! `k` runs in steps of 16 through a ring of three stages in shared memory, which `cp.async`
//! fills element by element, so that operands may lie in any order and zeros stand for what
//! is not there. A warp computes 64×32 of the tile: with fused multiplications and additions
//! of `f32`, 8×8 sums to a thread ([`f32`]), or on tensor cores, which read their operands
//! rounded to 10 bits of mantissa ([`tf32`]).
//!
//! A convolution is the product of its weights and of the patches of its pixels, which
//! nobody writes down (implicit GEMM): rows are channels of the output, columns the pixels of
//! all images, `k` the channels of the input and the elements of the window. Where the
//! elements of a step lie from a patch's corner is worked out once for the block, three steps
//! ahead; each thread has the corner of its pixel.
//!
//! Where there are fewer tiles than the device holds blocks, `split` blocks share the depth
//! of one. Each leaves its sums in a copy of the output of its own, and [`combine`] adds them
//! up in their order.
#![allow(clippy::needless_range_loop)] // indices that unrolling makes constants

use raddle::device::async_copy::{copy_async_commit, copy_async_or_zero, copy_async_wait};
use raddle::device::matrix::mma_f32_tf32;
use raddle::prelude::*;

use super::scalar::{Dims, View};

/// Columns of a tile.
pub const TILE_N: usize = 128;
/// Terms of a step.
pub const STEP: usize = 16;
/// Stages of the ring.
const STAGES: usize = 3;
/// Steps that the table of places has room for: one is read, one made, and between.
const TABLE_STEPS: usize = 4;
/// Numbers between rows of a stage behind its own, so that tensor cores' operands lie in
/// different banks.
const GAP: usize = 8;
const PITCH_N: usize = TILE_N + GAP;

/// Threads of a block with so many rows: a warp for each 64×32.
#[must_use]
pub const fn threads(tile_m: usize) -> u32 {
    (tile_m / 64 * (TILE_N / 32) * 32) as u32
}

/// Dynamic shared memory of a block with so many rows.
#[must_use]
pub const fn shared_bytes(tile_m: usize) -> usize {
    STAGES * stage_len(tile_m) * 4 + TABLE_STEPS * STEP * size_of::<Tap>()
}

const fn stage_len(tile_m: usize) -> usize {
    STEP * (tile_m + GAP + PITCH_N)
}

/// How a product is cut into tiles, and where its output lies.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Tiling {
    /// Rows of a matrix of the output.
    pub rows: u32,
    /// Columns of it: pixels of all images.
    pub columns: u32,
    /// Terms of a sum.
    pub depth: u32,
    /// Tiles that cover the rows.
    pub row_tiles: u32,
    /// Tiles that cover the columns.
    pub column_tiles: u32,
    /// Blocks that share a tile.
    pub split: u32,
    /// Terms that one of them adds up.
    pub part: u32,
    /// Matrices.
    pub batches: u32,
    /// Columns that lie together: the pixels of an image.
    pub pixels: u32,
    /// From an image to the next in the output.
    pub image_step: u32,
    /// Elements of the output.
    pub len: u32,
    /// Whether there is a bias for each row of all matrices.
    pub has_bias: u32,
    /// Whether there is a residual, which lies as the output does.
    pub has_residual: u32,
    /// Bounds of the results.
    pub min: f32,
    /// The upper one.
    pub max: f32,
}

/// What a block computes.
struct Place {
    batch: u32,
    row: u32,
    column: u32,
    part: u32,
    /// Terms.
    begin: u32,
    end: u32,
}

impl Tiling {
    #[inline(always)]
    fn place(&self, block: u32, tile_m: usize) -> Place {
        let [tile, part] = divided(block, self.split);
        let [rest, column] = divided(tile, self.column_tiles);
        let [batch, row] = divided(rest, self.row_tiles);
        let begin = part * self.part;
        let end = begin + self.part;
        Place {
            batch,
            row: row * tile_m as u32,
            column: column * TILE_N as u32,
            part,
            begin,
            end: if end < self.depth { end } else { self.depth },
        }
    }

    /// The bias of a row, by its number among those of all matrices.
    ///
    /// # Safety
    ///
    /// There is a bias for it, if there is any.
    #[inline(always)]
    unsafe fn bias(&self, row: u32, ending: Ending) -> f32 {
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
    unsafe fn results<const N: usize>(
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
unsafe fn read<const N: usize>(from: *const f32) -> [f32; N] {
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

/// Quotient and remainder; never panics, so that kernels have no such path.
#[inline(always)]
fn divided(x: u32, by: u32) -> [u32; 2] {
    let by = if by == 0 { 1 } else { by };
    [x / by, x % by]
}

/// `x` within bounds; a NaN stays one.
#[inline(always)]
fn clamp(x: f32, min: f32, max: f32) -> f32 {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

/// Where sums go.
#[derive(Clone, Copy)]
struct Ending {
    bias: *const f32,
    residual: *const f32,
    out: *mut f32,
}

/// Strides of the operands of a product, in elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Steps {
    /// From a row of the left matrix to the next, and from a column.
    pub left: [i32; 2],
    /// From a row of the right matrix to the next, and from a column.
    pub right: [i32; 2],
}

/// A window that slides over rows and columns.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Window {
    /// Rows and columns of the input.
    pub input: [u32; 2],
    /// Columns of the output.
    pub width: u32,
    /// Rows and columns of the window.
    pub window: [u32; 2],
    /// Steps of the window.
    pub strides: [u32; 2],
    /// Distance of the window's elements.
    pub dilations: [u32; 2],
    /// Rows and columns before the input.
    pub begins: [i32; 2],
    /// Channels that a group reads.
    pub channels: u32,
    /// Groups.
    pub groups: u32,
}

/// Where the term of a patch lies from the patch's corner: elements in the lower half, then
/// rows and columns in a quarter each, so that one load gives all.
#[derive(Clone, Copy)]
struct Tap(u64);

impl Tap {
    #[inline(always)]
    fn new(offset: i32, row: i16, column: i16) -> Self {
        let place = u32::from(row as u16) | u32::from(column as u16) << 16;
        Self(u64::from(offset as u32) | u64::from(place) << 32)
    }

    #[inline(always)]
    fn offset(self) -> i32 {
        self.0 as i32
    }

    /// Row and column.
    #[inline(always)]
    fn place(self) -> [i32; 2] {
        let place = (self.0 >> 32) as i32;
        [place << 16 >> 16, place >> 16]
    }
}

/// The memory of a block.
#[derive(Clone, Copy)]
struct Shared<const TILE_M: usize> {
    memory: *mut f32,
}

impl<const TILE_M: usize> Shared<TILE_M> {
    /// `[k][row]`.
    #[inline(always)]
    fn left(self, stage: u32) -> *mut f32 {
        self.memory.wrapping_add(stage as usize * stage_len(TILE_M))
    }

    /// `[k][column]`.
    #[inline(always)]
    fn right(self, stage: u32) -> *mut f32 {
        self.left(stage).wrapping_add(STEP * (TILE_M + GAP))
    }

    /// The table's entry for a term of a step.
    #[inline(always)]
    fn tap(self, step: u32, term: usize) -> *mut Tap {
        let table = self.memory.wrapping_add(STAGES * stage_len(TILE_M)).cast::<Tap>();
        table.wrapping_add(step as usize % TABLE_STEPS * STEP + term)
    }
}

/// A thread's share of an operand's `WIDTH×STEP` of a step, as it lies in memory, where a
/// block has two threads for each row of its tile.
struct Lines<const TILE_M: usize, const WIDTH: usize> {
    /// The first element.
    from: *const f32,
    /// From one of the thread's elements to the next, and from a step to the next.
    next: i32,
    step: i32,
    /// Whether neighbouring threads take elements that are neighbours in depth: then a
    /// thread's lie at one depth, else beside each other.
    is_deep: bool,
    /// The first element's depth.
    depth: u32,
    /// The thread's elements that are there at full depth.
    count: u32,
}

impl<const TILE_M: usize, const WIDTH: usize> Lines<TILE_M, WIDTH> {
    const THREADS: u32 = 2 * TILE_M as u32;
    const COUNT: u32 = (WIDTH * STEP) as u32 / Self::THREADS;
    const PITCH: usize = WIDTH + GAP;
    /// From one of the thread's elements to the next: along the width, and in depth.
    const APART: u32 = Self::THREADS / STEP as u32;
    const DEEPER: u32 = Self::THREADS / WIDTH as u32;

    /// The operand's tile that begins at `from`, of which neighbours along its width and its
    /// depth are `strides` apart, and `width` of its width are there.
    #[inline(always)]
    fn new(from: *const f32, strides: [i32; 2], width: u32, is_deep: bool) -> Self {
        let thread = thread_x();
        let [wide, depth] = match is_deep {
            true => [thread / STEP as u32, thread % STEP as u32],
            false => [thread % WIDTH as u32, thread / WIDTH as u32],
        };
        let first = wide as i32 * strides[0] + depth as i32 * strides[1];
        let next = match is_deep {
            true => Self::APART as i32 * strides[0],
            false => Self::DEEPER as i32 * strides[1],
        };
        let left = if wide < width { width - wide } else { 0 };
        let count = match (is_deep, left) {
            (true, _) => left.div_ceil(Self::APART),
            (false, 0) => 0,
            (false, _) => Self::COUNT,
        };
        let from = from.wrapping_offset(first as isize);
        Self { from, next, step: STEP as i32 * strides[1], is_deep, depth, count }
    }

    /// Starts copies of a step's elements, of which there are `depth`; `to` is
    /// `[depth][width]` with a gap.
    ///
    /// # Safety
    ///
    /// The elements are there, and nobody uses the stage.
    #[inline(always)]
    unsafe fn fetch(&self, step: u32, depth: u32, to: *mut f32) {
        let thread = thread_x() as usize;
        let (to, next, count) = match self.is_deep {
            true => {
                let to = to.wrapping_add(thread % STEP * Self::PITCH + thread / STEP);
                (to, Self::APART as usize, if self.depth < depth { self.count } else { 0 })
            }
            false => {
                let to = to.wrapping_add(thread / WIDTH * Self::PITCH + thread % WIDTH);
                let left = if self.depth < depth { depth - self.depth } else { 0 };
                let count = self.count.min(left.div_ceil(Self::DEEPER));
                (to, Self::DEEPER as usize * Self::PITCH, count)
            }
        };
        let from = self.from.wrapping_offset((step as i32 * self.step) as isize);
        for i in 0..Self::COUNT {
            let from = from.wrapping_offset((i as i32 * self.next) as isize);
            let to = to.wrapping_add(i as usize * next);
            // SAFETY: the caller's contract; nothing is read of what is not there.
            unsafe { copy_async_or_zero(to, from, 4 * u32::from(i < count)) };
        }
    }
}

/// The pixel whose patches a thread fetches.
struct Pixel {
    /// The patch's corner, which may lie before the input.
    from: *const f32,
    row: i32,
    column: i32,
    size: [u32; 2],
    /// The thread's column in the tile, and its first term.
    wide: u32,
    deep: u32,
}

impl Pixel {
    #[inline(always)]
    fn new(tiling: &Tiling, window: &Window, place: &Place, input: *const f32) -> Self {
        let (wide, deep) = (thread_x() % TILE_N as u32, thread_x() / TILE_N as u32);
        let column = place.column + wide;
        let [image, pixel] = divided(column, tiling.pixels);
        let [y, x] = divided(pixel, window.width);
        let row = (y * window.strides[0]) as i32 - window.begins[0];
        let column_in = (x * window.strides[1]) as i32 - window.begins[1];
        let [height, width] = window.input;
        let plane = (image * window.groups + place.batch) * window.channels;
        let corner = (plane * height * width) as i32 + row * width as i32 + column_in;
        // A pixel that is not there has a row that is never within the input.
        let is_there = column < tiling.columns;
        Self {
            from: input.wrapping_offset(corner as isize),
            row: if is_there { row } else { i32::MIN / 2 },
            column: column_in,
            size: window.input,
            wide,
            deep,
        }
    }

    /// Starts copies of a step's terms, whose places the table has.
    ///
    /// # Safety
    ///
    /// As for [`Lines::fetch`].
    #[inline(always)]
    unsafe fn fetch<const TILE_M: usize, const COUNT: usize>(
        &self,
        shared: Shared<TILE_M>,
        step: u32,
    ) {
        let to = shared.right(step % STAGES as u32);
        let to = to.wrapping_add(self.deep as usize * PITCH_N + self.wide as usize);
        let every = STEP / COUNT;
        for i in 0..COUNT {
            let deep = self.deep as usize + i * every;
            // SAFETY: the table has the step's terms.
            let tap = unsafe { shared.tap(step, deep).read() };
            let [down, along] = tap.place();
            let (row, column) = (self.row + down, self.column + along);
            // A negative number is a large one.
            let is_there = ((row as u32) < self.size[0]) & ((column as u32) < self.size[1]);
            let from = self.from.wrapping_offset(tap.offset() as isize);
            let to = to.wrapping_add(i * every * PITCH_N);
            // SAFETY: the caller's contract; nothing is read of what is not there.
            unsafe { copy_async_or_zero(to, from, 4 * u32::from(is_there)) };
        }
    }
}

impl Window {
    /// Where a term lies; one that is not there is outside of any input.
    #[inline(always)]
    fn tap(&self, term: u32, end: u32) -> Tap {
        let taps = self.window[0] * self.window[1];
        let [channel, tap] = divided(term, taps);
        let [row, column] = divided(tap, self.window[1]);
        let (row, column) = ((row * self.dilations[0]) as i32, (column * self.dilations[1]) as i32);
        let [height, width] = self.input;
        let offset = (channel * height * width) as i32 + row * width as i32 + column;
        let row = if term < end { row as i16 } else { i16::MIN };
        Tap::new(offset, row, column as i16)
    }
}

/// A lane's sums of its warp's 64×32.
type Sums = [[f32; 8]; 8];

/// How products are added up.
pub trait Multiply: DeviceType {
    /// Whether neighbouring columns of a lane are four, else two.
    const HAS_FOURS: bool;

    /// Adds a step's products to a warp's sums; its operands begin at `left` and `right`.
    ///
    /// # Safety
    ///
    /// The operands are in shared memory; all lanes make the call.
    unsafe fn add<const TILE_M: usize>(sums: &mut Sums, left: *const f32, right: *const f32);

    /// A lane's row number `i` in its warp's 64×32.
    fn row(lane: u32, i: usize) -> u32;

    /// Its column number `j`.
    fn column(lane: u32, j: usize) -> u32;

    /// The sums of row `i`, by columns.
    fn sums(sums: &Sums, i: usize) -> [f32; 8];
}

/// Rows are two fours, 32 apart, columns two fours, 16 apart.
impl Multiply for f32 {
    const HAS_FOURS: bool = true;

    #[inline(always)]
    unsafe fn add<const TILE_M: usize>(sums: &mut Sums, left: *const f32, right: *const f32) {
        let lane = lane() as usize;
        let left = left.wrapping_add(lane / 4 * 4);
        let right = right.wrapping_add(lane % 4 * 4);
        for four in 0..STEP / 4 {
            let left = left.wrapping_add(4 * four * (TILE_M + GAP));
            let right = right.wrapping_add(4 * four * PITCH_N);
            // SAFETY: the caller's contract.
            unsafe {
                add_term(sums, left, right);
                add_term(sums, left.wrapping_add(TILE_M + GAP), right.wrapping_add(PITCH_N));
                let (left, right) =
                    (left.wrapping_add(2 * (TILE_M + GAP)), right.wrapping_add(2 * PITCH_N));
                add_term(sums, left, right);
                add_term(sums, left.wrapping_add(TILE_M + GAP), right.wrapping_add(PITCH_N));
            }
        }
    }

    #[inline(always)]
    fn row(lane: u32, i: usize) -> u32 {
        lane / 4 * 4 + (i % 4 + i / 4 * 32) as u32
    }

    #[inline(always)]
    fn column(lane: u32, j: usize) -> u32 {
        lane % 4 * 4 + (j % 4 + j / 4 * 16) as u32
    }

    #[inline(always)]
    fn sums(sums: &Sums, i: usize) -> [f32; 8] {
        sums[i]
    }
}

/// Adds the products of one term: a column of the left operand with a row of the right one.
#[inline(always)]
unsafe fn add_term(sums: &mut Sums, left: *const f32, right: *const f32) {
    // SAFETY: the caller's contract.
    let ([a, b], [c, d]) = unsafe {
        (
            [read::<4>(left), read::<4>(left.wrapping_add(32))],
            [read::<4>(right), read::<4>(right.wrapping_add(16))],
        )
    };
    let right = [c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]];
    add_row(&mut sums[0], a[0], &right);
    add_row(&mut sums[1], a[1], &right);
    add_row(&mut sums[2], a[2], &right);
    add_row(&mut sums[3], a[3], &right);
    add_row(&mut sums[4], b[0], &right);
    add_row(&mut sums[5], b[1], &right);
    add_row(&mut sums[6], b[2], &right);
    add_row(&mut sums[7], b[3], &right);
}

#[inline(always)]
fn add_row(sums: &mut [f32; 8], left: f32, right: &[f32; 8]) {
    for j in 0..8 {
        sums[j] = left.mul_add(right[j], sums[j]);
    }
}

/// 4×4 products of 16×8. Row `i` is `lane / 4` in the `i`-th 8 of the warp's 64, column `j` of
/// the `j / 2`-th 8 of its 32: `sums[2 * m + n / 2]` has from `n % 2 * 4` on the four sums that
/// a lane has of product `[m, n]`, two in a row and two in the row 8 below.
impl Multiply for tf32 {
    const HAS_FOURS: bool = false;

    #[inline(always)]
    unsafe fn add<const TILE_M: usize>(sums: &mut Sums, left: *const f32, right: *const f32) {
        let (line, term) = (lane() as usize / 4, lane() as usize % 4);
        let left = left.wrapping_add(term * (TILE_M + GAP) + line);
        let right = right.wrapping_add(term * PITCH_N + line);
        for half in 0..STEP / 8 {
            let left = left.wrapping_add(half * 8 * (TILE_M + GAP));
            let right = right.wrapping_add(half * 8 * PITCH_N);
            // SAFETY: the caller's contract.
            unsafe {
                let b = [
                    fragment(right, PITCH_N),
                    fragment(right.wrapping_add(8), PITCH_N),
                    fragment(right.wrapping_add(16), PITCH_N),
                    fragment(right.wrapping_add(24), PITCH_N),
                ];
                add_products::<0, TILE_M>(sums, left, &b);
                add_products::<1, TILE_M>(sums, left, &b);
                add_products::<2, TILE_M>(sums, left, &b);
                add_products::<3, TILE_M>(sums, left, &b);
            }
        }
    }

    #[inline(always)]
    fn row(lane: u32, i: usize) -> u32 {
        lane / 4 + 8 * i as u32
    }

    #[inline(always)]
    fn column(lane: u32, j: usize) -> u32 {
        lane % 4 * 2 + (j % 2 + j / 2 * 8) as u32
    }

    #[inline(always)]
    fn sums(sums: &Sums, i: usize) -> [f32; 8] {
        let (two, at) = (i / 2 * 2, i % 2 * 2);
        let (a, b) = (&sums[two], &sums[two + 1]);
        [a[at], a[at + 1], a[at + 4], a[at + 5], b[at], b[at + 1], b[at + 4], b[at + 5]]
    }
}

/// Two terms, four apart, of the line that a lane has, rounded.
#[inline(always)]
unsafe fn fragment(at: *const f32, pitch: usize) -> [tf32; 2] {
    // SAFETY: the caller's contract.
    unsafe { [tf32::from_f32(at.read()), tf32::from_f32(at.wrapping_add(4 * pitch).read())] }
}

/// Adds the products of 16 rows and 4×8 columns.
#[inline(always)]
unsafe fn add_products<const M: usize, const TILE_M: usize>(
    sums: &mut Sums,
    left: *const f32,
    b: &[[tf32; 2]; 4],
) {
    let left = left.wrapping_add(16 * M);
    // SAFETY: the caller's contract.
    let ([a0, a2], [a1, a3]) =
        unsafe { (fragment(left, TILE_M + GAP), fragment(left.wrapping_add(8), TILE_M + GAP)) };
    let a = [a0, a1, a2, a3];
    for n in 0..4 {
        let row = &mut sums[2 * M + n / 2];
        let at = n % 2 * 4;
        let mut acc = [row[at], row[at + 1], row[at + 2], row[at + 3]];
        mma_f32_tf32(&mut acc, &a, &b[n]);
        [row[at], row[at + 1], row[at + 2], row[at + 3]] = acc;
    }
}

/// Multiplies the operands that are fetched, step after step, and writes the tile.
///
/// # Safety
///
/// The block has the threads and the shared memory; the output has the tile's places.
#[inline(always)]
unsafe fn multiply<T: Multiply, const TILE_M: usize>(
    tiling: &Tiling,
    place: &Place,
    shared: Shared<TILE_M>,
    ending: Ending,
    prepare: impl Fn(u32),
    fetch: impl Fn(u32),
) {
    const AHEAD: u32 = STAGES as u32 - 1;
    let steps = (place.end - place.begin).div_ceil(STEP as u32);
    for step in 0..=AHEAD {
        prepare(step);
    }
    barrier();
    for step in 0..AHEAD {
        if step < steps {
            fetch(step);
        }
        copy_async_commit();
    }
    let (warp_m, warp_n) = (warp() as usize / 4, warp() as usize % 4);
    let mut sums: Sums = [[0.0; 8]; 8];
    for step in 0..steps {
        copy_async_wait::<{ STAGES as u32 - 2 }>();
        barrier();
        prepare(step + AHEAD + 1);
        if step + AHEAD < steps {
            fetch(step + AHEAD);
        }
        copy_async_commit();
        let stage = step % STAGES as u32;
        // SAFETY: the stage has arrived, and all lanes come here.
        unsafe {
            let left = shared.left(stage).wrapping_add(64 * warp_m);
            let right = shared.right(stage).wrapping_add(32 * warp_n);
            T::add::<TILE_M>(&mut sums, left, right);
        }
    }
    let first = [place.row + 64 * warp_m as u32, place.column + 32 * warp_n as u32];
    // SAFETY: the caller's contract.
    unsafe { write::<T>(tiling, place, ending, first, &sums) };
}

/// Writes a warp's 64×32.
///
/// # Safety
///
/// As for [`multiply`].
#[inline(always)]
unsafe fn write<T: Multiply>(
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

/// Declares the kernels of a tile's height.
macro_rules! tile {
    ($product:ident, $convolve:ident: $tile_m:literal rows, $products:literal and $convolutions:literal blocks) => {
        /// Products of matrices, which lie as views along the batches say.
        ///
        /// # Safety
        ///
        /// The operands have all elements that the numbers reach; the launch has
        /// [`threads`] and [`shared_bytes`] of this height and a block for each part of
        /// each tile. `out` has [`Tiling::len`] elements for each part.
        #[kernel(block = threads($tile_m), min_blocks = $products, instances(f32, tf32))]
        #[allow(clippy::too_many_arguments)]
        pub unsafe fn $product<T: Multiply>(
            tiling: Tiling,
            batches: Dims,
            views: [View; 2],
            steps: Steps,
            left: *const f32,
            right: *const f32,
            bias: *const f32,
            residual: *const f32,
            out: *mut f32,
        ) {
            // SAFETY: the caller's contract.
            unsafe {
                let ending = Ending { bias, residual, out };
                product::<T, $tile_m>(&tiling, &batches, &views, &steps, [left, right], ending);
            }
        }

        /// Convolutions: a batch is a group.
        ///
        /// # Safety
        ///
        /// As for the product.
        #[kernel(block = threads($tile_m), min_blocks = $convolutions, instances(f32, tf32))]
        pub unsafe fn $convolve<T: Multiply>(
            tiling: Tiling,
            window: Window,
            input: *const f32,
            weights: *const f32,
            bias: *const f32,
            residual: *const f32,
            out: *mut f32,
        ) {
            // SAFETY: the caller's contract.
            unsafe {
                let ending = Ending { bias, residual, out };
                convolve::<T, $tile_m>(&tiling, &window, [input, weights], ending);
            }
        }
    };
}
// Products have operands in any order, which takes registers: fewer small blocks at a time.
tile!(product_64, convolve_64: 64 rows, 3 and 4 blocks);
tile!(product_128, convolve_128: 128 rows, 2 and 2 blocks);

#[inline(always)]
unsafe fn product<T: Multiply, const TILE_M: usize>(
    tiling: &Tiling,
    batches: &Dims,
    views: &[View; 2],
    steps: &Steps,
    [left, right]: [*const f32; 2],
    ending: Ending,
) {
    let place = tiling.place(block_x(), TILE_M);
    let shared = Shared::<TILE_M> { memory: dynamic_shared::<F32x4>().0.cast() };
    let at = |view: usize, tile: [u32; 2], strides: [i32; 2]| {
        let first = views[view].at(batches, place.batch) as i32;
        first + tile[0] as i32 * strides[0] + tile[1] as i32 * strides[1]
    };
    let first = at(0, [place.row, place.begin], steps.left);
    let left = left.wrapping_offset(first as isize);
    let first = at(1, [place.begin, place.column], steps.right);
    let right = right.wrapping_offset(first as isize);
    let left =
        Lines::<TILE_M, TILE_M>::new(left, steps.left, tiling.rows - place.row, steps.left[1] == 1);
    let strides = [steps.right[1], steps.right[0]];
    let right = Lines::<TILE_M, TILE_N>::new(
        right,
        strides,
        tiling.columns - place.column,
        strides[1] == 1,
    );
    let fetch = |step: u32| {
        let (stage, depth) = (step % STAGES as u32, place.end - place.begin - step * STEP as u32);
        // SAFETY: the caller's contract.
        unsafe {
            left.fetch(step, depth, shared.left(stage));
            right.fetch(step, depth, shared.right(stage));
        }
    };
    // SAFETY: the caller's contract.
    unsafe { multiply::<T, TILE_M>(tiling, &place, shared, ending, |_| (), fetch) };
}

#[inline(always)]
unsafe fn convolve<T: Multiply, const TILE_M: usize>(
    tiling: &Tiling,
    window: &Window,
    [input, weights]: [*const f32; 2],
    ending: Ending,
) {
    let place = tiling.place(block_x(), TILE_M);
    let shared = Shared::<TILE_M> { memory: dynamic_shared::<F32x4>().0.cast() };
    let filter = (place.batch * tiling.rows + place.row) * tiling.depth + place.begin;
    let weights = weights.wrapping_add(filter as usize);
    let strides = [tiling.depth as i32, 1];
    let weights = Lines::<TILE_M, TILE_M>::new(weights, strides, tiling.rows - place.row, true);
    let pixel = Pixel::new(tiling, window, &place, input);
    let prepare = |step: u32| {
        let thread = thread_x();
        if thread < STEP as u32 {
            let term = place.begin + step * STEP as u32 + thread;
            // SAFETY: nobody reads the table's entries of this step any more, or yet.
            unsafe { shared.tap(step, thread as usize).write(window.tap(term, place.end)) };
        }
    };
    let fetch = |step: u32| {
        let (stage, depth) = (step % STAGES as u32, place.end - place.begin - step * STEP as u32);
        // SAFETY: the caller's contract.
        unsafe {
            weights.fetch(step, depth, shared.left(stage));
            if TILE_M == 128 {
                pixel.fetch::<TILE_M, 8>(shared, step);
            } else {
                pixel.fetch::<TILE_M, 16>(shared, step);
            }
        }
    };
    // SAFETY: the caller's contract.
    unsafe { multiply::<T, TILE_M>(tiling, &place, shared, ending, prepare, fetch) };
}

/// Elements from the parts of their sums.
///
/// # Safety
///
/// `parts` has [`Tiling::len`] elements for each part, `out` as many; bias and residual have
/// theirs, if there are any.
#[kernel(block = 256)]
pub unsafe fn combine(
    tiling: Tiling,
    parts: *const f32,
    bias: *const f32,
    residual: *const f32,
    out: *mut f32,
) {
    let ending = Ending { bias, residual, out };
    let lines = tiling.batches * tiling.rows;
    let at = block_x() * 256 + thread_x();
    if at < tiling.len {
        let mut sum = 0.0;
        for part in 0..tiling.split as usize {
            // SAFETY: the caller's contract.
            sum += unsafe { parts.add(part * tiling.len as usize + at as usize).read() };
        }
        let line = divided(divided(at, tiling.pixels)[0], lines)[1];
        // SAFETY: the caller's contract.
        unsafe {
            let [result] = tiling.results([sum], tiling.bias(line, ending), at, ending);
            out.add(at as usize).write(result);
        }
    }
}
