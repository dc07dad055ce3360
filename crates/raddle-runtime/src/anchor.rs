//! A device as memory holds it: by a count that only the users of one stream change.
//!
//! Every buffer keeps its device open. Were they all to count on the device's own
//! handle, threads that allocate and drop buffers, each on a stream of its own, would
//! take that one cache line from each other with every call.

use std::ops::Deref;
use std::sync::Arc;

use crate::device::Device;

/// A handle of a device with a count of its own.
#[derive(Clone)]
pub(crate) struct Anchor {
    pub(crate) place: Arc<Padded>,
    /// Address of the device, to be compared without following the handle.
    address: usize,
}

/// Aligned, so that counts of different anchors and what they lead to lie in cache
/// lines of their own (two of them, since processors fetch pairs).
#[repr(align(128))]
pub(crate) struct Padded(Device);

impl Anchor {
    pub(crate) fn new(device: Device) -> Self {
        let address = std::ptr::from_ref(device.inner()).addr();
        Self { place: Arc::new(Padded(device)), address }
    }

    #[inline]
    pub(crate) fn is_same(&self, device: &Device) -> bool {
        self.address == std::ptr::from_ref(device.inner()).addr()
    }
}

impl Deref for Anchor {
    type Target = Device;

    #[inline]
    fn deref(&self) -> &Device {
        &self.place.0
    }
}
