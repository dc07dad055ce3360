//! Logical and arithmetic shifts, wrapping shift counts.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, i32, u32, i64, u8, u64) {
    let x = thread.wrapping_mul(0xf00d_1234);
    let by = thread % 32;
    (
        x >> by,
        x as i32 >> by,
        x.wrapping_shl(thread + 30),
        (i64::from(x as i32) << 24) >> by,
        (x as u8).wrapping_shr(thread),
        u64::from(x).unbounded_shl(thread + 8),
    )
}

// expect: 0,0,0,0,0,0 0x7806891a,-133789414,0,-2244613897191424,26,0x1e01a246800
// expect: 0x3806891a,-133789414,0xe01a2468,-2244613897191424,26,0x3806891a000
// expect: 0x1a04e6d3,-100342061,0xa04e6d38,-1683460422893568,19,0x68139b4e000
// expect: 0xc03448d,-66894707,0xd12340,-1122306948595712,13,0xc03448d0000
// expect: 0x5820ad8,-41809192,0x820ad820,-701441842872320,0,0x16082b608000
// expect: 0x28139b4,-25085516,0x4e6d380,-420865105723392,0,0x28139b4e0000
// expect: 0x120b6fe,-14633218,0xb6fed80,-245504645005312,0,0x482dbfb60000
// hash: 0x8df0b9e748e0ab28 of 64 answers
