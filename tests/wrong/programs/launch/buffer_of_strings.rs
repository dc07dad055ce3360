//! Device memory holds device types.
use raddle::{Error, Stream};

pub fn run(stream: &Stream) -> Result<(), Error> {
    let names = stream.upload(&[String::from("warp")])?; //~ ERROR `String` has no fixed layout on the device
    drop(names);
    Ok(())
}
