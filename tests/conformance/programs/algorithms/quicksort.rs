//! Quicksort with an explicit stack of ranges.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, bool) {
    let mut values: [u32; 40] =
        core::array::from_fn(|i| (i as u32 + thread).wrapping_mul(0x85eb_ca6b) >> 24);
    let mut stack = [(0usize, 0usize); 12];
    stack[0] = (0, 40);
    let mut depth = 1;
    while depth > 0 {
        depth -= 1;
        let (start, end) = stack[depth];
        if end - start < 2 {
            continue;
        }
        let pivot = values[(start + end) / 2];
        let (mut below, mut equal, mut above) = (start, start, end);
        while equal < above {
            if values[equal] < pivot {
                values.swap(below, equal);
                below += 1;
                equal += 1;
            } else if values[equal] > pivot {
                above -= 1;
                values.swap(equal, above);
            } else {
                equal += 1;
            }
        }
        let (small, large) = if below - start < end - above {
            ((start, below), (above, end))
        } else {
            ((above, end), (start, below))
        };
        stack[depth] = large;
        stack[depth + 1] = small;
        depth += 2;
    }
    (values.iter().fold(0, |h, v| (h * 31 + v) % 1_000_003), values.is_sorted())
}

// expect: 246028,1 622883,1 332702,1 605004,1 531127,1 501822,1 705333,1 604799,1
// hash: 0x76aa07bc8c4e7862 of 64 answers
