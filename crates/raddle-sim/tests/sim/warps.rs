//! Exchanges over warps and warpgroups.

use std::panic::Location;

use raddle_device::host;
use raddle_sim::{Fault, WarpMisuse};

use crate::harness::*;

#[test]
fn full_masks_see_every_lane() {
    let result = fibres(2, 96).run(|| {
        for round in 0..10 {
            let (all, took_part) = collect(u32::MAX, thread() + 1000 * round);
            assert_eq!(took_part, u32::MAX);
            let first = thread() / 32 * 32 + 1000 * round;
            assert_eq!(all, std::array::from_fn(|lane| first + lane as u32));
        }
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn disjoint_masks_meet_at_once_at_different_places() {
    let result = fibres(1, 32).run(|| {
        let lane = thread();
        if lane.is_multiple_of(2) {
            let (all, took_part) = collect(0x5555_5555, lane);
            assert_eq!((all[30], all[1], took_part), (30, 0, 0x5555_5555));
        } else if lane < 16 {
            let (all, took_part) = collect(0xaaaa, lane);
            assert_eq!((all[15], all[17], took_part), (15, 0, 0xaaaa));
        }
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn lanes_that_exited_or_never_were_do_not_count() {
    let result = fibres(1, 40).run(|| {
        let lanes = if thread() < 32 { u32::MAX } else { 0xff };
        assert_eq!(collect(u32::MAX, 0).1, lanes);
        if thread() % 32 == 3 {
            return;
        }
        assert_eq!(collect(u32::MAX, 0).1, lanes & !8);
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_lane_that_exits_last_lets_the_others_go() {
    let result = fibres(1, 32).run(|| {
        if thread() == 31 {
            return;
        }
        assert_eq!(collect(u32::MAX, 0).1, u32::MAX >> 1);
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn groups_of_warps_exchange_by_thread() {
    let result = fibres(1, 256).run(|| {
        let group = thread() / 128;
        for round in 0..3u64 {
            let mut all = [0u8; 128 * 8];
            let payload = (u64::from(thread()) << 32 | round).to_ne_bytes();
            host::engine().group_collect(4, &payload, &mut all, Location::caller());
            for (index, value) in all.chunks_exact(8).enumerate() {
                let value = u64::from_ne_bytes(value.try_into().expect("eight bytes"));
                assert_eq!(value, (u64::from(group) * 128 + index as u64) << 32 | round);
            }
        }
    });
    assert_eq!(result, Ok(()));
}

/// The misuse in a fault of a warp operation.
fn misuse(result: Result<(), Fault>) -> (WarpMisuse, u32, [u32; 3]) {
    match result {
        Err(Fault::WarpMask { reason, mask, at, thread, .. }) => {
            assert!(at.file().ends_with("warps.rs"), "{at}");
            (reason, mask, thread)
        }
        other => panic!("expected a misused warp operation, found {other:?}"),
    }
}

#[test]
fn misused_warp_operations_are_faults() {
    let case = fibres(1, 64);
    let result = case.run(|| {
        collect(0xffff, 0);
    });
    assert_eq!(misuse(result), (WarpMisuse::CallerNotInMask { lane: 16 }, 0xffff, [16, 0, 0]));

    let at = line(0);
    let result = case.run(|| {
        if thread().is_multiple_of(32) {
            collect(u32::MAX, 0); // line 3
        } else {
            collect(u32::MAX, 0);
        }
    });
    let (WarpMisuse::OtherSite { other_at }, u32::MAX, [1, 0, 0]) = misuse(result) else {
        panic!("expected another site");
    };
    assert_eq!(other_at.line(), at + 3);

    let result = case.run(|| {
        collect(if thread() == 0 { 0x3 } else { 0x7fff_fffe }, 0);
    });
    assert!(matches!(misuse(result).0, WarpMisuse::Overlap { other_mask: 3, .. }));

    let result = case.run(|| {
        let payload = [0; 8];
        let payload = if thread() == 0 { &payload[..4] } else { &payload };
        host::engine().warp_collect(u32::MAX, payload, &mut [0; 256], Location::caller());
    });
    assert_eq!(misuse(result).0, WarpMisuse::PayloadBytes { found: 8, first: 4 });

    let result = case.run(|| {
        host::engine().warp_collect(u32::MAX, &[0; 8], &mut [0; 255], Location::caller());
    });
    assert_eq!(misuse(result).0, WarpMisuse::ResultBytes { needed: 256, found: 255 });

    let result = case.run(|| host::engine().group_collect(0, &[], &mut [], Location::caller()));
    assert_eq!(misuse(result).0, WarpMisuse::Warps { found: 0 });
}

#[test]
fn lanes_that_wait_for_a_peer_in_another_wait_are_a_deadlock() {
    let result = fibres(1, 32).run(|| {
        let mask = if thread() < 16 { 0x1_ffff } else { 0xffff_0000 };
        if thread() == 16 {
            host::engine().wait_until("a miracle", &mut || false, Location::caller());
        }
        collect(mask, 0);
    });
    // Lane 16 is in both masks; whoever comes second is at fault.
    assert!(matches!(misuse(result).0, WarpMisuse::Overlap { other_mask: 0x1_ffff, .. }));
}
