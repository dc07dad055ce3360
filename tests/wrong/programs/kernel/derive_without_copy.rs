//! A device type is copied byte by byte.
use raddle::prelude::*;

#[derive(DeviceType)] //~ ERROR the trait bound `Cell: Copy` is not satisfied
#[repr(C)]
pub struct Cell {
    pub value: f32,
}
