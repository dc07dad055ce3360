//! Balanced brackets by a stack of bytes.
//! run: threads = 64

pub fn program(thread: u32) -> (Result32, u32) {
    let letters = b"([{}])";
    let text: [u8; 6] = core::array::from_fn(|i| {
        let n = if thread < 32 { i } else { thread as usize * (i + 1) / 5 };
        letters[(n + thread as usize / 8 * (i % 2)) % 6]
    });
    let mut stack = [0u8; 6];
    let mut depth = 0usize;
    for (i, byte) in text.iter().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => {
                stack[depth] = *byte;
                depth += 1;
            }
            _ => {
                let open = match byte {
                    b')' => b'(',
                    b']' => b'[',
                    _ => b'{',
                };
                if depth == 0 || stack[depth - 1] != open {
                    return (Some(i as u32), depth as u32);
                }
                depth -= 1;
            }
        }
    }
    (None, depth as u32)
}

type Result32 = Option<u32>;

// expect: 0,0,0 0,0,0 0,0,0 0,0,0 0,0,0 0,0,0 0,0,0 0,0,0
// hash: 0xd9e336a7e3625924 of 64 answers
