//! A Runge-Kutta step generic over the dimension of the state.
//! run: threads = 64

fn step<const N: usize>(y: [f64; N], h: f64, f: impl Fn([f64; N]) -> [f64; N]) -> [f64; N] {
    let ahead = |k: [f64; N], by: f64| core::array::from_fn(|i| y[i] + k[i] * by);
    let k1 = f(y);
    let k2 = f(ahead(k1, h / 2.0));
    let k3 = f(ahead(k2, h / 2.0));
    let k4 = f(ahead(k3, h));
    core::array::from_fn(|i| y[i] + h / 6.0 * (k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i]))
}

pub fn program(thread: u32) -> (f64, f64) {
    let mut state = [1.0, f64::from(thread) * 0.05];
    for _ in 0..50 {
        state = step(state, 0.1, |[x, v]| [v, -x - 0.1 * v]);
    }
    (state[0], state[1])
}

// expect: 0.17878279922679233,0.749116347160585 0.14132698186876297,0.7618010688577274
// expect: 0.10387116451073337,0.7744857905548695 0.06641534715270395,0.7871705122520127
// expect: 0.02895952979467485,0.7998552339491549 -0.00849628756335423,0.8125399556462972
// expect: -0.045952104921383755,0.8252246773434397 -0.08340792227941261,0.8379093990405818
// hash: 0x08cfb9fda87c79e4 of 64 answers
