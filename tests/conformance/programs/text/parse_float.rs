//! `str::parse::<f32>` needs tables and code that live in `core`.
//! run: threads = 64

const TEXTS: [&str; 8] =
    ["3.25", "-1e-7", "0.1", "123456789.123", "inf", "1e40", "2.4703282292062328e-324", "x"];

pub fn program(thread: u32) -> (Option<f32>, Option<f64>) {
    let text = TEXTS[thread as usize % 8];
    (text.parse().ok(), text.parse().ok())
}

// expect: 1,3.25,1,3.25 1,-1e-7,1,-1e-7 1,0.1,1,0.1 1,123456790.0,1,123456789.123 1,inf,1,inf
// expect: 1,inf,1,1e40 1,0.0,1,5e-324 0,0.0,0,0.0
// hash: 0xc471a407adede2a5 of 64 answers
