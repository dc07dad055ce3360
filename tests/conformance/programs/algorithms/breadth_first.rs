//! Breadth-first search through a maze held as bit rows.
//! run: threads = 64

const MAZE: [u16; 8] = [0x00, 0x7e, 0x42, 0x5a, 0x4a, 0x7a, 0x02, 0xfe];

pub fn program(thread: u32) -> Option<u32> {
    let mut distance = [u8::MAX; 64];
    let mut queue = [0u8; 64];
    let (mut head, mut tail) = (0, 1);
    distance[0] = 0;
    while head < tail {
        let at = queue[head];
        head += 1;
        let (row, column) = (i32::from(at / 8), i32::from(at % 8));
        for (r, c) in [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)] {
            if !(0..8).contains(&r) || !(0..8).contains(&c) || MAZE[r as usize] >> c & 1 == 1 {
                continue;
            }
            let next = (r * 8 + c) as usize;
            if distance[next] == u8::MAX {
                distance[next] = distance[usize::from(at)] + 1;
                queue[tail] = next as u8;
                tail += 1;
            }
        }
    }
    Some(u32::from(distance[thread as usize])).filter(|d| *d < 255)
}

// expect: 1,0 1,1 1,2 1,3 1,4 1,5 1,6 1,7
// hash: 0xa0b9fa21a9ada279 of 64 answers
