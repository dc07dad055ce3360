//! `split`, `splitn` and `rsplit` on a separator.
//! run: threads = 64

pub fn program(thread: u32) -> (usize, u32, u32) {
    let values: [u32; 12] = core::array::from_fn(|i| (thread + i as u32 * i as u32) % 4);
    let parts = values.split(|x| *x == 0);
    let longest = parts.clone().map(<[u32]>::len).max().unwrap_or(0);
    let second = values.splitn(2, |x| *x == 1).nth(1).map_or(99, |rest| rest.iter().sum());
    let last = values.rsplit(|x| *x == 2).next().map_or(0, |part| part.iter().sum());
    (longest + parts.count() * 100, second, last)
}

// expect: 701,5,6 112,17,0 112,99,3 701,99,18 701,5,6 112,17,0 112,99,3 701,99,18
// hash: 0xce991ba971677ae5 of 64 answers
