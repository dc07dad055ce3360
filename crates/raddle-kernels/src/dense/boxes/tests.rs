//! Each kernel against sums in double precision, and what is chosen.

use raddle::Device;

use super::choice::kernels;
use super::matrices::turn_rows;
use super::*;

/// Numbers that tf32 does not hold exactly.
fn elements(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Devices that the kernels run on.
fn devices() -> Vec<Device> {
    let mut devices = vec![Device::cpu()];
    match Device::cuda(0) {
        Ok(device) if device.compute_capability().is_some_and(|(major, _)| major == 9) => {
            devices.push(device);
        }
        Ok(device) => println!("SKIPPED on {device}: it has other instructions"),
        Err(error) => println!("SKIPPED on a GPU: {error}"),
    }
    devices
}

impl Job {
    /// The sum of an element of the output, and that of its terms' sizes.
    fn sum(&self, left: &[f32], right: &[f32], row: usize, column: usize) -> [f64; 2] {
        let [height, width] = self.output;
        let (image, y, x) = (row / (height * width), row / width % height, row % width);
        let mut sums = [0.0; 2];
        for tap in 0..self.taps() {
            let at = [tap / self.window[1], tap % self.window[1]];
            let place = |axis: usize, from: usize| {
                let to = (from * self.strides[axis] + at[axis] * self.dilations[axis]) as i32;
                usize::try_from(to - self.begins[axis]).ok().filter(|n| *n < self.input[axis])
            };
            let (Some(y), Some(x)) = (place(0, y), place(1, x)) else { continue };
            let pixel = (image * self.input[0] + y) * self.input[1] + x;
            for channel in 0..self.channels {
                let factor = right[match self.by_depth {
                    true => channel * self.right_pitch + column,
                    false => column * self.right_pitch + tap * self.channels + channel,
                }];
                let term = f64::from(left[pixel * self.pitch + channel]) * f64::from(factor);
                sums[0] += term;
                sums[1] += term.abs();
            }
        }
        sums
    }

    fn right_len(&self) -> usize {
        match self.by_depth {
            true => (self.channels - 1) * self.right_pitch + self.columns,
            false => self.columns * self.right_pitch,
        }
    }

    fn check(&self, split: usize) {
        let pixels = self.images * self.input[0] * self.input[1];
        let left = elements(1, (pixels - 1) * self.pitch + self.channels);
        let right = elements(2, self.right_len());
        let bias = elements(3, self.columns);
        let residual = elements(4, self.rows() * self.columns);
        let words: Vec<u64> = residual
            .chunks(2)
            .map(|pair| u64::from(pair[0].to_bits()) | u64::from(pair[1].to_bits()) << 32)
            .collect();
        let depth = self.taps() * self.channels;
        let expected: Vec<[f64; 2]> = (0..self.rows() * self.columns)
            .map(|at| self.sum(&left, &right, at / self.columns, at % self.columns))
            .collect();
        for device in devices() {
            let stream = device.stream().unwrap();
            let operands = [stream.upload(&left).unwrap(), stream.upload(&right).unwrap()];
            let added = (stream.upload(&bias).unwrap(), stream.upload(&words).unwrap());
            for arithmetic in [Arithmetic::F32, Arithmetic::TF32] {
                for &(tile, kernel) in kernels(arithmetic, self.by_depth) {
                    let residual_on = Some(added.1.as_slice());
                    let finish = Finish { arithmetic, residual: residual_on, bounds: [0.0, 3.0] };
                    let choice = (tile, kernel, split);
                    let slices = [operands[0].as_slice(), operands[1].as_slice()];
                    let bias_on = Some(added.0.as_slice());
                    let (out, launches) =
                        self.run_as(choice, &stream, finish, slices, bias_on).unwrap();
                    assert_eq!(launches, if split == 1 { 1 } else { 2 });
                    let found = stream.to_vec(&out).unwrap();
                    for (at, &[sum, sizes]) in expected.iter().enumerate() {
                        let found = f32::from_bits((found[at / 2] >> (at % 2 * 32)) as u32);
                        let rest = f64::from(bias[at % self.columns]) + f64::from(residual[at]);
                        let expected = (sum + rest).clamp(0.0, 3.0);
                        let rounded =
                            if arithmetic == Arithmetic::F32 { 0.0 } else { 1.0 / 1024.0 };
                        let order = (depth + 3) as f64 * f64::from(f32::EPSILON);
                        let bound = sizes * rounded + (sizes + rest.abs()) * order;
                        assert!(
                            (f64::from(found) - expected).abs() <= bound,
                            "{device} {arithmetic:?} {tile:?} split {split} {at}: {found}, \
                             expected {expected} within {bound}"
                        );
                    }
                }
            }
        }
    }
}

const PLAIN: Job = Job {
    images: 3,
    input: [7, 9],
    pitch: 36,
    channels: 36,
    output: [7, 9],
    columns: 68,
    window: [3, 3],
    strides: [1, 1],
    dilations: [1, 1],
    begins: [1, 1],
    by_depth: false,
    right_pitch: 9 * 36,
};

#[test]
fn every_kernel_convolves() {
    PLAIN.check(1);
}

#[test]
fn blocks_share_tiles_and_windows_step() {
    // Every second pixel of each third row, elements of the window two rows apart; more behind
    // the image than before it; a pixel has more channels than are read.
    let job = Job {
        images: 2,
        pitch: 24,
        channels: 20,
        output: [3, 5],
        columns: 8,
        window: [2, 3],
        strides: [3, 2],
        dilations: [2, 1],
        begins: [1, 0],
        right_pitch: 6 * 20,
        ..PLAIN
    };
    job.check(3);
}

#[test]
fn right_operands_lie_by_depth() {
    // Neither rows nor columns nor depth fill their tiles, and rows of both operands are
    // longer than what is read of them.
    let job = Job {
        images: 1,
        input: [1, 83],
        output: [1, 83],
        pitch: 84,
        channels: 75,
        columns: 148,
        window: [1, 1],
        begins: [0, 0],
        by_depth: true,
        right_pitch: 152,
        ..PLAIN
    };
    job.check(1);
    job.check(2);
}

#[test]
fn kernels_are_chosen_so_that_a_device_is_full() {
    let chosen = |arithmetic, shape| {
        let (tile, _, split) = choose(arithmetic, false, shape, 132);
        (tile, split)
    };
    // Large products have the largest tiles.
    assert_eq!(chosen(Arithmetic::TF32, [4096, 4096, 128]), (Tile::T128x256, 1));
    assert_eq!(chosen(Arithmetic::F32, [4096, 4096, 128]), (Tile::T128x128, 1));
    // 392 and 196 tiles would leave half of the places of a last round empty.
    assert_eq!(chosen(Arithmetic::F32, [64 * 28 * 28, 128, 36]), (Tile::T128x128, 2));
    assert_eq!(chosen(Arithmetic::F32, [64 * 14 * 14, 256, 72]), (Tile::T128x128, 4));
    assert_eq!(chosen(Arithmetic::TF32, [64 * 14 * 14, 256, 72]), (Tile::T128x256, 1));
    // The last convolutions of ResNet-18 for one image have one row of tiles.
    let (tile, split) = chosen(Arithmetic::TF32, [49, 512, 144]);
    assert!(tile == Tile::T64x64 && split >= 8, "{tile:?} {split}");
    // Few channels have narrow tiles.
    for arithmetic in [Arithmetic::F32, Arithmetic::TF32] {
        let (tile, split) = chosen(arithmetic, [64 * 56 * 56, 64, 18]);
        assert!(matches!(tile, Tile::T128x64 | Tile::T256x64) && split == 1, "{tile:?} {split}");
    }
}

#[test]
fn wrong_operands_are_errors() {
    let stream = Device::cpu().stream().unwrap();
    let short = stream.upload(&[0.0f32; 64]).unwrap();
    let operands = [short.as_slice(), short.as_slice()];
    let finish = Finish::plain(Arithmetic::F32);
    assert!(PLAIN.run(&stream, finish, operands, None).is_err());
    let words = stream.upload(&[0u64; 8]).unwrap();
    let error = turned(&stream, [1, 5, 7], words.as_slice()).unwrap_err();
    assert!(matches!(error, Error::Length { expected: 35, found: 16, .. }), "{error}");
}

#[test]
fn matrices_are_turned() {
    for device in devices() {
        let stream = device.stream().unwrap();
        let [batches, rows, columns] = [3, 37, 50];
        let elements = elements(7, batches * rows * columns);
        let input = stream.upload(&elements).unwrap();
        let out = turn_rows(&stream, [batches, rows, columns], columns, input.as_slice()).unwrap();
        let found = stream.to_vec(&out).unwrap();
        for (at, element) in elements.iter().enumerate() {
            let (batch, row, column) = (at / (rows * columns), at / columns % rows, at % columns);
            let to = (batch * columns + column) * rows + row;
            let bits = (found[to / 2] >> (to % 2 * 32)) as u32;
            assert_eq!(bits, element.to_bits(), "{device}: {at}");
        }
    }
}
