//! A bar that says how far a long task is, on terminals only.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::Instant;

/// Characters of the bar.
const WIDTH: usize = 32;

/// A bar on the standard error; it vanishes when dropped.
pub struct Progress {
    what: &'static str,
    total: usize,
    done: Cell<usize>,
    start: Instant,
    is_shown: bool,
}

impl Progress {
    /// A bar for `total` things. Without a terminal, and for one thing, nothing is shown.
    pub fn new(what: &'static str, total: usize) -> Self {
        let is_shown = total > 1 && std::io::stderr().is_terminal();
        let progress = Self { what, total, done: Cell::new(0), start: Instant::now(), is_shown };
        progress.add(0);
        progress
    }

    /// Counts things that are done.
    pub fn add(&self, count: usize) {
        self.done.set(self.done.get() + count);
        if self.is_shown {
            let line = self.line(self.start.elapsed().as_secs_f64());
            // A bar that cannot be drawn is no reason to stop.
            let _ = write!(std::io::stderr(), "\r{line}");
        }
    }

    fn line(&self, elapsed: f64) -> String {
        let (done, total) = (self.done.get(), self.total);
        let full = WIDTH * done / total.max(1);
        let bar = "=".repeat(full) + &" ".repeat(WIDTH - full);
        let rate = if elapsed > 0.0 { done as f64 / elapsed } else { 0.0 };
        format!("{} [{bar}] {done}/{total}, {rate:.1}/s ", self.what)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_it_is() {
        let progress = Progress::new("reading", 8);
        progress.add(2);
        assert_eq!(
            progress.line(1.0),
            format!("reading [{}{}] 2/8, 2.0/s ", "=".repeat(8), " ".repeat(24))
        );
    }
}
