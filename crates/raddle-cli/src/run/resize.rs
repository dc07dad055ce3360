//! Resizing pictures to the pixel as Pillow does, and so torchvision: bilinear
//! with antialiasing, in fixed point, first along rows and then along columns.
//!
//! *Source*: Pillow, `src/libImaging/Resample.c`; torchvision, `Resize` and
//! `CenterCrop`.

/// Bits after the point of a weight: 32 less 8 of a pixel and 2 of the sum.
const FRACTION_BITS: u32 = 22;

/// A picture of 8 bits a channel, RGB, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Red, green and blue of each pixel.
    pub pixels: Vec<[u8; 3]>,
}

impl Picture {
    /// The picture with its shorter side `short` pixels long and the central square
    /// of `crop` pixels cut out; `crop` is at most `short`.
    pub fn resize_and_crop(&self, short: usize, crop: usize) -> Self {
        let long =
            |long: usize, side: usize| (short as u128 * long as u128 / side as u128) as usize;
        let (width, height) = match self.width <= self.height {
            true => (short, long(self.height, self.width)),
            false => (long(self.width, self.height), short),
        };
        // Python rounds halves to even.
        let start = |side: usize| ((side - crop) as f64 / 2.0).round_ties_even() as usize;
        let columns = weights(self.width, width);
        let rows = weights(self.height, height);
        let (left, top) = (start(width), start(height));
        let columns = &columns[left..left + crop];
        let rows = &rows[top..top + crop];
        // Only source rows that the crop looks at.
        let first = rows.iter().map(|tap| tap.start).min().unwrap_or(0);
        let end = rows.iter().map(|tap| tap.start + tap.weights.len()).max().unwrap_or(0);
        let mut narrow = Vec::with_capacity((end - first) * crop);
        for row in self.pixels.chunks_exact(self.width).take(end).skip(first) {
            narrow.extend(columns.iter().map(|tap| tap.sum(|at| row[at])));
        }
        let mut pixels = Vec::with_capacity(crop * crop);
        for tap in rows {
            pixels.extend((0..crop).map(|x| tap.sum(|at| narrow[(at - first) * crop + x])));
        }
        Self { width: crop, height: crop, pixels }
    }
}

/// The source pixels that make one pixel.
struct Tap {
    start: usize,
    weights: Vec<i32>,
}

impl Tap {
    fn sum(&self, pixel: impl Fn(usize) -> [u8; 3]) -> [u8; 3] {
        let mut sums = [1i32 << (FRACTION_BITS - 1); 3];
        for (at, weight) in self.weights.iter().enumerate() {
            let pixel = pixel(self.start + at);
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += i32::from(value) * weight;
            }
        }
        sums.map(|sum| (sum >> FRACTION_BITS).clamp(0, 255) as u8)
    }
}

/// For each of `len_out` pixels, the weights of the `len_in` source pixels: a
/// triangle as wide as the source pixels that fall on two pixels.
fn weights(len_in: usize, len_out: usize) -> Vec<Tap> {
    let scale = len_in as f64 / len_out as f64;
    let support = scale.max(1.0);
    let tap = |at: usize| {
        let center = (at as f64 + 0.5) * scale;
        let start = (center - support + 0.5).max(0.0) as usize;
        let end = ((center + support + 0.5) as usize).min(len_in);
        let weight = |at: usize| {
            let distance = ((at as f64 - center + 0.5) / support).abs();
            (1.0 - distance).max(0.0)
        };
        let total: f64 = (start..end).map(weight).sum();
        let one = f64::from(1 << FRACTION_BITS);
        let weights = (start..end).map(|at| (weight(at) / total * one + 0.5) as i32).collect();
        Tap { start, weights }
    };
    (0..len_out).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture that has a formula.
    fn pattern(width: usize, height: usize) -> Picture {
        let pixel = |at: usize| {
            let (x, y) = (at % width, at / width);
            [(x * 7 + y * 3) as u8, (x * y) as u8, (x ^ y) as u8]
        };
        Picture { width, height, pixels: (0..width * height).map(pixel).collect() }
    }

    /// FNV-1a of the pixels.
    fn hash(picture: &Picture) -> u64 {
        picture.pixels.as_flattened().iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    #[test]
    fn pictures_are_pillows_to_the_pixel() {
        // Hashes of `Image.fromarray(pattern).resize(…, BILINEAR).crop(…)` of Pillow
        // 13.0 for torchvision's sizes.
        for (width, height, short, crop, expected) in PILLOW {
            let found = pattern(width, height).resize_and_crop(short, crop);
            assert_eq!((found.width, found.height), (crop, crop));
            assert_eq!(hash(&found), expected, "{width}x{height} {:#x}", hash(&found));
        }
    }

    const PILLOW: [(usize, usize, usize, usize, u64); 4] = [
        (720, 405, 256, 224, 0x520b_7801_294c_3ac1),
        (100, 301, 256, 224, 0x93f6_a5e7_b908_f080),
        (37, 37, 32, 28, 0x892a_6dd9_6c2e_4d4d),
        (5, 3, 8, 7, 0x16ff_c2e1_b482_4479),
    ];

    #[test]
    fn one_colour_stays_itself() {
        let picture = Picture { width: 3, height: 9, pixels: vec![[1, 128, 255]; 27] };
        let found = picture.resize_and_crop(8, 7);
        assert!(found.pixels.iter().all(|pixel| *pixel == [1, 128, 255]));
    }
}
