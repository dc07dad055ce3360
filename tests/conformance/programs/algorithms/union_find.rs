//! Union-find with path halving counts components.
//! run: threads = 64

fn root(parents: &mut [u8], mut node: usize) -> usize {
    while usize::from(parents[node]) != node {
        parents[node] = parents[usize::from(parents[node])];
        node = usize::from(parents[node]);
    }
    node
}

pub fn program(thread: u32) -> (usize, usize) {
    let mut parents: [u8; 24] = core::array::from_fn(|i| i as u8);
    for i in 0..thread as usize % 30 {
        let (a, b) = (i * 7 % 24, (i * i + thread as usize) % 24);
        let (a, b) = (root(&mut parents, a), root(&mut parents, b));
        parents[a.max(b)] = a.min(b) as u8;
    }
    let components = (0..24).filter(|&i| usize::from(parents[i]) == i).count();
    (components, root(&mut parents, 23))
}

// expect: 24,23 23,23 22,23 21,23 20,23 19,23 19,23 17,4
// hash: 0xf4de423f4606d877 of 64 answers
