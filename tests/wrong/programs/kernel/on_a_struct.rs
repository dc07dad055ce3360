//! `#[kernel]` stands on functions.
use raddle::prelude::*;

#[kernel]
pub struct Blur { //~ ERROR `#[kernel]` stands on a function
    pub radius: f32,
}
