//! A const instance that was not made.
use raddle::{Buffer, Error, Grid, Stream};

use crate::kernels;

pub fn run(stream: &Stream, y: &mut Buffer<u32>) -> Result<(), Error> {
    stream.launch(Grid::cover(4, 32), kernels::repeat::<5>(y))?; //~ ERROR kernel `repeat` was not compiled for `5`
    Ok(())
}
