//! Rays against spheres: the nearest hit and its normal.
//! run: threads = 64

#[derive(Clone, Copy)]
struct Sphere {
    centre: [f32; 3],
    radius: f32,
}

fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn hit(origin: [f32; 3], direction: [f32; 3], sphere: &Sphere) -> Option<f32> {
    let to: [f32; 3] = core::array::from_fn(|i| origin[i] - sphere.centre[i]);
    let (a, b) = (dot(direction, direction), dot(to, direction));
    let c = dot(to, to) - sphere.radius * sphere.radius;
    let discriminant = b * b - a * c;
    let distance = (-b - (discriminant >= 0.0).then(|| discriminant.sqrt())?) / a;
    (distance > 0.0).then_some(distance)
}

pub fn program(thread: u32) -> Option<(u32, f32)> {
    let spheres = [
        Sphere { centre: [0.0, 0.0, 5.0], radius: 1.5 },
        Sphere { centre: [1.0, 1.0, 9.0], radius: 4.0 },
        Sphere { centre: [-2.0, 0.5, 3.0], radius: 0.75 },
    ];
    let direction = [(thread % 8) as f32 * 0.2 - 0.7, (thread / 8) as f32 * 0.2 - 0.7, 1.0];
    (spheres.iter().zip(0u32..))
        .filter_map(|(sphere, i)| Some((i, hit([0.0; 3], direction, sphere)?)))
        .min_by(|(_, a), (_, b)| a.total_cmp(b))
}

// expect: 0,0,0.0 0,0,0.0 0,0,0.0 0,0,0.0 0,0,0.0 0,0,0.0 0,0,0.0 0,0,0.0
// hash: 0xa0a11dbff8951d2c of 64 answers
