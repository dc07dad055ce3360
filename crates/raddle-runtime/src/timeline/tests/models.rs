//! Notes of several threads at once, in every interleaving.

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

/// Readers on three streams race for the places of one allocation, each twice:
/// a writer who comes after them finds the last use of each.
#[test]
fn loom_no_reader_is_lost() {
    // More switches than that between three threads take minutes to go through.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let uses = loom::sync::Arc::new(Uses::default());
        uses.note(by(9), Access::Exclusive, 1);
        let readers: Vec<_> = (1..=2)
            .map(|stream| {
                let uses = loom::sync::Arc::clone(&uses);
                loom::thread::spawn(move || {
                    assert_eq!(waits(&uses, stream, Access::Read), [(9, true, 1)]);
                    uses.note(by(stream), Access::Read, 1);
                    uses.note(by(stream), Access::Read, 2);
                })
            })
            .collect();
        uses.note(by(9), Access::Read, 5);
        for reader in readers {
            reader.join().unwrap();
        }
        assert_eq!(waits(&uses, 9, Access::Exclusive), [(1, false, 2), (2, false, 2)]);
        uses.note(by(9), Access::Exclusive, 6);
        assert_eq!(waits(&uses, 1, Access::Read), [(9, true, 6)]);
    });
}

/// The owner notes reads without a look at what others note meanwhile: none is
/// lost, and the owner is one no more.
#[test]
fn loom_an_owner_and_a_stranger_lose_no_use() {
    loom::model(|| {
        let uses = loom::sync::Arc::new(Uses::default());
        let (stream, lease) = by(9);
        uses.hand_out((stream, lease), 1);
        uses.note((stream, lease), Access::Exclusive, 2);
        let stranger = {
            let uses = loom::sync::Arc::clone(&uses);
            loom::thread::spawn(move || {
                assert_eq!(waits(&uses, 1, Access::Read), [(9, true, 2)]);
                uses.note(by(1), Access::Read, 7);
                uses.note(by(1), Access::Read, 8);
            })
        };
        for sequence in 3..5 {
            if uses.is_owned(lease) {
                uses.note_owned(OwnWords::new(stream, sequence), Access::Read);
            } else {
                uses.note((stream, lease), Access::Read, sequence);
            }
        }
        stranger.join().unwrap();
        assert!(!uses.is_owned(lease));
        assert_eq!(waits(&uses, 2, Access::Write), [(1, false, 8), (9, false, 4), (9, true, 2)]);
        uses.note(by(1), Access::Exclusive, 9);
        assert!(uses.is_owned(by(1).1) && !uses.is_owned(lease));
    });
}

/// The same where the inline places are full and the rest is behind a lock.
#[test]
fn loom_no_reader_is_lost_beyond_the_inline_places() {
    loom::model(|| {
        let uses = loom::sync::Arc::new(Uses::default());
        for stream in 10..13 {
            uses.note(by(stream), Access::Read, 1);
        }
        let readers: Vec<_> = (1..=2)
            .map(|stream| {
                let uses = loom::sync::Arc::clone(&uses);
                loom::thread::spawn(move || uses.note(by(stream), Access::Read, 7))
            })
            .collect();
        for reader in readers {
            reader.join().unwrap();
        }
        let found = waits(&uses, 9, Access::Exclusive);
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(found.contains(&(1, false, 7)) && found.contains(&(2, false, 7)));
    });
}

/// Parts of one allocation are written on two streams at the same time.
#[test]
fn loom_no_writer_of_a_part_is_lost() {
    loom::model(|| {
        let uses = loom::sync::Arc::new(Uses::default());
        let other = {
            let uses = loom::sync::Arc::clone(&uses);
            loom::thread::spawn(move || uses.note(by(1), Access::Write, 3))
        };
        uses.note(by(2), Access::Write, 4);
        other.join().unwrap();
        assert_eq!(waits(&uses, 3, Access::Read), [(1, true, 3), (2, true, 4)]);
    });
}
