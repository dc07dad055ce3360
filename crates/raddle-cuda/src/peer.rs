//! Copies between devices and access to each other's memory.

use std::ffi::c_int;

use crate::context::Context;
use crate::device::Device;
use crate::error::{Error, Result, check};
use crate::status::Status;
use crate::stream::Stream;

impl Device {
    /// Whether the device can reach memory of `peer` directly.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn can_access_peer(self, peer: Self) -> Result<bool> {
        let missing = Error::FunctionMissing { symbol: "cuDeviceCanAccessPeer", since: (4, 0) };
        let can_access = self.driver.api().device_can_access_peer.ok_or(missing)?;
        let mut can: c_int = 0;
        // SAFETY: writes one int.
        let status = unsafe { can_access(&raw mut can, self.raw, peer.raw) };
        check("cuDeviceCanAccessPeer", status)?;
        Ok(can != 0)
    }
}

impl Context {
    /// Lets work of this context reach memory that was allocated in `peer`'s, but
    /// for memory that is mapped piece by piece. Doing so twice is no error.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_PEER_ACCESS_UNSUPPORTED`, or a failed driver call.
    pub fn enable_peer_access(&self, peer: &Self) -> Result<()> {
        let api = self.enter()?;
        let missing = Error::FunctionMissing { symbol: "cuCtxEnablePeerAccess", since: (4, 0) };
        let enable = api.ctx_enable_peer_access.ok_or(missing)?;
        // SAFETY: the handle is retained for the call; the flags must be zero.
        let status = unsafe { enable(peer.raw, 0) };
        match check("cuCtxEnablePeerAccess", status) {
            Err(error) if error.status() == Some(Status::PEER_ACCESS_ALREADY_ENABLED) => Ok(()),
            result => result,
        }
    }

    /// Takes back what [`Context::enable_peer_access`] gave. Doing so without it
    /// is no error.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn disable_peer_access(&self, peer: &Self) -> Result<()> {
        let api = self.enter()?;
        let missing = Error::FunctionMissing { symbol: "cuCtxDisablePeerAccess", since: (4, 0) };
        let disable = api.ctx_disable_peer_access.ok_or(missing)?;
        // SAFETY: the handle is retained for the call.
        let status = unsafe { disable(peer.raw) };
        match check("cuCtxDisablePeerAccess", status) {
            Err(error) if error.status() == Some(Status::PEER_ACCESS_NOT_ENABLED) => Ok(()),
            result => result,
        }
    }
}

impl Stream {
    /// Enqueues a copy from another device's memory to this stream's.
    ///
    /// # Safety
    ///
    /// `target` is memory of this stream's device and `source` of `peer`'s, of
    /// `bytes` bytes each; both stay so, and nobody else writes them or reads the
    /// target, until the copy has ended.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub unsafe fn copy_from_peer(
        &self,
        target: u64,
        peer: &Context,
        source: u64,
        bytes: usize,
    ) -> Result<()> {
        let api = self.context().enter()?;
        let missing = Error::FunctionMissing { symbol: "cuMemcpyPeerAsync", since: (4, 0) };
        let copy = api.memcpy_peer.ok_or(missing)?;
        let own = self.context().raw;
        // SAFETY: the caller's contract; both contexts are retained for the call.
        let status = unsafe { copy(target, own, source, peer.raw, bytes, self.raw) };
        check("cuMemcpyPeerAsync", status)
    }
}
