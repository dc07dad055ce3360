//! What the kernels should give, by loops that follow the definitions.

/// A convolution's numbers; images are `[image, row, column, channel]`, filters
/// `[output, channel, row, column]`.
#[derive(Clone, Copy)]
pub struct Conv {
    pub images: usize,
    pub size: [usize; 2],
    /// Channels in memory, and those that filters have.
    pub channels: [usize; 2],
    pub outputs: usize,
    pub filter: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
    pub output: [usize; 2],
}

/// The sums, `[image, row, column, output]` with outputs not rounded up.
pub fn conv(shape: &Conv, input: &[f32], filters: &[f32]) -> Vec<f64> {
    let mut sums = Vec::new();
    for image in 0..shape.images {
        for y in 0..shape.output[0] {
            for x in 0..shape.output[1] {
                for output in 0..shape.outputs {
                    sums.push(conv_at(shape, input, filters, [image, y, x, output]));
                }
            }
        }
    }
    sums
}

fn conv_at(shape: &Conv, input: &[f32], filters: &[f32], at: [usize; 4]) -> f64 {
    let [image, y, x, output] = at;
    let [pitch, channels] = shape.channels;
    let place = |axis: usize, at: usize, tap: usize| {
        let place = at * shape.stride[axis] + tap * shape.dilation[axis];
        place.checked_sub(shape.padding[axis]).filter(|&place| place < shape.size[axis])
    };
    let mut sum = 0.0;
    for i in 0..shape.filter[0] {
        for j in 0..shape.filter[1] {
            let (Some(row), Some(column)) = (place(0, y, i), place(1, x, j)) else { continue };
            let pixel = (image * shape.size[0] + row) * shape.size[1] + column;
            for c in 0..channels {
                let weight = ((output * channels + c) * shape.filter[0] + i) * shape.filter[1] + j;
                sum += f64::from(input[pixel * pitch + c]) * f64::from(filters[weight]);
            }
        }
    }
    sum
}
