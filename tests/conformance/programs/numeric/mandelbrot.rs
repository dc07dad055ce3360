//! Escape times of the Mandelbrot set.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, f32) {
    let (cx, cy) = (-2.0 + (thread % 8) as f32 * 0.35, -1.1 + (thread / 8) as f32 * 0.3);
    let (mut x, mut y, mut steps) = (0.0f32, 0.0f32, 0);
    while x * x + y * y <= 4.0 && steps < 100 {
        (x, y) = (x * x - y * y + cx, 2.0 * x * y + cy);
        steps += 1;
    }
    (steps, x)
}

// expect: 1,-2.0 2,-0.13750017 3,-3.7251992 3,-0.34879422 3,1.4541003 5,2.04554 4,-2.967447
// expect: 2,-0.5574999
// hash: 0xb1df30d31385eb40 of 64 answers
