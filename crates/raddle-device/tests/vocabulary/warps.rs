//! Shuffles against the manual's formulas, votes, matches, reductions and scans
//! in whole and partial warps.

use raddle_device::index::lane;
use raddle_device::{
    AnyBits, Lanes, ballot, lane_mask_ge, lane_mask_gt, lane_mask_le, lane_mask_lt, shuffle,
    shuffle_down, shuffle_xor, warp_exclusive_scan, warp_inclusive_scan, warp_reduce,
};

use crate::harness::{affine, block_of, compose};

/// Source lanes of the four shuffles, as `shfl.sync` in the PTX ISA computes
/// them from `bval`, `cval` and the lane.
fn source_lanes(lane: u32, operand: u32, width: u32) -> [u32; 4] {
    let segment = !(width - 1) & 31;
    let bval = operand & 31;
    let (max_lane, min_lane) = ((lane & segment) | (31 & !segment), lane & segment);
    let choose = |j: u32, is_valid: bool| if is_valid { j } else { lane };
    let index = min_lane | (bval & !segment);
    let up = lane as i32 - bval as i32;
    [
        choose(index, index <= max_lane),
        choose(up as u32 & 31, up >= min_lane as i32),
        choose(lane + bval, lane + bval <= max_lane),
        choose(lane ^ bval, lane ^ bval <= max_lane),
    ]
}

fn check_shuffles<T: AnyBits + PartialEq + std::fmt::Debug + Send>(value: fn(u32) -> T) {
    for width in [1, 2, 4, 8, 16, 32] {
        for operand in 0..=33 {
            let found = block_of(32).run(|| {
                let lanes = Lanes::ALL.segments(width);
                let mine = value(lane());
                [
                    lanes.shuffle(mine, operand),
                    lanes.shuffle_up(mine, operand),
                    lanes.shuffle_down(mine, operand),
                    lanes.shuffle_xor(mine, operand),
                ]
            });
            for (lane, found) in (0..).zip(found) {
                let expected = source_lanes(lane, operand, width).map(value);
                assert_eq!(found, expected, "lane {lane}, operand {operand}, width {width}");
            }
        }
    }
}

#[test]
fn shuffles_follow_the_manual() {
    check_shuffles::<u32>(|lane| lane * 3 + 1);
}

#[test]
fn shuffles_move_types_of_every_width() {
    fn check<T: AnyBits + PartialEq + std::fmt::Debug + Send>(value: fn(u32) -> T) {
        let found =
            block_of(32).run(|| (shuffle(value(lane()), 5), shuffle_xor(value(lane()), 16)));
        for (lane, found) in (0..).zip(found) {
            assert_eq!(found, (value(5), value(lane ^ 16)));
        }
    }
    check::<u8>(|lane| lane as u8 | 0x80);
    check::<i16>(|lane| -(lane as i16));
    check::<f32>(|lane| lane as f32 + 0.5);
    check::<u64>(|lane| u64::from(lane) << 40 | 7);
    check::<f64>(|lane| f64::from(lane) / 3.0);
    check::<[u16; 3]>(|lane| [lane as u16, 1, !lane as u16]);
    check::<[u32; 3]>(|lane| [lane, 2, !lane]);
    check::<u128>(|lane| u128::from(lane) << 100 | 9);
}

#[test]
fn a_lane_that_is_not_there_gives_unspecified_bits_and_holds_nobody_up() {
    let found = block_of(8).run(|| shuffle_down(lane(), 1));
    assert_eq!(found[..7], [1, 2, 3, 4, 5, 6, 7]);
    // The next lane does not exist; all ones make its use visible.
    assert_eq!(found[7], u32::MAX);
}

#[test]
fn votes() {
    let found = block_of(40).run(|| {
        let all = Lanes::ALL;
        let odd = lane() % 2 == 1;
        (
            all.all(lane() < 32),
            all.all(odd),
            all.any(lane() == 6),
            all.any(lane() > 31),
            ballot(odd),
        )
    });
    assert!(found[..32].iter().all(|&v| v == (true, false, true, false, 0xaaaa_aaaa)));
    assert!(found[32..].iter().all(|&v| v == (true, false, true, false, 0xaa)));
    let found = block_of(32).run(|| {
        let uniform = [Lanes::ALL.uniform(true), Lanes::ALL.uniform(false)];
        (uniform, Lanes::ALL.uniform(lane() == 3), Lanes::ALL.elect())
    });
    assert_eq!(found.iter().filter(|v| v.2).count(), 1);
    assert!(found.iter().all(|v| v.0 == [true; 2] && !v.1));
}

#[test]
fn votes_among_some_lanes() {
    let found = block_of(32).run(|| {
        let half = if lane() < 16 { 0xffff } else { 0xffff_0000 };
        Lanes::of(half).ballot(lane().is_multiple_of(4))
    });
    assert!(found[..16].iter().all(|&v| v == 0x1111));
    assert!(found[16..].iter().all(|&v| v == 0x1111_0000));
}

#[test]
fn matches_compare_bits() {
    let found = block_of(32).run(|| {
        let all = Lanes::ALL;
        let zero = if lane() == 9 { -0.0f64 } else { 0.0 };
        (all.match_any(lane() % 3), all.match_all(7u64), all.match_all(zero), all.match_any(zero))
    });
    for (lane, found) in (0..32).zip(found) {
        let same =
            (0..32).filter(|other| other % 3 == lane % 3).fold(0, |mask, l| mask | 1u32 << l);
        let zeros = if lane == 9 { 1 << 9 } else { !(1 << 9) };
        assert_eq!(found, (same, Some(u32::MAX), None, zeros));
    }
}

#[test]
fn redux() {
    let value = |lane: u32| lane.wrapping_mul(0x9e37_79b9) ^ 0x8000_0001;
    let found = block_of(32).run(|| {
        let (all, mine) = (Lanes::ALL, value(lane()));
        let signed = mine.cast_signed();
        (
            [all.redux_add(mine), all.redux_min(mine), all.redux_max(mine)],
            [all.redux_and(mine), all.redux_or(mine), all.redux_xor(mine)],
            [all.redux_add(signed), all.redux_min(signed), all.redux_max(signed)],
        )
    });
    let all: Vec<u32> = (0..32).map(value).collect();
    let signed: Vec<i32> = all.iter().map(|v| v.cast_signed()).collect();
    let sum = all.iter().fold(0u32, |a, &b| a.wrapping_add(b));
    let unsigned = [sum, *all.iter().min().unwrap(), *all.iter().max().unwrap()];
    let bits = [
        all.iter().fold(u32::MAX, |a, b| a & b),
        all.iter().fold(0, |a, b| a | b),
        all.iter().fold(0, |a, b| a ^ b),
    ];
    let signed = [sum.cast_signed(), *signed.iter().min().unwrap(), *signed.iter().max().unwrap()];
    assert!(found.iter().all(|&v| v == (unsigned, bits, signed)));
}

#[test]
fn reductions_and_scans_need_not_commute() {
    for threads in [1, 2, 3, 5, 17, 31, 32] {
        let found = block_of(threads).run(|| {
            let mine = affine(lane());
            (
                warp_reduce(mine, compose),
                warp_inclusive_scan(mine, compose),
                warp_exclusive_scan(mine, [1, 0], compose),
            )
        });
        let mut sum = [1, 0];
        let total = (0..threads).map(affine).fold(sum, compose);
        for (lane, found) in (0..threads).zip(found) {
            let before = sum;
            sum = compose(sum, affine(lane));
            assert_eq!(found, (total, sum, before), "lane {lane} of {threads}");
        }
    }
}

#[test]
fn reductions_and_scans_of_any_lanes() {
    for mask in [1, 0x8000_0000, 0x8000_0001, 0xf0f0_1204, 0x7fff_ffff, 0x0001_0100] {
        for width in [32, 8, 1] {
            let found = block_of(32).run(|| {
                if mask >> lane() & 1 == 0 {
                    return None;
                }
                let (lanes, mine) = (Lanes::of(mask).segments(width), affine(lane()));
                Some((
                    lanes.reduce(mine, compose),
                    lanes.inclusive_scan(mine, compose),
                    lanes.exclusive_scan(mine, [1, 0], compose),
                ))
            });
            for lane in 0..32u32 {
                let members = (0..32).filter(|l| mask >> l & 1 != 0 && l / width == lane / width);
                let fold = |limit: u32| {
                    members.clone().filter(|&l| l < limit).map(affine).fold([1, 0], compose)
                };
                let expected =
                    (mask >> lane & 1 != 0).then(|| (fold(32), fold(lane + 1), fold(lane)));
                assert_eq!(found[lane as usize], expected, "{mask:#x}, width {width}, lane {lane}");
            }
        }
    }
}

#[test]
fn float_sums_have_the_documented_order() {
    let value = |lane: u32| (lane as f32 + 0.1) * if lane.is_multiple_of(3) { 1e7 } else { 1e-3 };
    let found = block_of(32).run(|| warp_reduce(value(lane()), |a, b| a + b).to_bits());
    let mut level: Vec<f32> = (0..32).map(value).collect();
    while level.len() > 1 {
        level = level.chunks(2).map(|pair| pair[0] + pair[1]).collect();
    }
    assert!(found.iter().all(|&bits| bits == level[0].to_bits()));
}

#[test]
fn a_reduction_over_lanes_that_left_is_reported() {
    let line = line!() + 5;
    let result = block_of(32).try_run(|| {
        if lane() == 4 {
            return 0;
        }
        warp_reduce(lane(), |a, b| a + b)
    });
    let (message, file, found) = crate::harness::panic_of(result);
    assert!(message.contains("0x00000010 have left the kernel"), "{message}");
    assert!(file.ends_with("warps.rs") && found == line, "{file}:{found}");
}

#[test]
fn lane_masks() {
    let found =
        block_of(32).run(|| [lane_mask_lt(), lane_mask_le(), lane_mask_gt(), lane_mask_ge()]);
    for (lane, found) in (0..32).zip(found) {
        let below = (1u64 << lane) as u32 - 1;
        let upto = (2u64 << lane).wrapping_sub(1) as u32;
        assert_eq!(found, [below, upto, !upto, !below]);
    }
}
