//! Base64 of three bytes a turn.
//! run: threads = 64

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub fn program(thread: u32) -> (u64, bool) {
    let bytes =
        [thread as u8, (thread * 7) as u8, (thread * 31) as u8, 255, 0, thread as u8 ^ 0x5a];
    let mut text = [0u8; 8];
    for (out, part) in text.chunks_exact_mut(4).zip(bytes.chunks_exact(3)) {
        let word = part.iter().fold(0u32, |word, b| word << 8 | u32::from(*b));
        for (i, letter) in out.iter_mut().enumerate() {
            *letter = ALPHABET[(word >> (18 - 6 * i) & 63) as usize];
        }
    }
    (u64::from_be_bytes(text), text.is_ascii())
}

// expect: 0x414141412f774261,1 0x415163662f774262,1 0x4167342b2f774259,1 0x417856642f77425a,1
// expect: 0x424278382f774265,1 0x42534f622f774266,1 0x426971362f774263,1 0x427a485a2f774264,1
// hash: 0x97d57d2d15c04d14 of 64 answers
