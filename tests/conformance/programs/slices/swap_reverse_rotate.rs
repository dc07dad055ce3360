//! `swap`, `reverse`, `rotate_left`, `rotate_right`.
//! run: threads = 64

pub fn program(thread: u32) -> [u32; 7] {
    let mut values: [u32; 7] = core::array::from_fn(|i| i as u32 * 100 + thread);
    values.swap(thread as usize % 7, 3);
    values[..5].reverse();
    values.rotate_left(thread as usize % 8 % 7);
    values[1..].rotate_right(2);
    values
}

// expect: 400,500,600,0,200,100,300 101,601,401,201,301,1,501 302,402,202,102,2,502,602
// expect: 103,303,203,3,503,603,403 4,204,104,504,604,304,404 305,105,5,605,405,505,205
// expect: 306,6,506,406,606,206,106 407,507,607,7,207,107,307
// hash: 0x3a003a28412b15a5 of 64 answers
