//! Payload enums and an exhaustive match.
//! run: threads = 64

enum Shape {
    Circle { radius: f32 },
    Rectangle { width: f32, height: f32 },
    Triangle(f32, f32, f32),
    Point,
}

impl Shape {
    fn area(&self) -> f32 {
        match *self {
            Shape::Circle { radius } => core::f32::consts::PI * radius * radius,
            Shape::Rectangle { width, height } => width * height,
            Shape::Triangle(a, b, c) => {
                let s = (a + b + c) / 2.0;
                (s * (s - a) * (s - b) * (s - c)).sqrt()
            }
            Shape::Point => 0.0,
        }
    }
}

pub fn program(thread: u32) -> f32 {
    let size = thread as f32 * 0.5 + 1.0;
    let shape = match thread % 4 {
        0 => Shape::Circle { radius: size },
        1 => Shape::Rectangle { width: size, height: 2.5 },
        2 => Shape::Triangle(size, size, size),
        _ => Shape::Point,
    };
    shape.area()
}

// expect: 3.1415927 3.75 1.7320508 0.0 28.274334 8.75 6.928203 0.0
// hash: 0x0a6472ac99e76bc0 of 64 answers
