//! Inline assembly for the host's processor.
//! expect: it holds assembly of the host processor
use std::arch::asm;

use raddle::prelude::*;

#[kernel]
pub fn x86_assembly(mut out: PerThread<u64>) {
    if let Some((_, out)) = out.mine() {
        let ticks: u64;
        // SAFETY: the instruction reads a counter.
        unsafe { asm!("rdtsc", out("rax") ticks, out("rdx") _) }; //~ HERE
        *out = ticks;
    }
}
