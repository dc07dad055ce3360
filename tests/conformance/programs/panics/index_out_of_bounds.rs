//! An index beyond the end of an array.
//! run: threads = 64
//! panics

fn pick(values: &[u32], at: usize) -> u32 {
    values[at] //~ PANIC
}

pub fn program(thread: u32) -> u32 {
    let values = [1, 2, 3, 4];
    pick(&values, if thread == 5 { 9 } else { thread as usize % 4 })
}

// panic: thread 5: index out of bounds: the len is 4 but the index is 9
