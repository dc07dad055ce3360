//! One buffer cannot be two outputs of a launch.
use raddle::{Buffer, Error, Grid, Stream};

use crate::kernels;

pub fn run(stream: &Stream, x: &mut Buffer<f32>) -> Result<(), Error> {
    stream.launch(Grid::cover(4, 32), kernels::exchange(&mut *x, &mut *x))?; //~ ERROR cannot borrow `*x` as mutable more than once
    Ok(())
}
