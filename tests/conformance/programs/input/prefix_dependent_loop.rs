//! Loop bounds that come from memory.
//! run: threads = 64
//! input: u16 x 64

pub fn program(thread: u32, input: &[u16]) -> (u32, u32) {
    let count = u32::from(input[thread as usize] % 50);
    let mut state = count;
    let mut turns = 0;
    for i in 0..count {
        if state % 7 == 6 {
            break;
        }
        state = state * 5 + i;
        state %= 1009;
        turns += 1;
    }
    (state, turns)
}

// expect: 684,5 0,0 195,10 251,2 5,1 6,0 125,1 314,9
// hash: 0xe9cedeea9b2def96 of 64 answers
