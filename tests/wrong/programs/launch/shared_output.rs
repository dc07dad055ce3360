//! An output is passed by `&mut`.
use raddle::{Buffer, Error, Grid, Stream};

use crate::kernels;

pub fn run(stream: &Stream, x: &Buffer<f32>, y: &Buffer<f32>) -> Result<(), Error> {
    stream.launch(Grid::cover(4, 32), kernels::saxpy(2.0, x, y))?; //~ ERROR cannot be passed for the kernel parameter
    Ok(())
}
