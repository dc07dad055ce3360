//! Host time of first launches, with all that loading the kernels takes: of kernels with
//! `wgmma`, which the cache of machine code cannot hold, and of others.
//!
//! `cargo run --release -p raddle-tensor-tests --example first_launch`, as a new process
//! each time: the first run on a machine shows what assembling costs, the others what
//! the caches leave of it. Built with `RADDLE_CUBINS` there is nothing to assemble. One
//! JSON line for each kernel, in the order of their launches.

use std::error::Error;
use std::time::Instant;

use raddle::device::float::f16;
use raddle::{Device, Grid, Stream};
use raddle_tensor_tests::kernels::copies::hinted_narrow;
use raddle_tensor_tests::kernels::warpgroups::{n16, n64, n256};

fn main() -> Result<(), Box<dyn Error>> {
    let device = match Device::cuda(0) {
        Ok(device) => device,
        Err(reason) => {
            println!("skipped: {reason}");
            return Ok(());
        }
    };
    let stream = device.stream()?;
    let (bytes, halves) = (stream.zeros::<u8>(64)?, stream.zeros::<u16>(64)?);
    let (words, mut sums) = (stream.zeros::<u64>(64)?, stream.zeros::<u64>(64)?);
    measure(&stream, "hinted_narrow", || {
        let call = hinted_narrow(&bytes, &halves, &words, &mut sums);
        Ok(stream.launch(Grid::new(1, 64), call).map(drop)?)
    })?;
    let (a, b) = (stream.zeros::<f16>(64 * 32)?, stream.zeros::<f16>(256 * 32)?);
    let grid = Grid::new(1, 128);
    let mut narrow = stream.filled(128, [0f32; 8])?;
    measure(&stream, "n16, wgmma", || {
        Ok(stream.launch(grid, n16(&a, &b, &mut narrow)).map(drop)?)
    })?;
    let mut middle = stream.filled(128, [0f32; 32])?;
    measure(&stream, "n64, wgmma", || {
        Ok(stream.launch(grid, n64(&a, &b, &mut middle)).map(drop)?)
    })?;
    let mut wide = stream.filled(128, [0f32; 128])?;
    measure(&stream, "n256, wgmma", || {
        Ok(stream.launch(grid, n256(&a, &b, &mut wide)).map(drop)?)
    })
}

/// Prints how long one call takes on the host, with nothing else under way.
fn measure(
    stream: &Stream,
    kernel: &str,
    launch: impl FnOnce() -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    stream.synchronize()?;
    let start = Instant::now();
    launch()?;
    let us = start.elapsed().as_secs_f64() * 1e6;
    stream.synchronize()?;
    println!("{{\"figure\":\"first launch\",\"kernel\":\"{kernel}\",\"us\":{us:.0}}}");
    Ok(())
}
