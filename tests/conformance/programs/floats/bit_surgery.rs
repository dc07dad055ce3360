//! Scaling by powers of two through the exponent bits.
//! run: threads = 64

fn scale(x: f32, by: i32) -> f32 {
    let exponent = (x.to_bits() >> 23 & 0xff) as i32 + by;
    f32::from_bits(x.to_bits() & !(0xff << 23) | (exponent as u32) << 23)
}

pub fn program(thread: u32) -> (f32, u32, i32) {
    let x = 1.0 + thread as f32 / 64.0;
    let y = scale(x, thread as i32 - 30);
    let mantissa = y.to_bits() & 0x7f_ffff;
    (y, mantissa, (y.to_bits() >> 23) as i32 - 127)
}

// expect: 9.313226e-10,0,-30 1.891749e-9,131072,-29 3.8417056e-9,262144,-28 7.799827e-9,393216,-27
// expect: 1.5832484e-8,524288,-26 3.213063e-8,655360,-25 6.519258e-8,786432,-24
// expect: 1.322478e-7,917504,-23
// hash: 0x3efcf8a7a9aff3c5 of 64 answers
