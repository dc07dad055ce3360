//! A labelled block is left early with a value.
//! run: threads = 64

pub fn program(thread: u32) -> u32 {
    'kind: {
        if thread % 15 == 0 {
            break 'kind 1500;
        }
        if thread % 5 == 0 {
            break 'kind 500 + thread;
        }
        if thread % 3 == 0 {
            break 'kind 300 + thread;
        }
        thread
    }
}

// expect: 1500 1 2 303 4 505 306 7
// hash: 0xac16751e8df7ff35 of 64 answers
