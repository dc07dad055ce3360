//! An enum with payloads has no layout that host and device agree to fix.
use raddle::prelude::*;

#[derive(Clone, Copy, DeviceType)]
#[repr(u32)]
pub enum Shape {
    Point,
    Circle(f32), //~ ERROR a variant with fields has no fixed layout on the device
}
