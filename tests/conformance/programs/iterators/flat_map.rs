//! `flat_map` and `flatten` over nested ranges and options.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32, usize) {
    let n = thread % 8;
    let pairs = (0..n).flat_map(|a| (a..n).map(move |b| a * 10 + b));
    let options = [Some(thread), None, Some(7)];
    let nested = [[1, 2], [thread, 4]];
    (pairs.sum(), options.iter().flatten().sum(), nested.concat_len(n))
}

trait ConcatLen {
    fn concat_len(&self, below: u32) -> usize;
}

impl ConcatLen for [[u32; 2]; 2] {
    fn concat_len(&self, below: u32) -> usize {
        self.iter().flatten().filter(|x| **x < below).count()
    }
}

// expect: 0,7,0 0,8,0 12,9,1 48,10,2 120,11,2 240,12,3 420,13,3 672,14,3
// hash: 0xf8fe836a523345f5 of 64 answers
