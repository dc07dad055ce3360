//! Im2col loads against the convolution's own index arithmetic.

use raddle::device::matrix::Swizzle;
use raddle::device::tma::*;
use raddle::{Grid, Stream};
use raddle_tensor_tests::kernels::im2col::*;
use raddle_tensor_tests::kernels::tensors::WINDOW;

use crate::support::*;

/// A batch of images, and what a load takes of it.
#[derive(Clone, Copy, Debug)]
struct Case<'a> {
    /// Channels, spatial axes from width on, images.
    dims: &'a [u64],
    filters: &'a [FilterAxis],
    channels: u32,
    pixels: u32,
    swizzle: Swizzle,
    /// Where the load begins: a channel, and a result of the convolution.
    channel: i32,
    result: &'a [u64],
    /// The element of the filter.
    element: &'a [u32],
}

impl Case<'_> {
    fn spec(&self) -> TensorMapSpec {
        let axes: Vec<Im2colAxis> = self.filters.iter().map(|&filter| filter.into()).collect();
        TensorMapSpec::im2col_dense(
            TensorElement::U32,
            self.dims,
            &axes,
            self.channels,
            self.pixels,
        )
        .and_then(|spec| spec.with_swizzle(self.swizzle))
        .unwrap()
    }

    fn words(&self) -> Vec<u32> {
        let len = self.dims.iter().product::<u64>() as u32;
        (1..=len).map(|i| i.wrapping_mul(0x0101_0001)).collect()
    }

    fn at(&self) -> Vec<i32> {
        let mut at = vec![self.channel];
        for (filter, result) in self.filters.iter().zip(self.result) {
            at.push(*result as i32 * filter.stride as i32 - filter.padding[0] as i32);
        }
        at.push(self.result[self.filters.len()] as i32);
        at
    }

    fn offsets(&self) -> Vec<u16> {
        let pairs = self.filters.iter().zip(self.element);
        pairs.map(|(filter, element)| (filter.dilation * element) as u16).collect()
    }

    /// The window after the load: results are numbered, and each number is taken apart
    /// again, where the load walks from pixel to pixel.
    fn expected(&self, words: &[u32]) -> Vec<u32> {
        let spatial = self.filters.len();
        let counts: Vec<u64> = self
            .filters
            .iter()
            .zip(&self.dims[1..])
            .map(|(f, dim)| {
                let padded = dim + u64::from(f.padding[0] + f.padding[1]);
                (padded - u64::from(f.dilation * (f.len - 1)) - 1) / u64::from(f.stride) + 1
            })
            .collect();
        let mut first = self.result[spatial];
        for axis in (0..spatial).rev() {
            first = first * counts[axis] + self.result[axis];
        }
        let mut window = vec![0xaaaa_aaaa_u32; WINDOW / 4];
        let row_bytes = match self.swizzle {
            Swizzle::None => self.channels * 4,
            swizzle => swizzle.span_bytes(),
        };
        for pixel in 0..self.pixels {
            let mut number = first + u64::from(pixel);
            let (mut offset, mut stride, mut is_inside) = (0, self.dims[0] as i64, true);
            for (axis, &count) in counts.iter().enumerate() {
                let (filter, dim) = (&self.filters[axis], self.dims[axis + 1] as i64);
                let result = (number % count) as i64;
                number /= count;
                let place = result * i64::from(filter.stride) - i64::from(filter.padding[0])
                    + i64::from(self.element[axis] * filter.dilation);
                is_inside &= (0..dim).contains(&place);
                offset += place * stride;
                stride *= dim;
            }
            is_inside &= number < self.dims[spatial + 1];
            offset += number as i64 * stride;
            for channel in 0..self.channels {
                let from = i64::from(self.channel) + i64::from(channel);
                let is_inside = is_inside && from < self.dims[0] as i64;
                let place = self.swizzle.apply(pixel * row_bytes + channel * 4) as usize / 4;
                window[place] = if is_inside { words[(offset + from) as usize] } else { 0 };
            }
        }
        window
    }
}

/// Loads on each device what the case says, and compares.
#[track_caller]
fn check(case: Case<'_>) {
    let (spec, words) = (case.spec(), case.words());
    let mut expected = case.expected(&words);
    // The kernel gives the XOR with a second load behind the window.
    expected.extend([0; WINDOW / 4]);
    on_each_device(HOPPER, |stream: &Stream| {
        let images = stream.upload(&words).unwrap();
        let tensor = images.tensor(&spec).unwrap();
        let mut out = stream.zeros::<u32>(2 * WINDOW / 4).unwrap();
        let (grid, bytes) = (Grid::new(1, 64), spec.box_bytes());
        match (&case.at()[..], &case.offsets()[..]) {
            (&[c, w, n], &[x]) => {
                stream.launch(grid, load_3d(&tensor, [c, w, n], [x], bytes, &mut out))
            }
            (&[c, w, h, n], &[x, y]) => {
                stream.launch(grid, load_4d(&tensor, [c, w, h, n], [x, y], bytes, &mut out))
            }
            (&[c, w, h, d, n], &[x, y, z]) => {
                stream.launch(grid, load_5d(&tensor, [c, w, h, d, n], [x, y, z], bytes, &mut out))
            }
            other => panic!("an im2col load has 3 to 5 coordinates, found {other:?}"),
        }
        .unwrap();
        assert_same(&out.to_vec().unwrap(), &expected, &format!("{case:?}"));
    });
}

const SAME: FilterAxis = FilterAxis { len: 3, stride: 1, dilation: 1, padding: [1, 1] };
const HALF: FilterAxis = FilterAxis { stride: 2, ..SAME };
const IMAGES: Case<'static> = Case {
    dims: &[32, 7, 5, 3],
    filters: &[SAME, SAME],
    channels: 32,
    pixels: 48,
    swizzle: Swizzle::None,
    channel: 0,
    result: &[0, 0, 0],
    element: &[0, 0],
};

#[test]
fn elements_of_a_filter() {
    for element in [[0, 0], [1, 1], [2, 0], [2, 2]] {
        check(Case { element: &element, ..IMAGES });
    }
    // Begins within an image, and runs over its end and that of the batch.
    check(Case { result: &[5, 2, 1], element: &[1, 2], ..IMAGES });
    check(Case { result: &[6, 4, 2], element: &[1, 1], ..IMAGES });
}

#[test]
fn strides_dilation_and_padding_on_one_side() {
    check(Case { filters: &[HALF, HALF], element: &[1, 1], ..IMAGES });
    check(Case { filters: &[HALF, SAME], result: &[3, 1, 0], element: &[2, 0], ..IMAGES });
    let dilated = FilterAxis { dilation: 2, padding: [2, 2], ..SAME };
    check(Case { filters: &[dilated, dilated], element: &[2, 1], ..IMAGES });
    let lopsided = FilterAxis { len: 2, padding: [0, 1], ..SAME };
    check(Case { filters: &[lopsided, SAME], element: &[1, 0], ..IMAGES });
    let wide = FilterAxis { len: 5, stride: 3, dilation: 1, padding: [2, 2] };
    check(Case { filters: &[wide, HALF], element: &[4, 2], ..IMAGES });
}

#[test]
fn parts_of_the_channels_and_swizzles() {
    for (swizzle, channels) in [
        (Swizzle::Span32, 8),
        (Swizzle::Span64, 16),
        (Swizzle::Span128, 32),
        // Rows narrower than the span are padded to it.
        (Swizzle::Span128, 16),
    ] {
        let case = Case { swizzle, channels, element: &[1, 0], ..IMAGES };
        check(case);
        check(Case { channel: 16, result: &[2, 1, 0], ..case });
    }
    check(Case { channels: 8, channel: 28, ..IMAGES });
}

#[test]
fn one_and_three_spatial_axes() {
    let signal = Case {
        dims: &[16, 37, 3],
        filters: &[HALF],
        channels: 16,
        result: &[11, 0],
        element: &[2],
        ..IMAGES
    };
    check(signal);
    let volume = Case {
        dims: &[8, 5, 4, 3, 2],
        filters: &[SAME, HALF, SAME],
        channels: 8,
        pixels: 64,
        result: &[3, 1, 2, 0],
        element: &[0, 2, 1],
        ..IMAGES
    };
    check(volume);
}

#[test]
fn multicast_reaches_both_blocks() {
    // Column `r` holds the 16 pixels from the begin of row `r` on, each one further
    // to the right and below; without padding, a row has six of them.
    let axes = [Im2colAxis { lower: 0, upper: -1, stride: 1 }; 2];
    let spec = TensorMapSpec::im2col_dense(TensorElement::U32, IMAGES.dims, &axes, 32, 16).unwrap();
    let words = IMAGES.words();
    let column = |row: usize| -> Vec<u32> {
        let place = |i: usize| (i % 6 + 1) + 7 * (row + i / 6 + 1);
        (0..16).flat_map(|i| &words[32 * place(i)..][..32]).copied().collect()
    };
    let both: Vec<u32> = [column(0), column(1), column(0), column(1)].concat();
    on_each_device(HOPPER, |stream: &Stream| {
        let images = stream.upload(&words).unwrap();
        let tensor = images.tensor(&spec).unwrap();
        let mut out = stream.zeros::<u32>(2 * WINDOW / 4).unwrap();
        stream.launch(Grid::new(2, 64), multicast(&tensor, spec.box_bytes(), &mut out)).unwrap();
        let found = out.to_vec().unwrap();
        for block in 0..2 {
            let window = &found[block * WINDOW / 4..][..both.len()];
            assert_same(window, &both, &format!("window {block}"));
        }
    });
}

#[test]
fn im2col_maps_are_not_for_stores() {
    on_each_device(HOPPER, |stream: &Stream| {
        let mut images = stream.zeros::<u32>(IMAGES.words().len()).unwrap();
        let error = images.tensor_mut(&IMAGES.spec()).err().expect("a refusal").to_string();
        assert!(error.contains("an im2col map is for loads"), "{error}");
    });
}
