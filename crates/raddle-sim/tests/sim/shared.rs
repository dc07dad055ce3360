//! Shared memory: one variable per block and instance, poison, limits.

use raddle_device::host::{self, SharedKey};
use raddle_sim::{Fault, POISON, SHARED_BYTES_MAX, SharedMisuse};

use crate::harness::*;

#[test]
fn threads_of_a_block_share_and_blocks_do_not() {
    for seed in [None, Some(1)] {
        let mut case = fibres(50, 64);
        case.options.seed = seed;
        let result = case.run(|| {
            let word = &shared_words("word", 1)[0];
            if thread() == 0 {
                assert_eq!(get(word), u32::from_ne_bytes([POISON; 4]), "poison first");
                put(word, 0);
            }
            sync();
            add(word, block());
            sync();
            assert_eq!(get(word), 64 * block());
        });
        assert_eq!(result, Ok(()));
    }
}

#[test]
fn instances_of_a_generic_have_their_own_variables() {
    let result = plain(2, 4).run(|| {
        let of = |instance: &'static str| {
            host::engine().shared_static(SharedKey { site: "here", instance }, 16, 16)
        };
        let (single, double) = (of("f32"), of("f64"));
        assert_ne!(single, double);
        assert_eq!(of("f32"), single);
        assert_eq!(single as usize % 128, 0);
        assert_eq!(double as usize % 128, 0);
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn dynamic_memory_has_the_length_of_the_launch() {
    for mut case in [plain(3, 32), fibres(3, 32)] {
        case.dynamic_shared_bytes = 1000;
        let result = case.run(|| {
            let (bytes, len) = host::engine().shared_dynamic();
            assert_eq!((bytes as usize % 128, len), (0, 1000));
            let apart = shared_words("static", 4).as_ptr() as usize - bytes as usize;
            assert!(apart >= 1000);
            if thread() == 0 {
                // SAFETY: within the block's dynamic memory.
                let last = unsafe { bytes.add(999) };
                // SAFETY: as above; the other threads do not touch it.
                assert_eq!(unsafe { last.read() }, POISON);
                // SAFETY: as above.
                unsafe { last.write(1) };
            }
        });
        assert_eq!(result, Ok(()));
    }
}

#[test]
fn too_much_shared_memory_is_a_fault() {
    for mut case in [plain(3, 32), fibres(3, 32)] {
        case.dynamic_shared_bytes = SHARED_BYTES_MAX + 1;
        let fault = |bytes, block| {
            let limit_bytes = SHARED_BYTES_MAX;
            Err(Fault::SharedMemory {
                reason: SharedMisuse::TooLarge { bytes, limit_bytes },
                block,
            })
        };
        assert_eq!(case.run(|| {}), fault(SHARED_BYTES_MAX + 1, [0; 3]));
        case.dynamic_shared_bytes = 3 * 1024;
        let seen = words(1);
        let result = case.run(|| {
            if block() > 0 {
                shared_words("large", 56 * 1024 + 1);
            }
            add(&seen[0], 1);
        });
        assert_eq!(result, fault(3 * 1024 + 4 * 56 * 1024 + 4, [1, 0, 0]));
        assert!(get(&seen[0]) >= 32);
    }
}

#[test]
fn one_variable_with_two_sizes_is_a_fault() {
    let result = plain(1, 2).run(|| {
        shared_words("changing", 1 + thread() as usize);
    });
    let reason = SharedMisuse::Redefined { site: "changing", first_bytes: 4, bytes: 8 };
    assert_eq!(result, Err(Fault::SharedMemory { reason, block: [0; 3] }));
}
