//! `raddle demo`: renders a scene with one kernel, filters it with others, and
//! writes the pictures as PNG files.
//!
//! It says which device runs, times every kernel, compares the blur with a
//! plain loop bit for bit, and ends with a kernel that panics: the panic comes
//! back as an error with its place, and the next launch works.

mod picture;
mod reference;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use raddle::prelude::*;

use crate::kernels::{self, Columns, LEVELS, Rgb, Rows};

/// Options of `raddle demo`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Folder for the pictures.
    #[arg(long, default_value = "raddle-demo")]
    out: PathBuf,
    /// Size of the pictures; 3840x2160 on a GPU and 1280x720 on the CPU if not given.
    #[arg(long, value_name = "WIDTHxHEIGHT")]
    size: Option<Size>,
}

/// Size of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    width: u32,
    height: u32,
}

impl Size {
    const ON_GPU: Self = Self { width: 3840, height: 2160 };
    const ON_CPU: Self = Self { width: 1280, height: 720 };

    fn pixels(self) -> usize {
        self.width as usize * self.height as usize
    }
}

/// Sides that kernels and PNG can index.
const SIDE_MAX: u32 = 16_384;

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let side = |text: &str| text.parse().ok().filter(|side| (1..=SIDE_MAX).contains(side));
        let size = text
            .split_once('x')
            .and_then(|(width, height)| Some(Self { width: side(width)?, height: side(height)? }));
        size.ok_or_else(|| format!("expected WIDTHxHEIGHT, each 1 to {SIDE_MAX}"))
    }
}

/// Why the demo failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The runtime refused or failed.
    #[error(transparent)]
    Runtime(#[from] raddle::Error),
    /// A picture could not be written.
    #[error(transparent)]
    Picture(#[from] picture::PictureError),
    /// The folder could not be made.
    #[error("{}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A kernel's result differs from that of a plain loop.
    #[error("{kernel}: pixel {pixel}: expected {expected:?}, found {found:?}")]
    Wrong {
        /// The kernel.
        kernel: &'static str,
        /// The first pixel that differs.
        pixel: usize,
        /// The plain loop's.
        expected: Rgb,
        /// The kernel's.
        found: Rgb,
    },
    /// The kernel that must panic did not.
    #[error("the kernel that reads past the end of a picture reported nothing")]
    NoPanic,
}

/// Runs the demo.
///
/// ## Errors
///
/// See [`DemoError`].
pub fn run(options: &Options) -> Result<(), DemoError> {
    let device = Device::best()?;
    let size = options.size.unwrap_or(if device.is_gpu() { Size::ON_GPU } else { Size::ON_CPU });
    std::fs::create_dir_all(&options.out)
        .map_err(|source| DemoError::Folder { path: options.out.clone(), source })?;
    println!("device   {device}");
    println!("picture  {} x {} pixels\n", size.width, size.height);

    let mut studio = Studio { stream: device.stream()?, size, is_gpu: device.is_gpu() };
    println!("{:<22}{:>12}{:>14}", "kernel", "time", if device.is_gpu() { "memory" } else { "" });
    let scene = studio.render()?;
    let blurred = studio.blur(&scene)?;
    let edges = studio.edges(&scene)?;
    let equalised = studio.equalise(&scene)?;
    println!();
    for (name, picture) in [
        ("1-scene.png", &scene),
        ("2-blurred.png", &blurred),
        ("3-edges.png", &edges),
        ("4-equalised.png", &equalised),
    ] {
        studio.save(&options.out.join(name), picture)?;
    }
    studio.check_blur(&scene, &blurred)?;
    studio.show_panic(&scene)
}

/// What the steps share.
struct Studio {
    stream: Stream,
    size: Size,
    is_gpu: bool,
}

/// Threads of a block where any number would do.
const BLOCK: u32 = 256;

/// Bytes of a pixel in memory.
const PIXEL_BYTES: usize = size_of::<Rgb>();

impl Studio {
    /// Launches `step` and prints how long it took. On a GPU one launch warms up
    /// and the mean of several is taken; `bytes` is what the kernel has to move
    /// at least.
    fn time(
        &mut self,
        name: &str,
        bytes: usize,
        mut step: impl FnMut(&Stream) -> Result<(), raddle::Error>,
    ) -> Result<(), raddle::Error> {
        let (warm_up, rounds) = if self.is_gpu { (2, 20) } else { (0, 1) };
        for _ in 0..warm_up {
            step(&self.stream)?;
        }
        self.stream.synchronize()?;
        let (result, ms) = self.stream.time(|| (0..rounds).try_for_each(|_| step(&self.stream)))?;
        result?;
        let seconds = ms * 1.0e-3 / f64::from(rounds);
        print!("{name:<22}{:>9.3} ms", seconds * 1.0e3);
        if self.is_gpu {
            print!("{:>9.1} GB/s", bytes as f64 / seconds / 1.0e9);
        }
        println!();
        Ok(())
    }

    fn grid(&self) -> Grid {
        Grid::cover(self.size.pixels(), BLOCK)
    }

    fn blank(&self) -> Result<Buffer<Rgb>, raddle::Error> {
        self.stream.zeros(self.size.pixels())
    }

    fn render(&mut self) -> Result<Buffer<Rgb>, raddle::Error> {
        let mut picture = self.blank()?;
        let (grid, Size { width, height }) = (self.grid(), self.size);
        self.time("render", self.size.pixels() * PIXEL_BYTES, |stream| {
            stream.launch(grid, kernels::render(width, height, &mut picture))?;
            Ok(())
        })?;
        Ok(picture)
    }

    fn blur(&mut self, picture: &Buffer<Rgb>) -> Result<Buffer<Rgb>, raddle::Error> {
        let taps = self.stream.upload(&reference::gaussian(BLUR_SIGMA))?;
        let (mut along_rows, mut blurred) = (self.blank()?, self.blank()?);
        let (grid, width) = (self.grid(), self.size.width);
        let bytes = 2 * self.size.pixels() * PIXEL_BYTES;
        self.time("blur, rows", bytes, |stream| {
            let call = kernels::blur::<Rows>(picture, width, &taps, &mut along_rows);
            stream.launch(grid, call)?;
            Ok(())
        })?;
        self.time("blur, columns", bytes, |stream| {
            let call = kernels::blur::<Columns>(&along_rows, width, &taps, &mut blurred);
            stream.launch(grid, call)?;
            Ok(())
        })?;
        Ok(blurred)
    }

    fn edges(&mut self, picture: &Buffer<Rgb>) -> Result<Buffer<Rgb>, raddle::Error> {
        let mut edges = self.blank()?;
        let (grid, width) = (self.grid(), self.size.width);
        self.time("edges", 2 * self.size.pixels() * PIXEL_BYTES, |stream| {
            stream.launch(grid, kernels::edges(picture, width, &mut edges))?;
            Ok(())
        })?;
        Ok(edges)
    }

    fn equalise(&mut self, picture: &Buffer<Rgb>) -> Result<Buffer<Rgb>, raddle::Error> {
        // Enough blocks for every multiprocessor, few enough to add up quickly.
        let blocks = self.stream.device().multiprocessor_count() * 8;
        let mut counts = self.stream.zeros::<u32>(blocks as usize * LEVELS)?;
        let mut brightness = self.stream.zeros::<f32>(LEVELS)?;
        let mut equalised = self.blank()?;
        let (threads, grid) = (LEVELS as u32, self.grid());
        let picture_bytes = self.size.pixels() * PIXEL_BYTES;
        self.time("histogram", picture_bytes, |stream| {
            let call = kernels::histogram(picture, counts.chunks_mut(LEVELS));
            stream.launch(Grid::new(blocks, threads), call)?;
            Ok(())
        })?;
        self.time("equal levels", blocks as usize * LEVELS * size_of::<u32>(), |stream| {
            let call = kernels::equal_levels(&counts, brightness.chunks_mut(LEVELS));
            stream.launch(Grid::new(1, threads), call)?;
            Ok(())
        })?;
        self.time("equalise", 2 * picture_bytes, |stream| {
            stream.launch(grid, kernels::equalise(picture, &brightness, &mut equalised))?;
            Ok(())
        })?;
        Ok(equalised)
    }

    /// Turns a picture into bytes on the device and writes them to a file.
    fn save(&mut self, path: &Path, picture: &Buffer<Rgb>) -> Result<(), DemoError> {
        let mut bytes = self.stream.zeros::<[u8; 3]>(self.size.pixels())?;
        self.stream.launch(self.grid(), kernels::to_bytes(picture, &mut bytes))?;
        let bytes = bytes.to_vec()?;
        picture::write(path, self.size.width, &bytes)?;
        println!("wrote {}", path.display());
        Ok(())
    }

    /// Compares the blurred picture with what a plain loop makes of the scene.
    fn check_blur(&self, scene: &Buffer<Rgb>, blurred: &Buffer<Rgb>) -> Result<(), DemoError> {
        let scene = scene.to_vec()?;
        let found = blurred.to_vec()?;
        let taps = reference::gaussian(BLUR_SIGMA);
        let expected = reference::blur(&scene, self.size.width as usize, &taps);
        compare("blur", &expected, &found)?;
        println!("\nthe blur equals a plain loop in all {} pixels, bit for bit", found.len());
        Ok(())
    }

    /// Lets a kernel panic, and shows that the next launch works.
    fn show_panic(&self, scene: &Buffer<Rgb>) -> Result<(), DemoError> {
        let len = self.size.pixels().min(1000);
        let mut part = self.stream.zeros::<Rgb>(len)?;
        let crop = |start: usize, part: &mut Buffer<Rgb>| {
            let call = kernels::crop(scene, start as u32, part);
            self.stream.launch(Grid::cover(len, BLOCK), call)?.wait()
        };
        println!("\na kernel that reads past the end of the picture:");
        match crop(self.size.pixels() - len / 2, &mut part) {
            Err(error @ raddle::Error::KernelPanic { .. }) => println!("  error: {error}"),
            Err(error) => return Err(error.into()),
            Ok(()) => return Err(DemoError::NoPanic),
        }
        crop(0, &mut part)?;
        let (expected, found) = (scene.to_vec()?, part.to_vec()?);
        compare("crop", &expected[..len], &found)?;
        println!("the next launch on the same device: right in all {len} pixels");
        Ok(())
    }
}

/// Strength of the blur in pixels.
const BLUR_SIGMA: f32 = 4.0;

/// Compares bit for bit.
fn compare(kernel: &'static str, expected: &[Rgb], found: &[Rgb]) -> Result<(), DemoError> {
    let bits = |pixel: &Rgb| [pixel.r, pixel.g, pixel.b].map(f32::to_bits);
    let differs = |(a, b): (&Rgb, &Rgb)| bits(a) != bits(b);
    match expected.iter().zip(found).position(differs) {
        None => Ok(()),
        Some(pixel) => {
            let (expected, found) = (expected[pixel], found[pixel]);
            Err(DemoError::Wrong { kernel, pixel, expected, found })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_two_numbers() {
        assert_eq!("64x48".parse(), Ok(Size { width: 64, height: 48 }));
        for bad in ["", "64", "64x", "0x48", "64x99999", "-1x5", "64x48x3"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wrong_pixel_is_found() {
        let picture = vec![Rgb { r: 0.5, g: 0.25, b: 1.0 }; 4];
        assert!(compare("blur", &picture, &picture).is_ok());
        let mut other = picture.clone();
        other[2].g = 0.25_f32.next_up();
        let error = compare("blur", &picture, &other).unwrap_err();
        assert!(matches!(error, DemoError::Wrong { pixel: 2, .. }), "{error}");
    }
}
