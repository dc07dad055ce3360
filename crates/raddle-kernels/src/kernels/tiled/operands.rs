//! Where operands of tiles lie, and how they come to shared memory.

use raddle::device::async_copy::copy_async_or_zero;
use raddle::prelude::*;

use super::{GAP, PITCH_N, Place, STAGES, STEP, TABLE_STEPS, TILE_N, Tiling, divided, stage_len};

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
pub(super) struct Tap(u64);

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
pub(super) struct Shared<const TILE_M: usize> {
    pub(super) memory: *mut f32,
}

impl<const TILE_M: usize> Shared<TILE_M> {
    /// `[k][row]`.
    #[inline(always)]
    pub(super) fn left(self, stage: u32) -> *mut f32 {
        self.memory.wrapping_add(stage as usize * stage_len(TILE_M))
    }

    /// `[k][column]`.
    #[inline(always)]
    pub(super) fn right(self, stage: u32) -> *mut f32 {
        self.left(stage).wrapping_add(STEP * (TILE_M + GAP))
    }

    /// The table's entry for a term of a step.
    #[inline(always)]
    pub(super) fn tap(self, step: u32, term: usize) -> *mut Tap {
        let table = self.memory.wrapping_add(STAGES * stage_len(TILE_M)).cast::<Tap>();
        table.wrapping_add(step as usize % TABLE_STEPS * STEP + term)
    }
}

/// A thread's share of an operand's `WIDTH×STEP` of a step, as it lies in memory, where a
/// block has two threads for each row of its tile.
pub(super) struct Lines<const TILE_M: usize, const WIDTH: usize> {
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
    pub(super) fn new(from: *const f32, strides: [i32; 2], width: u32, is_deep: bool) -> Self {
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
        let left = width.saturating_sub(wide);
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
    pub(super) unsafe fn fetch(&self, step: u32, depth: u32, to: *mut f32) {
        let thread = thread_x() as usize;
        let (to, next, count) = match self.is_deep {
            true => {
                let to = to.wrapping_add(thread % STEP * Self::PITCH + thread / STEP);
                (to, Self::APART as usize, if self.depth < depth { self.count } else { 0 })
            }
            false => {
                let to = to.wrapping_add(thread / WIDTH * Self::PITCH + thread % WIDTH);
                let left = depth.saturating_sub(self.depth);
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
pub(super) struct Pixel {
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
    pub(super) fn new(tiling: &Tiling, window: &Window, place: &Place, input: *const f32) -> Self {
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
    pub(super) unsafe fn fetch<const TILE_M: usize, const COUNT: usize>(
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
    pub(super) fn tap(&self, term: u32, end: u32) -> Tap {
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
