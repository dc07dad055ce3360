//! `?` on `Option` leaves the function with `None`.
//! run: threads = 64

fn path(values: &[u32; 8], start: u32) -> Option<u32> {
    let first = *values.get(start as usize)?;
    let second = values.get(first as usize)?.checked_sub(1)?;
    let third = values.iter().position(|&v| v == second)?;
    Some(first * 100 + second * 10 + third as u32)
}

pub fn program(thread: u32) -> Option<u32> {
    let values = [3, 1, 9, 5, 0, 2, 8, thread % 8];
    path(&values, thread / 7)
}

// expect: 0,0 0,0 0,0 0,0 1,347 0,0 0,0 1,104
// hash: 0x19af442787d8d7f4 of 64 answers
