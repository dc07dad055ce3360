//! Closures capture by reference, by mutable reference and by move.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32, u32) {
    let base = thread + 5;
    let read = |x: u32| x + base;
    let mut total = 0;
    let mut add = |x: u32| {
        total += read(x);
        total
    };
    add(1);
    add(thread);
    let array = [thread; 4];
    let moved = move |i: usize| array[i] * 2;
    (total, moved(thread as usize % 4), base)
}

// expect: 11,0,5 14,2,6 17,4,7 20,6,8 23,8,9 26,10,10 29,12,11 32,14,12
// hash: 0x6da07b995a3adfe5 of 64 answers
