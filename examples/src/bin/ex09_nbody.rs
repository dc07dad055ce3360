//! 09: gravity between bodies, with a crate from the registry inside the kernel.
//!
//! Every body pulls every other. A block fetches the bodies tile by tile into
//! shared memory, and each of its threads adds up the pull on one body. Vectors
//! are `glam`'s, as on the host. Where bodies begin comes from a counter-based
//! generator: a number is a function of body and axis, so that threads need no
//! state and the host finds the same ones.
//!
//! ```text
//! cargo run --release -p raddle-examples --bin ex09_nbody
//! ```

use std::process::ExitCode;

use glam::Vec3;
use kernels::Body;
use raddle::prelude::*;
use raddle_examples::{
    Outcome, Sizes, expect_equal, gflop_per_s, median_ms, on_best_device, print_rate,
};

mod kernels {
    use glam::Vec3;
    use raddle::prelude::*;

    /// A body as it lies in memory: aligned so that it moves in two pieces.
    #[repr(C, align(16))]
    #[derive(Clone, Copy, Debug, PartialEq, DeviceType, Zeroable)]
    pub struct Body {
        pub position: [f32; 3],
        pub mass: f32,
        pub velocity: [f32; 3],
        pub reserved: f32,
    }

    /// Bodies that a block fetches at once.
    pub const TILE: usize = 256;

    /// Distance below which the pull no longer grows, squared.
    const SOFTENING: f32 = 1e-3;

    /// A number in [-1, 1): the `counter`th of a sequence (Widynski's "squares",
    /// three rounds of squaring and turning, keyed).
    pub fn random(counter: u64) -> f32 {
        const KEY: u64 = 0x548c_9dec_bce6_5297;
        let y = counter.wrapping_mul(KEY);
        let z = y.wrapping_add(KEY);
        let turn = |x: u64, add: u64| x.wrapping_mul(x).wrapping_add(add).rotate_left(32);
        let bits = turn(turn(turn(y, y), z), y);
        (bits >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// Body `i` of a rotating cloud of `n`.
    pub fn first(i: usize, n: usize) -> Body {
        let position = Vec3::from_array([0, 1, 2].map(|axis| random(3 * i as u64 + axis)));
        let velocity = 0.5 * Vec3::Z.cross(position);
        let (position, velocity) = (position.to_array(), velocity.to_array());
        Body { position, mass: 1.0 / n as f32, velocity, reserved: 0.0 }
    }

    /// The pull of `other` on a body at `position`.
    #[inline]
    pub fn pull(position: Vec3, other: Vec3, mass: f32) -> Vec3 {
        let away = other - position;
        let square = away.length_squared() + SOFTENING;
        let inverse = 1.0 / square.sqrt();
        away * (mass * inverse * inverse * inverse)
    }

    /// The body after a step of time.
    pub fn moved(body: Body, acceleration: Vec3, seconds: f32) -> Body {
        let velocity = Vec3::from_array(body.velocity) + acceleration * seconds;
        let position = Vec3::from_array(body.position) + velocity * seconds;
        Body { position: position.to_array(), velocity: velocity.to_array(), ..body }
    }

    #[kernel]
    pub fn begin(mut bodies: PerThread<Body>) {
        let n = bodies.len();
        for (i, body) in bodies.iter_mut() {
            *body = first(i, n);
        }
    }

    #[kernel(block = TILE as u32)]
    pub fn step(bodies: &[Body], seconds: f32, mut next: PerThread<Body>) {
        let mut tile = shared!([F32x4; TILE]);
        // Threads past the end help to fetch, and their result goes nowhere.
        let own = bodies.get(global_x()).copied().unwrap_or(bodies[0]);
        let position = Vec3::from_array(own.position);
        let mut acceleration = Vec3::ZERO;
        for start in (0..bodies.len()).step_by(TILE) {
            // A whole tile always, so that the loop over it has a known length:
            // past the end there is nothing, which weighs nothing.
            let tile = tile.fill(|i| match bodies.get(start + i) {
                Some(Body { position: [x, y, z], mass, .. }) => F32x4::new([*x, *y, *z, *mass]),
                None => F32x4::splat(0.0),
            });
            for other in tile {
                let [x, y, z, mass] = other.to_array();
                acceleration += pull(position, Vec3::new(x, y, z), mass);
            }
        }
        if let Some((_, next)) = next.mine() {
            *next = moved(own, acceleration, seconds);
        }
    }
}

fn main() -> ExitCode {
    on_best_device(Sizes { gpu: 64 * 1024, cpu: 1024 }, run)
}

fn run(device: &Device, n: usize) -> Outcome {
    let stream = device.stream()?;
    let grid = Grid::cover(n, kernels::TILE as u32);
    let mut now = stream.zeros::<Body>(n)?;
    let mut next = stream.zeros::<Body>(n)?;
    stream.launch(grid, kernels::begin(&mut now))?;
    let first: Vec<Body> = (0..n).map(|i| kernels::first(i, n)).collect();
    expect_equal("first bodies", &now.to_vec()?, &first)?;

    let seconds = 0.01;
    stream.launch(grid, kernels::step(&now, seconds, &mut next))?;
    // The host takes as long for a few bodies as the GPU for all.
    let checked = n.min(2000);
    let expected: Vec<Body> = first[..checked]
        .iter()
        .map(|&body| {
            let position = Vec3::from_array(body.position);
            let pulls = first.iter().map(|b| kernels::pull(position, b.position.into(), b.mass));
            kernels::moved(body, pulls.fold(Vec3::ZERO, |sum, pull| sum + pull), seconds)
        })
        .collect();
    expect_equal("moved bodies", &next.slice(..checked)?.to_vec()?, &expected)?;

    let ms = median_ms(&stream, || {
        stream.launch(grid, kernels::step(&now, seconds, &mut next))?;
        std::mem::swap(&mut now, &mut next);
        Ok(())
    })?;
    // The customary count: twenty operations for each pair.
    print_rate("step", ms, gflop_per_s(20.0 * (n as f64).powi(2), ms), "GFLOP/s");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn bodies_move_as_a_plain_loop_says() {
        raddle_examples::on_every_device(&[1, 300], super::run);
    }
}
