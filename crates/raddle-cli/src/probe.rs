//! The kernel that decides whether a GPU is usable: a sum over a block whose
//! result is known.

use raddle::prelude::*;

use crate::kernels;

/// Why a device failed the probe.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The runtime refused or failed.
    #[error(transparent)]
    Runtime(#[from] raddle::Error),
    /// The kernel ran and gave a wrong result: hardware or driver are broken.
    #[error("expected {expected}, found {found}")]
    Wrong {
        /// The sum.
        expected: u32,
        /// What the device computed.
        found: u32,
    },
}

/// Runs the probe on a device.
///
/// ## Errors
///
/// See [`ProbeError`].
pub fn run(device: &Device) -> Result<(), ProbeError> {
    let values: Vec<u32> = (1..=1000).collect();
    let expected = values.iter().sum();
    let stream = device.stream()?;
    let input = stream.upload(&values)?;
    let mut sum = stream.zeros::<u32>(1)?;
    stream.launch(Grid::new(1, 128), kernels::probe(&input, sum.chunks_mut(1)))?;
    let found = sum.to_vec()?[0];
    if found == expected { Ok(()) } else { Err(ProbeError::Wrong { expected, found }) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_cpu_device_passes() {
        super::run(&raddle::Device::cpu()).unwrap();
    }
}
