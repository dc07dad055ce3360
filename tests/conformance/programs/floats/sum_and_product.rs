//! `sum` and `product` of float iterators go left to right.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, f32, f64) {
    let sum: f32 = (1..=thread).map(|i| 1.0 / i as f32).sum();
    let product: f32 = (1..=thread % 20).map(|i| 1.0 + i as f32 * 0.01).product();
    let empty: f64 = core::iter::empty::<f64>().sum();
    (sum, product, empty)
}

// expect: -0.0,1.0,-0.0 1.0,1.01,-0.0 1.5,1.0302,-0.0 1.8333334,1.061106,-0.0
// expect: 2.0833335,1.1035502,-0.0 2.2833335,1.1587276,-0.0 2.4500003,1.2282512,-0.0
// expect: 2.5928574,1.3142289,-0.0
// hash: 0x265a3414ed9f54af of 64 answers
