//! `map`, `and_then`, `or_else`, `filter`, `xor`, `zip`.
//! run: threads = 64

pub fn program(thread: u32) -> (Option<u32>, Option<u32>, bool, u32) {
    let a = (thread % 3 != 0).then(|| thread * 2);
    let b = thread.checked_sub(10);
    (
        a.and_then(|x| x.checked_sub(30)).or_else(|| b.map(|x| x + 500)),
        a.filter(|x| x % 4 == 0).xor(b),
        a.zip(b).is_some_and(|(a, b)| a > b + 20),
        a.map_or_else(|| 9, |x| x + 1) + b.unwrap_or_default(),
    )
}

// expect: 0,0,0,0,0,9 0,0,0,0,0,3 0,0,1,4,0,5 0,0,0,0,0,9 0,0,1,8,0,9 0,0,0,0,0,11 0,0,0,0,0,9
// expect: 0,0,0,0,0,15
// hash: 0xe4cd08f35716626c of 64 answers
