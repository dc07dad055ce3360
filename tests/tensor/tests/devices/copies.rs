//! Cache hints, asynchronous copies, `ldmatrix` and `stmatrix`.

use raddle::device::vector::F32x4;
use raddle::{Grid, Stream};
use raddle_tensor_tests::kernels::copies::*;

use crate::support::*;

#[test]
fn hinted_accesses_move_values() {
    let input: Vec<F32x4> =
        (0..1000).map(|i| F32x4::new([0, 1, 2, 3].map(|j| (4 * i + j) as f32))).collect();
    let expected: Vec<[F32x4; 8]> = input.iter().map(|&v| [v; 8]).collect();
    on_each_device(PORTABLE, |stream: &Stream| {
        let source = stream.upload(&input).unwrap();
        let mut out = stream.filled(input.len(), [F32x4::splat(-1.0); 8]).unwrap();
        stream.launch(Grid::cover(input.len(), 128), hinted(&source, &mut out)).unwrap();
        assert_same(&out.to_vec().unwrap(), &expected, "hinted accesses");
    });
    let bytes: Vec<u8> = (0..500).map(|i| (i * 7) as u8).collect();
    let halves: Vec<u16> = (0..500).map(|i| i * 131).collect();
    let wide: Vec<u64> = (0..500).map(|i| i << 33).collect();
    let expected: Vec<u64> =
        (0..500).map(|i| 2 * u64::from(bytes[i]) + u64::from(halves[i]) + wide[i]).collect();
    on_each_device(PORTABLE, |stream: &Stream| {
        let (b, h) = (stream.upload(&bytes).unwrap(), stream.upload(&halves).unwrap());
        let w = stream.upload(&wide).unwrap();
        let mut out = stream.zeros(500).unwrap();
        stream.launch(Grid::cover(500, 64), hinted_narrow(&b, &h, &w, &mut out)).unwrap();
        assert_same(&out.to_vec().unwrap(), &expected, "narrow hinted accesses");
    });
}

#[test]
fn async_copies_arrive() {
    let input: Vec<[u32; 4]> = (0..64).map(|i| [i + 1, i + 1000, i << 20, !i]).collect();
    let cut = |words: [u32; 4], bytes: usize| {
        let mut all: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        all[bytes..].fill(0);
        let word = |i: usize| u32::from_le_bytes(all[4 * i..4 * i + 4].try_into().unwrap());
        [word(0), word(1), word(2), word(3)]
    };
    let expected: Vec<[[u32; 4]; 5]> =
        input.iter().enumerate().map(|(t, &w)| [w, w, w, cut(w, t % 17), w]).collect();
    on_each_device(PORTABLE, |stream: &Stream| {
        let source = stream.upload(&input).unwrap();
        let mut out = stream.zeros(64).unwrap();
        stream.launch(Grid::new(1, 64), async_copies(&source, &mut out)).unwrap();
        assert_same(&out.to_vec().unwrap(), &expected, "asynchronous copies");
    });
}

#[test]
fn mbarriers_count_async_copies() {
    let input: Vec<[u32; 4]> = (0..128).map(|i| [i, i * i, !i, i << 24]).collect();
    let expected: Vec<[[u32; 4]; 2]> =
        (0..64).map(|t| [input[(t + 1) % 64], input[64 + (t + 1) % 64]]).collect();
    on_each_device(PORTABLE, |stream: &Stream| {
        let source = stream.upload(&input).unwrap();
        let mut out = stream.zeros(64).unwrap();
        stream.launch(Grid::new(1, 64), counted_copies(&source, &mut out)).unwrap();
        assert_same(&out.to_vec().unwrap(), &expected, "counted copies");
    });
}

/// Element `i` of row `r` of matrix `m` of a 32×8 tile.
fn element(m: usize, r: usize, i: usize) -> u32 {
    let index = (8 * m + r) * 8 + i;
    (index * 257 + 11) as u16 as u32
}

#[test]
fn ldmatrix_spreads_rows() {
    let input: Vec<u16> = (0..256usize).map(|i| element(i / 64, i / 8 % 8, i % 8) as u16).collect();
    let expected: Vec<[u32; 14]> = (0..32usize)
        .map(|lane| {
            let (line, first) = (lane / 4, 2 * (lane % 4));
            let plain = |m| element(m, line, first) | element(m, line, first + 1) << 16;
            let turned = |m| element(m, first, line) | element(m, first + 1, line) << 16;
            let order = [0, 0, 1, 0, 1, 2, 3];
            std::array::from_fn(|i| if i < 7 { plain(order[i]) } else { turned(order[i - 7]) })
        })
        .collect();
    on_each_device(PORTABLE, |stream: &Stream| {
        let source = stream.upload(&input).unwrap();
        let mut out = stream.zeros(32).unwrap();
        stream.launch(Grid::new(1, 32), ldmatrices(&source, &mut out)).unwrap();
        assert_same(&out.to_vec().unwrap(), &expected, "ldmatrix");
    });
}

#[test]
fn stmatrix_gathers_rows() {
    let input: Vec<[u32; 4]> = (0..32u32)
        .map(|lane| [0, 1, 2, 3].map(|m| (lane * 64 + m * 8 + 1) | (lane * 64 + m * 8 + 2) << 16))
        .collect();
    let half = |lane: usize, m: usize, i: usize| input[lane][m] >> (16 * i) & 0xffff;
    // Lane `l` gives back row `l % 8` of matrix `l / 8` of each tile.
    let expected: Vec<[u32; 24]> = (0..32usize)
        .map(|lane| {
            let (m, row) = (lane / 8, lane % 8);
            std::array::from_fn(|i| {
                let (tile, word) = (i / 4, i % 4);
                if m >= [1, 2, 4][tile % 3] {
                    return 0;
                }
                let part = |column: usize| {
                    let (r, c) = if tile < 3 { (row, column) } else { (column, row) };
                    half(4 * r + c / 2, m, c % 2)
                };
                part(2 * word) | part(2 * word + 1) << 16
            })
        })
        .collect();
    on_each_device(HOPPER, |stream: &Stream| {
        let source = stream.upload(&input).unwrap();
        let mut out = stream.zeros(32).unwrap();
        stream.launch(Grid::new(1, 32), stmatrices(&source, &mut out)).unwrap();
        assert_same(&out.to_vec().unwrap(), &expected, "stmatrix");
    });
}
