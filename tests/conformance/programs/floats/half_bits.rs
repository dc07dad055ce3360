//! Conversion to and from half precision by hand, with subnormals.
//! run: threads = 64

fn to_half(x: f32) -> u16 {
    let bits = x.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude >= 0x4780_0000 {
        return sign | 0x7c00;
    }
    if magnitude < 0x3880_0000 {
        let rounded = (f32::from_bits(magnitude) * 2f32.powi(24)).round_ties_even();
        return sign | rounded as u16;
    }
    let odd = magnitude >> 13 & 1;
    sign | ((magnitude + 0xfff + odd - 0x3800_0000) >> 13) as u16
}

fn from_half(half: u16) -> f32 {
    let (exponent, mantissa) = (i32::from(half >> 10 & 31), f32::from(half & 0x3ff));
    let value = match exponent {
        0 => mantissa * 2f32.powi(-24),
        31 => f32::INFINITY,
        _ => (1024.0 + mantissa) * 2f32.powi(exponent - 25),
    };
    if half >> 15 == 1 { -value } else { value }
}

pub fn program(thread: u32) -> (u16, f32, f32) {
    let x = (thread as f32 - 20.3) * 2f32.powi(thread as i32 - 35);
    let half = to_half(x);
    (half, from_half(half), x)
}

// expect: 32768,-0.0,-5.9080774e-10 32768,-0.0,-1.1234078e-9 32768,-0.0,-2.1304003e-9
// expect: 32768,-0.0,-4.02797e-9 32768,-0.0,-7.590279e-9 32768,-0.0,-1.4249235e-8
// expect: 32768,-0.0,-2.6635824e-8 32769,-5.9604645e-8,-4.9546358e-8
// hash: 0x90eab653aee6fdac of 64 answers
