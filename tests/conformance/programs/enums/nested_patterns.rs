//! Patterns reach through structs, tuples, references and options.
//! run: threads = 64

#[derive(Clone, Copy)]
struct Point {
    x: i32,
    y: i32,
}

enum Event {
    Move { from: Point, to: Point },
    Press(Option<(char, u32)>),
}

pub fn program(thread: u32) -> i32 {
    let t = thread as i32;
    let event = match thread % 3 {
        0 => Event::Move { from: Point { x: t % 2, y: 3 }, to: Point { x: 4, y: t } },
        1 => Event::Press(Some(((b'a' + (thread % 5) as u8) as char, thread))),
        _ => Event::Press(None),
    };
    match &event {
        Event::Move { from: Point { x: 0, y }, to: Point { y: to, .. } } => y + to,
        &Event::Move { from, to: Point { x, .. } } => from.x * 100 + x,
        Event::Press(Some(('a' | 'c', times))) => -(*times as i32),
        Event::Press(Some((_, times @ 10..))) => *times as i32 * 2,
        Event::Press(Some((letter, _))) => *letter as i32,
        Event::Press(None) => 77,
    }
}

// expect: 3 98 77 104 101 77 9 -7
// hash: 0xf7641476e5f36d6e of 64 answers
