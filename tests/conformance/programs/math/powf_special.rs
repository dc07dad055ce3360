//! The special cases of `powf` are exact.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, f32, f32, f32, f64) {
    let bases = [0.0f32, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -2.0];
    let base = bases[thread as usize % 8];
    let odd = (thread / 8 * 2 + 1) as f32;
    (
        base.powf(0.0),
        base.powf(odd * 64.0),
        base.powf(-odd - 128.0),
        base.powf(0.5),
        f64::from(base).powf(f64::INFINITY),
    )
}

// expect: 1.0,0.0,inf,0.0,0.0 1.0,0.0,-inf,0.0,0.0 1.0,1.0,1.0,1.0,1.0 1.0,1.0,-1.0,NaN,1.0
// expect: 1.0,inf,0.0,inf,inf 1.0,inf,-0.0,inf,inf 1.0,NaN,NaN,NaN,NaN
// expect: 1.0,1.8446744e19,-1.469368e-39,NaN,inf
// hash: 0xfd8727010f5f847f of 64 answers
