//! Mathematical functions of `f64` at zeros, infinities and outside their domain.
//! run: threads = 64

pub fn program(thread: u32) -> [f64; 8] {
    let values = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    let x = values[thread as usize % 5];
    [x.exp2(), x.log10(), x.sinh(), x.cos(), x.exp_m1(), x.ln_1p(), x.asin(), x.tan()]
}

// expect: 1.0,-inf,0.0,1.0,0.0,0.0,0.0,0.0 1.0,-inf,-0.0,1.0,-0.0,-0.0,-0.0,-0.0
// expect: inf,inf,inf,NaN,inf,inf,NaN,NaN 0.0,NaN,-inf,NaN,-1.0,NaN,NaN,NaN
// expect: NaN,NaN,NaN,NaN,NaN,NaN,NaN,NaN 1.0,-inf,0.0,1.0,0.0,0.0,0.0,0.0
// expect: 1.0,-inf,-0.0,1.0,-0.0,-0.0,-0.0,-0.0 inf,inf,inf,NaN,inf,inf,NaN,NaN
// hash: 0x4fbcbea3c1c02668 of 64 answers
