//! An output of a block is given in chunks.
use raddle::{Buffer, Error, Grid, Stream};

use crate::kernels;

pub fn run(stream: &Stream, y: &mut Buffer<f32>) -> Result<(), Error> {
    stream.launch(Grid::cover(4, 32), kernels::by_block(y))?; //~ ERROR cannot be passed for the kernel parameter
    Ok(())
}
