//! 128-bit integers to floats and back.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, f64, u128, i128) {
    let x = (u128::from(thread) * 0x1_0000_0001) << (thread % 60);
    let y = -(x as i128 >> 3);
    (x as f32, y as f64, (x as f64 * 1.5) as u128, (y as f32 * 0.75) as i128)
}

// expect: 0.0,0.0,0,0,0,0
// expect: 8589935000.0,-1073741824.0,0,0x300000003,0xffffffffffffffff,0xffffffffd0000000
// expect: 34359740000.0,-4294967297.0,0,0xc0000000c,0xffffffffffffffff,0xffffffff40000000
// expect: 103079215000.0,-12884901891.0,0,0x2400000024,0xffffffffffffffff,0xfffffffdc0000000
// expect: 274877900000.0,-34359738376.0,0,0x6000000060,0xffffffffffffffff,0xfffffffa00000000
// expect: 687194800000.0,-85899345940.0,0,0xf0000000f0,0xffffffffffffffff,0xfffffff100000000
// expect: 1649267400000.0,-206158430256.0,0,0x24000000240,0xffffffffffffffff,0xffffffdc00000000
// expect: 3848290700000.0,-481036337264.0,0,0x54000000540,0xffffffffffffffff,0xffffffac00000000
// hash: 0xdb99da794c94967f of 64 answers
