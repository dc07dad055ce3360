//! The knapsack problem by a table.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32) {
    let items = [(3, 4), (4, 5), (7, 10), (8, 11), (9, 13), (2, thread % 9)];
    let mut best = [0u32; 64];
    for (weight, value) in items {
        for capacity in (weight..64).rev() {
            best[capacity] = best[capacity].max(best[capacity - weight] + value);
        }
    }
    (best[thread as usize], best.iter().sum())
}

// expect: 0,2051 0,2086 2,2123 4,2166 5,2218 9,2276 11,2337 12,2399
// hash: 0x766b13750995c728 of 64 answers
