//! Float bits move through integers unchanged.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, f32, u64, f64, i32) {
    let x = (thread as f32 - 31.5) * 0.1;
    let bits = x.to_bits();
    let next = f32::from_bits(bits + 1);
    let wide = f64::from(x).to_bits();
    (bits, next, wide, f64::from_bits(wide ^ 1 << 63), (bits >> 23 & 0xff) as i32 - 127)
}

// expect: 0xc049999a,-3.1500003,0xc009333340000000,3.1500000953674316,1
// expect: 0xc0433333,-3.0500002,0xc008666660000000,3.049999952316284,1
// expect: 0xc03ccccd,-2.9500003,0xc0079999a0000000,2.950000047683716,1
// expect: 0xc0366667,-2.8500004,0xc006cccce0000000,2.8500001430511475,1
// expect: 0xc0300000,-2.7500002,0xc006000000000000,2.75,1
// expect: 0xc029999a,-2.6500003,0xc005333340000000,2.6500000953674316,1
// expect: 0xc0233333,-2.5500002,0xc004666660000000,2.549999952316284,1
// expect: 0xc01ccccd,-2.4500003,0xc0039999a0000000,2.450000047683716,1
// hash: 0xb28638e5e0c3dd7d of 64 answers
