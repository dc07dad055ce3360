//! The shape of a launch: blocks, threads, clusters, dynamic shared memory.
//!
//! A [`Grid`] is only numbers; whether a kernel and a device accept them is
//! checked when the launch is made, so that building one never fails.

/// How many threads run a kernel, and how they are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) cluster: [u32; 3],
    pub(crate) shared_bytes: usize,
    pub(crate) is_programmatic: bool,
    /// Made by [`Grid::cover`] for no threads at all: launches nothing.
    pub(crate) is_empty: bool,
}

/// One to three sizes; those left out are 1.
pub trait Dims {
    /// The sizes along x, y and z.
    fn dims(self) -> [u32; 3];
}

impl Dims for u32 {
    fn dims(self) -> [u32; 3] {
        [self, 1, 1]
    }
}

impl Dims for (u32, u32) {
    fn dims(self) -> [u32; 3] {
        [self.0, self.1, 1]
    }
}

impl Dims for (u32, u32, u32) {
    fn dims(self) -> [u32; 3] {
        [self.0, self.1, self.2]
    }
}

impl Dims for [u32; 1] {
    fn dims(self) -> [u32; 3] {
        [self[0], 1, 1]
    }
}

impl Dims for [u32; 2] {
    fn dims(self) -> [u32; 3] {
        [self[0], self[1], 1]
    }
}

impl Dims for [u32; 3] {
    fn dims(self) -> [u32; 3] {
        self
    }
}

impl Grid {
    /// `grid` blocks of `block` threads each.
    #[must_use]
    pub fn new(grid: impl Dims, block: impl Dims) -> Self {
        Self {
            grid: grid.dims(),
            block: block.dims(),
            cluster: [0; 3],
            shared_bytes: 0,
            is_programmatic: false,
            is_empty: false,
        }
    }

    /// As many blocks of `block` threads along x as it takes to have `threads`
    /// threads. For no threads at all, a launch that does nothing.
    #[must_use]
    pub fn cover(threads: usize, block: u32) -> Self {
        let blocks = threads.div_ceil(block.max(1) as usize);
        // More blocks than a launch can have stay more than a launch can have.
        let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
        Self { is_empty: threads == 0, ..Self::new(blocks, block) }
    }

    /// With `bytes` of dynamic shared memory for each block.
    #[must_use]
    pub fn shared_bytes(self, bytes: usize) -> Self {
        Self { shared_bytes: bytes, ..self }
    }

    /// With blocks grouped into clusters of this shape.
    #[must_use]
    pub fn cluster(self, blocks: impl Dims) -> Self {
        Self { cluster: blocks.dims(), ..self }
    }

    /// Allowed to begin before the kernel ahead of it in the stream has ended
    /// (programmatic dependent launch): the kernel itself then waits, with
    /// `griddepcontrol.wait`, before it touches what that one wrote. A kernel
    /// that never waits races with the one ahead.
    #[must_use]
    pub fn programmatic(self) -> Self {
        Self { is_programmatic: true, ..self }
    }

    /// Blocks along each axis.
    #[must_use]
    pub fn blocks(&self) -> [u32; 3] {
        self.grid
    }

    /// Threads of a block along each axis.
    #[must_use]
    pub fn block(&self) -> [u32; 3] {
        self.block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_covers_exactly_what_is_asked() {
        assert_eq!(Grid::cover(1, 256).blocks(), [1, 1, 1]);
        assert_eq!(Grid::cover(256, 256).blocks(), [1, 1, 1]);
        assert_eq!(Grid::cover(257, 256).blocks(), [2, 1, 1]);
        assert!(Grid::cover(0, 256).is_empty);
        assert_eq!(Grid::cover(usize::MAX, 1).blocks(), [u32::MAX, 1, 1]);
        assert_eq!(Grid::cover(10, 0).block(), [0, 1, 1]);
    }

    #[test]
    fn shapes_come_in_all_the_usual_forms() {
        let grid = Grid::new((4, 2), [32, 8]).cluster((2, 1, 1)).shared_bytes(1 << 10);
        assert_eq!(grid, Grid::new([4, 2, 1], (32, 8, 1)).cluster(2).shared_bytes(1024));
    }
}
