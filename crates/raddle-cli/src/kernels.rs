//! The demo's device code: a ray-marched scene, filters over pictures, and the
//! probe of `raddle doctor`. All of it is safe Rust.
//!
//! Pictures lie row by row: pixel `(x, y)` is element `y * width + x`.

mod scene;

use raddle::prelude::*;
use scene::Vec3;

/// A colour in linear light, 0 to 1 in each part.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, DeviceType, Zeroable)]
pub struct Rgb {
    /// Red.
    pub r: f32,
    /// Green.
    pub g: f32,
    /// Blue.
    pub b: f32,
}

impl Rgb {
    /// The colour with `function` applied to each part.
    #[must_use]
    pub fn map(self, function: impl Fn(f32) -> f32) -> Self {
        Self { r: function(self.r), g: function(self.g), b: function(self.b) }
    }

    /// `self + weight * other`, each part rounded after the product and after
    /// the sum.
    #[must_use]
    pub fn plus(self, weight: f32, other: Self) -> Self {
        Self {
            r: self.r + weight * other.r,
            g: self.g + weight * other.g,
            b: self.b + weight * other.b,
        }
    }

    /// Brightness as the eye weighs it (ITU-R BT.709).
    #[must_use]
    pub fn luminance(self) -> f32 {
        0.2126 * self.r + 0.7152 * self.g + 0.0722 * self.b
    }
}

/// Column and row of pixel `i`. Pictures have fewer than 2^32 pixels, and a
/// division of 32 bits costs a GPU a quarter of one of 64.
fn position(i: usize, width: u32) -> (usize, usize) {
    ((i as u32 % width) as usize, (i as u32 / width) as usize)
}

/// Renders the scene, one ray for each pixel.
#[kernel]
pub fn render(width: u32, height: u32, mut picture: PerThread<Rgb>) {
    for (i, pixel) in picture.iter_mut() {
        let (x, y) = position(i, width);
        // The picture's smaller side spans -1 to 1.
        let scale = 2.0 / width.min(height) as f32;
        let u = (x as f32 + 0.5 - 0.5 * width as f32) * scale;
        let v = (0.5 * height as f32 - y as f32 - 0.5) * scale;
        let Vec3 { x: r, y: g, z: b } = scene::colour(u, v);
        *pixel = Rgb { r, g, b };
    }
}

/// The direction in which a separable filter runs.
pub trait Axis {
    /// Position of the pixel `(x, y)` along the axis, the picture's size along
    /// it, and the distance in memory between neighbours.
    fn place(x: usize, y: usize, width: usize, height: usize) -> (usize, usize, usize);
}

/// Along rows.
pub struct Rows;

/// Along columns.
pub struct Columns;

impl Axis for Rows {
    fn place(x: usize, _y: usize, width: usize, _height: usize) -> (usize, usize, usize) {
        (x, width, 1)
    }
}

impl Axis for Columns {
    fn place(_x: usize, y: usize, width: usize, height: usize) -> (usize, usize, usize) {
        (y, height, width)
    }
}

/// Weights the neighbours of each pixel along one axis with `taps`, an odd
/// number of them; the picture's border is repeated outwards.
#[kernel(instances(Rows, Columns))]
pub fn blur<A: Axis>(picture: &[Rgb], width: u32, taps: &[f32], mut blurred: PerThread<Rgb>) {
    let height = picture.len() / width as usize;
    let radius = taps.len() / 2;
    for (i, pixel) in blurred.iter_mut() {
        let (x, y) = position(i, width);
        let (at, size, stride) = A::place(x, y, width as usize, height);
        let first = i - at * stride;
        *pixel = taps.iter().enumerate().fold(Rgb::default(), |sum, (k, weight)| {
            let neighbour = (at + k).saturating_sub(radius).min(size - 1);
            sum.plus(*weight, picture[first + neighbour * stride])
        });
    }
}

/// How strongly brightness changes at each pixel: the length of the gradient by
/// Sobel's operator, in the pixel's own hue.
#[kernel]
pub fn edges(picture: &[Rgb], width: u32, mut edges: PerThread<Rgb>) {
    let height = picture.len() / width as usize;
    for (i, pixel) in edges.iter_mut() {
        let (x, y) = position(i, width);
        let brightness = |dx: usize, dy: usize| {
            let column = (x + dx).saturating_sub(1).min(width as usize - 1);
            let row = (y + dy).saturating_sub(1).min(height - 1);
            picture[row * width as usize + column].luminance()
        };
        let (across, down) = (slope(brightness), slope(|a, b| brightness(b, a)));
        let strength = (across * across + down * down).sqrt();
        *pixel = picture[i].map(|part| (0.15 + part) * strength);
    }
}

/// Sobel's weights along the first argument of `at`, of which 1 is the middle.
fn slope(at: impl Fn(usize, usize) -> f32) -> f32 {
    at(2, 0) + 2.0 * at(2, 1) + at(2, 2) - at(0, 0) - 2.0 * at(0, 1) - at(0, 2)
}

/// Levels of brightness that are counted.
pub const LEVELS: usize = 256;

/// The level of a pixel, by brightness as a screen shows it.
fn level(pixel: Rgb) -> u32 {
    (encode(pixel.luminance()) * (LEVELS - 1) as f32 + 0.5) as u32
}

/// Counts the pixels of each level; block `b` counts its share into row `b` of
/// `counts`, so that no two blocks write one number.
///
/// Blocks have [`LEVELS`] threads: they bring in as many pixels at a time, and
/// then thread `t` counts those of level `t`.
#[kernel(block = 256)]
pub fn histogram(picture: &[Rgb], mut counts: PerBlock<u32>) {
    let blocks = counts.chunks();
    for (block, mut row) in counts.iter_mut() {
        let share = picture.len().div_ceil(blocks);
        let end = picture.len().min((block + 1) * share);
        let mut levels = shared!([u32; LEVELS]);
        let mut count = 0;
        let mut start = block * share;
        while start < end {
            let len = LEVELS.min(end - start);
            let levels = levels.fill_first(len, |i| level(picture[start + i]));
            count += levels.iter().filter(|level| **level == thread_x()).count() as u32;
            start += len;
        }
        for (_, [total]) in row.iter_mut() {
            *total = count;
        }
    }
}

/// From the counts of all blocks, the brightness that each level gets so that
/// all levels become equally frequent: the share of pixels that are darker.
#[kernel(block = 256)]
pub fn equal_levels(counts: &[u32], mut brightness: PerBlock<f32>) {
    for (_, mut row) in brightness.iter_mut() {
        let own = counts.iter().skip(thread_x() as usize).step_by(LEVELS).sum::<u32>();
        let darker = block_inclusive_scan(own, |a, b| a + b);
        for (_, [brightness]) in row.iter_mut() {
            *brightness = darker.value as f32 / darker.total as f32;
        }
    }
}

/// Gives each pixel the brightness of its level, keeping its hue.
#[kernel]
pub fn equalise(picture: &[Rgb], brightness: &[f32], mut equalised: PerThread<Rgb>) {
    for (i, pixel) in equalised.iter_mut() {
        let old = picture[i];
        let wanted = decode(brightness[level(old) as usize]);
        let gain = wanted / old.luminance().max(1.0e-4);
        *pixel = old.map(|part| (part * gain).min(1.0));
    }
}

/// Linear light to the bytes of a picture file.
#[kernel]
pub fn to_bytes(picture: &[Rgb], mut bytes: PerThread<[u8; 3]>) {
    for (i, pixel) in bytes.iter_mut() {
        let Rgb { r, g, b } = picture[i].map(|part| encode(part) * 255.0 + 0.5);
        *pixel = [r as u8, g as u8, b as u8];
    }
}

/// Linear light to what files store (gamma 2.2, close to sRGB).
fn encode(light: f32) -> f32 {
    light.clamp(0.0, 1.0).powf(1.0 / 2.2)
}

/// The inverse of [`encode`].
fn decode(stored: f32) -> f32 {
    stored.clamp(0.0, 1.0).powf(2.2)
}

/// Copies the part of `picture` that begins at pixel `start`. A `start` too far
/// on is a mistake that the kernel's bounds checks find.
#[kernel]
pub fn crop(picture: &[Rgb], start: u32, mut part: PerThread<Rgb>) {
    for (i, pixel) in part.iter_mut() {
        *pixel = picture[start as usize + i];
    }
}

/// What `raddle doctor` runs: a sum with a known result, over a whole block.
#[kernel(block = 128)]
pub fn probe(values: &[u32], mut sum: PerBlock<u32>) {
    for (_, mut row) in sum.iter_mut() {
        let own = values.iter().skip(thread_x() as usize).step_by(128).sum::<u32>();
        let total = block_all_reduce(own, |a, b| a + b);
        for (_, [sum]) in row.iter_mut() {
            *sum = total;
        }
    }
}
