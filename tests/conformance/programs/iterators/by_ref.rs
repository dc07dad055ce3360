//! `by_ref` consumes the front and leaves the rest.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32) {
    let values: [u32; 10] = core::array::from_fn(|i| (i as u32 * 7 + thread) % 10);
    let mut rest = values.iter();
    let front: u32 = rest.by_ref().take_while(|x| **x != 5).sum();
    let back = rest.fold(0, |h, x| h * 10 % 99_991 + x);
    (front, back)
}

// expect: 20,2963 9,63335 40,0 23,296 13,96325 0,34085 29,29 20,29630
// hash: 0xc631af0982814b6c of 64 answers
