//! An 8-point Fourier transform; an impulse has a flat spectrum.
//! run: threads = 64

type Complex = (f32, f32);

fn butterfly(a: Complex, b: Complex, (c, s): Complex) -> (Complex, Complex) {
    let t = (b.0 * c - b.1 * s, b.0 * s + b.1 * c);
    ((a.0 + t.0, a.1 + t.1), (a.0 - t.0, a.1 - t.1))
}

fn fft(input: [f32; 8]) -> [Complex; 8] {
    const H: f32 = core::f32::consts::FRAC_1_SQRT_2;
    const TWIDDLES: [Complex; 4] = [(1.0, 0.0), (H, -H), (0.0, -1.0), (-H, -H)];
    let mut x: [Complex; 8] =
        core::array::from_fn(|i| (input[(i as u8).reverse_bits() as usize >> 5], 0.0));
    let mut half = 1;
    while half < 8 {
        for start in (0..8).step_by(2 * half) {
            for k in 0..half {
                let (a, b) = butterfly(x[start + k], x[start + k + half], TWIDDLES[k * (4 / half)]);
                x[start + k] = a;
                x[start + k + half] = b;
            }
        }
        half *= 2;
    }
    x
}

pub fn program(thread: u32) -> (f32, f32, f32, bool) {
    let spectrum = fft(core::array::from_fn(|i| ((thread as usize * (i + 1)) % 13) as f32));
    let impulse = fft([thread as f32, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let bin = spectrum[thread as usize % 8];
    (bin.0, bin.1, spectrum[0].0, impulse.iter().all(|z| *z == (thread as f32, 0.0)))
}

// expect: 0.0,0.0,0.0,1 -4.0,9.656855,36.0,1 5.0,-5.0,46.0,1 1.0,-0.41421354,56.0,1
// expect: -3.0,0.0,53.0,1 -7.0,15.485281,50.0,1 2.0,2.0,60.0,1 -2.0,-4.8284273,44.0,1
// hash: 0x58958d12e8b9aeb4 of 64 answers
