//! A kernel returns nothing.
use raddle::prelude::*;

#[kernel]
pub fn returns_value(x: f32) -> f32 { //~ ERROR a kernel returns nothing
    x * 2.0
}
