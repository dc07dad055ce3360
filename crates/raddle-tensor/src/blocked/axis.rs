//! One dimension of a window that slides over an image.

use std::ops::Range;

/// How a window slides along a dimension.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Axis {
    /// Elements that it slides over.
    pub input: usize,
    /// Positions.
    pub output: usize,
    /// Taps.
    pub kernel: usize,
    /// Elements from a position to the next.
    pub step: usize,
    /// Elements from a tap to the next.
    pub dilation: usize,
    /// Padding ahead of the input.
    pub begin: usize,
}

/// Positions beside each other at which the same taps lie in the input.
#[derive(Clone, PartialEq, Debug)]
pub struct Run {
    /// The positions.
    pub positions: Range<usize>,
    /// The taps.
    pub taps: Range<usize>,
}

impl Axis {
    /// A dimension in which every position is its own element.
    pub fn plain(len: usize) -> Self {
        Self { input: len, output: len, kernel: 1, step: 1, dilation: 1, begin: 0 }
    }

    /// Whether it is one.
    pub fn is_plain(&self) -> bool {
        self.kernel == 1 && self.step == 1 && self.begin == 0 && self.input == self.output
    }

    /// The taps that lie in the input at a position.
    pub fn taps(&self, position: usize) -> Range<usize> {
        let from = position * self.step;
        let first = self.begin.saturating_sub(from).div_ceil(self.dilation);
        let end = (self.input + self.begin).saturating_sub(from).div_ceil(self.dilation);
        let end = end.min(self.kernel);
        if first < end { first..end } else { 0..0 }
    }

    /// The element that a tap, which must lie in the input, reads at a position.
    #[inline(always)]
    pub fn element(&self, position: usize, tap: usize) -> usize {
        position * self.step + tap * self.dilation - self.begin
    }

    /// All positions, parted by the taps that lie in the input.
    pub fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for position in 0..self.output {
            let taps = self.taps(position);
            match runs.last_mut() {
                Some(run) if run.taps == taps => run.positions.end += 1,
                _ => runs.push(Run { positions: position..position + 1, taps }),
            }
        }
        runs
    }
}
