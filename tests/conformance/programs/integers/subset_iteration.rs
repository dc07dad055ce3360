//! The subsets of a bit set, enumerated by subtracting it.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32) {
    let set = thread & 0b11_1011;
    let (mut subset, mut count, mut sum) = (0u32, 0, 0u32);
    loop {
        count += 1;
        sum = sum.wrapping_mul(31).wrapping_add(subset);
        subset = subset.wrapping_sub(set) & set;
        if subset == 0 {
            break;
        }
    }
    (count, sum)
}

// expect: 1,0 2,1 2,2 4,1026 1,0 2,1 2,2 4,1026
// hash: 0x8fd24e0a73ff93fd of 64 answers
