//! A buffer of another element type.
use raddle::{Buffer, Error, Grid, Stream};

use crate::kernels;

pub fn run(stream: &Stream, x: &Buffer<f64>, y: &mut Buffer<f32>) -> Result<(), Error> {
    stream.launch(Grid::cover(4, 32), kernels::saxpy(2.0, x, y))?; //~ ERROR cannot be passed for the kernel parameter
    Ok(())
}
