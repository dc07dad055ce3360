//! Pooling of `f32` over two dimensions, with channels last and of planes.

use raddle_kernels::dense::{self, Plane, Pooling, Scalar, Sliding};

use crate::dense::{pack, unpack};
use crate::{Random, devices};

/// `[image, row, column, element of a pixel]`.
#[derive(Clone, Copy)]
struct Case {
    images: usize,
    size: [usize; 2],
    inner: usize,
    window: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    begins: [usize; 2],
    ends: [usize; 2],
}

impl Case {
    fn output(&self, axis: usize) -> usize {
        let reach = self.dilations[axis] * (self.window[axis] - 1) + 1;
        let len = self.size[axis] + self.begins[axis] + self.ends[axis];
        (len - reach) / self.strides[axis] + 1
    }

    fn plane(&self, pooling: Pooling, counts_padding: bool) -> Plane {
        let list = |[y, x]: [usize; 2], rest: u32| [rest, rest, rest, rest, y as u32, x as u32];
        let output = [self.output(0), self.output(1)];
        let sliding = Sliding {
            input: list(self.size, 1),
            output: list(output, 1),
            window: list(self.window, 1),
            strides: list(self.strides, 1),
            dilations: list(self.dilations, 1),
            begins: list(self.begins, 0).map(|n| n as i32),
            ends: list(self.ends, 0).map(|n| n as i32),
            scalar: Scalar::F32.code(),
            scalar_out: Scalar::F32.code(),
            len: (self.images * output[0] * output[1] * self.inner) as u32,
        };
        Plane::new(sliding, pooling, counts_padding, self.inner).unwrap()
    }

    /// What an element becomes.
    fn expected(&self, x: &[f32], at: usize, pooling: Pooling, counts_padding: bool) -> f64 {
        let (element, pixel) = (at % self.inner, at / self.inner);
        let (column, line) = (pixel % self.output(1), pixel / self.output(1));
        let (row, image) = (line % self.output(0), line / self.output(0));
        let (mut largest, mut sum, mut count) = (f64::NEG_INFINITY, 0.0, 0.0);
        for tap in 0..self.window[0] * self.window[1] {
            let y = row * self.strides[0] + tap / self.window[1] * self.dilations[0];
            let x_at = column * self.strides[1] + tap % self.window[1] * self.dilations[1];
            let places = [(y, 0), (x_at, 1)].map(|(place, axis)| {
                place.checked_sub(self.begins[axis]).filter(|&n| n < self.size[axis])
            });
            if let [Some(y), Some(x_at)] = places {
                let pixel = (image * self.size[0] + y) * self.size[1] + x_at;
                let number = f64::from(x[pixel * self.inner + element]);
                (largest, sum, count) = (largest.max(number), sum + number, count + 1.0);
            } else if counts_padding {
                count += 1.0;
            }
        }
        match pooling {
            Pooling::Max => largest,
            _ => sum / count,
        }
    }

    fn check(&self) {
        let len = self.images * self.size[0] * self.size[1] * self.inner;
        let x = Random(9).elements(len);
        let output = self.images * self.output(0) * self.output(1) * self.inner;
        for device in devices() {
            let stream = device.stream().unwrap();
            let input = stream.upload(&pack(&x)).unwrap();
            let kinds = [(Pooling::Max, false), (Pooling::Mean, false), (Pooling::Mean, true)];
            for (pooling, counts_padding) in kinds {
                let plane = self.plane(pooling, counts_padding);
                let out = dense::pool_planes(&stream, plane, self.images, input.as_slice());
                let found = unpack(&stream.to_vec(&out.unwrap()).unwrap(), output);
                for (at, found) in found.into_iter().enumerate() {
                    let expected = self.expected(&x, at, pooling, counts_padding);
                    let error = (f64::from(found) - expected).abs();
                    assert!(
                        error <= 1e-6,
                        "{device} {pooling:?} {counts_padding} {at}: {found}, expected {expected}"
                    );
                }
            }
            let plane = self.plane(Pooling::Max, false);
            let short = input.slice(..len / 2 - 1).unwrap();
            assert!(dense::pool_planes(&stream, plane, self.images, short).is_err());
        }
    }
}

#[test]
fn images_are_pooled() {
    let plain = Case {
        images: 2,
        size: [9, 11],
        inner: 8,
        window: [3, 2],
        strides: [2, 1],
        dilations: [1, 1],
        begins: [1, 0],
        ends: [1, 1],
    };
    plain.check();
    // Elements one by one, and planes.
    Case { inner: 6, ..plain }.check();
    Case { inner: 1, images: 5, ..plain }.check();
    Case { dilations: [2, 3], begins: [2, 2], ends: [2, 3], strides: [1, 2], ..plain }.check();
}
