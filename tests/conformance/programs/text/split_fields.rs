//! `split`, `trim` and `parse` on a constant line.
//! run: threads = 64

const LINE: &str = " 12, 7 ,x, 300,-4 ,  88 ";

pub fn program(thread: u32) -> (u32, i32, usize) {
    let fields = LINE.split(',').map(str::trim);
    let numbers = fields.clone().filter_map(|field| field.parse::<i32>().ok());
    let chosen = fields.clone().nth(thread as usize % 6).unwrap_or("");
    let bad = fields.filter(|field| field.parse::<i32>().is_err()).count();
    (bad as u32, numbers.map(|n| n * (thread as i32 + 1)).sum(), chosen.len())
}

// expect: 1,403,2 1,806,1 1,1209,1 1,1612,3 1,2015,2 1,2418,2 1,2821,2 1,3224,1
// hash: 0x9bd84a0cc3cc20cd of 64 answers
