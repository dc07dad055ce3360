//! An output's elements need a fixed layout.
use raddle::prelude::*;

#[kernel]
pub fn output_of_strings(_out: PerThread<String>) {} //~ ERROR `String` has no fixed layout on the device
