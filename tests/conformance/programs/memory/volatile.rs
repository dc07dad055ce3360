//! Volatile reads and writes are kept and ordered.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32) {
    let mut slot = thread;
    let pointer = &raw mut slot;
    let mut sum = 0;
    for i in 0..4 {
        // SAFETY: the pointer is to a live local.
        unsafe {
            sum = sum * 3 + pointer.read_volatile();
            pointer.write_volatile(sum ^ i);
        }
    }
    (sum, slot)
}

// expect: 6,5 70,69 134,133 198,197 262,261 326,325 390,389 454,453
// hash: 0x5f87ef81ff00a265 of 64 answers
