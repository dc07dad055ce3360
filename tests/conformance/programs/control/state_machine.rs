//! A loop over a `match` on a state.
//! run: threads = 64

#[derive(Clone, Copy)]
enum State {
    Start,
    Even { left: u32 },
    Odd(u32, u32),
    Done(u32),
}

pub fn program(thread: u32) -> (u32, u32) {
    let mut state = State::Start;
    let mut steps = 0;
    loop {
        steps += 1;
        state = match state {
            State::Start if thread % 2 == 0 => State::Even { left: thread },
            State::Start => State::Odd(thread, 1),
            State::Even { left: 0 } => State::Done(steps * 7),
            State::Even { left } => State::Even { left: left / 2 },
            State::Odd(n, product) if n > 3 => State::Odd(n - 3, product * 2 % 1000),
            State::Odd(n, product) => State::Done(n + product),
            State::Done(answer) => return (answer, steps),
        }
    }
}

// expect: 14,3 2,3 28,5 4,3 35,6 4,4 35,6 5,5
// hash: 0x0fa0e2f84a97b99f of 64 answers
