//! `binary_search`, `binary_search_by_key` and `partition_point`.
//! run: threads = 64

pub fn program(thread: u32) -> (bool, usize, usize, usize) {
    let sorted = [2u32, 3, 5, 8, 13, 21, 34, 55];
    let (found, at) = match sorted.binary_search(&thread) {
        Ok(at) => (true, at),
        Err(at) => (false, at),
    };
    let by_key =
        sorted.binary_search_by_key(&(thread * 2), |x| x * x).unwrap_or_else(|at| at + 100);
    (found, at, by_key, sorted.partition_point(|x| x % 2 == 0 || *x < thread))
}

// expect: 0,0,100,1 0,0,100,1 1,0,0,1 1,1,101,1 0,2,101,2 1,2,102,2 0,3,102,4 0,3,102,4
// hash: 0xc42e6ed45e3bf18e of 64 answers
