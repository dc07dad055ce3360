//! Closures are passed through several generic functions.
//! run: threads = 64

fn twice(f: impl Fn(u32) -> u32) -> impl Fn(u32) -> u32 {
    move |x| f(f(x))
}

fn compose<A, B, C>(f: impl Fn(A) -> B, g: impl Fn(B) -> C) -> impl Fn(A) -> C {
    move |x| g(f(x))
}

pub fn program(thread: u32) -> (u32, u32) {
    let step = move |x: u32| x.wrapping_mul(3) + thread % 5;
    let eight = twice(twice(twice(step)));
    let parity = compose(step, |x| x % 2 == 1);
    (eight(thread), u32::from(compose(parity, |odd| !odd)(thread)))
}

// expect: 0,1 9841,1 19682,1 29523,1 39364,1 32805,0 42646,0 52487,0
// hash: 0x2333d75ba4ab909e of 64 answers
