//! A sine table built at compile time by a Taylor series in fixed point.
//! run: threads = 64

const TABLE: [i32; 65] = {
    let mut table = [0; 65];
    let mut i = 0;
    while i <= 64 {
        // x = i/64 * pi/2 in Q30.
        let x = i as i64 * 1_686_629_713 / 64;
        let square = (x * x) >> 30;
        let mut term = x;
        let mut sum = x;
        let mut n = 1;
        while n < 8 {
            term = -((term * square) >> 30) / (2 * n * (2 * n + 1));
            sum += term;
            n += 1;
        }
        table[i] = (sum >> 14) as i32;
        i += 1;
    }
    table
};

fn sine(angle: u32) -> i32 {
    let at = (angle % 64) as usize;
    match angle / 64 % 4 {
        0 => TABLE[at],
        1 => TABLE[64 - at],
        2 => -TABLE[at],
        _ => -TABLE[64 - at],
    }
}

pub fn program(thread: u32) -> (i32, i32) {
    (sine(thread * 5), sine(thread * 5 + 64))
}

// expect: 0,65536 8022,65043 15923,63571 23586,61144 30893,57797 37736,53581 44011,48558
// expect: 49624,42806
// hash: 0xecab0363f2043080 of 64 answers
