//! Error-free sums and products: value and rounding error together are exact.
//! run: threads = 64

fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

fn two_product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    (product, a.mul_add(b, -product))
}

pub fn program(thread: u32) -> (f64, f64, f64, f64) {
    let a = 1.0 + f64::from(thread) * 1e-10;
    let (sum, error) = two_sum(a * 1e8, 0.1);
    let (product, rest) = two_product(a, a + 0.3);
    (sum, error, product, rest)
}

// expect: 100000000.1,5.960464483090178e-9,1.3,0.0
// expect: 100000000.11,5.960464483090178e-9,1.30000000023,1.0000006095699954e-20
// expect: 100000000.11999999,5.960464483090178e-9,1.30000000046,4.0000015501014886e-20
// expect: 100000000.13,5.960464483090178e-9,1.30000000069,9.000002821594479e-20
// expect: 100000000.14,5.960464483090178e-9,1.3000000009200001,1.6000004424048968e-19
// expect: 100000000.14999999,5.960464483090178e-9,1.3000000011500001,2.5000006357464954e-19
// expect: 100000000.16,5.960464483090178e-9,1.3000000013800002,3.600000862184244e-19
// expect: 100000000.17,5.960464483090178e-9,1.3000000016100002,4.900001121718142e-19
// hash: 0x689e0526d830ae5b of 64 answers
