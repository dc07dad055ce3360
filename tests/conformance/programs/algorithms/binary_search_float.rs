//! Bisection finds a root to the last bit.
//! run: threads = 64

pub fn program(thread: u32) -> (f64, u32) {
    let target = f64::from(thread) + 0.5;
    let (mut low, mut high) = (0.0f64, 10.0f64);
    let mut steps = 0;
    while high - low > f64::EPSILON * high && steps < 200 {
        let middle = low + (high - low) / 2.0;
        if middle * middle * middle < target {
            low = middle;
        } else {
            high = middle;
        }
        steps += 1;
    }
    (low, steps)
}

// expect: 0.7937005259840997,57 1.1447142425533317,55 1.3572088082974532,55 1.5182944859378311,55
// expect: 1.6509636244473131,56 1.7651741676630313,56 1.866255578408624,55 1.9574338205844317,56
// hash: 0xbb2ed5565c53b36a of 64 answers
