//! `Zeroable` needs a variant whose number is zero.
use raddle::prelude::*;

#[derive(Clone, Copy, DeviceType, Zeroable)]
#[repr(u8)]
pub enum Mode { //~ ERROR all-zero bytes are no value of `Mode`
    Fast = 1,
    Exact = 2,
}
