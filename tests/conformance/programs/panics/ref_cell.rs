//! A second mutable borrow of a `RefCell`.
//! run: threads = 64
//! panics

use core::cell::RefCell;

pub fn program(thread: u32) -> u32 {
    let cell = RefCell::new(thread);
    let first = cell.borrow_mut();
    if thread != 44 {
        drop(first);
        return *cell.borrow();
    }
    *cell.borrow_mut() //~ PANIC
}

// panic: thread 44: RefCell already borrowed
