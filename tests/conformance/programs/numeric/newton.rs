//! Newton's iteration for square and cube roots.
//! run: threads = 64

fn newton(mut x: f64, f: impl Fn(f64) -> f64, slope: impl Fn(f64) -> f64) -> (f64, u32) {
    for step in 1..=60 {
        let next = x - f(x) / slope(x);
        if (next - x).abs() <= 1e-15 * next.abs() {
            return (next, step);
        }
        x = next;
    }
    (x, 60)
}

pub fn program(thread: u32) -> (f64, u32, f64) {
    let a = f64::from(thread) + 1.5;
    let (square, steps) = newton(a, |x| x * x - a, |x| 2.0 * x);
    let (cube, _) = newton(a, |x| x * x * x - a, |x| 3.0 * x * x);
    (square, steps, cube)
}

// expect: 1.224744871391589,5,1.1447142425533319 1.5811388300841895,6,1.3572088082974534
// expect: 1.8708286933869707,6,1.5182944859378313 2.1213203435596424,7,1.6509636244473134
// expect: 2.345207879911715,7,1.7651741676630315 2.5495097567963922,7,1.866255578408624
// expect: 2.7386127875258306,7,1.9574338205844317 2.9154759474226504,7,2.040827550958674
// hash: 0x8592aa6860821d6d of 64 answers
