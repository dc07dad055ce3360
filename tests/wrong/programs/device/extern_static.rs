//! Reading a variable of a C library.
//! expect: it uses the foreign static `environ`
use raddle::prelude::*;

unsafe extern "C" {
    static environ: *const u8;
}

#[kernel]
pub fn extern_static(mut out: PerThread<u64>) {
    if let Some((_, out)) = out.mine() {
        // SAFETY: only the address is looked at.
        *out = unsafe { environ } as u64; //~ HERE
    }
}
