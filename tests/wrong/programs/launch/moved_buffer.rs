//! A buffer that was given away.
use raddle::{Buffer, Error, Grid, Stream};

use crate::kernels;

pub fn run(stream: &Stream, x: Buffer<f32>, mut y: Buffer<f32>) -> Result<(), Error> {
    drop(x);
    stream.launch(Grid::cover(4, 32), kernels::saxpy(2.0, &x, &mut y))?; //~ ERROR borrow of moved value: `x`
    Ok(())
}
