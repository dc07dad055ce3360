//! A trait with an associated type and a constant.
//! run: threads = 64

trait Quantity {
    type Value: Copy + Into<f64>;
    const SCALE: f64;
    fn value(&self) -> Self::Value;
    fn scaled(&self) -> f64 {
        self.value().into() * Self::SCALE
    }
}

struct Metres(f32);
struct Grams(u32);

impl Quantity for Metres {
    type Value = f32;
    const SCALE: f64 = 100.0;
    fn value(&self) -> f32 {
        self.0
    }
}

impl Quantity for Grams {
    type Value = u32;
    const SCALE: f64 = 0.001;
    fn value(&self) -> u32 {
        self.0
    }
    fn scaled(&self) -> f64 {
        f64::from(self.value()) * Self::SCALE + 1.0
    }
}

fn total<A: Quantity, B: Quantity<Value = u32>>(a: &A, b: &B) -> (f64, u32) {
    (a.scaled() + b.scaled(), b.value() + 1)
}

pub fn program(thread: u32) -> (f64, u32) {
    total(&Metres(thread as f32 * 0.25), &Grams(thread * 125))
}

// expect: 1.0,1 26.125,126 51.25,251 76.375,376 101.5,501 126.625,626 151.75,751 176.875,876
// hash: 0xc991e9778e6790c9 of 64 answers
