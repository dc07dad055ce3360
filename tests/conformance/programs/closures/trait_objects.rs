//! Closures behind `&dyn Fn`.
//! run: threads = 64

fn apply_all(functions: &[&dyn Fn(u32) -> u32], x: u32) -> u32 {
    functions.iter().fold(x, |x, f| f(x) % 10_007)
}

pub fn program(thread: u32) -> u32 {
    let add = |x| x + thread;
    let multiply = |x| x * (thread + 2);
    let mix = |x: u32| x ^ x >> 3;
    let functions: [&dyn Fn(u32) -> u32; 3] = [&add, &multiply, &mix];
    apply_all(&functions[..1 + thread as usize % 3], 100)
}

// expect: 100 303 427 103 624 644 106 963
// hash: 0x39bd7319c16661ef of 64 answers
