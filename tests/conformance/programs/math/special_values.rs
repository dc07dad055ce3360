//! Mathematical functions at zeros, infinities and outside their domain.
//!
//! Only the arc tangent of infinity, half of pi, may be rounded either way.
//! run: threads = 32
//! ulp: 1

pub fn program(thread: u32) -> [f32; 8] {
    let values = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    let x = values[thread as usize % 5];
    [x.exp(), x.ln(), x.sqrt(), x.sin(), x.tanh(), x.atan(), x.log2(), x.cbrt()]
}

// expect: 1.0,-inf,0.0,0.0,0.0,0.0,-inf,0.0 1.0,-inf,-0.0,-0.0,-0.0,-0.0,-inf,-0.0
// expect: inf,inf,inf,NaN,1.0,1.5707964,inf,inf 0.0,NaN,NaN,NaN,-1.0,-1.5707964,NaN,-inf
// expect: NaN,NaN,NaN,NaN,NaN,NaN,NaN,NaN 1.0,-inf,0.0,0.0,0.0,0.0,-inf,0.0
// expect: 1.0,-inf,-0.0,-0.0,-0.0,-0.0,-inf,-0.0 inf,inf,inf,NaN,1.0,1.5707964,inf,inf
// expect: 0.0,NaN,NaN,NaN,-1.0,-1.5707964,NaN,-inf NaN,NaN,NaN,NaN,NaN,NaN,NaN,NaN
// expect: 1.0,-inf,0.0,0.0,0.0,0.0,-inf,0.0 1.0,-inf,-0.0,-0.0,-0.0,-0.0,-inf,-0.0
// expect: inf,inf,inf,NaN,1.0,1.5707964,inf,inf 0.0,NaN,NaN,NaN,-1.0,-1.5707964,NaN,-inf
// expect: NaN,NaN,NaN,NaN,NaN,NaN,NaN,NaN 1.0,-inf,0.0,0.0,0.0,0.0,-inf,0.0
// expect: 1.0,-inf,-0.0,-0.0,-0.0,-0.0,-inf,-0.0 inf,inf,inf,NaN,1.0,1.5707964,inf,inf
// expect: 0.0,NaN,NaN,NaN,-1.0,-1.5707964,NaN,-inf NaN,NaN,NaN,NaN,NaN,NaN,NaN,NaN
// expect: 1.0,-inf,0.0,0.0,0.0,0.0,-inf,0.0 1.0,-inf,-0.0,-0.0,-0.0,-0.0,-inf,-0.0
// expect: inf,inf,inf,NaN,1.0,1.5707964,inf,inf 0.0,NaN,NaN,NaN,-1.0,-1.5707964,NaN,-inf
// expect: NaN,NaN,NaN,NaN,NaN,NaN,NaN,NaN 1.0,-inf,0.0,0.0,0.0,0.0,-inf,0.0
// expect: 1.0,-inf,-0.0,-0.0,-0.0,-0.0,-inf,-0.0 inf,inf,inf,NaN,1.0,1.5707964,inf,inf
// expect: 0.0,NaN,NaN,NaN,-1.0,-1.5707964,NaN,-inf NaN,NaN,NaN,NaN,NaN,NaN,NaN,NaN
// expect: 1.0,-inf,0.0,0.0,0.0,0.0,-inf,0.0 1.0,-inf,-0.0,-0.0,-0.0,-0.0,-inf,-0.0
