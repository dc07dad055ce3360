//! A device type is copied byte by byte.
use raddle::prelude::*;

#[derive(DeviceType)]
#[repr(C)]
pub struct Cell { //~ ERROR Cell: Copy` is not satisfied
    pub value: f32,
}
