//! `sum` and `product` over `Option` and `Result` stop at the first failure.
//! run: threads = 64

pub fn program(thread: u32) -> (Option<u32>, bool, u32) {
    let sum: Option<u32> = (0..5).map(|i| (thread + 1).checked_sub(i * 10)).sum();
    let product: Result<u32, u32> =
        (1..4).map(|i| if i * 13 == thread { Err(i) } else { Ok(i + thread) }).product();
    (sum, product.is_ok(), product.unwrap_or_else(|e| e))
}

// expect: 0,0,1,6 0,0,1,24 0,0,1,60 0,0,1,120 0,0,1,210 0,0,1,336 0,0,1,504 0,0,1,720
// hash: 0xb1b4dbbb8826c19e of 64 answers
