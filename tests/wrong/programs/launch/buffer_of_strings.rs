//! Device memory holds device types.
use raddle::Buffer;

pub struct Names {
    pub names: Buffer<String>, //~ ERROR `String` has no fixed layout on the device
}
