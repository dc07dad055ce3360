//! Deriving `DeviceType` needs a fixed layout.
use raddle::prelude::*;

#[derive(Clone, Copy, DeviceType)]
pub struct Point { //~ ERROR the layout of `Point` is not fixed: add `#[repr(C)]`
    pub x: u8,
    pub y: f32,
}
