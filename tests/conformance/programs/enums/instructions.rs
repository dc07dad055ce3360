//! A stack machine interprets an array of instructions.
//! run: threads = 64

#[derive(Clone, Copy)]
enum Op {
    Push(i64),
    Add,
    Mul,
    Dup,
    Swap,
    JumpIfPositive(usize),
    Halt,
}

pub fn program(thread: u32) -> (i64, u32) {
    // Sum of n + (n-1) + … by a countdown loop.
    let code = [
        Op::Push(0),
        Op::Push(i64::from(thread) + 1),
        Op::Dup,
        Op::JumpIfPositive(5),
        Op::Halt,
        Op::Dup,
        Op::Push(-1),
        Op::Add,
        Op::Swap,
        Op::Push(2),
        Op::Mul,
        Op::Halt,
    ];
    let (mut stack, mut top, mut pc, mut steps) = ([0i64; 8], 0, 0, 0);
    loop {
        steps += 1;
        let op = code[pc];
        pc += 1;
        match op {
            Op::Push(n) => {
                stack[top] = n;
                top += 1;
            }
            Op::Add => {
                top -= 1;
                stack[top - 1] += stack[top];
            }
            Op::Mul => {
                top -= 1;
                stack[top - 1] *= stack[top];
            }
            Op::Dup => {
                stack[top] = stack[top - 1];
                top += 1;
            }
            Op::Swap => stack.swap(top - 1, top - 2),
            Op::JumpIfPositive(target) => {
                top -= 1;
                if stack[top] > 0 {
                    pc = target;
                }
            }
            Op::Halt => return (stack[..top].iter().sum(), steps),
        }
    }
}

// expect: 2,11 5,11 8,11 11,11 14,11 17,11 20,11 23,11
// hash: 0xc14845876c0ff8e5 of 64 answers
