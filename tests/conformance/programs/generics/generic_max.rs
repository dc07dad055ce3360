//! A generic function over an ordered type.
//! run: threads = 64

fn largest<T: PartialOrd + Copy>(values: &[T]) -> Option<T> {
    let (&first, rest) = values.split_first()?;
    Some(rest.iter().fold(first, |top, &value| if value > top { value } else { top }))
}

pub fn program(thread: u32) -> (Option<u32>, Option<f32>, Option<i8>) {
    let a = [thread * 7 % 13, thread * 3 % 11, 5];
    let b = a.map(|x| x as f32 - 6.5);
    (largest(&a), largest(&b), largest(&[thread as i8 - 20, -3][..thread as usize % 3]))
}

// expect: 1,5,1,-1.5,0,0 1,7,1,0.5,1,-19 1,6,1,-0.5,1,-3 1,9,1,2.5,0,0 1,5,1,-1.5,1,-16
// expect: 1,9,1,2.5,1,-3 1,7,1,0.5,0,0 1,10,1,3.5,1,-13
// hash: 0xc73c2f9969508cdb of 64 answers
