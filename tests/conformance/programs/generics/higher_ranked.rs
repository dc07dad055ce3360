//! Functions generic over closures that borrow with any lifetime.
//! run: threads = 64

fn pick<F>(values: &[u32], choose: F) -> u32
where
    F: for<'a> Fn(&'a [u32]) -> Option<&'a u32>,
{
    choose(values).copied().unwrap_or(777)
}

pub fn program(thread: u32) -> (u32, u32, u32) {
    let values = [thread % 5, thread % 7, thread % 11, thread % 13];
    (
        pick(&values, |values| values.iter().max()),
        pick(&values, <[u32]>::first),
        pick(&values, |values| values.iter().find(|value| **value > 6)),
    )
}

// expect: 0,0,777 1,1,777 2,2,777 3,3,777 4,4,777 5,0,777 6,1,777 7,2,7
// hash: 0x00506541d9c620ef of 64 answers
