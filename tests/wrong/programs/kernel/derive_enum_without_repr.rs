//! A field-less enum names its number type.
use raddle::prelude::*;

#[derive(Clone, Copy, DeviceType)]
pub enum Mode { //~ ERROR the layout of `Mode` is not fixed: add `#[repr(u32)]`
    Fast,
    Exact,
}
