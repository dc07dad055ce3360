//! `matches!` and comparison of derived enums.
//! run: threads = 64

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Low(u8),
    Mid,
    High(i16, bool),
}

pub fn program(thread: u32) -> (bool, bool, bool, i8) {
    let rank = |n: u32| match n % 3 {
        0 => Rank::Low((n / 3) as u8),
        1 => Rank::Mid,
        _ => Rank::High(20 - n as i16, n % 2 == 0),
    };
    let (a, b) = (rank(thread), rank(thread * 5 + 1));
    (a == b, a < b, matches!(a, Rank::Low(0..=9) | Rank::High(..=3, _)), a.cmp(&b) as i8)
}

// expect: 0,1,1,-1 0,0,0,1 0,0,0,1 0,1,1,-1 0,0,0,1 0,0,0,1 0,1,1,-1 0,0,0,1
// hash: 0xe81aeab61a591035 of 64 answers
