//! One buffer cannot be input and exclusive output of a launch.
use raddle::{Buffer, Error, Grid, Stream};

use crate::kernels;

pub fn run(stream: &Stream, y: &mut Buffer<f32>) -> Result<(), Error> {
    stream.launch(Grid::cover(4, 32), kernels::saxpy(2.0, &*y, &mut *y))?; //~ ERROR cannot borrow `*y` as mutable because it is also borrowed as immutable
    Ok(())
}
