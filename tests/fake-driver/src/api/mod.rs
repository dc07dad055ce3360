//! The driver's functions, by area. Each takes the world and the C arguments and
//! gives a result code; `entry` lists them under their names.

pub(crate) mod device;
pub(crate) mod event;
pub(crate) mod memory;
pub(crate) mod module;
pub(crate) mod pool;
pub(crate) mod stream;
pub(crate) mod virtual_memory;
