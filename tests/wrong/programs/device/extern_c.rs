//! Calling a C function of the host.
//! expect: it calls the C function `puts`
use raddle::prelude::*;

unsafe extern "C" {
    fn puts(text: *const u8) -> i32;
}

#[kernel]
pub fn extern_c(mut out: PerThread<i32>) {
    if let Some((_, out)) = out.mine() {
        // SAFETY: the text ends with a zero.
        *out = unsafe { puts(c"thread".as_ptr().cast()) }; //~ HERE
    }
}
