//! Pictures as PNG files.

use std::io::BufWriter;
use std::path::{Path, PathBuf};

/// Why a picture was not written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct PictureError {
    path: PathBuf,
    reason: String,
}

/// Writes rows of `width` pixels to `path`; the folder must exist.
///
/// ## Errors
///
/// When the file cannot be written.
pub fn write(path: &Path, width: u32, pixels: &[[u8; 3]]) -> Result<(), PictureError> {
    let failed = |reason: String| PictureError { path: path.to_owned(), reason };
    let height = u32::try_from(pixels.len() / width as usize)
        .map_err(|_| failed("the picture has too many rows".into()))?;
    let file = std::fs::File::create(path).map_err(|error| failed(error.to_string()))?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let write = |encoder: png::Encoder<'_, _>| {
        let mut writer = encoder.write_header()?;
        writer.write_image_data(pixels.as_flattened())?;
        writer.finish()
    };
    write(encoder).map_err(|error: png::EncodingError| failed(error.to_string()))
}
