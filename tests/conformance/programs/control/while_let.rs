//! `while let` drains an iterator and a stack.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32) {
    let mut digits = [0u8; 10];
    let mut len = 0;
    let mut rest = thread * 12_345 + 6;
    while let (Some(slot), true) = (digits.get_mut(len), rest > 0) {
        *slot = (rest % 10) as u8;
        rest /= 10;
        len += 1;
    }
    let mut stack = digits[..len].iter();
    let mut reversed = 0;
    while let Some(digit) = stack.next() {
        reversed = reversed * 10 + u32::from(*digit);
    }
    (reversed, len as u32)
}

// expect: 6,1 15321,5 69642,5 14073,5 68394,5 13716,5 67047,5 12468,5
// hash: 0x31ed035b4f617b72 of 64 answers
