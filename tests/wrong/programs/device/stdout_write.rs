//! Writing to standard output.
//! expect: it uses std's input and output
use std::io::Write;

use raddle::prelude::*;

#[kernel]
pub fn stdout_write(mut out: PerThread<u32>) {
    if let Some((_, out)) = out.mine() {
        let mut stdout = std::io::stdout(); //~ HERE
        *out = u32::from(stdout.write_all(b"thread").is_ok());
    }
}
