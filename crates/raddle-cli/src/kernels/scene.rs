//! The scene of the demo: a knot of a torus and three balls over a chequered
//! floor, drawn by marching rays through distance fields.
//!
//! Plain Rust without a word of device code: traits, enums with payload,
//! closures and operators compile for the GPU as they are.

use core::ops::{Add, Mul, Sub};

/// A point, a direction, or a colour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vec3 {
    pub x: f32,
    pub y: f32,
    pub z: f32,
}

const fn vec3(x: f32, y: f32, z: f32) -> Vec3 {
    Vec3 { x, y, z }
}

impl Add for Vec3 {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        vec3(self.x + other.x, self.y + other.y, self.z + other.z)
    }
}

impl Sub for Vec3 {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        vec3(self.x - other.x, self.y - other.y, self.z - other.z)
    }
}

impl Mul<f32> for Vec3 {
    type Output = Self;
    fn mul(self, factor: f32) -> Self {
        vec3(self.x * factor, self.y * factor, self.z * factor)
    }
}

/// Part by part, as light meets a surface's colour.
impl Mul for Vec3 {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        vec3(self.x * other.x, self.y * other.y, self.z * other.z)
    }
}

impl Vec3 {
    fn dot(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    fn length(self) -> f32 {
        self.dot(self).sqrt()
    }

    fn unit(self) -> Self {
        self * (1.0 / self.length())
    }

    fn mix(self, other: Self, share: f32) -> Self {
        self * (1.0 - share) + other * share
    }
}

/// A body: how far a point is from it, negative inside.
trait Body {
    fn distance(&self, point: Vec3) -> f32;
    fn surface(&self) -> Surface;
}

/// How a body looks.
#[derive(Clone, Copy)]
enum Surface {
    /// One colour.
    Matte(Vec3),
    /// One colour, and a share of what is reflected.
    Polished { colour: Vec3, reflects: f32 },
    /// Two colours in squares of this size.
    Chequered { dark: Vec3, light: Vec3, size: f32 },
}

struct Ball {
    centre: Vec3,
    radius: f32,
    surface: Surface,
}

impl Body for Ball {
    fn distance(&self, point: Vec3) -> f32 {
        (point - self.centre).length() - self.radius
    }

    fn surface(&self) -> Surface {
        self.surface
    }
}

/// A tube that winds around a ring.
struct Knot;

impl Body for Knot {
    fn distance(&self, point: Vec3) -> f32 {
        let point = point - vec3(0.0, 1.05, 0.0);
        let around = point.z.atan2(point.x);
        let (ring, height) = ((point.x * point.x + point.z * point.z).sqrt() - 0.85, point.y);
        // Two strands opposite each other, twisted three halves of a turn.
        let (sin, cos) = (1.5 * around).sin_cos();
        let (a, b) = (cos * ring + sin * height, cos * height - sin * ring);
        let a = a.abs() - 0.25;
        0.6 * ((a * a + b * b).sqrt() - 0.16)
    }

    fn surface(&self) -> Surface {
        Surface::Polished { colour: vec3(0.85, 0.32, 0.12), reflects: 0.25 }
    }
}

struct Floor;

impl Body for Floor {
    fn distance(&self, point: Vec3) -> f32 {
        point.y
    }

    fn surface(&self) -> Surface {
        let (dark, light) = (vec3(0.08, 0.09, 0.11), vec3(0.75, 0.72, 0.66));
        Surface::Chequered { dark, light, size: 0.8 }
    }
}

const BALLS: [Ball; 3] = [
    Ball {
        centre: vec3(-2.1, 0.55, 0.9),
        radius: 0.55,
        surface: Surface::Matte(vec3(0.15, 0.35, 0.75)),
    },
    Ball {
        centre: vec3(2.0, 0.7, 0.6),
        radius: 0.7,
        surface: Surface::Polished { colour: vec3(0.9, 0.9, 0.92), reflects: 0.7 },
    },
    Ball {
        centre: vec3(0.9, 0.3, -1.7),
        radius: 0.3,
        surface: Surface::Matte(vec3(0.2, 0.6, 0.25)),
    },
];

const SUN: Vec3 = vec3(0.55, 0.72, -0.42);
const EYE: Vec3 = vec3(0.0, 1.9, -5.2);
const FAR: f32 = 30.0;

/// Distance to the nearest body.
fn distance(point: Vec3) -> f32 {
    let others = Floor.distance(point).min(Knot.distance(point));
    BALLS.iter().map(|ball| ball.distance(point)).fold(others, f32::min)
}

/// How the nearest body looks.
fn surface(point: Vec3) -> Surface {
    fn closer(best: (f32, Surface), body: &impl Body, point: Vec3) -> (f32, Surface) {
        let distance = body.distance(point);
        if distance < best.0 { (distance, body.surface()) } else { best }
    }
    let floor = (Floor.distance(point), Floor.surface());
    let knot = closer(floor, &Knot, point);
    BALLS.iter().fold(knot, |best, ball| closer(best, ball, point)).1
}

/// Where a ray first meets a body, as a distance along it.
fn march(from: Vec3, towards: Vec3) -> Option<f32> {
    let mut along = 0.01;
    for _ in 0..128 {
        let step = distance(from + towards * along);
        if step < 0.0005 * along {
            return Some(along);
        }
        along += step;
        if along > FAR {
            return None;
        }
    }
    None
}

/// The direction away from the body at a point on it.
fn normal(point: Vec3) -> Vec3 {
    const STEP: f32 = 0.001;
    let slope = |offset: Vec3| distance(point + offset) - distance(point - offset);
    vec3(slope(vec3(STEP, 0.0, 0.0)), slope(vec3(0.0, STEP, 0.0)), slope(vec3(0.0, 0.0, STEP)))
        .unit()
}

/// How much of the sun reaches a point: less the closer a body is to the ray.
fn sunlight(point: Vec3) -> f32 {
    let (mut light, mut along) = (1.0_f32, 0.02);
    for _ in 0..48 {
        let step = distance(point + SUN * along);
        if step < 0.0005 {
            return 0.0;
        }
        light = light.min(12.0 * step / along);
        along += step.max(0.02);
        if along > 8.0 {
            break;
        }
    }
    light
}

/// How open the surroundings of a point are to the sky.
fn openness(point: Vec3, normal: Vec3) -> f32 {
    let closed = (1..=5).map(|k| 0.12 * k as f32).fold(0.0, |sum, height| {
        sum + (height - distance(point + normal * height)) * 0.5 / (1.0 + 4.0 * height)
    });
    (1.0 - 2.2 * closed).clamp(0.0, 1.0)
}

fn sky(towards: Vec3) -> Vec3 {
    let height = towards.y.max(0.0);
    let blue = vec3(0.80, 0.86, 0.95).mix(vec3(0.16, 0.34, 0.70), height.sqrt());
    let glow = towards.dot(SUN).max(0.0).powf(256.0);
    blue + vec3(1.0, 0.85, 0.6) * glow
}

/// Light that a body at `point` sends back towards the eye, and the share of it
/// that is a reflection.
fn shade(point: Vec3, normal: Vec3, surface: Surface) -> (Vec3, f32) {
    let (colour, reflects) = match surface {
        Surface::Matte(colour) => (colour, 0.0),
        Surface::Polished { colour, reflects } => (colour, reflects),
        Surface::Chequered { dark, light, size } => {
            let square = |at: f32| (at / size).floor() as i32;
            let is_dark = (square(point.x) + square(point.z)).rem_euclid(2) == 0;
            (if is_dark { dark } else { light }, 0.12)
        }
    };
    let sun = normal.dot(SUN).max(0.0);
    let sun = if sun > 0.0 { sun * sunlight(point + normal * 0.002) } else { 0.0 };
    let above = 0.5 + 0.5 * normal.y;
    let light =
        vec3(1.35, 1.20, 0.95) * sun + vec3(0.24, 0.32, 0.45) * (above * openness(point, normal));
    (colour * light, reflects)
}

/// The colour seen from the eye through the point `(u, v)` of the picture.
pub fn colour(u: f32, v: f32) -> Vec3 {
    let forward = (vec3(0.0, 0.85, 0.0) - EYE).unit();
    let right = vec3(1.0, 0.0, 0.0);
    let up = vec3(0.0, forward.z, -forward.y);
    let mut towards = (forward * 2.0 + right * u + up * v).unit();
    let (mut from, mut sum, mut weight) = (EYE, vec3(0.0, 0.0, 0.0), 1.0);
    for _ in 0..3 {
        let Some(along) = march(from, towards) else {
            sum = sum + sky(towards) * weight;
            break;
        };
        let point = from + towards * along;
        let normal = normal(point);
        let (light, reflects) = shade(point, normal, surface(point));
        // Far bodies fade into the horizon.
        let haze = 1.0 - (-0.0025 * along * along).exp();
        let light = light.mix(sky(vec3(towards.x, 0.0, towards.z)), haze);
        sum = sum + light * (weight * (1.0 - reflects));
        weight *= reflects;
        if weight < 0.02 {
            break;
        }
        towards = (towards - normal * (2.0 * towards.dot(normal))).unit();
        from = point + normal * 0.004;
    }
    sum
}
