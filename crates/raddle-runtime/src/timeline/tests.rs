//! Who waits for whom, on one thread after the other.

use super::*;

fn waits(uses: &Uses, stream: u16, access: Access) -> Vec<(u16, bool, u64)> {
    let mut found = Vec::new();
    let result: Result<(), ()> = uses.before((StreamId(stream), 0), access, &mut |entry| {
        found.push((entry.stream.0, entry.is_write, entry.sequence));
        Ok(())
    });
    assert_eq!(result, Ok(()));
    found.sort_unstable();
    found
}

#[test]
fn entries_survive_packing() {
    for entry in [
        Use { stream: StreamId(1), is_write: false, sequence: 0, is_handover: false },
        Use { stream: StreamId(1), is_write: true, sequence: 7, is_handover: true },
        Use {
            stream: StreamId(u16::MAX),
            is_write: true,
            sequence: SEQUENCE_MASK,
            is_handover: false,
        },
    ] {
        assert_eq!(Packed::new(entry).get(), entry);
        assert_eq!(Packed::new(entry).is_kept(), entry.sequence == 0);
        assert!(Packed::new(entry) != Packed::NONE);
    }
    assert!(Packed::NONE.is_kept());
}

#[test]
fn the_quick_look_finds_what_the_close_one_finds() {
    let mut state = 1u64;
    let mut pick = |len: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % len
    };
    let (mut free, mut busy) = (0, 0);
    const ROUNDS: u32 = if cfg!(miri) { 200 } else { 20_000 };
    for _ in 0..ROUNDS {
        let uses = Uses::default();
        for _ in 0..pick(7) {
            let access = if pick(3) == 0 { Access::Write } else { Access::Read };
            uses.note(by(pick(3) as u16 + 1), access, pick(4));
        }
        let (stream, first) = (StreamId(pick(3) as u16 + 1), pick(4));
        let access = [Access::Read, Access::Write, Access::Exclusive][pick(3) as usize];
        let mut waits = 0;
        let _ = uses.before((stream, first), access, &mut |_| {
            waits += 1;
            Ok::<(), ()>(())
        });
        let is_free = uses.is_free(Own::new((stream, first)), access);
        // With more uses than fit inline it does not look.
        assert_eq!(is_free, waits == 0 && !uses.has_more(Ordering::Relaxed));
        free += u32::from(is_free);
        busy += u32::from(!is_free);
    }
    assert!(free > ROUNDS / 20 && busy > ROUNDS / 20, "{free} free, {busy} busy");
    uses_of_a_graph_are_not_free();
}

fn uses_of_a_graph_are_not_free() {
    let uses = Uses::default();
    let own = Own::new((StreamId(1), 0));
    assert!(uses.is_free(own, Access::Exclusive));
    uses.set_held();
    assert!(!uses.is_free(own, Access::Read) && uses.is_held());
}

#[test]
fn one_stream_never_waits_for_itself() {
    let uses = Uses::default();
    for sequence in 1..100 {
        let access = [Access::Read, Access::Write, Access::Exclusive][sequence as usize % 3];
        assert!(waits(&uses, 7, access).is_empty());
        uses.note(by(7), access, sequence);
    }
    assert!(uses.all().len() <= 2);
}

#[test]
fn a_read_waits_for_writes_and_a_write_for_everything() {
    let uses = Uses::default();
    uses.note(by(1), Access::Exclusive, 10);
    uses.note(by(2), Access::Read, 20);
    uses.note(by(1), Access::Read, 30);
    assert_eq!(waits(&uses, 3, Access::Read), [(1, true, 10)]);
    assert_eq!(waits(&uses, 3, Access::Exclusive), [(1, false, 30), (1, true, 10), (2, false, 20)]);
    assert_eq!(waits(&uses, 1, Access::Exclusive), [(2, false, 20)]);
    uses.note(by(3), Access::Exclusive, 40);
    assert_eq!(uses.all().len(), 1);
    assert_eq!(waits(&uses, 1, Access::Read), [(3, true, 40)]);
}

#[test]
fn what_one_stream_alone_uses_is_its_own_until_another_comes() {
    let uses = Uses::default();
    let (own, own_lease) = by(7);
    uses.hand_out((own, own_lease), 3);
    assert!(uses.is_owned(own_lease) && !uses.is_owned(by(8).1));
    assert_eq!(waits(&uses, 8, Access::Read), [(7, true, 3)]);
    assert_eq!(uses.only_user(), Some(Some(own)));
    for sequence in 4..20 {
        let access = [Access::Read, Access::Write, Access::Exclusive][sequence as usize % 3];
        uses.note_owned(OwnWords::new(own, sequence), access);
        assert!(uses.is_owned(own_lease) && uses.all().len() <= 2);
    }
    // An exclusive use forgot the read before it.
    assert_eq!(waits(&uses, 8, Access::Exclusive), [(7, false, 18), (7, true, 19)]);
    uses.note_owned(OwnWords::new(own, 20), Access::Exclusive);
    assert_eq!(waits(&uses, 8, Access::Exclusive), [(7, true, 20)]);
    // The same queue for another stream: a lease of its own.
    assert!(!uses.is_owned(Lease(1)));
    uses.note(by(8), Access::Read, 1);
    assert!(!uses.is_owned(own_lease) && uses.only_user().is_none());
    uses.note((own, own_lease), Access::Exclusive, 21);
    assert!(uses.is_owned(own_lease));
    uses.set_held();
    assert!(!uses.is_owned(own_lease));
    uses.note((own, own_lease), Access::Exclusive, 22);
    assert!(!uses.is_owned(own_lease), "work on a graph's memory always looks further");
}

#[test]
fn uses_from_elsewhere_never_hide_later_ones() {
    let uses = Uses::default();
    for stream in 1..8 {
        for sequence in [7, 9, 3] {
            uses.note_latest(Use {
                stream: StreamId(stream),
                is_write: true,
                sequence,
                is_handover: false,
            });
        }
        uses.note_latest(Use {
            stream: StreamId(stream),
            is_write: false,
            sequence: 1,
            is_handover: false,
        });
    }
    let found = waits(&uses, 100, Access::Exclusive);
    let expected = (1..8).flat_map(|stream| [(stream, false, 1), (stream, true, 9)]);
    assert_eq!(found, expected.collect::<Vec<_>>());
}

#[test]
fn a_later_fast_reader_does_not_hide_an_earlier_slow_one() {
    let uses = Uses::default();
    uses.note(by(1), Access::Exclusive, 1);
    for stream in 2..40 {
        uses.note(by(stream), Access::Read, u64::from(stream) * 100);
    }
    let found = waits(&uses, 1, Access::Exclusive);
    assert_eq!(found.len(), 38);
    assert!((2..40).all(|stream| found.contains(&(stream, false, u64::from(stream) * 100))));
    for stream in 2..40 {
        uses.note(by(stream), Access::Read, 5000);
    }
    assert_eq!(waits(&uses, 1, Access::Exclusive).len(), 38);
    uses.note(by(1), Access::Exclusive, 2);
    assert_eq!(uses.all().len(), 1);
}

#[test]
fn concurrent_readers_all_leave_their_entries() {
    let uses = Uses::default();
    std::thread::scope(|scope| {
        for stream in 1..=8 {
            let uses = &uses;
            scope.spawn(move || {
                for sequence in 1..=2000 {
                    uses.note(by(stream), Access::Read, sequence);
                }
            });
        }
    });
    let found = waits(&uses, 100, Access::Exclusive);
    let expected: Vec<_> = (1..=8).map(|stream| (stream, false, 2000)).collect();
    assert_eq!(found, expected);
}

#[test]
fn disjoint_parts_written_on_two_streams_are_both_remembered() {
    let uses = Uses::default();
    uses.note(by(1), Access::Write, 1);
    uses.note(by(2), Access::Write, 1);
    assert_eq!(waits(&uses, 3, Access::Read), [(1, true, 1), (2, true, 1)]);
    assert!(uses.last_write().is_some_and(|entry| entry.is_write));
    uses.note(by(3), Access::Read, 1);
    assert_eq!(uses.last_user(), Some(StreamId(3)));
    assert!(uses.last_write().is_some_and(|entry| entry.stream != StreamId(3)));
}
