//! `mma.sync` and tiles.

use raddle::device::float::*;
use raddle::device::tile::MmaElement;
use raddle::{Grid, Stream};
use raddle_tensor_tests::kernels::products::*;

use crate::support::*;

/// Types whose small integers can be made and read.
trait Element: MmaElement<Sum: PartialEq + std::fmt::Debug> {
    fn from_integer(value: i32) -> Self;
    fn sum(value: i32) -> Self::Sum;
    /// Whether negative numbers exist.
    const IS_SIGNED: bool = true;
}

macro_rules! floats {
    ($($ty:ident)*) => { $(
        impl Element for $ty {
            fn from_integer(value: i32) -> Self {
                <$ty>::from_f32(value as f32)
            }
            fn sum(value: i32) -> f32 {
                value as f32
            }
        }
    )* };
}
floats!(f16 bf16 tf32);

impl Element for i8 {
    fn from_integer(value: i32) -> Self {
        value as i8
    }
    fn sum(value: i32) -> i32 {
        value
    }
}

impl Element for u8 {
    fn from_integer(value: i32) -> Self {
        value as u8
    }
    fn sum(value: i32) -> i32 {
        value
    }
    const IS_SIGNED: bool = false;
}

fn operand<T: Element>(random: &mut Random, len: usize) -> (Vec<i32>, Vec<T>) {
    let mut integers = random.small_matrix(len, 11);
    if !T::IS_SIGNED {
        integers.iter_mut().for_each(|value| *value = value.abs() * 20);
    }
    let elements = integers.iter().map(|&value| T::from_integer(value)).collect();
    (integers, elements)
}

/// Row and column of element `i` of lane `lane`, from the manual's formula.
fn place(lane: usize, i: usize) -> (usize, usize) {
    (lane / 4 + 8 * (i / 2), lane % 4 * 2 + i % 2)
}

macro_rules! check_fragments {
    ($($ty:ident)*) => { $( {
        let mut random = Random(5 + size_of::<$ty>() as u64);
        let k = <$ty as MmaElement>::K;
        let (a_integers, a) = operand::<$ty>(&mut random, 16 * k);
        let (b_integers, b) = operand::<$ty>(&mut random, 8 * k);
        let c: Vec<i32> = (0..128).collect();
        let c_sums: Vec<_> = c.iter().map(|&v| <$ty as Element>::sum(v)).collect();
        let sums = product(&a_integers, &b_integers, k);
        let expected: Vec<[_; 4]> = (0..32)
            .map(|lane| std::array::from_fn(|i| {
                let (row, column) = place(lane, i);
                <$ty as Element>::sum(sums[row * 8 + column] + c[row * 8 + column])
            }))
            .collect();
        on_each_device(PORTABLE, |stream: &Stream| {
            let (a, b) = (stream.upload(&a).unwrap(), stream.upload(&b).unwrap());
            let c = stream.upload(&c_sums).unwrap();
            let mut out = stream.filled(32, [<$ty as Element>::sum(0); 4]).unwrap();
            stream.launch(Grid::new(1, 32), fragments::<$ty>(&a, &b, &c, &mut out)).unwrap();
            assert_same(&out.to_vec().unwrap(), &expected, concat!("fragments of ", stringify!($ty)));
        });
    } )* };
}

#[test]
fn products_of_fragments() {
    check_fragments!(f16 bf16 tf32 i8 u8);
}

#[test]
fn other_products_of_fragments() {
    let mut random = Random(3);
    let (a_integers, a) = operand::<f16>(&mut random, 16 * 16);
    let (b_integers, b) = operand::<f16>(&mut random, 8 * 16);
    let bytes = |random: &mut Random, len| -> Vec<u8> {
        (0..len).map(|_| (random.next() >> 11) as u8).collect()
    };
    let (bytes_a, bytes_b) = (bytes(&mut random, 16 * 32), bytes(&mut random, 8 * 32));
    let wide_a: Vec<f64> = (0..32).map(|i| f64::from(i) - 9.0).collect();
    let wide_b: Vec<f64> = (0..32).map(|i| f64::from(i * 3 % 17) + 0.25).collect();
    let signed = |bytes: &[u8]| bytes.iter().map(|&b| i32::from(b as i8)).collect::<Vec<_>>();
    let unsigned = |bytes: &[u8]| bytes.iter().map(|&b| i32::from(b)).collect::<Vec<_>>();
    let sums = product(&a_integers, &b_integers, 16);
    let mixed = product(&signed(&bytes_a), &unsigned(&bytes_b), 32);
    let other = product(&unsigned(&bytes_a), &signed(&bytes_b), 32);
    let at = |lane: usize, i: usize| {
        let (row, column) = place(lane, i);
        row * 8 + column
    };
    let expected_halves: Vec<[f16x2; 2]> = (0..32)
        .map(|lane| {
            let sum = |i: usize| (sums[at(lane, i)] + 1) as f32;
            [f16x2::from_f32s(sum(0), sum(1)), f16x2::from_f32s(sum(2), sum(3))]
        })
        .collect();
    let expected_integers: Vec<[[i32; 4]; 2]> = (0..32)
        .map(|lane| {
            let of = |sums: &[i32], c: i32| std::array::from_fn(|i| sums[at(lane, i)] + c);
            [of(&mixed, 1), of(&other, 2)]
        })
        .collect();
    let expected_doubles: Vec<[f64; 2]> = (0..32)
        .map(|lane| {
            std::array::from_fn(|i| {
                let (row, column) = place(lane, i);
                0.5 + (0..4).map(|k| wide_a[row * 4 + k] * wide_b[k * 8 + column]).sum::<f64>()
            })
        })
        .collect();
    on_each_device(PORTABLE, |stream: &Stream| {
        let (a, b) = (stream.upload(&a).unwrap(), stream.upload(&b).unwrap());
        let (bytes_a, bytes_b) =
            (stream.upload(&bytes_a).unwrap(), stream.upload(&bytes_b).unwrap());
        let (wide_a, wide_b) = (stream.upload(&wide_a).unwrap(), stream.upload(&wide_b).unwrap());
        let mut halves = stream.zeros::<[f16x2; 2]>(32).unwrap();
        let mut integers = stream.zeros::<[[i32; 4]; 2]>(32).unwrap();
        let mut doubles = stream.zeros::<[f64; 2]>(32).unwrap();
        let call = other_fragments(
            &a,
            &b,
            &bytes_a,
            &bytes_b,
            &wide_a,
            &wide_b,
            &mut halves,
            &mut integers,
            &mut doubles,
        );
        stream.launch(Grid::new(1, 32), call).unwrap();
        assert_same(&halves.to_vec().unwrap(), &expected_halves, "f16 sums");
        assert_same(&integers.to_vec().unwrap(), &expected_integers, "mixed signs");
        assert_same(&doubles.to_vec().unwrap(), &expected_doubles, "f64 m8n8k4");
    });
}

#[test]
fn double_products_of_hopper() {
    let a: Vec<f64> = (0..256).map(|i| f64::from(i * 7 % 31) - 12.5).collect();
    let b: Vec<f64> = (0..128).map(|i| f64::from(i * 5 % 23) - 9.0).collect();
    let expected: Vec<[f64; 4]> = (0..32)
        .map(|lane| {
            std::array::from_fn(|i| {
                let (row, column) = place(lane, i);
                1.0 + (0..16).map(|k| a[row * 16 + k] * b[column * 16 + k]).sum::<f64>()
            })
        })
        .collect();
    on_each_device(HOPPER, |stream: &Stream| {
        let (a, b) = (stream.upload(&a).unwrap(), stream.upload(&b).unwrap());
        let mut out = stream.zeros::<[f64; 4]>(32).unwrap();
        stream.launch(Grid::new(1, 32), double_fragments(&a, &b, &mut out)).unwrap();
        assert_same(&out.to_vec().unwrap(), &expected, "f64 m16n8k16");
    });
}

/// Sizes with whole tiles, partial ones, and less than one.
const SIZES: [[usize; 3]; 4] = [[64, 128, 128], [72, 64, 32], [129, 65, 96], [3, 5, 16]];

macro_rules! check_tiles {
    ($($ty:ident)*) => { $( for [m, n, k] in SIZES {
        let mut random = Random(11);
        let (a_integers, a) = operand::<$ty>(&mut random, m * k);
        let (b_integers, b) = operand::<$ty>(&mut random, n * k);
        let c: Vec<_> = (0..m * n).map(|i| <$ty as Element>::sum(i as i32 % 100)).collect();
        let sums = product(&a_integers, &b_integers, k);
        let expected: Vec<_> =
            sums.iter().enumerate().map(|(i, sum)| <$ty as Element>::sum(sum + i as i32 % 100)).collect();
        on_each_device(PORTABLE, |stream: &Stream| {
            let (a, b) = (stream.upload(&a).unwrap(), stream.upload(&b).unwrap());
            let mut c = stream.upload(&c).unwrap();
            let grid = Grid::new((n.div_ceil(64) as u32, m.div_ceil(64) as u32), Shape::THREADS);
            stream.launch(grid, tiles::<$ty>(&a, &b, c.matrix_mut(m, n), k)).unwrap();
            assert_same(&c.to_vec().unwrap(), &expected, &format!("{m}x{n}x{k} tiles of {}", stringify!($ty)));
        });
    } )* };
}

#[test]
fn products_of_tiles() {
    check_tiles!(f16 bf16 i8);
}

#[test]
fn products_with_rows_of_b() {
    for [m, n, k] in [[64, 128, 128], [72, 64, 40], [130, 72, 96], [3, 8, 16]] {
        let mut random = Random(13);
        let (a_integers, a) = operand::<f16>(&mut random, m * k);
        let (b_integers, b) = operand::<f16>(&mut random, k * n);
        let turned: Vec<i32> = (0..n * k).map(|i| b_integers[i % k * n + i / k]).collect();
        let sums = product(&a_integers, &turned, k);
        let expected: Vec<u16> =
            sums.iter().map(|&sum| f16::from_f32(sum as f32).to_bits()).collect();
        on_each_device(PORTABLE, |stream: &Stream| {
            let (a, b) = (stream.upload(&a).unwrap(), stream.upload(&b).unwrap());
            let mut c = stream.zeros::<f16>(m * n).unwrap();
            let grid = Grid::new((n.div_ceil(64) as u32, m.div_ceil(64) as u32), Shape::THREADS);
            stream.launch(grid, tiles_of_rows(&a, &b, c.matrix_mut(m, n), k)).unwrap();
            let found: Vec<u16> = c.to_vec().unwrap().into_iter().map(f16::to_bits).collect();
            assert_same(&found, &expected, &format!("{m}x{n}x{k}, B by rows"));
        });
    }
}
