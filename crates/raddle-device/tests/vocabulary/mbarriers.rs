//! Mbarriers: phases, parities, bytes, and misuse.

use raddle_device::index::{thread_linear, warp};
use raddle_device::{Mbarrier, barrier, shared};
use raddle_sim::Fault;

use crate::harness::{block_of, panic_of};

#[test]
fn phases_complete_and_restart() {
    let found = block_of(40).run(|| {
        let mut barriers = shared!([Mbarrier; 2]);
        let [all, _] = barriers.init_mbarriers(|_| 40);
        let mut completed = Vec::new();
        for phase in 0..9 {
            let arrival = all.arrive();
            all.wait(arrival);
            all.wait_parity(phase & 1);
            completed.push(all.test_wait(arrival));
            // Nobody begins the next phase before all have seen this one's end.
            barrier();
            assert!(!all.test_wait_parity((phase + 1) & 1));
            barrier();
        }
        completed
    });
    assert!(found.iter().all(|completed| *completed == [true; 9]));
}

#[test]
fn a_ring_of_two_slots() {
    const ROUNDS: u32 = 13;
    let found = block_of(64).run(|| {
        let (mut barriers, slots) = (shared!([Mbarrier; 4]), shared!([u32; 2]));
        let [full0, full1, empty0, empty1] =
            barriers.init_mbarriers(|i| if i < 2 { 1 } else { 32 });
        let (full, empty) = ([full0, full1], [empty0, empty1]);
        let mut sum = 0;
        for round in 0..ROUNDS {
            let (slot, parity) = (round as usize % 2, (round / 2) & 1);
            // SAFETY: the barriers order the accesses to the slot.
            let value = unsafe { slots.as_ptr().cast::<u32>().add(slot) };
            if warp() == 0 {
                if thread_linear() == 0 {
                    // The first pass over the slots finds them empty.
                    empty[slot].wait_parity(parity ^ 1);
                    // SAFETY: as above.
                    unsafe { value.write_volatile(round * round) };
                    let _ = full[slot].arrive();
                }
            } else {
                full[slot].wait_parity(parity);
                // SAFETY: as above.
                sum += unsafe { value.read_volatile() };
                let _ = empty[slot].arrive();
            }
        }
        sum
    });
    let expected: u32 = (0..ROUNDS).map(|round| round * round).sum();
    assert!(found[32..].iter().all(|&sum| sum == expected), "{found:?}");
}

#[test]
fn bytes_hold_a_phase_open() {
    block_of(32).run(|| {
        let mut barriers = shared!([Mbarrier; 1]);
        let [copy] = barriers.init_mbarriers(|_| 1);
        if thread_linear() == 0 {
            let _ = copy.arrive_expect_tx(96);
            assert!(!copy.test_wait_parity(0));
            copy.complete_tx(64);
            assert!(!copy.test_wait_parity(0));
            copy.complete_tx(32);
            // Bytes may come before they are announced.
            copy.complete_tx(8);
            copy.expect_tx(8);
        }
        copy.suspend_parity(0);
        assert!(copy.try_wait_parity(0));
    });
}

#[test]
fn arrivals_can_be_counted_and_dropped() {
    block_of(1).run(|| {
        let mut barriers = shared!([Mbarrier; 1]);
        let [three] = barriers.init_mbarriers(|_| 3);
        let first = three.arrive_no_complete(2);
        assert!(!three.test_wait(first));
        let _ = three.arrive_drop();
        assert!(three.test_wait(first));
        let second = three.arrive_count(2);
        assert!(three.try_wait(second));
    });
}

fn misuse(kernel: impl Fn(&Mbarrier) + Sync) -> String {
    let (message, file, _) = panic_of(block_of(1).try_run(|| {
        let mut barriers = shared!([Mbarrier; 1]);
        kernel(&barriers.init_mbarriers(|_| 2)[0]);
    }));
    assert!(file.ends_with("mbarriers.rs"), "{file}");
    message
}

#[test]
fn misuse_is_reported_at_its_line() {
    let too_many = misuse(|two| {
        let _ = two.arrive_count(3);
    });
    assert!(too_many.contains("3 arrive, 2 of 2 are outstanding"), "{too_many}");
    let last = misuse(|two| {
        let _ = two.arrive_no_complete(2);
    });
    assert!(last.contains("last arrival"), "{last}");
    let bytes = misuse(|two| two.expect_tx(1 << 20));
    assert!(bytes.contains("at most 1048575 bytes"), "{bytes}");
    let uninitialised = panic_of(block_of(1).try_run(|| {
        let memory = shared!([Mbarrier; 1]);
        // SAFETY: the memory is the block's, and the CPU device refuses it.
        let _ = unsafe { &*memory.as_ptr().cast::<Mbarrier>() }.arrive();
    }));
    assert!(uninitialised.0.contains("not initialised"), "{}", uninitialised.0);
    let none = panic_of(block_of(1).try_run(|| {
        shared!([Mbarrier; 1]).init_mbarriers(|_| 0);
    }));
    assert!(none.0.contains("1 to 1048575 arrivals"), "{}", none.0);
}

#[test]
fn waiting_for_ever_is_an_error() {
    let fault = block_of(2).try_run(|| {
        let mut barriers = shared!([Mbarrier; 1]);
        let [two] = barriers.init_mbarriers(|_| 2);
        if thread_linear() == 0 {
            let arrival = two.arrive();
            two.wait(arrival);
        }
    });
    assert!(matches!(fault, Err(Fault::Deadlock { .. })), "{fault:?}");
}
