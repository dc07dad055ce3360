//! `a * b + c` rounds twice; only `mul_add` rounds once.
//!
//! With `a = 1 + k/2^12` the product's last bits are lost before the subtraction,
//! so a silently fused version gives another answer.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, f32, f64, bool) {
    let a = 1.0 + (thread + 1) as f32 / 4096.0;
    let twice = a * a - 1.0;
    let once = a.mul_add(a, -1.0);
    let d = 1.0 + f64::from(thread + 1) / 134_217_728.0;
    (twice, once, d * d - 1.0, twice == once)
}

// expect: 0.00048828125,0.00048834085,1.4901161193847656e-8,0
// expect: 0.0009768009,0.0009768009,2.980232260973992e-8,1
// expect: 0.0014653206,0.0014653802,4.470348402563218e-8,0
// expect: 0.0019540787,0.0019540787,5.960464566356904e-8,1
// expect: 0.0024428368,0.0024428964,7.450580730150591e-8,0
// expect: 0.0029318333,0.0029318333,8.940696916148738e-8,1
// expect: 0.0034208298,0.0034208894,1.0430813102146885e-7,0
// expect: 0.0039100647,0.0039100647,1.1920929310349493e-7,1
// hash: 0xf8afb8b7b436ddae of 64 answers
