//! Rounding functions of `f64`, with results whose sign of zero counts.
//! run: threads = 64

pub fn program(thread: u32) -> [f64; 6] {
    let x = (f64::from(thread) - 20.0) / 4.0 * if thread > 50 { 1e15 + 0.5 } else { 1.0 };
    [x.floor(), x.ceil(), x.round(), x.trunc(), x.fract(), x.round_ties_even()]
}

// expect: -5.0,-5.0,-5.0,-5.0,0.0,-5.0 -5.0,-4.0,-5.0,-4.0,-0.75,-5.0
// expect: -5.0,-4.0,-5.0,-4.0,-0.5,-4.0 -5.0,-4.0,-4.0,-4.0,-0.25,-4.0
// expect: -4.0,-4.0,-4.0,-4.0,0.0,-4.0 -4.0,-3.0,-4.0,-3.0,-0.75,-4.0
// expect: -4.0,-3.0,-4.0,-3.0,-0.5,-4.0 -4.0,-3.0,-3.0,-3.0,-0.25,-3.0
// hash: 0x360564c9e1c05dd9 of 64 answers
