//! An array initialised element by element.
//! run: threads = 64

use core::mem::MaybeUninit;

pub fn program(thread: u32) -> (u32, u32) {
    let mut slots = [const { MaybeUninit::<u32>::uninit() }; 8];
    let count = thread as usize % 9;
    for (i, slot) in slots[..count].iter_mut().enumerate() {
        slot.write(thread + i as u32);
    }
    // SAFETY: the first `count` slots have been written.
    let values = unsafe { &*(&raw const slots[..count] as *const [u32]) };
    (values.iter().sum(), values.last().copied().unwrap_or(0))
}

// expect: 0,0 1,1 5,3 12,5 22,7 35,9 51,11 70,13
// hash: 0xed1fffaeb8d40e87 of 64 answers
