//! Reading from standard input.
//! expect: it uses std's input and output
use raddle::prelude::*;

#[kernel]
pub fn stdin_read(mut out: PerThread<u32>) {
    if let Some((_, out)) = out.mine() {
        let stdin = std::io::stdin(); //~ HERE
        *out = u32::from(std::io::read_to_string(stdin).is_ok());
    }
}
