//! A launch gives no more arguments than the kernel has parameters.
use raddle::{Buffer, Error, Grid, Stream};

use crate::kernels;

pub fn run(stream: &Stream, x: &Buffer<f32>, y: &mut Buffer<f32>) -> Result<(), Error> {
    stream.launch(Grid::cover(4, 32), kernels::saxpy(2.0, x, y, 4))?; //~ ERROR this function takes 3 arguments but 4 arguments were supplied
    Ok(())
}
