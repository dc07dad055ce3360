//! The memory functions that compiled Rust code calls by their C names.

/// `memcmp`: the difference of the first bytes that differ.
///
/// # Safety
///
/// Both areas are readable for `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn __raddle_rt_memcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    let mut i = 0;
    while i < len {
        // SAFETY: `i < len`.
        let (a, b) = unsafe { (*left.add(i), *right.add(i)) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
        i += 1;
    }
    0
}

/// `bcmp`: zero if the areas are equal.
///
/// # Safety
///
/// Both areas are readable for `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn __raddle_rt_bcmp(left: *const u8, right: *const u8, len: usize) -> i32 {
    // SAFETY: the caller's contract is the same.
    unsafe { __raddle_rt_memcmp(left, right, len) }
}
