//! Signed 64-bit elements and sums of their products in 128 bits.
//! run: threads = 64
//! input: i64 x 96

pub fn program(thread: u32, input: &[i64]) -> (i128, i64) {
    let window = &input[thread as usize..][..32];
    let energy = window.iter().map(|x| i128::from(*x) * i128::from(*x) >> 8).sum();
    (energy, window.iter().copied().min().unwrap_or(0))
}

// expect: 0x2a6a5458b268dd2,0x97a3d03cc12eea85,-8882435919750266709
// expect: 0x2a3c4f47b21cef2,0xeb27951547124701,-8882435919750266709
// expect: 0x27435a3a5dd576b,0x699f6e714fbd30b1,-8882435919750266709
// expect: 0x27c2d9acb2d02a7,0xb06a51e4422e7805,-8882435919750266709
// expect: 0x2a7587317112987,0xc590187aebd91b18,-8882435919750266709
// expect: 0x2b534fcca1bb058,0x9b614eceb76c1a58,-8882435919750266709
// expect: 0x2a7f39ea5f99e0a,0xbd02e1dce3021906,-8882435919750266709
// expect: 0x2cf9071713731a5,0x854f32342ff95f7d,-8882435919750266709
// hash: 0x0eee5c97231b2fc7 of 64 answers
