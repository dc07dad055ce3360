//! Device `print!` on the CPU device.

use std::sync::Mutex;

use raddle_device::index::{block_x, thread_x};
use raddle_device::print::{print, println};
use raddle_sim::Options;

use crate::harness::{Shape, block_of};

static PRINTED: Mutex<String> = Mutex::new(String::new());

#[test]
fn kernels_print_lines() {
    let options = Options {
        print: |text| PRINTED.lock().unwrap().push_str(text),
        ..Options::from_env().unwrap()
    };
    let kernel = || {
        let (name, ratio) = ("warp", 0.1f32);
        print!("block {} ", block_x());
        println!("thread {:03} {:?} {} {:.2} {}", thread_x(), name, ratio, 2.0f64 / 3.0, 'é');
        if thread_x() == 1 {
            println!();
        }
    };
    Shape { grid: [2, 1, 1], ..block_of(2) }.try_run_with(&options, kernel).unwrap();
    let text = PRINTED.lock().unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "",
            "",
            "block 0 thread 000 \"warp\" 0.1 0.67 é",
            "block 0 thread 001 \"warp\" 0.1 0.67 é",
            "block 1 thread 000 \"warp\" 0.1 0.67 é",
            "block 1 thread 001 \"warp\" 0.1 0.67 é",
        ]
    );
}
