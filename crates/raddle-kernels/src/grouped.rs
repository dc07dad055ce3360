//! Convolutions in groups of few channels, of images `[image, row, column, channel]`: one
//! filter for each channel (depthwise), or several channels to a group.
//!
//! Groups of many channels are better off as products, which tensor cores compute; see
//! [`is_narrow`].

mod launch;
mod share;

use raddle::device::DeviceType;
use raddle::{Buffer, Slice, SliceMut, Stream};

use crate::error::check_len;
use crate::kernels::grouped::{Shape, ZEROS};
use crate::{Activation, Error, Result};

pub use launch::Element;
use share::{Kernel, Share};

const OPERATION: &str = "a convolution in groups";

/// A convolution in groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grouped {
    /// Images.
    pub images: usize,
    /// Rows and columns of an image.
    pub size: [usize; 2],
    /// Rows and columns of the output.
    pub output: [usize; 2],
    /// Channels in memory of a pixel of the input and of the output; those that no group has
    /// are zeros.
    pub pitches: [usize; 2],
    /// Groups.
    pub groups: usize,
    /// Channels that a group reads.
    pub inputs: usize,
    /// Channels that a group makes.
    pub outputs: usize,
    /// Rows and columns of the window.
    pub window: [usize; 2],
    /// Steps of the window.
    pub strides: [usize; 2],
    /// Distance of the window's elements.
    pub dilations: [usize; 2],
    /// Rows above the image and columns before it.
    pub begins: [usize; 2],
}

/// Operands of a convolution in groups.
#[derive(Clone, Copy)]
pub struct Operands<'a, T: DeviceType> {
    /// The images.
    pub input: Slice<'a, T>,
    /// What [`Grouped::pack`] made of the weights.
    pub weights: Slice<'a, f32>,
    /// A number for each channel of the output in memory.
    pub bias: Option<Slice<'a, f32>>,
    /// Added to the sums; lies as the output.
    pub residual: Option<Slice<'a, T>>,
}

/// Most outputs of a group for which the kernels here are faster than products by tiles,
/// most of whose rows would be empty.
const OUTPUTS_MAX: usize = 32;

/// Whether the kernels here are the better ones for groups that make so many channels.
#[must_use]
pub fn is_narrow(outputs: usize) -> bool {
    outputs <= OUTPUTS_MAX
}

impl Grouped {
    /// Weights in memory, and the zeros behind them.
    #[must_use]
    pub fn weights_len(&self) -> usize {
        self.taps() * self.inputs * self.pitches[1] + ZEROS
    }

    /// Elements of the output.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.images * self.output[0] * self.output[1] * self.pitches[1]
    }

    /// Multiplications and additions.
    #[must_use]
    pub fn flops(&self) -> f64 {
        let pixels = self.images * self.output[0] * self.output[1];
        2.0 * pixels as f64 * (self.channels() * self.inputs * self.taps()) as f64
    }

    /// Weights `[output, input of the group, row, column]` as the kernels read them:
    /// `[row, column, input of the group, output]`, and zeros.
    ///
    /// ## Errors
    /// [`Error::Length`] for a wrong number of weights.
    pub fn pack(&self, weights: &[f32]) -> Result<Vec<f32>> {
        let (taps, pitch) = (self.taps(), self.pitches[1]);
        check_len(OPERATION, "weights", self.channels() * self.inputs * taps, weights.len())?;
        let mut packed = vec![0.0; self.weights_len()];
        for (at, &weight) in weights.iter().enumerate() {
            let (tap, filter) = (at % taps, at / taps);
            let (input, output) = (filter % self.inputs, filter / self.inputs);
            packed[(tap * self.inputs + input) * pitch + output] = weight;
        }
        Ok(packed)
    }

    /// Biases for all channels in memory.
    ///
    /// ## Errors
    /// [`Error::Length`] for a wrong number of them.
    pub fn pack_bias(&self, bias: &[f32]) -> Result<Vec<f32>> {
        check_len(OPERATION, "bias", self.channels(), bias.len())?;
        let mut packed = bias.to_vec();
        packed.resize(self.pitches[1], 0.0);
        Ok(packed)
    }

    /// The output, in memory of its own.
    ///
    /// ## Errors
    /// As [`run_into`](Self::run_into).
    pub fn run<T: Element>(
        &self,
        stream: &Stream,
        operands: Operands<'_, T>,
        activation: Activation,
    ) -> Result<Buffer<T>> {
        self.check()?;
        // SAFETY: the launch writes all elements, or fails.
        let mut out = unsafe { stream.uninitialized(self.output_len()) }?;
        self.run_into(stream, operands, activation, out.as_slice_mut())?;
        Ok(out)
    }

    /// Writes `activation(sum + bias + residual)` for all elements of the output.
    ///
    /// ## Errors
    /// [`Error::Shape`] for numbers that do not go together or are too large,
    /// [`Error::Length`] for operands that are too short; what a launch refuses.
    pub fn run_into<T: Element>(
        &self,
        stream: &Stream,
        operands: Operands<'_, T>,
        activation: Activation,
        out: SliceMut<'_, T>,
    ) -> Result<()> {
        self.check()?;
        let [rows, columns] = self.size;
        let least = |what, expected, found: Option<usize>| match found {
            Some(found) if found < expected => {
                Err(Error::Length { operation: OPERATION, what, expected, found })
            }
            _ => Ok(()),
        };
        let input = self.images * rows * columns * self.pitches[0];
        least("input", input, Some(operands.input.len()))?;
        least("weights", self.weights_len(), Some(operands.weights.len()))?;
        least("bias", self.pitches[1], operands.bias.map(|it| it.len()))?;
        least("residual", self.output_len(), operands.residual.map(|it| it.len()))?;
        least("output", self.output_len(), Some(out.len()))?;
        if self.output_len() == 0 {
            return Ok(());
        }
        let kernel = self.kernel::<T>();
        let share = Share::new(self, kernel, stream.device().multiprocessor_count() as usize);
        let shape = Shape {
            has_bias: u32::from(operands.bias.is_some()),
            has_residual: u32::from(operands.residual.is_some()),
            activation,
            ..share.shape(self, kernel)
        };
        T::launch(stream, share.grid(), kernel, shape, operands, out)
    }

    fn taps(&self) -> usize {
        self.window[0] * self.window[1]
    }

    /// Channels that groups make.
    fn channels(&self) -> usize {
        self.groups * self.outputs
    }

    /// The kernel for elements of a type.
    fn kernel<T: Element>(&self) -> Kernel {
        let are_whole = |lanes: usize| self.pitches.iter().all(|it| it.is_multiple_of(lanes));
        let is_depthwise =
            [self.inputs, self.outputs] == [1, 1] && self.pitches[0] == self.pitches[1];
        let lanes = match is_depthwise {
            true if are_whole(T::LANES) => T::LANES,
            true if T::HAS_SINGLES => 1,
            _ => {
                let is_fours = |n: usize| n.is_multiple_of(4) && are_whole(4);
                let lanes = if is_fours(self.outputs) { 4 } else { 1 };
                let inputs = if lanes == 4 && is_fours(self.inputs) { 4 } else { 1 };
                return Kernel::Groups { lanes, inputs };
            }
        };
        let [[side, other], [step, along]] = [self.window, self.strides];
        let is_square = side == other && step == along && self.dilations == [1, 1];
        let has_kernel = match (side, step) {
            (3, 1 | 2) => true,
            (5, 1 | 2) | (7, 1) => lanes > 1 && side <= T::SIDE_MAX,
            _ => false,
        };
        match is_square && has_kernel {
            true => Kernel::Square { lanes, side, step },
            false => Kernel::Any { lanes },
        }
    }

    /// Holds the numbers against each other and against what kernels count.
    pub(crate) fn check(&self) -> Result<()> {
        let shape = |why: String| Err(Error::Shape { operation: OPERATION, why });
        let numbers = [self.groups, self.inputs, self.outputs, self.taps()];
        let steps = [self.strides, self.dilations].concat();
        if numbers.contains(&0) || steps.contains(&0) {
            return shape(format!("expected no zeros in {self:?}"));
        }
        let wanted = [self.groups * self.inputs, self.channels()];
        if self.pitches[0] < wanted[0] || self.pitches[1] < wanted[1] {
            return shape(format!(
                "expected room for {wanted:?} channels, found {:?}",
                self.pitches
            ));
        }
        let pixels = self.size[0] * self.size[1];
        if pixels == 0 && self.output_len() > 0 {
            return shape("expected images with pixels".to_owned());
        }
        let reach = |axis: usize| {
            let along = self.output[axis].saturating_mul(self.strides[axis]);
            along.saturating_add(self.window[axis].saturating_mul(self.dilations[axis]))
        };
        let lens = [self.images * pixels * self.pitches[0], self.output_len()];
        let largest = [lens[0], lens[1], self.weights_len(), reach(0), reach(1)];
        let more = [self.begins[0], self.begins[1], self.size[0], self.size[1]];
        // Pieces may reach behind the output.
        match largest.into_iter().chain(more).find(|&n| n > i32::MAX as usize / 4 * 3) {
            Some(n) => shape(format!("{n} is more than the kernel can count")),
            None => Ok(()),
        }
    }
}
