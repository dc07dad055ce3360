//! A bitonic sorting network without branches.
//! run: threads = 64

pub fn program(thread: u32) -> [u32; 8] {
    let mut values: [u32; 8] =
        core::array::from_fn(|i| (thread * 13 + i as u32 * i as u32 * 7) % 64);
    let mut size = 2;
    while size <= 8 {
        let mut stride = size / 2;
        while stride > 0 {
            for i in 0..8usize {
                let j = i ^ stride;
                if j > i {
                    let (low, high) = (values[i].min(values[j]), values[i].max(values[j]));
                    let up = i & size == 0;
                    values[i] = if up { low } else { high };
                    values[j] = if up { high } else { low };
                }
            }
            stride /= 2;
        }
        size *= 2;
    }
    values
}

// expect: 0,7,23,28,47,48,60,63 9,12,13,20,36,41,60,61 9,10,22,25,26,33,49,54
// expect: 3,22,23,35,38,39,46,62 11,16,35,36,48,51,52,59 0,1,8,24,29,48,49,61
// expect: 10,13,14,21,37,42,61,62 10,11,23,26,27,34,50,55
// hash: 0xb38e7d933499fda5 of 64 answers
