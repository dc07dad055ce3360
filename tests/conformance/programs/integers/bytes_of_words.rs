//! Conversions between words and bytes in both orders.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32, u64, u16, i32) {
    let bytes = thread.wrapping_mul(0x0302_0105).to_be_bytes();
    let little = u32::from_le_bytes(bytes);
    let [a, b, c, d] = bytes;
    let wide = u64::from_ne_bytes([a, b, c, d, d, c, b, a]);
    (
        little,
        u32::from_be_bytes([d, c, b, a]),
        wide,
        u16::from_be_bytes([b, a]),
        i32::from_le_bytes([a, a, b, 0x80 | d]),
    )
}

// expect: 0,0,0,0,-2147483648 0x5010203,0x5010203,0x302010505010203,515,-2063465725
// expect: 0xa020406,0xa020406,0x604020a0a020406,1030,-1979447802
// expect: 0xf030609,0xf030609,0x906030f0f030609,1545,-1895429879
// expect: 0x1404080c,0x1404080c,0xc0804141404080c,2060,-1811411956
// expect: 0x19050a0f,0x19050a0f,0xf0a051919050a0f,2575,-1727394033
// expect: 0x1e060c12,0x1e060c12,0x120c061e1e060c12,3090,-1643376110
// expect: 0x23070e15,0x23070e15,0x150e072323070e15,3605,-1559358187
// hash: 0x9d4b0be819d39405 of 64 answers
