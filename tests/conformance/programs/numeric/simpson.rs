//! Simpson's rule integrates cubics without error of method.
//! run: threads = 64

fn integrate(f: impl Fn(f64) -> f64, from: f64, to: f64, parts: u32) -> f64 {
    let h = (to - from) / f64::from(parts);
    let inner: f64 =
        (1..parts).map(|i| f(from + h * f64::from(i)) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
    (f(from) + inner + f(to)) * h / 3.0
}

pub fn program(thread: u32) -> (f64, f64) {
    let top = f64::from(thread) * 0.5;
    (integrate(|x| x * x * x, 0.0, top, 8), integrate(|x| 1.0 / (1.0 + x * x), 0.0, top, 64))
}

// expect: 0.0,0.0 0.015625,0.46364760907710334 0.25,0.7853981633973038 1.265625,0.9827937225710212
// expect: 4.0,1.1071487165735958 9.765625,1.190289948208316 20.25,1.2490457708540896
// expect: 37.515625,1.2924966662671729
// hash: 0x5d93f6f6936a00f6 of 64 answers
