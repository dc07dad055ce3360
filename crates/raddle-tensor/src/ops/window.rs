//! Windows that slide over the spatial dimensions of a tensor: kernel, strides,
//! dilations and padding as convolution and pooling share them.

use crate::shape::strides;
use crate::{Error, OpContext, Result};

/// A window over the dimensions behind batch and channel.
#[derive(Clone, Debug)]
pub struct Window {
    /// Lengths of the window.
    pub kernel: Vec<usize>,
    /// Steps of the window.
    pub strides: Vec<usize>,
    /// Steps within the window.
    pub dilations: Vec<usize>,
    /// Padding before each dimension.
    pub begins: Vec<usize>,
    /// Padding after each dimension.
    pub ends: Vec<usize>,
    /// Lengths of the dimensions that it slides over.
    pub input: Vec<usize>,
    /// Number of positions in each dimension.
    pub output: Vec<usize>,
}

impl Window {
    /// Reads `strides`, `dilations`, `pads`, `auto_pad` and `ceil_mode`.
    ///
    /// ## Errors
    /// [`Error::Attribute`] for lists of a wrong length or values out of range,
    /// [`Error::Invalid`] if the window is larger than the padded input.
    pub fn new(ctx: &OpContext<'_>, kernel: &[usize], input: &[usize]) -> Result<Self> {
        let rank = input.len();
        let positive = |name: &str| -> Result<Vec<usize>> {
            let list = ctx.ints(name)?.map_or_else(|| vec![1; rank], <[i64]>::to_vec);
            let list: Option<Vec<usize>> =
                list.iter().map(|&x| usize::try_from(x).ok().filter(|&x| x > 0)).collect();
            list.filter(|list| list.len() == rank)
                .ok_or_else(|| ctx.bad_attribute(name, format!("must be {rank} positive numbers")))
        };
        let (steps, dilations) = (positive("strides")?, positive("dilations")?);
        if kernel.len() != rank || kernel.contains(&0) {
            return Err(
                ctx.bad_attribute("kernel_shape", format!("must be {rank} positive numbers"))
            );
        }
        let reach = |axis: usize| (kernel[axis] - 1).checked_mul(dilations[axis]).map(|x| x + 1);
        let reach = (0..rank).map(reach).collect::<Option<Vec<_>>>();
        let reach = reach.ok_or_else(|| ctx.bad_attribute("dilations", "are too large"))?;
        let (begins, ends) = pads(ctx, input, &reach, &steps)?;
        let ceils = ctx.flag("ceil_mode", false)?;
        let mut output = Vec::with_capacity(rank);
        for axis in 0..rank {
            let padded = input[axis] + begins[axis] + ends[axis];
            let Some(room) = padded.checked_sub(reach[axis]) else {
                return Err(Error::invalid(format!(
                    "the window reaches over {} elements of dimension {axis}, which has {padded} with padding",
                    reach[axis]
                )));
            };
            let mut count = room / steps[axis] + 1;
            // A further window must begin within the input or its left padding.
            if ceils && room % steps[axis] != 0 && count * steps[axis] < input[axis] + begins[axis]
            {
                count += 1;
            }
            output.push(count);
        }
        let (kernel, input) = (kernel.to_vec(), input.to_vec());
        Ok(Self { kernel, strides: steps, dilations, begins, ends, input, output })
    }

    /// Number of elements in the window.
    pub fn kernel_len(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Number of elements that it slides over.
    pub fn input_len(&self) -> usize {
        self.input.iter().product()
    }

    /// Number of positions.
    pub fn output_len(&self) -> usize {
        self.output.iter().product()
    }

    /// Whether every position holds exactly its own element.
    pub fn is_identity(&self) -> bool {
        self.kernel_len() == 1 && self.input == self.output && self.strides.iter().all(|&s| s == 1)
    }

    /// Coordinate in the input of tap `tap` at position `at` of a dimension;
    /// `None` in the padding.
    pub fn coordinate(&self, axis: usize, at: usize, tap: usize) -> Option<usize> {
        (at * self.strides[axis] + tap * self.dilations[axis])
            .checked_sub(self.begins[axis])
            .filter(|&x| x < self.input[axis])
    }

    /// The positions of the last dimension at which a tap lies in the input, and
    /// the coordinate at the first of them.
    pub fn line(&self, tap: usize) -> (std::ops::Range<usize>, usize) {
        let last = self.input.len() - 1;
        let (step, begin) = (self.strides[last], self.begins[last]);
        // Position p reads coordinate p * step + shift - begin.
        let shift = tap * self.dilations[last];
        let first = begin.saturating_sub(shift).div_ceil(step);
        let end = (self.input[last] + begin).saturating_sub(shift).div_ceil(step);
        let end = end.min(self.output[last]);
        if first >= end {
            return (0..0, 0);
        }
        (first..end, first * step + shift - begin)
    }

    /// Where the taps lie in each dimension.
    pub fn taps(&self) -> Taps {
        let (input_strides, output_strides) = (strides(&self.input), strides(&self.output));
        let axis = |axis: usize| {
            let offsets = |at: usize| {
                let taps = (0..self.kernel[axis]).filter_map(|tap| self.coordinate(axis, at, tap));
                taps.map(|x| x * input_strides[axis]).collect()
            };
            AxisTaps {
                output_stride: output_strides[axis],
                offsets: (0..self.output[axis]).map(offsets).collect(),
            }
        };
        Taps((0..self.input.len()).map(axis).collect())
    }
}

/// The elements that a window covers, dimension by dimension.
pub struct Taps(Vec<AxisTaps>);

struct AxisTaps {
    output_stride: usize,
    /// For each position the taps inside the input, as distances in the plane.
    offsets: Vec<Vec<usize>>,
}

impl Taps {
    /// Calls `visit` with the index in the plane of each element that the
    /// window covers at a position, in row-major order.
    pub fn visit(&self, position: usize, mut visit: impl FnMut(usize)) {
        fn walk(axes: &[AxisTaps], position: usize, base: usize, visit: &mut dyn FnMut(usize)) {
            let [axis, inner @ ..] = axes else { return visit(base) };
            let at = position / axis.output_stride % axis.offsets.len();
            for offset in &axis.offsets[at] {
                walk(inner, position, base + offset, visit);
            }
        }
        walk(&self.0, position, 0, &mut visit);
    }
}

/// Coordinates of a flat row-major index.
pub fn coordinates(index: usize, shape: &[usize]) -> Vec<usize> {
    let mut rest = index;
    let mut coordinates = vec![0; shape.len()];
    for (at, &dim) in coordinates.iter_mut().zip(shape).rev() {
        *at = rest % dim;
        rest /= dim;
    }
    coordinates
}

/// Padding before and after each dimension.
fn pads(
    ctx: &OpContext<'_>,
    input: &[usize],
    reach: &[usize],
    steps: &[usize],
) -> Result<(Vec<usize>, Vec<usize>)> {
    let rank = input.len();
    let auto = ctx.text("auto_pad", "NOTSET")?;
    match auto {
        "VALID" => Ok((vec![0; rank], vec![0; rank])),
        "SAME_UPPER" | "SAME_LOWER" => {
            let total = |axis: usize| {
                let count = input[axis].div_ceil(steps[axis]).max(1);
                ((count - 1) * steps[axis] + reach[axis]).saturating_sub(input[axis])
            };
            let small: Vec<usize> = (0..rank).map(|axis| total(axis) / 2).collect();
            let large: Vec<usize> = (0..rank).map(|axis| total(axis) - small[axis]).collect();
            Ok(if auto == "SAME_UPPER" { (small, large) } else { (large, small) })
        }
        "NOTSET" | "" => {
            let list = ctx.ints("pads")?.map_or_else(|| vec![0; 2 * rank], <[i64]>::to_vec);
            let valid: Option<Vec<usize>> =
                list.iter().map(|&x| usize::try_from(x).ok().filter(|&x| x <= 1 << 32)).collect();
            let valid = valid.filter(|list| list.len() == 2 * rank).ok_or_else(|| {
                ctx.bad_attribute(
                    "pads",
                    format!("must be {} numbers from 0, found {list:?}", 2 * rank),
                )
            })?;
            Ok((valid[..rank].to_vec(), valid[rank..].to_vec()))
        }
        other => Err(ctx.bad_attribute("auto_pad", format!("is unknown: {other:?}"))),
    }
}
