//! Running an example as a program and as a test.

use std::io::Write as _;
use std::process::ExitCode;

use raddle::Device;

use crate::compare::Outcome;

/// How large a problem is worth running: a GPU wants enough work to be busy, the
/// CPU device simulates each thread.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// On a GPU.
    pub gpu: usize,
    /// On the CPU.
    pub cpu: usize,
}

/// The body of an example's `main`: runs it on the best device there is, and fails
/// with a message if a result is wrong.
pub fn on_best_device(sizes: Sizes, run: impl FnOnce(&Device, usize) -> Outcome) -> ExitCode {
    let outcome = Device::best().map_err(Into::into).and_then(|device| {
        println!("{device}");
        run(&device, if device.is_gpu() { sizes.gpu } else { sizes.cpu })
    });
    match outcome {
        Ok(()) => {
            println!("every result is right");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The body of an example's test: runs it on the CPU, and on a GPU if there is one,
/// with each of the sizes.
///
/// # Panics
///
/// If a result is wrong.
pub fn on_every_device(sizes: &[usize], run: impl Fn(&Device, usize) -> Outcome) {
    let devices = Device::list();
    if !devices.iter().any(Device::is_gpu) {
        // Written past the test harness, which would keep it to itself.
        let _ = writeln!(std::io::stderr(), "skipped on the GPU: there is none");
    }
    for device in devices {
        for &size in sizes {
            if let Err(failure) = run(&device, size) {
                panic!("{device}, size {size}: {failure}");
            }
        }
    }
}
