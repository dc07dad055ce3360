//! Constants computed from const parameters at compile time.
//! run: threads = 64

struct Ring<const N: u32>;

impl<const N: u32> Ring<N> {
    const SQUARES: u32 = {
        let (mut i, mut count, mut seen) = (0, 0, 0u64);
        while i < N {
            let square = i * i % N;
            if seen >> square & 1 == 0 {
                seen |= 1 << square;
                count += 1;
            }
            i += 1;
        }
        count
    };
}

pub fn program(thread: u32) -> (u32, u32) {
    let squares = [Ring::<7>::SQUARES, Ring::<16>::SQUARES, Ring::<61>::SQUARES];
    (squares[thread as usize % 3], squares.iter().sum::<u32>() + thread)
}

// expect: 4,39 4,40 31,41 4,42 4,43 31,44 4,45 4,46
// hash: 0xef6c26b5ab3c5cbe of 64 answers
