//! Products and convolutions of `f32` that are large enough for tiles, against sums in
//! double precision.

use raddle_kernels::dense::{self, Channels, Class, Dims, Product, Scalar, Sliding, View};

use crate::dense::{pack, unpack};
use crate::{Random, devices};

/// Elements of the test's inputs are at most one, and exact in half precision.
fn bound(depth: usize) -> f64 {
    depth as f64 * f64::from(f32::EPSILON)
}

/// `[batch, m, k]`, the left one shared by all batches if `is_shared`, times `[batch, k, n]`,
/// which lies turned if `is_turned`.
struct Case {
    batch: usize,
    m: usize,
    k: usize,
    n: usize,
    is_shared: bool,
    is_turned: bool,
}

impl Case {
    fn check(&self) {
        let &Self { batch, m, k, n, is_shared, is_turned } = self;
        let mut random = Random(11);
        let left = random.elements(if is_shared { 1 } else { batch } * m * k);
        let right = random.elements(batch * k * n);
        let left_batch = if is_shared { 0 } else { m * k };
        let [row, column] = if is_turned { [1, k] } else { [n, 1] };
        let view = |strides: [usize; 3]| View::new(Scalar::F32, 0, &strides.map(|n| n as i64));
        let product = Product {
            left: view([left_batch, k, 0]),
            right: view([k * n, 0, column]),
            left_step: 1,
            right_step: row as i32,
            depth: k as u32,
            scalar: 0,
        };
        for device in devices() {
            let stream = device.stream().unwrap();
            let (a, b) =
                (stream.upload(&pack(&left)).unwrap(), stream.upload(&pack(&right)).unwrap());
            let of = (Scalar::F32, Dims::new(&[batch, m, n]).unwrap());
            let operands = [a.as_slice(), b.as_slice()];
            let (out, launches) =
                dense::product(&stream, Class::F32, of, product, operands).unwrap();
            assert_eq!(launches, 2, "by tiles");
            let found = unpack(&stream.to_vec(&out).unwrap(), batch * m * n);
            for (at, found) in found.into_iter().enumerate() {
                let (batch, i, j) = (at / (m * n), at / n % m, at % n);
                let term = |p: usize| {
                    let x = left[batch * left_batch + i * k + p];
                    f64::from(x) * f64::from(right[batch * k * n + p * row + j * column])
                };
                let expected: f64 = (0..k).map(term).sum();
                let error = (f64::from(found) - expected).abs();
                assert!(error <= bound(k), "{device} {at}: {found}, expected {expected}");
            }
        }
    }
}

#[test]
fn products_by_tiles_are_right() {
    let case = |[batch, m, k, n]: [usize; 4], is_shared, is_turned| {
        Case { batch, m, k, n, is_shared, is_turned }.check();
    };
    case([1, 64, 64, 64], false, false);
    case([1, 65, 70, 33], false, true);
    case([3, 20, 130, 67], true, false);
    case([2, 1, 300, 100], false, true);
    case([1, 130, 16, 17], false, false);
}

/// A convolution of `[images, channels, size]` with `[outputs, channels / groups, taps]`.
struct Conv {
    images: usize,
    channels: usize,
    outputs: usize,
    groups: usize,
    size: [usize; 2],
    taps: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
}

impl Conv {
    fn output(&self, axis: usize) -> usize {
        let reach = self.dilation[axis] * (self.taps[axis] - 1) + 1;
        (self.size[axis] + 2 * self.padding[axis] - reach) / self.stride[axis] + 1
    }

    fn check(&self) {
        let &Self { images, channels, outputs, groups, .. } = self;
        let [height, width] = [self.output(0), self.output(1)];
        let (inputs, own) = (channels / groups, outputs / groups);
        let taps = self.taps[0] * self.taps[1];
        let mut random = Random(5);
        let x = random.elements(images * channels * self.size[0] * self.size[1]);
        let w = random.elements(outputs * inputs * taps);
        let bias = random.elements(outputs);
        let list =
            |pair: [usize; 2], rest: u32| [rest, rest, rest, rest, pair[0] as u32, pair[1] as u32];
        let padding = list(self.padding, 0).map(|n| n as i32);
        let sliding = Sliding {
            input: list(self.size, 1),
            output: list([height, width], 1),
            window: list(self.taps, 1),
            strides: list(self.stride, 1),
            dilations: list(self.dilation, 1),
            begins: padding,
            ends: padding,
            scalar: Scalar::F32.code(),
            scalar_out: 0,
            len: (images * outputs * height * width) as u32,
        };
        let (groups, inputs_of) = (groups as u32, inputs as u32);
        let weights = Scalar::F32.code();
        let of = Channels {
            groups,
            inputs: inputs_of,
            outputs: own as u32,
            is_transposed: 0,
            has_bias: 1,
            weights,
        };
        for device in devices() {
            let stream = device.stream().unwrap();
            let words = [&x, &w, &bias].map(|it| stream.upload(&pack(it)).unwrap());
            let operands = [words[0].as_slice(), words[1].as_slice(), words[2].as_slice()];
            let scalar = Scalar::F32;
            let (out, launches) =
                dense::convolve(&stream, Class::F32, scalar, sliding, of, operands).unwrap();
            assert_eq!(launches, 2, "by tiles");
            let found = unpack(&stream.to_vec(&out).unwrap(), sliding.len as usize);
            for (at, found) in found.into_iter().enumerate() {
                let (column, row) = (at % width, at / width % height);
                let (output, image) =
                    (at / (height * width) % outputs, at / (height * width * outputs));
                let mut expected = f64::from(bias[output]);
                for k in 0..inputs * taps {
                    let (channel, tap) = (output / own * inputs + k / taps, k % taps);
                    let y = row * self.stride[0] + tap / self.taps[1] * self.dilation[0];
                    let z = column * self.stride[1] + tap % self.taps[1] * self.dilation[1];
                    let (Some(y), Some(z)) =
                        (y.checked_sub(self.padding[0]), z.checked_sub(self.padding[1]))
                    else {
                        continue;
                    };
                    if y < self.size[0] && z < self.size[1] {
                        let plane = (image * channels + channel) * self.size[0];
                        let element = x[(plane + y) * self.size[1] + z];
                        expected += f64::from(element) * f64::from(w[output * inputs * taps + k]);
                    }
                }
                let error = (f64::from(found) - expected).abs();
                let bound = bound(inputs * taps);
                assert!(error <= bound, "{device} {at}: {found}, expected {expected}");
            }
        }
    }
}

#[test]
fn convolutions_by_tiles_are_right() {
    let plain = Conv {
        images: 2,
        channels: 8,
        outputs: 12,
        groups: 1,
        size: [13, 11],
        taps: [3, 3],
        stride: [1, 1],
        padding: [1, 1],
        dilation: [1, 1],
    };
    plain.check();
    Conv { channels: 3, outputs: 70, taps: [7, 5], stride: [2, 3], padding: [3, 2], ..plain }
        .check();
    Conv { channels: 12, groups: 2, outputs: 18, dilation: [2, 3], padding: [0, 3], ..plain }
        .check();
    Conv { images: 1, channels: 130, outputs: 66, taps: [1, 1], padding: [0, 0], ..plain }.check();
}
