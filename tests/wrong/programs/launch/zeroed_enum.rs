//! Zeros are no value of every type.
use raddle::{Error, Stream};

use crate::kernels;

pub fn run(stream: &Stream) -> Result<(), Error> {
    let modes = stream.zeros::<kernels::Mode>(16)?; //~ ERROR the trait bound `Mode: Zeroable` is not satisfied
    drop(modes);
    Ok(())
}
