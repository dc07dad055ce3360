//! Panics of simulated threads: message, place, which one is reported, and that
//! the other threads go on.

use raddle_sim::Fault;

use crate::harness::*;

/// Message, place and thread of a panic.
fn panic_of(result: Result<(), Fault>) -> (String, u32, [u32; 3], [u32; 3]) {
    match result {
        Err(Fault::Panic { message, file, line, column, block, thread }) => {
            assert!(file.ends_with("panics.rs"), "{file}");
            assert!(column > 0);
            (message, line, block, thread)
        }
        other => panic!("expected a panic, found {other:?}"),
    }
}

#[test]
fn a_bounds_check_names_index_length_place_and_thread() {
    for case in [plain(8, 96), fibres(8, 96)] {
        let seen = words(1);
        let data = [0u32; 500];
        let at = line(2);
        let result = case.run(|| {
            let value = data[(block() * 96 + thread()) as usize];
            add(&seen[0], 1 + value);
        });
        let expected = "index out of bounds: the len is 500 but the index is 500";
        assert_eq!(panic_of(result), (expected.into(), at, [5, 0, 0], [20, 0, 0]));
        assert_eq!(get(&seen[0]), 500, "all other threads ran to their end");
    }
}

#[test]
fn a_panicking_thread_does_not_hold_up_its_peers() {
    let seen = words(1);
    let result = fibres(2, 64).run(|| {
        assert!(thread() != 7, "seven of {}", block());
        sync();
        let (_, took_part) = collect(u32::MAX, thread());
        assert_eq!(took_part, if thread() < 32 { !(1 << 7) } else { u32::MAX });
        add(&seen[0], 1);
    });
    let (message, _, block, thread) = panic_of(result);
    assert_eq!((message.as_str(), block, thread), ("seven of 0", [0; 3], [7, 0, 0]));
    assert_eq!(get(&seen[0]), 126);
}
