//! Minimum, maximum and clamp ignore NaN on one side.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, f32, f32, f64, f64) {
    let x = if thread % 7 == 0 { f32::NAN } else { thread as f32 - 30.0 };
    let d = f64::from(x);
    (x.min(5.0), 5f32.max(x), (thread as f32).clamp(10.5, 40.25), d.min(-1.0), d.max(d + 1.0))
}

// expect: 5.0,5.0,10.5,-1.0,NaN -29.0,5.0,10.5,-29.0,-28.0 -28.0,5.0,10.5,-28.0,-27.0
// expect: -27.0,5.0,10.5,-27.0,-26.0 -26.0,5.0,10.5,-26.0,-25.0 -25.0,5.0,10.5,-25.0,-24.0
// expect: -24.0,5.0,10.5,-24.0,-23.0 5.0,5.0,10.5,-1.0,NaN
// hash: 0xf58cfc88bac6fe42 of 64 answers
