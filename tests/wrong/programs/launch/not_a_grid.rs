//! A launch needs a grid.
use raddle::{Buffer, Error, Stream};

use crate::kernels;

pub fn run(stream: &Stream, x: &Buffer<f32>, y: &mut Buffer<f32>) -> Result<(), Error> {
    stream.launch(128, kernels::saxpy(2.0, x, y))?; //~ ERROR mismatched types
    Ok(())
}
