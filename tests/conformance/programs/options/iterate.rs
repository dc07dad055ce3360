//! Options as iterators of at most one item.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, usize) {
    let maybe = |bit: u32| (thread >> bit & 1 == 1).then_some(1 << bit);
    let all = [maybe(0), maybe(1), maybe(2), maybe(3)];
    let sum = all.into_iter().flatten().chain(maybe(4)).sum();
    (sum, all.iter().filter(|x| x.is_none()).count())
}

// expect: 0,4 1,3 2,3 3,2 4,3 5,2 6,2 7,1
// hash: 0xa6a5a92cd1f43125 of 64 answers
