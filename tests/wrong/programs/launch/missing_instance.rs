//! An instance that was not made: the error says how to make it.
use raddle::{Buffer, Error, Grid, Stream};

use crate::kernels;

pub fn run(stream: &Stream, y: &mut Buffer<i64>) -> Result<(), Error> {
    stream.launch(Grid::cover(4, 32), kernels::fill::<i64>(1, y))?; //~ ERROR kernel `fill` was not compiled for `i64`
    Ok(())
}
