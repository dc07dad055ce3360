//! A launch gives every argument.
use raddle::{Buffer, Error, Grid, Stream};

use crate::kernels;

pub fn run(stream: &Stream, x: &Buffer<f32>) -> Result<(), Error> {
    stream.launch(Grid::cover(4, 32), kernels::saxpy(2.0, x))?; //~ ERROR this function takes 3 arguments but 2 arguments were supplied
    Ok(())
}
