//! A sort generic over its comparison.
//! run: threads = 64

fn insertion_sort<T: Copy>(values: &mut [T], before: impl Fn(&T, &T) -> bool) {
    for i in 1..values.len() {
        let mut at = i;
        while at > 0 && before(&values[at], &values[at - 1]) {
            values.swap(at, at - 1);
            at -= 1;
        }
    }
}

pub fn program(thread: u32) -> ([u32; 4], [u32; 4]) {
    let mut values: [u32; 8] = core::array::from_fn(|i| (thread + 3) * (i as u32 + 5) % 23);
    insertion_sort(&mut values, |a, b| a > b);
    let descending = [values[0], values[1], values[2], values[3]];
    insertion_sort(&mut values, |a, b| (a % 5, a) < (b % 5, b));
    (descending, [values[0], values[1], values[2], values[3]])
}

// expect: 21,18,15,13,10,15,1,21 21,20,17,13,5,20,1,21 22,17,14,12,2,7,12,17 20,19,14,13,20,2,7,3
// expect: 19,17,15,12,10,15,1,12 19,18,17,11,10,11,2,17 22,21,17,16,16,21,7,12
// expect: 21,18,14,11,5,1,11,21
// hash: 0x715d47704852eedb of 64 answers
