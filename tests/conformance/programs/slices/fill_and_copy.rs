//! `fill`, `fill_with`, `copy_from_slice`, `clone_from_slice`, `copy_within`.
//! run: threads = 64

pub fn program(thread: u32) -> [u32; 8] {
    let mut values = [0u32; 8];
    values.fill(thread);
    let mut next = 10;
    values[5..].fill_with(|| {
        next += 1;
        next
    });
    values[..3].copy_from_slice(&[7, 8, 9]);
    let n = thread as usize % 4;
    values.copy_within(n..n + 4, 3);
    let (head, tail) = values.split_at_mut(4);
    head[..2].clone_from_slice(&tail[2..]);
    values
}

// expect: 0,13,9,7,8,9,0,13 1,13,9,8,9,1,1,13 11,13,9,9,2,2,11,13 12,13,9,3,3,11,12,13
// expect: 4,13,9,7,8,9,4,13 5,13,9,8,9,5,5,13 11,13,9,9,6,6,11,13 12,13,9,7,7,11,12,13
// hash: 0x450d33b3cef49725 of 64 answers
