//! `array::map`, `from_fn`, `each_ref`, and arrays by value.
//! run: threads = 64

pub fn program(thread: u32) -> ([u32; 3], u32) {
    let array = [thread, thread + 1, thread + 2];
    let mapped = array.map(|x| x * x);
    let sum = array.each_ref().map(|x| *x % 5).into_iter().sum();
    (mapped, sum)
}

// expect: 0,1,4,3 1,4,9,6 4,9,16,9 9,16,25,7 16,25,36,5 25,36,49,3 36,49,64,6 49,64,81,9
// hash: 0x3c1148459cb2ffc1 of 64 answers
