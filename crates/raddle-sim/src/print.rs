//! Device `print!`: text goes out in whole lines, so that threads do not mix
//! theirs. What a thread has not ended with a line feed goes out when it exits.

use std::cell::RefCell;
use std::collections::BTreeMap;

/// The unfinished lines of the threads that run on one OS thread.
pub(crate) struct Lines {
    print: fn(&str),
    unfinished: RefCell<BTreeMap<usize, String>>,
}

impl Lines {
    /// Lines for `print`.
    pub fn new(print: fn(&str)) -> Self {
        Self { print, unfinished: RefCell::default() }
    }

    /// Adds `text` of `thread` and prints the lines it ends.
    pub fn push(&self, thread: usize, text: &str) {
        let before = self.unfinished.borrow_mut().remove(&thread).unwrap_or_default();
        let line = before + text;
        let (done, rest) = line.split_at(line.rfind('\n').map_or(0, |end| end + 1));
        if !rest.is_empty() {
            self.unfinished.borrow_mut().insert(thread, rest.to_owned());
        }
        if !done.is_empty() {
            (self.print)(done);
        }
    }

    /// Prints what `thread` has left unfinished.
    pub fn flush(&self, thread: usize) {
        if self.unfinished.borrow().is_empty() {
            return;
        }
        let rest = self.unfinished.borrow_mut().remove(&thread);
        if let Some(rest) = rest {
            (self.print)(&rest);
        }
    }

    /// Prints what all threads have left unfinished, in their order.
    pub fn flush_all(&self) {
        for rest in std::mem::take(&mut *self.unfinished.borrow_mut()).into_values() {
            (self.print)(&rest);
        }
    }
}
