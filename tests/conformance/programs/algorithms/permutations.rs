//! Permutations in lexicographic order, by index.
//! run: threads = 64

fn next(values: &mut [u8]) -> bool {
    let Some(i) = values.windows(2).rposition(|pair| pair[0] < pair[1]) else { return false };
    let j = values.iter().rposition(|value| *value > values[i]).expect("values[i + 1] is larger");
    values.swap(i, j);
    values[i + 1..].reverse();
    true
}

pub fn program(thread: u32) -> (u32, u32, u32) {
    let mut values = [1, 2, 3, 4, 5];
    let steps = (0..thread * 2).take_while(|_| next(&mut values)).count() as u32;
    let number = values.iter().fold(0, |n, v| n * 10 + u32::from(*v));
    let mut more = 0;
    while next(&mut values) {
        more += 1;
    }
    (number, steps, more)
}

// expect: 12345,0,119 12435,2,117 12534,4,115 13245,6,113 13425,8,111 13524,10,109 14235,12,107
// expect: 14325,14,105
// hash: 0xc1c091b3ab92c31d of 64 answers
