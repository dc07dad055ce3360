//! An output's elements need a fixed layout.
use raddle::prelude::*;

#[kernel]
pub fn output_of_strings(_out: PerThread<String>) {} //~ ERROR PerThread<String>` cannot be a kernel parameter
