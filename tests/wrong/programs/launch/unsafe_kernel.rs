//! A kernel with raw pointers is launched in `unsafe` code.
use raddle::{Buffer, Error, Grid, Stream};

use crate::kernels;

pub fn run(stream: &Stream, y: &mut Buffer<u32>) -> Result<(), Error> {
    stream.launch(Grid::cover(4, 32), kernels::scatter(y))?; //~ ERROR call to unsafe function `kernels::scatter` is unsafe
    Ok(())
}
