//! `glam` in a kernel: cameras, rotations and matrices, as games write them.
//!
//! Each thread turns a point about its own axis, looks at it through a camera and
//! finds its pixel. The crate is the one from the registry, unchanged, without its
//! SSE types (feature `scalar-math`), which are x86 instructions.
//!
//! ```text
//! cargo run --release -p raddle-examples --bin crate_glam
//! ```

use std::process::ExitCode;

use glam::{Mat4, Vec3};
use raddle::prelude::*;
use raddle_examples::{Outcome, Sizes, expect_equal, median_ms, on_best_device, print_rate};

mod kernels {
    use glam::{Mat4, Quat, Vec2, Vec3};
    use raddle::prelude::*;

    /// Where the camera sees point `i` at a time, or `None` if it lies outside of
    /// the picture.
    pub fn pixel(camera: &Mat4, point: Vec3, seconds: f32) -> Option<Vec2> {
        let axis = point.any_orthonormal_vector();
        let turn = Quat::IDENTITY.slerp(Quat::from_axis_angle(axis, 2.0), seconds.fract());
        let clip = *camera * (turn * point).extend(1.0);
        let seen = clip.truncate() / clip.w;
        let is_visible = clip.w > 0.0 && seen.abs().cmple(Vec3::ONE).all();
        is_visible.then(|| (seen.truncate() * 0.5 + 0.5) * Vec2::new(1920.0, 1080.0))
    }

    /// Pixels of all points; those outside of the picture are at (-1, -1).
    #[kernel]
    pub fn project(
        camera: [f32; 16],
        seconds: f32,
        points: &[[f32; 3]],
        mut pixels: PerThread<[f32; 2]>,
    ) {
        let camera = Mat4::from_cols_array(&camera);
        for (i, out) in pixels.iter_mut() {
            let pixel = pixel(&camera, Vec3::from_array(points[i]), seconds);
            *out = pixel.unwrap_or(Vec2::NEG_ONE).to_array();
        }
    }
}

fn main() -> ExitCode {
    on_best_device(Sizes { gpu: 1 << 22, cpu: 1 << 16 }, run)
}

fn run(device: &Device, n: usize) -> Outcome {
    let stream = device.stream()?;
    let lens = Mat4::perspective_rh(1.0, 16.0 / 9.0, 0.1, 100.0);
    let camera = lens * Mat4::look_at_rh(Vec3::new(4.0, 3.0, 2.0), Vec3::ZERO, Vec3::Z);
    let on_spiral = |i: usize| {
        let t = (i + 1) as f32 / n as f32;
        [3.0 * t * (40.0 * t).cos(), 3.0 * t * (40.0 * t).sin(), 2.0 * t - 1.0]
    };
    let points: Vec<[f32; 3]> = (0..n).map(on_spiral).collect();
    let points_device = stream.upload(&points)?;
    let mut pixels = stream.zeros::<[f32; 2]>(n)?;
    let seconds = 0.25;
    let ms = median_ms(&stream, || {
        let camera = camera.to_cols_array();
        let call = kernels::project(camera, seconds, &points_device, &mut pixels);
        stream.launch(Grid::cover(n, 256), call)?;
        Ok(())
    })?;
    let expected: Vec<Option<[f32; 2]>> = points
        .iter()
        .map(|&point| kernels::pixel(&camera, point.into(), seconds).map(Into::into))
        .collect();
    let found: Vec<Option<[f32; 2]>> =
        pixels.to_vec()?.into_iter().map(|p| (p != [-1.0; 2]).then_some(p)).collect();
    expect_equal("pixels", &found, &expected)?;
    println!("{} of {n} points are in the picture", found.iter().flatten().count());
    print_rate("project", ms, n as f64 / (ms * 1e3), "million/s");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn pixels_are_the_hosts() {
        raddle_examples::on_every_device(&[1, 5000], super::run);
    }
}
