//! Rounding functions on halves, negatives and large numbers.
//! run: threads = 64

pub fn program(thread: u32) -> [f32; 6] {
    let x = (thread as f32 - 32.0) * 0.5 + if thread % 5 == 0 { 0.49999997 } else { 0.0 };
    [x.floor(), x.ceil(), x.round(), x.trunc(), x.fract(), x.round_ties_even()]
}

// expect: -16.0,-15.0,-16.0,-15.0,-0.5,-16.0 -16.0,-15.0,-16.0,-15.0,-0.5,-16.0
// expect: -15.0,-15.0,-15.0,-15.0,0.0,-15.0 -15.0,-14.0,-15.0,-14.0,-0.5,-14.0
// expect: -14.0,-14.0,-14.0,-14.0,0.0,-14.0 -13.0,-13.0,-13.0,-13.0,0.0,-13.0
// expect: -13.0,-13.0,-13.0,-13.0,0.0,-13.0 -13.0,-12.0,-13.0,-12.0,-0.5,-12.0
// hash: 0x228ce37f4541f832 of 64 answers
