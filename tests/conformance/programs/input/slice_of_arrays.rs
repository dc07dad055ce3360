//! A flat slice seen as an array of points.
//! run: threads = 21, block = 21
//! input: f32 x 63

pub fn program(thread: u32, input: &[f32]) -> (f32, usize) {
    let (points, _) = input.as_chunks::<3>();
    let here = points[thread as usize];
    let distance = |p: &[f32; 3]| p.iter().zip(here).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
    let others = points.iter().enumerate().filter(|(i, _)| *i != thread as usize);
    let (nearest, point) =
        others.min_by(|(_, a), (_, b)| distance(a).total_cmp(&distance(b))).expect("20 points");
    (distance(point), nearest)
}

// expect: 12.848581,10 7.1582913,15 13.68582,11 37.593094,15 1.953095,5 1.953095,4 13.100953,9
// expect: 35.997593,18
// hash: 0x5b1534059525a3ab of 21 answers
