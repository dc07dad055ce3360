//! Nested structs with functional update and copies.
//! run: threads = 64

#[derive(Clone, Copy)]
struct Camera {
    position: [f32; 3],
    lens: Lens,
}

#[derive(Clone, Copy)]
struct Lens {
    focal: f32,
    shift: (f32, f32),
}

pub fn program(thread: u32) -> (f32, f32, f32) {
    let t = thread as f32;
    let base = Camera { position: [t, 2.0, 3.0], lens: Lens { focal: 35.0, shift: (0.5, t) } };
    let mut zoomed = Camera { lens: Lens { focal: 70.0 + t, ..base.lens }, ..base };
    zoomed.position[1] -= zoomed.lens.shift.1;
    let [x, y, z] = zoomed.position;
    (x * y + z, zoomed.lens.focal / base.lens.focal, base.position[1] + zoomed.lens.shift.0)
}

// expect: 3.0,2.0,2.5 4.0,2.0285714,2.5 3.0,2.057143,2.5 0.0,2.0857143,2.5 -5.0,2.1142857,2.5
// expect: -12.0,2.142857,2.5 -21.0,2.1714287,2.5 -32.0,2.2,2.5
// hash: 0x40cbd80a4bd2e479 of 64 answers
