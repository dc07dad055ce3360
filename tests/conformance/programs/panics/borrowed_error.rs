//! An error that borrows from its input, through `?` and a method of `Result`.
//! run: threads = 64
//! panics

#[allow(dead_code, reason = "only messages show the fields")]
#[derive(Debug)]
struct Unknown<'a> {
    word: &'a str,
    at: usize,
}

fn find<'a>(words: &[&str], word: &'a str, at: usize) -> Result<usize, Unknown<'a>> {
    words.iter().position(|&known| known == word).ok_or(Unknown { word, at })
}

fn sum<'a>(text: &[&'a str]) -> Result<usize, Unknown<'a>> {
    let mut sum = 0;
    for (at, word) in text.iter().enumerate() {
        sum += find(&["one", "two", "three"], word, at)?;
    }
    Ok(sum)
}

pub fn program(thread: u32) -> u64 {
    let last = if thread == 29 { "four" } else { "three" };
    sum(&["two", "one", last]).expect("words are known") as u64 //~ PANIC
}

// panic: thread 29: words are known: Unknown { word: "four", at: 2 }
