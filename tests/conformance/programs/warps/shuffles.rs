//! The four shuffles.
//! run: threads = 64
//! device

use raddle::device::{shuffle, shuffle_down, shuffle_up, shuffle_xor};

pub fn program(thread: u32) -> [u32; 4] {
    let value = thread * thread + 1;
    [
        shuffle(value, 31 - thread % 32),
        shuffle_up(value, 3),
        shuffle_down(value, 5),
        shuffle_xor(value, 9),
    ]
}

// expect: 962,1,26,82 901,2,37,65 842,5,50,122 785,1,65,101 730,2,82,170 677,5,101,145
// expect: 626,10,122,226 577,17,145,197
// hash: 0x22569f34bdefbd7c of 64 answers
