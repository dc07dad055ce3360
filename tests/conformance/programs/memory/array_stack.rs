//! A stack of fixed capacity over `MaybeUninit`.
//! run: threads = 64

use core::mem::MaybeUninit;

struct Stack<T, const N: usize> {
    slots: [MaybeUninit<T>; N],
    len: usize,
}

impl<T: Copy, const N: usize> Stack<T, N> {
    const fn new() -> Self {
        Stack { slots: [const { MaybeUninit::uninit() }; N], len: 0 }
    }
    fn push(&mut self, value: T) -> Result<(), T> {
        let slot = self.slots.get_mut(self.len).ok_or(value)?;
        slot.write(value);
        self.len += 1;
        Ok(())
    }
    fn pop(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: slots below the old length are written.
        Some(unsafe { self.slots[self.len].assume_init() })
    }
}

pub fn program(thread: u32) -> (u32, u32, Option<(u32, bool)>) {
    let mut stack: Stack<(u32, bool), 6> = Stack::new();
    let mut refused = 0;
    for i in 0..thread % 9 {
        refused += u32::from(stack.push((i * thread, i % 2 == 0)).is_err());
    }
    let top = stack.pop();
    let mut sum = 0;
    while let Some((value, _)) = stack.pop() {
        sum = sum * 2 + value;
    }
    (refused, sum, top)
}

// expect: 0,0,0,0,0 0,0,1,0,1 0,0,1,2,0 0,6,1,6,1 0,40,1,12,0 0,170,1,20,1 0,588,1,30,0
// expect: 1,686,1,35,0
// hash: 0x65431ce2a2aa55ce of 64 answers
