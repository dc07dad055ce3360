//! Products and convolutions of `f32` that are large enough for tiles, against sums in
//! double precision.

use raddle_kernels::dense::{
    self, Arithmetic, Channels, Class, Dims, Finish, Product, Scalar, Sliding, View, Widened,
};

use crate::dense::{pack, unpack};
use crate::{Random, devices};

/// How far a sum may be off whose terms' sizes add up to `sizes`: the order of adding in
/// `f32`, and what rounded factors make of it.
fn bound(arithmetic: Arithmetic, depth: usize, sizes: f64) -> f64 {
    let rounded = match arithmetic {
        Arithmetic::F32 => 0.0,
        Arithmetic::TF32 => 1.0 / 1024.0,
    };
    sizes * (rounded + (depth + 2) as f64 * f64::from(f32::EPSILON))
}

/// Elements that neither 16 bits nor tf32 hold exactly.
fn elements(random: &mut Random, len: usize) -> Vec<f32> {
    random.elements(len).into_iter().map(|x| x * 0.7654321).collect()
}

const ARITHMETICS: [Arithmetic; 2] = [Arithmetic::F32, Arithmetic::TF32];

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
        let left = elements(&mut random, if is_shared { 1 } else { batch } * m * k);
        let right = elements(&mut random, batch * k * n);
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
        let terms = |at: usize| {
            let (batch, i, j) = (at / (m * n), at / n % m, at % n);
            (0..k).map(move |p| {
                (batch * left_batch + i * k + p, batch * k * n + p * row + j * column)
            })
        };
        let term = |(x, y): (usize, usize)| f64::from(left[x]) * f64::from(right[y]);
        for (device, arithmetic) in both() {
            let stream = device.stream().unwrap();
            let (a, b) =
                (stream.upload(&pack(&left)).unwrap(), stream.upload(&pack(&right)).unwrap());
            let of = (Scalar::F32, Dims::new(&[batch, m, n]).unwrap());
            let operands = [a.as_slice(), b.as_slice()];
            let (out, _) =
                dense::product(&stream, Class::F32, of, product, arithmetic, operands).unwrap();
            let found = unpack(&stream.to_vec(&out).unwrap(), batch * m * n);
            for (at, found) in found.into_iter().enumerate() {
                let expected: f64 = terms(at).map(term).sum();
                let sizes: f64 = terms(at).map(|it| term(it).abs()).sum();
                let error = (f64::from(found) - expected).abs();
                let bound = bound(arithmetic, k, sizes);
                assert!(
                    error <= bound,
                    "{device} {arithmetic:?} {at}: {found}, expected {expected}"
                );
            }
        }
    }
}

/// Each device with each arithmetic.
fn both() -> impl Iterator<Item = (raddle::Device, Arithmetic)> {
    devices().into_iter().flat_map(|device| ARITHMETICS.map(|it| (device.clone(), it)))
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
    // Tiles of 128 rows, where a device has no more multiprocessors than there are of them.
    case([16, 65, 16, 20], false, true);
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

    fn shape(&self) -> (Sliding, Channels) {
        let [height, width] = [self.output(0), self.output(1)];
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
            len: (self.images * self.outputs * height * width) as u32,
        };
        let channels = Channels {
            groups: self.groups as u32,
            inputs: (self.channels / self.groups) as u32,
            outputs: (self.outputs / self.groups) as u32,
            is_transposed: 0,
            has_bias: 1,
            weights: Scalar::F32.code(),
        };
        (sliding, channels)
    }

    /// Input, weights, bias and residual.
    fn operands(&self) -> [Vec<f32>; 4] {
        let mut random = Random(5);
        let pixels = self.output(0) * self.output(1);
        let lens = [
            self.images * self.channels * self.size[0] * self.size[1],
            self.outputs * self.channels / self.groups * self.taps[0] * self.taps[1],
            self.outputs,
            self.images * self.outputs * pixels,
        ];
        lens.map(|len| elements(&mut random, len))
    }

    /// Holds what was found in the order of the model against sums in double precision.
    fn expect(&self, what: &str, arithmetic: Arithmetic, has_residual: bool, found: &[f32]) {
        let [x, w, bias, residual] = self.operands();
        let &Self { channels, outputs, groups, .. } = self;
        let [height, width] = [self.output(0), self.output(1)];
        let (inputs, own) = (channels / groups, outputs / groups);
        let taps = self.taps[0] * self.taps[1];
        assert_eq!(found.len(), residual.len());
        for (at, &found) in found.iter().enumerate() {
            let (column, row) = (at % width, at / width % height);
            let (output, image) =
                (at / (height * width) % outputs, at / (height * width * outputs));
            let mut expected = f64::from(bias[output]);
            if has_residual {
                expected += f64::from(residual[at]);
            }
            let mut sizes = expected.abs() + 1.0;
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
                    let term = f64::from(element) * f64::from(w[output * inputs * taps + k]);
                    expected += term;
                    sizes += term.abs();
                }
            }
            let expected = expected.clamp(0.0, 6.0);
            let error = (f64::from(found) - expected).abs();
            let bound = bound(arithmetic, inputs * taps, sizes);
            assert!(error <= bound, "{what} {arithmetic:?} {at}: {found}, expected {expected}");
        }
    }

    fn check(&self, has_residual: bool) {
        let ((sliding, of), scalar) = (self.shape(), Scalar::F32);
        for (device, arithmetic) in both() {
            let stream = device.stream().unwrap();
            let words = self.operands().map(|it| stream.upload(&pack(&it)).unwrap());
            let operands = [words[0].as_slice(), words[1].as_slice(), words[2].as_slice()];
            assert!(dense::has_tiles(&stream, scalar, sliding, of));
            let residual_on = has_residual.then(|| words[3].as_slice());
            let finish = Finish { arithmetic, residual: residual_on, bounds: [0.0, 6.0] };
            let (out, _) =
                dense::convolve(&stream, Class::F32, scalar, sliding, of, finish, operands)
                    .unwrap();
            let found = unpack(&stream.to_vec(&out).unwrap(), sliding.len as usize);
            self.expect(&device.to_string(), arithmetic, has_residual, &found);
        }
    }

    /// As one along columns of windows side by side, with channels last.
    fn check_widened(&self) {
        let ((sliding, of), scalar) = (self.shape(), Scalar::F32);
        let widened = Widened::new(sliding, of).unwrap();
        let [x, w, bias, _] = self.operands();
        let packed = widened.pack(&w).unwrap();
        for (device, arithmetic) in both() {
            let stream = device.stream().unwrap();
            if !dense::has_boxes(&stream, scalar, widened.shape, widened.channels) {
                assert!(device.compute_capability().is_some_and(|(major, _)| major != 9));
                println!("SKIPPED on {device}: it has other instructions");
                continue;
            }
            let words = [x.clone(), packed.clone(), bias.clone()];
            let words = words.map(|it| stream.upload(&pack(&it)).unwrap());
            let input = widened.widen(&stream, words[0].as_slice()).unwrap();
            let operands = [input.as_slice(), words[1].as_slice(), words[2].as_slice()];
            let finish = Finish { bounds: [0.0, 6.0], ..Finish::plain(arithmetic) };
            let (shape, channels) = (widened.shape, widened.channels);
            let (out, _) =
                dense::convolve_last(&stream, shape, channels, finish, operands).unwrap();
            let last = unpack(&stream.to_vec(&out).unwrap(), sliding.len as usize);
            let pixels = self.output(0) * self.output(1);
            let place = |at: usize| {
                let (plane, pixel) = (at / pixels, at % pixels);
                (plane / self.outputs * pixels + pixel) * self.outputs + plane % self.outputs
            };
            let found: Vec<f32> = (0..last.len()).map(|at| last[place(at)]).collect();
            self.expect(&device.to_string(), arithmetic, false, &found);
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
    plain.check(false);
    Conv { channels: 3, outputs: 70, taps: [7, 5], stride: [2, 3], padding: [3, 2], ..plain }
        .check(true);
    Conv { channels: 12, groups: 2, outputs: 18, dilation: [2, 3], padding: [0, 3], ..plain }
        .check(true);
    Conv { images: 1, channels: 130, outputs: 66, taps: [1, 1], padding: [0, 0], ..plain }
        .check(false);
}

#[test]
fn few_channels_are_widened() {
    let plain = Conv {
        images: 2,
        channels: 3,
        outputs: 20,
        groups: 1,
        size: [17, 19],
        taps: [7, 7],
        stride: [2, 2],
        padding: [3, 3],
        dilation: [1, 1],
    };
    plain.check_widened();
    let (taps, padding) = ([2, 3], [0, 2]);
    Conv { channels: 1, outputs: 32, taps, stride: [1, 1], padding, dilation: [3, 2], ..plain }
        .check_widened();
    let (sliding, of) = plain.shape();
    let widened = Widened::new(sliding, of).unwrap();
    assert!(widened.pack(&[0.0; 7]).is_err());
    // Too many channels, and too long rows of a window.
    assert!(Widened::new(sliding, Channels { inputs: 5, ..of }).is_none());
    let (sliding, of) = Conv { taps: [1, 9], padding: [0, 4], ..plain }.shape();
    assert!(Widened::new(sliding, of).is_none());
}

/// Products whose operands boxes have, as they lie or turned.
#[test]
fn products_by_boxes_are_right() {
    let case = |[batch, m, k, n]: [usize; 4], is_shared, is_turned| {
        Case { batch, m, k, n, is_shared, is_turned }.check();
    };
    // The right operand with its depth innermost; edges of tiles, and of steps.
    case([1, 80, 68, 72], false, true);
    // With its columns innermost, which tensor cores have turned from some hundred rows on.
    case([1, 67, 100, 68], false, false);
    case([1, 330, 36, 68], false, false);
    // Rows that boxes do not have, and are too few to turn them.
    case([1, 66, 76, 73], false, false);
    // Deep enough that blocks share a tile.
    case([1, 64, 1600, 64], false, true);
}
