//! Digits of numbers written into a buffer, then compared with their reverse.
//! run: threads = 64

fn digits(mut n: u32, buffer: &mut [u8; 10]) -> &[u8] {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return &buffer[at..];
        }
    }
}

pub fn program(thread: u32) -> (u32, u32) {
    let mut buffer = [0; 10];
    let found = (thread * 100..).find(|&n| {
        let text = digits(n, &mut buffer);
        text.iter().eq(text.iter().rev())
    });
    let text = digits(thread * 100 + 7, &mut buffer);
    (found.unwrap_or(0), text.iter().map(|d| u32::from(d - b'0')).sum())
}

// expect: 0,7 101,8 202,9 303,10 404,11 505,12 606,13 707,14
// hash: 0xda359ba3ce9af95e of 64 answers
