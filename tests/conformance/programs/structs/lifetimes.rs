//! Structs that borrow, and functions that return borrowed parts.
//! run: threads = 64

struct Cursor<'a> {
    rest: &'a [u32],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u32]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }
}

fn longer<'a>(a: &'a [u32], b: &'a [u32]) -> &'a [u32] {
    if a.len() >= b.len() { a } else { b }
}

pub fn program(thread: u32) -> (u32, usize, u32) {
    let values: [u32; 10] = core::array::from_fn(|i| thread + i as u32);
    let mut cursor = Cursor { rest: &values };
    let first = cursor.take(thread as usize % 4).unwrap_or(&[]);
    let second = cursor.take(thread as usize % 9).unwrap_or(&[]);
    (
        longer(first, second).iter().sum(),
        cursor.rest.len(),
        cursor.rest.first().copied().unwrap_or(0),
    )
}

// expect: 0,10,0 1,8,3 5,6,6 12,4,9 22,6,8 40,4,11 63,2,14 91,0,0
// hash: 0xe13121e7e97402e4 of 64 answers
