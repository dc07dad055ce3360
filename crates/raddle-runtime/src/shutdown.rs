//! The end: devices are closed, with all that they hold of the driver, by
//! [`shutdown`] and when the program ends.
//!
//! A device stays open while anything of it is alive: a buffer, a stream, a future, a
//! handle. What nobody holds is closed in this order: its work ends, the poller lets go
//! of its queues, and the last handle is dropped, which gives streams, memory, modules
//! and the context back. So a tool that looks for leaks at the end of the program
//! finds what the program has left, and nothing of ours.

use std::ffi::c_int;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::completion::signal::Woken;
use crate::device::Device;
use crate::error::Result;

/// Waits for all work of the GPUs that nobody holds any more, and gives back to the
/// driver what they have: memory, streams, modules, contexts. They are opened anew
/// when they are asked for. Happens by itself when the program ends by `return` from
/// `main` or by `exit`, unless work is under way for longer than two seconds then.
///
/// ## Errors
///
/// [`DeviceInUse`](crate::Error::DeviceInUse) for a GPU that is still held, by a buffer for example; it
/// stays open, the others are closed all the same. A fault of a kernel, or a failed
/// driver call, while the work ended.
pub fn shutdown() -> Result<()> {
    let mut first = Ok(());
    for device in Device::open_gpus() {
        first = first.and(device.finish_work());
    }
    first.and(Device::close_unused())
}

impl Device {
    /// Waits for all work and lets go of what was kept for it.
    fn finish_work(&self) -> Result<()> {
        let Some(cuda) = &self.inner().cuda else { return Ok(()) };
        if !self.is_lost() {
            cuda.context().synchronize().map_err(|error| self.with_loss(error.into()))?;
        }
        let mut woken = Woken::default();
        for queue in self.inner().queues.all() {
            queue.settle(self, queue.enqueued.load(Ordering::Acquire), &mut woken);
        }
        woken.finish();
        cuda.poller.sweep();
        Ok(())
    }

    /// Whether the driver says that no work is left. A lost device has none.
    fn is_idle(&self) -> bool {
        self.is_lost() || self.inner().queues.all().all(|queue| queue.is_idle())
    }
}

unsafe extern "C" {
    /// The C library's.
    fn atexit(callback: extern "C" fn()) -> c_int;
}

/// Has the trace and the memory report finished when the program ends.
pub(crate) fn write_at_exit() {
    static REGISTER: Once = Once::new();
    register(&REGISTER);
}

/// Has GPUs closed when the program ends. Handlers run in reverse order: to be called
/// when the driver is loaded, so that it is still there then.
pub(crate) fn close_at_exit() {
    static REGISTER: Once = Once::new();
    register(&REGISTER);
}

fn register(once: &Once) {
    once.call_once(|| {
        // SAFETY: the function takes no arguments and does not unwind.
        let is_refused = unsafe { atexit(at_exit) } != 0;
        if is_refused {
            eprintln!("raddle: nothing can be done at exit: trace and memory report are lost");
        }
    });
}

/// Writes what is to be written, once, and closes what was opened since.
extern "C" fn at_exit() {
    static IS_WRITTEN: AtomicBool = AtomicBool::new(false);
    if raddle_cuda::fork::is_child() {
        return;
    }
    // A panic must not leave an exit handler.
    let done = std::panic::catch_unwind(|| {
        if !IS_WRITTEN.swap(true, Ordering::SeqCst) {
            // The trace asks the devices for times, the report for their memory.
            crate::trace::finish_at_exit();
            crate::profile::write_report();
        }
        close_if_idle();
    });
    if done.is_err() {
        eprintln!("raddle: a panic while the program ended");
    }
}

/// Closes the GPUs that nobody holds, if their work ends soon.
fn close_if_idle() {
    let devices = Device::open_gpus();
    let deadline = Instant::now() + PATIENCE;
    while !devices.iter().all(Device::is_idle) {
        if Instant::now() > deadline {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(devices);
    // Who still holds one, or what went wrong in its work, is nobody's business now.
    let _ = shutdown();
}

/// How long the end of the program waits for work under way.
const PATIENCE: Duration = Duration::from_secs(2);
