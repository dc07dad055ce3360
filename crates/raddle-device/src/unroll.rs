//! Loops that are certain to be straight-line code.
//!
//! An array whose every index is a constant lives in registers; one index that is
//! not moves the whole array to local memory. LLVM unrolls short loops by itself,
//! up to a limit that loops over a wide accumulator exceed.

/// Calls `body` with 0, 1, … up to `N - 1`, as `N` calls one after the other.
///
/// `N` is at most 64; nest calls for more.
#[inline(always)]
pub fn unroll<const N: usize>(mut body: impl FnMut(usize)) {
    const { assert!(N <= 64, "`unroll` makes at most 64 copies") };
    macro_rules! steps {
        ($($i:literal)*) => { $(
            if N > $i {
                body($i);
            }
        )* };
    }
    steps! {
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30
        31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57
        58 59 60 61 62 63
    }
}

/// An array of `body(0)`, `body(1)`, … that is certain not to be made by a loop;
/// `N` is at most 64.
#[inline(always)]
#[must_use]
pub fn unrolled<T: Copy, const N: usize>(mut body: impl FnMut(usize) -> T) -> [T; N] {
    let mut array = core::mem::MaybeUninit::<[T; N]>::uninit();
    let first = array.as_mut_ptr().cast::<T>();
    unroll::<N>(|i| {
        // SAFETY: `i` is below `N`.
        unsafe { first.add(i).write(body(i)) };
    });
    // SAFETY: every element is written.
    unsafe { array.assume_init() }
}

#[cfg(all(test, not(raddle_device)))]
mod tests {
    use super::*;

    #[test]
    fn bodies_run_in_order() {
        let mut seen = std::vec::Vec::new();
        unroll::<5>(|i| seen.push(i));
        assert_eq!(seen, [0, 1, 2, 3, 4]);
        unroll::<0>(|_| unreachable!());
        assert_eq!(unrolled::<usize, 64>(|i| i * i)[63], 63 * 63);
    }
}
