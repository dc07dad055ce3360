//! Pictures as a batch of a vision model: found, decoded, resized and normalised,
//! each on a thread of its own.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use raddle_tensor::graph::{Dim, Graph, ValueType};
use raddle_tensor::{DType, Tensor};
use rayon::prelude::*;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::inputs::required;
use super::outputs::describe_type;
use super::resize::Picture;

/// Options that say what a picture looks like to the model.
#[derive(Debug, clap::Args)]
pub struct PictureOptions {
    /// Pictures that are run at once; what the model says if it says it.
    #[arg(long, default_value_t = 16, value_name = "N", requires = "image")]
    batch: usize,
    /// What is subtracted from red, green and blue of 0 to 1.
    #[arg(long, value_name = "R,G,B", default_value = "0.485,0.456,0.406")]
    mean: Rgb,
    /// What they are divided by then.
    #[arg(long, value_name = "R,G,B", default_value = "0.229,0.224,0.225")]
    std: Rgb,
}

/// A number for each channel.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rgb([f32; 3]);

impl std::str::FromStr for Rgb {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split(',').map(|number| number.trim().parse().ok());
        let numbers: Option<Vec<f32>> = numbers.collect();
        let rgb = numbers.and_then(|numbers| <[f32; 3]>::try_from(numbers).ok());
        rgb.map(Self).ok_or_else(|| "expected three numbers, R,G,B".into())
    }
}

impl PictureOptions {
    /// Options from texts such as `0.485,0.456,0.406`; the usual ones where there is
    /// none.
    ///
    /// ## Errors
    /// What was expected.
    pub fn parse(mean: Option<&str>, std: Option<&str>) -> Result<Self, String> {
        let mean = mean.unwrap_or("0.485,0.456,0.406").parse()?;
        let std = std.unwrap_or("0.229,0.224,0.225").parse()?;
        Ok(Self { batch: 1, mean, std })
    }
}

/// Side of a square that models leave open.
const SIDE_DEFAULT: usize = 224;
/// Longest side of a picture.
const SIDE_MAX: usize = 1 << 15;
/// Most pixels of a picture.
const PIXELS_MAX: usize = 1 << 27;

/// Why pictures cannot be classified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A file or folder cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder has no pictures.
    #[error("{}: no .jpg, .jpeg or .png file in the folder", path.display())]
    NoPictures {
        /// The folder.
        path: PathBuf,
    },
    /// A file is no picture, or a damaged or too large one.
    #[error("{}: {reason}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Some files of a folder could not be read; the others were classified.
    #[error("{count} pictures could not be read; the first: {first}")]
    Some {
        /// How many.
        count: usize,
        /// What was wrong with the first.
        first: Box<ImageError>,
    },
    /// The model takes something else.
    #[error(
        "the model takes no picture but {found}; one input of [n, 3, height, width] or \
         [n, height, width, 3] expected"
    )]
    NoVision {
        /// Its inputs.
        found: String,
    },
    /// The batch is too large.
    #[error(transparent)]
    Tensor(#[from] raddle_tensor::Error),
}

/// The pictures at a path: the file itself, or those of the folder by name.
///
/// ## Errors
/// [`ImageError::Io`], [`ImageError::NoPictures`].
pub fn find(path: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let io = |source| ImageError::Io { path: path.to_owned(), source };
    if !std::fs::metadata(path).map_err(io)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(io)? {
        let file = entry.map_err(io)?.path();
        let extension = file.extension().and_then(|extension| extension.to_str());
        let extension = extension.map(str::to_ascii_lowercase);
        if matches!(extension.as_deref(), Some("jpg" | "jpeg" | "png")) {
            files.push(file);
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(ImageError::NoPictures { path: path.to_owned() }),
        false => Ok(files),
    }
}

/// An error if pictures of a folder could not be read.
///
/// ## Errors
/// The only failure, or [`ImageError::Some`].
pub fn all_read(mut failures: Vec<ImageError>) -> Result<(), ImageError> {
    match failures.len() {
        0 => Ok(()),
        1 => Err(failures.remove(0)),
        count => Err(ImageError::Some { count, first: Box::new(failures.remove(0)) }),
    }
}

/// Makes batches for one model.
pub struct Taker {
    input: String,
    batch_len: usize,
    /// Side of the square that the model takes.
    side: usize,
    is_channels_first: bool,
    /// What each byte of red, green and blue is to the model.
    table: [[f32; 256]; 3],
}

impl Taker {
    /// For the one input of a vision model.
    ///
    /// ## Errors
    /// [`ImageError::NoVision`].
    pub fn of(graph: &Graph, options: &PictureOptions) -> Result<Self, ImageError> {
        let inputs: Vec<_> = required(graph).map(|id| &graph.values[id.index()]).collect();
        let refuse = || {
            let describe = |declared: &Option<ValueType>| {
                declared.as_ref().map_or("anything".into(), describe_type)
            };
            let list =
                inputs.iter().map(|info| format!("{} ({})", info.name, describe(&info.declared)));
            ImageError::NoVision { found: list.collect::<Vec<_>>().join(", ") }
        };
        let [info] = inputs[..] else { return Err(refuse()) };
        let Some(ValueType::Tensor(dtype, Some(dims))) = &info.declared else {
            return Err(refuse());
        };
        let [batch, a, b, c] = &dims[..] else { return Err(refuse()) };
        let is_channels_last = *c == Dim::Fixed(3) && *a != Dim::Fixed(3);
        let (channels, height, width) = if is_channels_last { (c, a, b) } else { (a, b, c) };
        let side = |dim: &Dim| if let Dim::Fixed(side) = dim { *side } else { SIDE_DEFAULT };
        let is_square = side(height) == side(width) && (1..=SIDE_MAX).contains(&side(height));
        let is_float = matches!(dtype, DType::F32 | DType::F16 | DType::BF16);
        if matches!(channels, Dim::Fixed(count) if *count != 3) || !is_square || !is_float {
            return Err(refuse());
        }
        let batch_len = if let Dim::Fixed(len) = batch { *len } else { options.batch.max(1) };
        if matches!(batch, Dim::Fixed(len) if *len != 1) {
            // A folder would have to fill the last batch.
            return Err(refuse());
        }
        let (Rgb(mean), Rgb(std)) = (options.mean, options.std);
        let value =
            |channel: usize, byte: usize| (byte as f32 / 255.0 - mean[channel]) / std[channel];
        Ok(Self {
            input: info.name.clone(),
            batch_len,
            side: side(height),
            is_channels_first: !is_channels_last,
            table: std::array::from_fn(|channel| std::array::from_fn(|at| value(channel, at))),
        })
    }

    /// The input's name.
    pub fn input(&self) -> &str {
        &self.input
    }

    /// Pictures of a batch.
    pub fn batch_len(&self) -> usize {
        self.batch_len
    }

    /// A batch of the pictures that can be read, and which they are. The others
    /// join `failures`.
    ///
    /// ## Errors
    /// [`ImageError::Tensor`].
    pub fn batch(
        &self,
        files: &[PathBuf],
        failures: &mut Vec<ImageError>,
    ) -> Result<(Vec<PathBuf>, Option<Tensor>), ImageError> {
        let read: Vec<_> = files.par_iter().map(|file| self.read(file)).collect();
        let (mut names, mut elements) = (Vec::new(), Vec::new());
        for (file, read) in files.iter().zip(read) {
            match read {
                Ok(picture) => {
                    names.push(file.clone());
                    elements.extend(picture);
                }
                Err(error) => failures.push(error),
            }
        }
        if names.is_empty() {
            return Ok((names, None));
        }
        let shape = self.shape(names.len());
        Ok((names, Some(Tensor::new(&shape, elements)?)))
    }

    /// Side of the square that the model takes.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Bytes of a picture's pixels, and the floats that become of them.
    pub fn len(&self) -> usize {
        self.side * self.side * 3
    }

    /// Whether the model takes all of red before green.
    pub fn is_channels_first(&self) -> bool {
        self.is_channels_first
    }

    /// What each byte is to the model: of red, of green, of blue.
    pub fn table(&self) -> &[f32] {
        self.table.as_flattened()
    }

    /// Red, green and blue of a JPEG or PNG file's picture, pixel by pixel, in the size
    /// that the model takes.
    ///
    /// ## Errors
    /// What is wrong with the bytes.
    pub fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, String> {
        // 256 for 224.
        let short = (self.side as f64 * 256.0 / 224.0).round() as usize;
        Ok(decode(bytes)?.resize_and_crop(short, self.side).pixels.into_flattened())
    }

    /// Writes a picture's pixels as the model sees them.
    pub fn normalise(&self, pixels: &[u8], target: &mut [f32]) {
        let (pixels, _) = pixels.as_chunks::<3>();
        let [red, green, blue] = &self.table;
        if self.is_channels_first {
            let planes = target.chunks_exact_mut(pixels.len().max(1)).zip(&self.table);
            for (channel, (plane, table)) in planes.enumerate() {
                for (float, pixel) in plane.iter_mut().zip(pixels) {
                    *float = table[usize::from(pixel[channel])];
                }
            }
        } else {
            for (floats, &[r, g, b]) in target.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
                *floats = [red[usize::from(r)], green[usize::from(g)], blue[usize::from(b)]];
            }
        }
    }

    /// Shape of a batch.
    pub fn shape(&self, rows: usize) -> [usize; 4] {
        let side = self.side;
        if self.is_channels_first { [rows, 3, side, side] } else { [rows, side, side, 3] }
    }

    /// One picture as the model sees it.
    fn read(&self, path: &Path) -> Result<Vec<f32>, ImageError> {
        let bytes = std::fs::read(path)
            .map_err(|source| ImageError::Io { path: path.to_owned(), source })?;
        let pixels = self.decode(&bytes);
        let pixels =
            pixels.map_err(|reason| ImageError::Picture { path: path.to_owned(), reason })?;
        let mut floats = vec![0.0; self.len()];
        self.normalise(&pixels, &mut floats);
        Ok(floats)
    }
}

/// Decodes a JPEG or PNG file by its first bytes; greys become RGB, alpha is left out.
fn decode(bytes: &[u8]) -> Result<Picture, String> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => decode_jpeg(bytes),
        [0x89, b'P', b'N', b'G', ..] => decode_png(bytes),
        _ => Err("the file begins like neither JPEG nor PNG".into()),
    }
}

fn picture(width: usize, height: usize, pixels: Vec<[u8; 3]>) -> Result<Picture, String> {
    match width > 0 && height > 0 && pixels.len() == width * height {
        true => Ok(Picture { width, height, pixels }),
        false => Err(format!("{width} x {height} pixels announced, {} found", pixels.len())),
    }
}

fn check_size(width: usize, height: usize) -> Result<(), String> {
    match width.max(height) <= SIDE_MAX && width * height <= PIXELS_MAX {
        true => Ok(()),
        false => Err(format!("{width} x {height} pixels are more than {PIXELS_MAX}")),
    }
}

fn decode_jpeg(bytes: &[u8]) -> Result<Picture, String> {
    let options = DecoderOptions::default()
        .set_max_width(SIDE_MAX)
        .set_max_height(SIDE_MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| format!("damaged JPEG: {error:?}"))?;
    let (width, height) = decoder.dimensions().ok_or("a JPEG file without a size")?;
    check_size(width, height)?;
    let samples = decoder.decode().map_err(|error| format!("damaged JPEG: {error:?}"))?;
    picture(width, height, samples.as_chunks::<3>().0.to_vec())
}

fn decode_png(bytes: &[u8]) -> Result<Picture, String> {
    let damaged = |error: png::DecodingError| format!("damaged PNG: {error}");
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    decoder.set_limits(png::Limits { bytes: PIXELS_MAX * 4 });
    let mut reader = decoder.read_info().map_err(damaged)?;
    check_size(reader.info().width as usize, reader.info().height as usize)?;
    let len = reader.output_buffer_size().ok_or("a PNG file too large to hold")?;
    let mut samples = vec![0; len];
    let info = reader.next_frame(&mut samples).map_err(damaged)?;
    let samples = &samples[..info.buffer_size()];
    let pixels = match info.color_type {
        png::ColorType::Rgb => samples.as_chunks::<3>().0.to_vec(),
        png::ColorType::Rgba => {
            samples.as_chunks::<4>().0.iter().map(|&[r, g, b, _]| [r, g, b]).collect()
        }
        png::ColorType::Grayscale => samples.iter().map(|&grey| [grey; 3]).collect(),
        png::ColorType::GrayscaleAlpha => {
            samples.as_chunks::<2>().0.iter().map(|&[grey, _]| [grey; 3]).collect()
        }
        png::ColorType::Indexed => return Err("a PNG file whose palette is missing".into()),
    };
    picture(info.width as usize, info.height as usize, pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &[u8] = include_bytes!("../../tests/cli/tiny.jpg");
    const GREY_JPEG: &[u8] = include_bytes!("../../tests/cli/tiny_grey_progressive.jpg");

    /// A PNG file of 3x2 pixels.
    fn encode(color: png::ColorType, depth: png::BitDepth, samples: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 3, 2);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == png::ColorType::Indexed {
            encoder.set_palette(vec![1, 2, 3, 10, 20, 30]);
        }
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(samples).unwrap();
        writer.finish().unwrap();
        file
    }

    #[track_caller]
    fn check(file: &[u8], expected: [[u8; 3]; 6]) {
        let picture = decode(file).unwrap();
        assert_eq!((picture.width, picture.height), (3, 2));
        assert_eq!(picture.pixels, expected);
    }

    #[test]
    fn pngs_of_all_kinds_become_rgb() {
        use png::BitDepth::{Eight, One, Sixteen};
        use png::ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
        let numbers: Vec<u8> = (1..=18).collect();
        let rgb: [[u8; 3]; 6] = std::array::from_fn(|at| [1, 2, 3].map(|c| c + 3 * at as u8));
        let grey: [[u8; 3]; 6] = std::array::from_fn(|at| [at as u8 + 1; 3]);
        check(&encode(Rgb, Eight, &numbers), rgb);
        check(&encode(Grayscale, Eight, &numbers[..6]), grey);
        let pairs: Vec<u8> = numbers[..6].iter().flat_map(|&grey| [grey, 77]).collect();
        check(&encode(GrayscaleAlpha, Eight, &pairs), grey);
        check(&encode(Grayscale, Sixteen, &pairs), grey);
        let wide: Vec<u8> = rgb.iter().flat_map(|&[r, g, b]| [r, g, b, 0]).collect();
        check(&encode(Rgba, Eight, &wide), rgb);
        let (a, b) = ([1, 2, 3], [10, 20, 30]);
        check(&encode(Indexed, One, &[0b0110_0000, 0b1000_0000]), [a, b, b, b, a, a]);
    }

    #[test]
    fn jpegs_are_near_what_another_decoder_makes_of_them() {
        // Pixels at (12, 8), (3, 2) and (20, 14), as Pillow decodes them.
        for (file, expected) in [(JPEG, COLOURS), (GREY_JPEG, GREYS)] {
            let picture = decode(file).unwrap();
            assert_eq!((picture.width, picture.height), (24, 16));
            for ((x, y), colour) in [(12, 8), (3, 2), (20, 14)].into_iter().zip(expected) {
                let found = picture.pixels[y * 24 + x];
                let is_near = |(a, b): (u8, u8)| a.abs_diff(b) <= 4;
                assert!(found.into_iter().zip(colour).all(is_near), "{found:?} {colour:?}");
            }
        }
    }

    #[test]
    fn damaged_pictures_are_errors_or_pictures() {
        let png = encode(png::ColorType::Rgb, png::BitDepth::Eight, &[7; 18]);
        let mut errors = 0;
        for file in [JPEG, GREY_JPEG, &png] {
            for len in 0..file.len() {
                errors += u32::from(decode(&file[..len]).is_err());
            }
            for bit in 0..file.len() * 8 {
                let mut damaged = file.to_vec();
                damaged[bit / 8] ^= 1 << (bit % 8);
                errors += u32::from(decode(&damaged).is_err());
            }
        }
        assert!(errors > 500, "{errors}");
        assert!(decode(b"GIF89a").unwrap_err().contains("neither JPEG nor PNG"));
    }

    const COLOURS: [[u8; 3]; 3] = [[124, 118, 128], [29, 31, 131], [200, 209, 130]];
    const GREYS: [[u8; 3]; 3] = [[121, 121, 121], [42, 42, 42], [197, 197, 197]];
}
