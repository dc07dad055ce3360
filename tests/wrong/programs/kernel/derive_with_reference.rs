//! Every field must be a device type.
use raddle::prelude::*;

#[derive(Clone, Copy, DeviceType)]
#[repr(C)]
pub struct View {
    pub values: &'static [f32], //~ ERROR `&'static [f32]` has no fixed layout on the device
    pub len: u32,
}
