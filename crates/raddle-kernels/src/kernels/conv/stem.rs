//! The first layer of a network for pictures, from its input to behind the pooling, in
//! one kernel: a convolution in steps of two columns over at most four channels, a
//! function, and the largest of three by three in steps of two.
//!
//! ```text
//! out[image, row, column, channel] = act(max over the window of conv(input)[..] + bias[channel])
//! ```
//!
//! Two columns of four channels are a *pair*, 16 bytes. A row of the input lies in shared
//! memory as pairs, zeros left and right of it. The tap of pair `t` of all columns of an
//! output's row is then the row itself from pair `t` on, as the tensor cores read rows
//! without swizzle: eight pixels of 16 bytes each. So nothing is gathered; the operands of
//! neighbouring taps overlap.
//!
//! A block makes a strip of rows of one image, of 64 channels and up to 56 columns. Two
//! warps convert rows of the input into a ring, and a warpgroup multiplies. It has two
//! accumulators, one row of the convolution each: the second is summed while the first is
//! pooled, and while the second is, the other block of the multiprocessor sums.
//! The larger of neighbours is found in packed 16-bit numbers, as if the row had been
//! stored: first of three columns, then of three rows, of which the last is kept for the
//! next pooled row.

use raddle::device::matrix::{
    KMajor, MatrixDescriptor, Operand, SharedLayout, Swizzle, stmatrix_x4_trans, wgmma,
    wgmma_commit, wgmma_fence, wgmma_wait,
};
use raddle::device::mbarrier::Mbarrier;
use raddle::device::tma::bulk_copy_to_shared;
use raddle::device::unroll::{unroll, unrolled};
use raddle::prelude::*;

use super::{Activation, Eight, GROUP_CHANNELS, GROUP_THREADS, Half};

/// Columns of the convolution that a block has: whole eights.
pub const COLUMNS: usize = 112;
/// Columns of the convolution from one block's first to the next one's: the pooling of a
/// block's first column needs a column that only the block before has.
pub const COLUMN_STEP: usize = COLUMNS - 2;
/// Accumulators of a thread, for a row of the convolution.
const R: usize = COLUMNS / 2;
/// Groups of eight columns in a row.
const EIGHTS: usize = COLUMNS / 8;
/// Threads that convert rows.
const CONVERTERS: usize = 64;
/// Threads of a block.
pub const THREADS: u32 = (GROUP_THREADS + CONVERTERS) as u32;
/// Rows of the input in shared memory.
pub const RING_ROWS: usize = 16;
/// Steps of 16 elements of `k` in a row of the filter, at most: of two pairs each.
pub const PAIR_STEPS_MAX: usize = 2;
/// Steps of `k` at most.
pub const STEPS_MAX: usize = 16;
/// Pairs in a row of the ring.
const PITCH: usize = COLUMNS + 2 * PAIR_STEPS_MAX;
/// Bytes of 64 channels' weights in a step of 16 elements of `k`.
pub const STEP_BYTES: usize = GROUP_CHANNELS * 16 * 2;
/// Elements from a staged pixel to the next, so that no bank is hit twice.
const STAGED_PITCH: usize = GROUP_CHANNELS + 8;
/// Bytes of a staged row of pooled pixels, in whole sixteens.
const STAGED_BYTES: usize = EIGHTS.div_ceil(4) * 16 * STAGED_PITCH * 2;
/// Rows that a converter thread has under way.
const AHEAD: usize = 4;
/// Dynamic shared memory of a launch.
pub const SHARED_BYTES: usize =
    STEPS_MAX * STEP_BYTES + RING_ROWS * PITCH * 16 + 2 * STAGED_BYTES + 128;

/// The numbers of a first layer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Stem {
    /// Rows and columns of an image, the columns even.
    pub size: [u32; 2],
    /// Channels of the input, at most 4.
    pub channels: u32,
    /// Rows of the filter.
    pub filter_rows: u32,
    /// Steps of 16 elements of `k` in one of them.
    pub pair_steps: u32,
    /// Rows from one row of the convolution to the next.
    pub stride: u32,
    /// Rows above, and pairs of columns left of the image.
    pub padding: [u32; 2],
    /// Pooled rows and columns.
    pub pooled: [u32; 2],
    /// Channels of the output in memory, a multiple of 8.
    pub outputs: u32,
    /// Tiles of 64 channels.
    pub channel_tiles: u32,
    /// Blocks for the columns of an image.
    pub segments: u32,
    /// Pooled rows of a block.
    pub strip_rows: u32,
    /// Blocks for the rows of an image.
    pub strips: u32,
    /// What is done to the largest sum: one of those that only keep numbers in bounds.
    pub activation: Activation,
}

/// The first layer.
///
/// # Safety
///
/// `shape` describes what lies at the pointers: `input` is `[image, channel, row, column]`,
/// `weights` are packed in steps of [`STEP_BYTES`] for each 64 channels, `bias` has all of
/// these channels, `out` is `[image, row, column, channel]`. A ring holds a filter's rows
/// and two steps of rows more. The launch has `images * strips * segments *
/// channel_tiles` blocks and the threads and shared memory of this module.
#[kernel(block = THREADS, min_blocks = 2, arch = 90, instances(f16, bf16))]
pub unsafe fn stem<T: Half>(
    shape: Stem,
    input: *const f32,
    weights: *const T,
    bias: *const f32,
    out: *mut T,
) {
    let mut full = shared!([Mbarrier; RING_ROWS]);
    let mut empty = shared!([Mbarrier; RING_ROWS]);
    let mut weighed = shared!([Mbarrier; 1]);
    let full = full.init_mbarriers(|_| CONVERTERS as u32);
    let empty = empty.init_mbarriers(|_| 1);
    let weighed = weighed.init_mbarriers(|_| 1);
    // The first thread, which initialised it, also starts the copy that it counts.
    fence_mbarrier_init();
    let (memory, _) = dynamic_shared::<u8>();
    let memory = memory.wrapping_add(memory.align_offset(128));
    let (channel_tiles, segments) = (shape.channel_tiles.max(1), shape.segments.max(1));
    let (rest, channel_tile) = (block_x() / channel_tiles, block_x() % channel_tiles);
    let (rest, segment) = (rest / segments, rest % segments);
    let strips = shape.strips.max(1);
    let (image, strip) = (rest / strips, rest % strips);
    let first_pooled = strip * shape.strip_rows;
    let end_pooled = (first_pooled + shape.strip_rows).min(shape.pooled[0]);
    let job = Job {
        shape: &shape,
        input,
        weights,
        bias,
        out,
        full,
        empty,
        weighed: &weighed[0],
        packed: memory,
        ring: memory.wrapping_add(STEPS_MAX * STEP_BYTES),
        staged: memory.wrapping_add(STEPS_MAX * STEP_BYTES + RING_ROWS * PITCH * 16),
        image,
        channel_tile,
        segment,
        pooled_rows: [first_pooled, end_pooled],
        first_row: (2 * first_pooled).max(1) - 1,
    };
    allow_next_kernel();
    // SAFETY: each role does its part of the contract written at `Job`.
    unsafe {
        if (thread_x() as usize) < GROUP_THREADS {
            job.multiply();
        } else {
            job.convert();
        }
    }
}

/// One block's work. A row of the ring belongs to the converters from the multipliers'
/// arrival at its empty barrier until theirs at its full one.
struct Job<'a, T> {
    shape: &'a Stem,
    input: *const f32,
    weights: *const T,
    bias: *const f32,
    out: *mut T,
    full: &'a [Mbarrier; RING_ROWS],
    empty: &'a [Mbarrier; RING_ROWS],
    weighed: &'a Mbarrier,
    packed: *mut u8,
    ring: *mut u8,
    staged: *mut u8,
    image: u32,
    channel_tile: u32,
    segment: u32,
    /// First pooled row and the one behind the last.
    pooled_rows: [u32; 2],
    /// First row of the convolution.
    first_row: u32,
}

/// A pair of columns: up to four channels, two columns each.
type Pair = [[f32; 2]; 4];

impl<T: Half> Job<'_, T> {
    /// Rows of the input that the strip needs.
    #[inline(always)]
    fn input_rows(&self) -> u32 {
        let rows = 2 * self.pooled_rows[1] - self.first_row;
        (rows - 1) * self.shape.stride + self.shape.filter_rows
    }

    /// Fills the ring with all rows of the strip.
    #[inline(always)]
    unsafe fn convert(&self) {
        wait_for_previous_kernel();
        let rows = self.input_rows();
        // SAFETY: the caller's contract; nothing is read outside of the image.
        let load = |row: u32| unsafe { unrolled::<Pair, 2>(|part| self.load(row, part)) };
        let mut ahead = unrolled::<[Pair; 2], AHEAD>(|i| load(i as u32));
        let mut first = 0;
        while first < rows {
            unroll::<AHEAD>(|i| {
                let row = first + i as u32;
                if row < rows {
                    let slot = row as usize % RING_ROWS;
                    if row >= RING_ROWS as u32 {
                        self.empty[slot].suspend_parity((row / RING_ROWS as u32 + 1) % 2);
                    }
                    // SAFETY: the slot is empty.
                    unsafe { self.store(slot, &ahead[i]) };
                    let _ = self.full[slot].arrive();
                    ahead[i] = load(row + AHEAD as u32);
                }
            });
            first += AHEAD as u32;
        }
    }

    /// Reads this thread's pair of a row, or zeros outside of the image.
    #[inline(always)]
    unsafe fn load(&self, row: u32, part: usize) -> Pair {
        let [rows, columns] = self.shape.size;
        let slot_pair = (thread_x() as usize - GROUP_THREADS + part * CONVERTERS) as u32;
        let pair =
            (slot_pair + self.segment * COLUMN_STEP as u32).wrapping_sub(self.shape.padding[1]);
        let row = (self.first_row * self.shape.stride + row).wrapping_sub(self.shape.padding[0]);
        let is_inside = row < rows && pair < columns / 2 && slot_pair < PITCH as u32;
        let plane = (rows * columns) as usize;
        let first = (self.image * self.shape.channels) as usize * plane
            + (row * columns + 2 * pair) as usize;
        unrolled(|channel| {
            if !is_inside || channel as u32 >= self.shape.channels {
                return [0.0; 2];
            }
            let source = self.input.wrapping_add(first + channel * plane).cast::<F32x2>();
            // SAFETY: the pair lies in the image.
            let two = unsafe { source.read() };
            [two[0], two[1]]
        })
    }

    #[inline(always)]
    unsafe fn store(&self, slot: usize, pairs: &[Pair; 2]) {
        unroll::<2>(|part| {
            let at = thread_x() as usize - GROUP_THREADS + part * CONVERTERS;
            if at < PITCH {
                let pair = &pairs[part];
                let two = |channel: usize, column: usize| {
                    T::pack(pair[channel][column], pair[channel + 1][column])
                };
                let words = U32x4::new([two(0, 0), two(2, 0), two(0, 1), two(2, 1)]);
                let target = self.ring.wrapping_add((slot * PITCH + at) * 16);
                // SAFETY: the slot has the pair.
                unsafe { target.cast::<U32x4>().write(words) };
            }
        });
    }

    /// Multiplies, pools and writes all rows of the strip.
    #[inline(always)]
    unsafe fn multiply(&self) {
        let [first, end] = self.pooled_rows;
        // SAFETY: the caller's contract.
        unsafe {
            self.copy_weights();
            let bias = self.biases();
            let (mut even, mut odd) = ([0.0f32; R], [0.0f32; R]);
            let nothing = T::pack(f32::NEG_INFINITY, f32::NEG_INFINITY);
            let mut kept = [nothing; EIGHTS];
            let mut row = 0;
            if first > 0 {
                // The row above the strip's first two.
                self.start(&mut odd, row);
                wgmma_wait::<0, _>(&mut odd);
                self.release(row);
                kept = pool_columns::<T>(&odd, bias);
                row = 1;
            }
            wait_for_previous_kernel();
            for pooled in first..end {
                self.start(&mut even, row);
                self.start(&mut odd, row + 1);
                wgmma_wait::<1, _>(&mut even);
                self.release(row);
                let largest = larger::<T>(&kept, &pool_columns::<T>(&even, bias));
                wgmma_wait::<0, _>(&mut odd);
                self.release(row + 1);
                kept = pool_columns::<T>(&odd, bias);
                self.finish(&larger::<T>(&largest, &kept), pooled);
                row += 2;
            }
        }
    }

    /// Has the first thread copy all weights, and waits for them.
    #[inline(always)]
    unsafe fn copy_weights(&self) {
        let bytes = self.steps() * STEP_BYTES as u32;
        if thread_x() == 0 {
            let _ = self.weighed.arrive_expect_tx(bytes);
            let first = self.channel_tile as usize * bytes as usize / 2;
            let source = self.weights.wrapping_add(first);
            // SAFETY: the packed weights have this part, and nobody uses the memory.
            unsafe { bulk_copy_to_shared(self.packed, source.cast(), bytes, self.weighed) };
        }
        self.weighed.suspend_parity(0);
    }

    #[inline(always)]
    fn steps(&self) -> u32 {
        self.shape.filter_rows * self.shape.pair_steps
    }

    /// The bias of this thread's two channels.
    #[inline(always)]
    unsafe fn biases(&self) -> [f32; 2] {
        let channel = self.channel_tile as usize * GROUP_CHANNELS
            + thread_x() as usize / 32 * 16
            + lane() as usize / 4;
        // SAFETY: the bias has all channels of all tiles.
        unsafe { [self.bias.add(channel).read(), self.bias.add(channel + 8).read()] }
    }

    /// Starts the products of a row of the convolution, counted from the strip's first.
    #[inline(always)]
    unsafe fn start(&self, acc: &mut [f32; R], row: u32) {
        let weights = SharedLayout {
            swizzle: Swizzle::None,
            leading_bytes: (GROUP_CHANNELS * 16) as u32,
            stride_bytes: 128,
        };
        // The next 8 elements of `k` are the next pair, the next 8 columns 8 pairs on.
        let pixels = SharedLayout { swizzle: Swizzle::None, leading_bytes: 16, stride_bytes: 128 };
        let first = row * self.shape.stride;
        // Rows are filled in order.
        let last = first + self.shape.filter_rows - 1;
        self.full[last as usize % RING_ROWS].suspend_parity(last / RING_ROWS as u32 % 2);
        // Threads write by another path than the tensor cores read.
        fence_proxy_async_shared();
        // SAFETY: the warpgroup's threads run this together; the rows and weights are full.
        unsafe {
            wgmma_fence(acc);
            let mut packed = self.packed;
            for tap_row in 0..self.shape.filter_rows {
                let slot = (first + tap_row) as usize % RING_ROWS;
                let source = self.ring.wrapping_add(slot * PITCH * 16);
                for step in 0..self.shape.pair_steps {
                    let left = Operand::<T, KMajor>::new(MatrixDescriptor::new(packed, weights));
                    let right = MatrixDescriptor::new(source, pixels).advance(32 * step);
                    let right = Operand::<T, KMajor>::new(right);
                    wgmma(acc, left, right, tap_row + step > 0);
                    packed = packed.wrapping_add(STEP_BYTES);
                }
            }
            wgmma_commit();
        }
    }

    /// Gives the rows back that no row of the convolution behind this one reads.
    #[inline(always)]
    fn release(&self, row: u32) {
        if thread_x() == 0 {
            for input_row in row * self.shape.stride..(row + 1) * self.shape.stride {
                let _ = self.empty[input_row as usize % RING_ROWS].arrive();
            }
        }
    }

    /// Bounds a pooled row and writes it.
    #[inline(always)]
    unsafe fn finish(&self, largest: &[u32; EIGHTS], pooled: u32) {
        const SIGNS: u32 = 0x8000_8000;
        let bounds = self.shape.activation.bounds();
        let [min, max] = bounds.unwrap_or([f32::NEG_INFINITY, f32::INFINITY]);
        let (min, negated_max) = (T::pack(min, min), T::pack(-max, -max));
        let pixels = unrolled::<u32, EIGHTS>(|j| {
            T::maximum(T::maximum(largest[j], min) ^ SIGNS, negated_max) ^ SIGNS
        });
        let (lane, warp) = (lane() as usize, thread_x() as usize / 32);
        let staged = self.staged.wrapping_add(pooled as usize % 2 * STAGED_BYTES).cast::<T>();
        // Row `r` of a matrix has pixel `r / 2` of one eighth of columns, or of the next.
        let pixel = lane / 16 * 8 + lane % 8 / 2 + lane % 2 * 4;
        let target = pixel * STAGED_PITCH + warp * 16 + lane / 8 % 2 * 8;
        let target = staged.wrapping_add(target);
        unroll::<{ EIGHTS.div_ceil(4) }>(|quarter| {
            let two = |at: usize| match at < EIGHTS {
                true => {
                    let (one, other) = (pixels[at], pixels[at + 1]);
                    [one & 0xffff | other << 16, one >> 16 | other & 0xffff_0000]
                }
                false => [0; 2],
            };
            let ([a, b], [c, d]) = (two(4 * quarter), two(4 * quarter + 2));
            let target = target.wrapping_add(quarter * 16 * STAGED_PITCH);
            // SAFETY: the staged row has room for whole sixteens of pixels.
            unsafe { stmatrix_x4_trans(target, [a, b, c, d]) };
        });
        // All have staged; who stages the next row does so in the other buffer.
        NamedBarrier::<1>.sync(GROUP_THREADS as u32);
        // SAFETY: the row is staged.
        unsafe { self.write(staged, pooled) };
    }

    #[inline(always)]
    unsafe fn write(&self, staged: *const T, pooled: u32) {
        let [rows, columns] = self.shape.pooled;
        let channel = thread_x() as usize % 8 * 8;
        let first_column = self.segment * (COLUMN_STEP / 2) as u32;
        let output_channel = self.channel_tile as usize * GROUP_CHANNELS + channel;
        unroll::<{ COLUMNS / 2 * 8 / GROUP_THREADS + 1 }>(|i| {
            let pixel = thread_x() as usize / 8 + i * (GROUP_THREADS / 8);
            let column = first_column + pixel as u32;
            // A further segment's first column lacks its left neighbour.
            let is_whole = pixel < COLUMNS / 2 && (pixel > 0 || self.segment == 0);
            if is_whole && column < columns && output_channel < self.shape.outputs as usize {
                let source = staged.wrapping_add(pixel * STAGED_PITCH + channel);
                let line = (self.image * rows + pooled) * columns + column;
                let at = line as usize * self.shape.outputs as usize + output_channel;
                let target = self.out.wrapping_add(at).cast::<Eight<T>>();
                // SAFETY: the row is staged, and the output has the pixel.
                unsafe { target.write(source.cast::<Eight<T>>().read()) };
            }
        });
    }
}

/// The largest of three columns for each second one of a row of the convolution: pixels
/// `4 * j + lane % 4` of channels `c` and `c + 8`, packed and rounded.
#[inline(always)]
fn pool_columns<T: Half>(acc: &[f32; R], [low, high]: [f32; 2]) -> [u32; EIGHTS] {
    let quarter = lane() % 4;
    let column = |j: usize, at: usize| T::pack(acc[4 * j + at] + low, acc[4 * j + at + 2] + high);
    // The image's first column has no left neighbour.
    let mut before = column(0, 0);
    unrolled(|j| {
        let (even, odd) = (column(j, 0), column(j, 1));
        // The odd column left of this thread's: its left neighbour has it, or for the first
        // of four the last of them, eight columns before.
        let given = if quarter == 3 { before } else { odd };
        let left = Lanes::ALL.segments(4).shuffle(given, (quarter + 3) % 4);
        let left = if j == 0 && quarter == 0 { even } else { left };
        before = odd;
        T::maximum(T::maximum(even, odd), left)
    })
}

/// The larger of two rows' pixels.
#[inline(always)]
fn larger<T: Half>(one: &[u32; EIGHTS], other: &[u32; EIGHTS]) -> [u32; EIGHTS] {
    unrolled(|j| T::maximum(one[j], other[j]))
}
