//! How the output of a convolution in groups is shared out among blocks and threads.

use raddle::Grid;

use super::Grouped;
use crate::kernels::grouped::{Shape, THREADS_MAX, depthwise, direct};

/// Vectors of channels of a block, of mostly 16 bytes: two lines of a cache.
const VECTORS_MAX: usize = 16;
/// Fewest threads of a block.
const THREADS_MIN: usize = 64;

/// Which kernel computes a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// One filter for each channel: square windows of a side, in steps.
    Square { lanes: usize, side: usize, step: usize },
    /// One filter for each channel, any window.
    Any { lanes: usize },
    /// Groups: so many outputs to a thread, from so many inputs at a time.
    Groups { lanes: usize, inputs: usize },
}

/// The numbers of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Vectors of a block.
    vectors: usize,
    /// Pieces of a block along rows and columns.
    pieces: [usize; 2],
    /// Blocks of an image along rows, columns and channels.
    blocks: [usize; 3],
    images: usize,
}

impl Kernel {
    /// Columns and channels of a thread's piece.
    fn piece(self) -> [usize; 2] {
        match self {
            Self::Square { lanes, .. } | Self::Any { lanes } => [depthwise::COLUMNS, lanes],
            Self::Groups { lanes, .. } => [direct::COLUMNS, lanes],
        }
    }
}

impl Share {
    /// The shares for which blocks read least, of those that give a device enough blocks if
    /// there are any.
    pub fn new(of: &Grouped, kernel: Kernel, multiprocessors: usize) -> Self {
        let mut threads = THREADS_MAX as usize;
        loop {
            let share = Self::within(of, kernel, threads);
            let blocks = share.images * share.blocks.iter().product::<usize>();
            if blocks >= 2 * multiprocessors || threads <= THREADS_MIN {
                return share;
            }
            threads /= 2;
        }
    }

    /// The share of at most so many threads to a block whose blocks read least.
    fn within(of: &Grouped, kernel: Kernel, threads_max: usize) -> Self {
        let [columns, lanes] = kernel.piece();
        let all_vectors = of.pitches[1] / lanes;
        let vector_blocks = all_vectors.div_ceil(VECTORS_MAX);
        let vectors = all_vectors.div_ceil(vector_blocks);
        let all = [of.output[0], of.output[1].div_ceil(columns)];
        let room = (threads_max / vectors).max(1);
        let share = |down: usize, right: usize| Self {
            vectors,
            pieces: [down, right],
            blocks: [all[0].div_ceil(down), all[1].div_ceil(right), vector_blocks],
            images: of.images,
        };
        let reads = |share: &Self| {
            let reach = |axis: usize, side: usize| {
                let last = (share.pieces[axis] * side - 1) * of.strides[axis];
                last + (of.window[axis] - 1) * of.dilations[axis] + 1
            };
            share.blocks[0] * share.blocks[1] * reach(0, 1) * reach(1, columns)
        };
        let sides = (1..=room.min(all[0]))
            .flat_map(|down| (1..=(room / down).min(all[1])).map(move |right| (down, right)));
        let shares = sides.map(|(down, right)| share(down, right));
        shares.min_by_key(reads).unwrap_or_else(|| share(1, 1))
    }

    /// The numbers of a launch that nothing but shapes decides.
    pub fn shape(&self, of: &Grouped, kernel: Kernel) -> Shape {
        let numbers = |pair: [usize; 2]| pair.map(|n| n as u32);
        let signed = |pair: [usize; 2]| pair.map(|n| n as i32);
        Shape {
            size: signed(of.size),
            output: numbers(of.output),
            pitches: numbers(of.pitches),
            window: numbers(of.window),
            strides: signed(of.strides),
            dilations: signed(of.dilations),
            begins: signed(of.begins),
            inputs: of.inputs as u32,
            outputs: of.outputs as u32,
            channels: (of.groups * of.outputs) as u32,
            vectors: (of.pitches[1] / kernel.piece()[1]) as u32,
            block_vectors: self.vectors as u32,
            pieces: numbers(self.pieces),
            blocks: self.blocks.map(|n| n as u32),
            has_bias: 0,
            has_residual: 0,
            activation: crate::Activation::IDENTITY,
        }
    }

    /// The blocks, with a thread for each vector of each piece.
    pub fn grid(&self) -> Grid {
        let blocks = self.images * self.blocks.iter().product::<usize>();
        Grid::new(blocks as u32, (self.vectors * self.pieces[0] * self.pieces[1]) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(size: usize, channels: usize, images: usize) -> Grouped {
        Grouped {
            images,
            size: [size; 2],
            output: [size; 2],
            pitches: [channels; 2],
            groups: channels,
            inputs: 1,
            outputs: 1,
            window: [3; 2],
            strides: [1; 2],
            dilations: [1; 2],
            begins: [1; 2],
        }
    }

    #[test]
    fn blocks_are_full_and_low_where_there_is_enough_to_do() {
        for (size, channels) in [(112, 64), (56, 144), (28, 192), (14, 576)] {
            let of = square(size, channels, 64);
            let kernel = Kernel::Square { lanes: 4, side: 3, step: 1 };
            let share = Share::new(&of, kernel, 132);
            let threads = share.vectors * share.pieces[0] * share.pieces[1];
            assert!((160..=256).contains(&threads), "{share:?}");
            // A block's rows and columns with those around them, beside its own.
            let [down, right] = [share.pieces[0], share.pieces[1] * 4];
            let more = ((down + 2) * (right + 2)) as f64 / (down * right) as f64;
            assert!(more < 1.75, "{share:?} reads {more} times its pixels");
        }
    }

    #[test]
    fn all_of_an_output_is_shared_out() {
        for (size, channels, images) in [(7, 960, 1), (5, 4, 1), (1, 64, 3), (9, 1020, 2)] {
            let of = square(size, channels, images);
            for kernel in [
                Kernel::Square { lanes: 4, side: 3, step: 1 },
                Kernel::Any { lanes: 1 },
                Kernel::Groups { lanes: 4, inputs: 4 },
            ] {
                let share = Share::new(&of, kernel, 132);
                let [columns, lanes] = kernel.piece();
                assert!(share.blocks[0] * share.pieces[0] >= size, "{share:?}");
                assert!(share.blocks[1] * share.pieces[1] * columns >= size, "{share:?}");
                assert!(share.blocks[2] * share.vectors * lanes >= channels, "{share:?}");
                let threads = share.vectors * share.pieces[0] * share.pieces[1];
                assert!(threads <= THREADS_MAX as usize, "{share:?}");
            }
        }
    }
}
