//! Sets of threads as bit words, the shape in which the scheduler keeps them:
//! releasing a barrier of 1,024 threads is sixteen `or`s.

/// Threads of a word.
pub(crate) const WORD: usize = 64;

/// Adds `thread`; returns whether it was absent.
pub(crate) fn insert(set: &mut [u64], thread: usize) -> bool {
    let (word, bit) = (&mut set[thread / WORD], 1 << (thread % WORD));
    let is_new = *word & bit == 0;
    *word |= bit;
    is_new
}

/// Removes `thread`.
pub(crate) fn remove(set: &mut [u64], thread: usize) {
    set[thread / WORD] &= !(1 << (thread % WORD));
}

/// Whether `thread` is in the set.
pub(crate) fn contains(set: &[u64], thread: usize) -> bool {
    set[thread / WORD] >> (thread % WORD) & 1 == 1
}

/// Moves all threads of `from` into `into`.
pub(crate) fn drain_into(from: &mut [u64], into: &mut [u64]) {
    for (from, into) in from.iter_mut().zip(into) {
        *into |= std::mem::take(from);
    }
}

/// Adds the threads `0..count`.
pub(crate) fn insert_first(set: &mut [u64], count: usize) {
    for (index, word) in set.iter_mut().enumerate() {
        let left = count.saturating_sub(index * WORD);
        *word |= if left >= WORD { u64::MAX } else { (1 << left) - 1 };
    }
}

/// The first thread at or after `start`, going round at the end.
pub(crate) fn next_from(set: &[u64], start: usize) -> Option<usize> {
    let (first, bit) = (start / WORD, start % WORD);
    let tail = set[first] & (u64::MAX << bit);
    if tail != 0 {
        return Some(first * WORD + tail.trailing_zeros() as usize);
    }
    let words = set.len();
    (1..=words).map(|step| (first + step) % words).find_map(|index| {
        let word = set[index];
        (word != 0).then(|| index * WORD + word.trailing_zeros() as usize)
    })
}

/// The 32 threads of warp `warp` as lanes.
pub(crate) fn warp(set: &[u64], warp: usize) -> u32 {
    (set[warp / 2] >> (warp % 2 * 32)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(set: &[u64]) -> u32 {
        set.iter().map(|word| word.count_ones()).sum()
    }

    #[test]
    fn next_goes_round() {
        let mut set = [0u64; 3];
        assert_eq!(next_from(&set, 5), None);
        for thread in [3, 64, 130] {
            assert!(insert(&mut set, thread));
        }
        assert!(!insert(&mut set, 64));
        assert_eq!(next_from(&set, 0), Some(3));
        assert_eq!(next_from(&set, 4), Some(64));
        assert_eq!(next_from(&set, 65), Some(130));
        assert_eq!(next_from(&set, 131), Some(3));
        remove(&mut set, 3);
        assert_eq!(next_from(&set, 131), Some(64));
        assert_eq!(count(&set), 2);
    }

    #[test]
    fn first_threads_and_warps() {
        let mut set = [0u64; 2];
        insert_first(&mut set, 70);
        assert_eq!(count(&set), 70);
        assert_eq!(warp(&set, 1), u32::MAX);
        assert_eq!(warp(&set, 2), 0b11_1111);
        assert!(contains(&set, 69) && !contains(&set, 70));
    }
}
