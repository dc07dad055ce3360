//! Conditional moves of floats pick the same operand everywhere.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, f32, f32) {
    let x = thread as f32 * 0.37 - 11.0;
    let relu = if x > 0.0 { x } else { 0.0 };
    let leaky = if x >= 0.0 { x } else { x * 0.01 };
    let hard = ((x + 3.0) / 6.0).clamp(0.0, 1.0);
    (relu, leaky, x * hard)
}

// expect: 0.0,-0.11,-0.0 0.0,-0.1063,-0.0 0.0,-0.1026,-0.0 0.0,-0.0989,-0.0 0.0,-0.0952,-0.0
// expect: 0.0,-0.09149999,-0.0 0.0,-0.087799996,-0.0 0.0,-0.08409999,-0.0
// hash: 0x2f33432269886e21 of 64 answers
