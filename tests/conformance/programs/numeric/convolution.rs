//! A 3x3 convolution with clamped edges over an image in global memory.
//! run: threads = 64
//! input: f32 x 64

pub fn program(thread: u32, input: &[f32]) -> (f32, f32) {
    const KERNEL: [[f32; 3]; 3] = [[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]];
    let (row, column) = (thread as i32 / 8, thread as i32 % 8);
    let pixel = |r: i32, c: i32| input[(r.clamp(0, 7) * 8 + c.clamp(0, 7)) as usize];
    let mut sum = 0.0;
    for (dr, weights) in (-1..).zip(KERNEL) {
        for (dc, weight) in (-1..).zip(weights) {
            sum += weight * pixel(row + dr, column + dc);
        }
    }
    let edge = pixel(row, column + 1) - pixel(row, column - 1);
    (sum / 16.0, edge)
}

// expect: 2.9333344,-7.2285156 -0.1355133,-13.709961 -1.1282959,8.629639 0.6659851,1.2785645
// expect: -1.1033325,-10.296875 -2.8530273,1.0803223 -1.1701813,7.107666 1.7291412,9.562988
// hash: 0xde0c09041c875da9 of 64 answers
