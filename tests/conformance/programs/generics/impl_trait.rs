//! `impl Trait` in argument and return position.
//! run: threads = 64

fn multiples(of: u32, below: u32) -> impl Iterator<Item = u32> + Clone {
    (1..).map(move |i| i * of).take_while(move |x| *x < below)
}

fn join(first: impl Iterator<Item = u32>, second: impl IntoIterator<Item = u32>) -> u32 {
    first.chain(second).fold(0, |hash, x| hash * 31 % 65_521 + x)
}

fn adder(by: u32) -> impl Fn(u32) -> u32 {
    move |x| x + by
}

pub fn program(thread: u32) -> (u32, usize, u32) {
    let threes = multiples(3, thread);
    (join(threes.clone(), [thread, 1]), threes.count(), adder(thread)(adder(2)(40)))
}

// expect: 1,0,42 32,0,43 63,0,44 94,0,45 3008,1,46 3039,1,47 3070,1,48 29836,2,49
// hash: 0x696150d26011e165 of 64 answers
